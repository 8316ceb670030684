"""The two embedded services as processes of their own, and the faults they are told to make."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from crossdock.testing.demo.plain import PlainHTTP

__all__ = ["FAULTS", "Server", "server"]

# Bounded, so that the run ends; named as the demo prints them.
FAULTS: dict[str, list[dict[str, Any]]] = {
    "s3": [
        {"name": "S3 answers 503 SlowDown", "operation": "object.get", "status": 503, "skip": 5, "every": 40},
        {
            "name": "S3 resets a connection",
            "operation": "object.get",
            "reset": True,
            "skip": 77,
            "first": 1,
        },
        # What makes the middle of the run long enough to be hit: the latency of a real network.
        {"name": "S3 takes 20 ms to answer", "operation": "object.get", "delay_s": 0.02},
    ],
    "gcs": [
        {"name": "GCS answers 503", "operation": "object.insert", "status": 503, "skip": 9, "every": 50},
    ],
}


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs, and its back door."""

    name: str
    url: str

    def inject(self) -> None:
        """Put this server's faults to work."""
        with PlainHTTP(self.url) as http:
            http.admin("POST", "faults", FAULTS[self.name])

    def heal(self) -> dict[str, int]:
        """Stop making faults; says how often each fired."""
        with PlainHTTP(self.url) as http:
            fired: dict[str, int] = http.admin("DELETE", "faults")["fired"]
        return fired

    def requests(self) -> dict[str, int]:
        """How many requests came, by operation, since the server began."""
        with PlainHTTP(self.url) as http:
            seen: dict[str, int] = http.admin("GET", "faults")["requests"]
        return seen

    def count(self, bucket: str) -> int:
        """How many objects are there now."""
        with PlainHTTP(self.url) as http:
            return len(http.admin("GET", f"objects?bucket={bucket}"))


@contextmanager
def server(name: str, bucket: str) -> Iterator[Server]:
    """Run ``python -m crossdock.testing.<name>`` for the length of the block, with one bucket."""
    command: Sequence[str] = [sys.executable, "-m", f"crossdock.testing.{name}", "--bucket", bucket]
    # A session of its own: Ctrl-C at the terminal is for the story, which then ends its servers in order.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)  # noqa: S603
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            raise RuntimeError(f"the embedded {name} server did not start (exit code {process.wait()})")
        yield Server(name, url)
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
