"""``rclone serve`` as a second opinion: servers that are neither ours nor Python."""

from __future__ import annotations

import contextlib
import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

RCLONE = Path(sys.executable).with_name("rclone")
KEY_ID, SECRET = "CROSSDOCKRCLONEKEY01", "canary-rclone-secret-0123456789-abcdef"


@contextlib.contextmanager
def serve_s3(root: Path) -> Iterator[str]:
    """Serve the directories of ``root`` as buckets; yields the endpoint's URL."""
    with _serving("s3", root, "--auth-key", f"{KEY_ID},{SECRET}") as port:
        _wait(port)
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def serve_http(root: Path) -> Iterator[str]:
    """Serve the files of ``root``; yields the origin."""
    with _serving("http", root, "--dir-cache-time", "0s") as port:
        _wait(port)
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def serve_sftp(root: Path, user: str, password: str, host_key: Path) -> Iterator[int]:
    """Serve the files of ``root`` over SSH; yields the port."""
    login = ("--user", user, "--pass", password, "--key", str(host_key))
    with _serving("sftp", root, *login, "--dir-cache-time", "0s") as port:
        deadline = time.monotonic() + 20
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if time.monotonic() > deadline:
                raise TimeoutError("rclone does not listen")
            time.sleep(0.02)  # a process that starts; there is nothing to wait on
        yield port


@contextlib.contextmanager
def _serving(kind: str, root: Path, *more: str) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with subprocess.Popen(
        [RCLONE, "serve", kind, "--addr", f"127.0.0.1:{port}", *more, "--config", "/dev/null", root],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield port
        finally:
            process.terminate()


def _wait(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)  # a process that starts; there is nothing to wait on
        else:
            return
        finally:
            connection.close()
