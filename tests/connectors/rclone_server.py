"""``rclone serve s3`` as a second opinion: a server that is neither ours nor Python."""

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
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [RCLONE, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", f"{KEY_ID},{SECRET}"]
    with subprocess.Popen(
        [*command, "--config", "/dev/null", root],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            _wait(port)
            yield f"http://127.0.0.1:{port}"
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
