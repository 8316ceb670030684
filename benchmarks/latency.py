"""Small objects over a slow line: every request of both ends waits 20 to 40 ms before it is served.

The point is concurrency that finds itself: crossdock with nothing said, beside crossdock and rclone held to numbers.
Both servers are the embedded ones, each a process of its own, and the same for everybody.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.measure import Figures, run
from benchmarks.servers import KEY, SECRET, Pair, rclone
from crossdock.testing.demo.plain import PlainHTTP, PlainS3

__all__ = ["latency", "slow_pair"]

COUNT, SIZE = 2_000, 4096
# Delays of several rules add up: 20 ms for each request, 10 more for half of them and 10 more for half of those.
_DELAYS: list[dict[str, Any]] = [
    {"name": "line", "delay_s": 0.02},
    {"name": "line, slower", "delay_s": 0.01, "every": 2},
    {"name": "line, slowest", "delay_s": 0.01, "every": 4},
]


@contextmanager
def _server(name: str, bucket: str) -> Iterator[str]:
    command = [sys.executable, "-m", f"crossdock.testing.{name}", "--bucket", bucket]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def _held(servers: Pair, bucket: str) -> int:
    with urllib.request.urlopen(f"{servers.gcs_url}/_crossdock/objects?bucket={bucket}") as answer:
        return len(json.load(answer))


@contextmanager
def slow_pair(count: int, size: int, delays: list[dict[str, Any]]) -> Iterator[Pair]:
    """Both servers, ``count`` objects in the bucket ``src``, and a line that lets each request wait."""
    with _server("s3", "src") as s3, _server("gcs", "dst") as gcs:
        with PlainS3(s3) as http:
            for number in range(count):
                http.put("src", f"object-{number:06d}", os.urandom(size), {}, None)
        for url in (s3, gcs):
            with PlainHTTP(url) as http:
                http.admin("POST", "faults", delays)
        yield Pair(s3, gcs)


def latency() -> None:
    """2,000 objects of 4 KiB, S3 -> GCS."""
    with (
        tempfile.TemporaryDirectory(prefix="latency-") as scratch,
        slow_pair(COUNT, SIZE, _DELAYS) as servers,
    ):
        # rclone's S3 for servers that are not Amazon asks for nothing that the embedded one does not know.
        env = {**servers.env, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
        copies = {
            "crossdock": _ours(scratch),
            "crossdock --concurrency 4": _ours(scratch, "4"),
            "crossdock --concurrency 32": _ours(scratch, "32"),
            "rclone": [rclone(), "copy", "src:src", "dst:{bucket}", "-q"],
            "rclone --transfers 64": [
                rclone(),
                "copy",
                "src:src",
                "dst:{bucket}",
                "-q",
                "--transfers",
                "64",
                "--checkers",
                "64",
            ],
        }
        print(f"{COUNT:,} x {SIZE // 1024} KiB, S3 -> GCS, 20 to 40 ms added to every request")
        first: Figures | None = None
        for number, (name, command) in enumerate(copies.items()):
            bucket = f"dst-{number}"
            servers.make_bucket(bucket)
            figures = run([word.replace("{bucket}", bucket) for word in command], env)
            first = first or figures
            if (held := _held(servers, bucket)) != COUNT:
                sys.exit(f"{name} copied {held} of {COUNT}")
            print(
                f"  {name:<27} wall {figures.wall_s:7.2f} s | cpu {figures.cpu_s:6.2f} s | "
                f"{COUNT / figures.wall_s:7.0f} objects a second | {figures.wall_s / first.wall_s:5.2f} x ours",
                flush=True,
            )


def _ours(scratch: str, concurrency: str = "") -> list[str]:
    command = [sys.executable, "-m", "crossdock", "cp", "s3://src/", "gs://{bucket}/", "-q"]
    command += ["--run-dir", f"{scratch}/run-{concurrency or 'default'}"]
    return [*command, "--concurrency", concurrency] if concurrency else command
