"""Peak memory of one crossdock process against its budget, for an object larger than memory and for many at a time.

The source is ``rclone serve s3`` over sparse files with noise in every part, the sink an embedded GCS that keeps digests only;
each is a process, and so is what is measured. The destination's CRC32C is compared with one computed from the files.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from awscrt import checksums

from benchmarks.servers import pair
from crossdock.connectors.strategy import TransferOptions
from crossdock.model import MIB

__all__ = ["ALLOWANCE", "Peak", "budget", "full", "measure"]

ALLOWANCE = 200 * MIB
"""What a process may take besides its budget: the interpreter, the libraries, the tables."""

_NOISE = 64 * 1024
_EVERY = 4 * MIB
# A process starts with its parent's peak, so a small one stands between this one and what is measured.
_BETWEEN = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime)
sys.exit(code)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """What one run came to."""

    peak_bytes: int
    cpu_s: float
    copied: int
    different: tuple[str, ...]


def budget() -> int:
    """Payload bytes that a process holds at most, by default."""
    return TransferOptions().max_in_flight_bytes


def measure(count: int, size: int) -> Peak:
    """Move ``count`` objects of ``size`` bytes with default settings and look at the peak and the digests."""
    with tempfile.TemporaryDirectory(prefix="memory-") as scratch:
        expected = _fill(Path(scratch) / "src", count, size)
        with pair(Path(scratch), gcs="benchmarks.hollow") as servers:
            servers.make_bucket("dst")
            command = [sys.executable, "-m", "crossdock", "cp", "s3://src/", "gs://dst/", "-q"]
            command += ["--run-dir", f"{scratch}/run"]
            done = subprocess.run(
                [sys.executable, "-c", _BETWEEN, *command],
                env={**os.environ, **servers.env},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr[-3000:]}")
            with urllib.request.urlopen(f"{servers.gcs_url}/_crossdock/objects?bucket=dst") as answer:
                held = json.load(answer)
    peak, cpu_s = done.stdout.split()
    different = [key for key in expected.keys() | held.keys() if expected.get(key) != _seen(held.get(key))]
    return Peak(
        peak_bytes=int(peak), cpu_s=float(cpu_s), copied=len(held), different=tuple(sorted(different))
    )


def _seen(row: dict[str, int] | None) -> tuple[int, int] | None:
    return None if row is None else (row["size"], row["crc32c"])


def _fill(directory: Path, count: int, size: int) -> dict[str, tuple[int, int]]:
    """Sparse files with noise here and there; size and CRC32C of each."""
    directory.mkdir()
    dice, expected = random.Random(size), {}
    for number in range(count):
        path = directory / f"object-{number:03d}"
        with path.open("wb") as file:
            file.truncate(size)
            for start in range(0, size - _NOISE, _EVERY):
                file.seek(start + dice.randrange(_EVERY - _NOISE) if start + _EVERY <= size else start)
                file.write(dice.randbytes(_NOISE))
        crc = 0
        with path.open("rb") as file:
            while chunk := file.read(8 * MIB):
                crc = int(checksums.crc32c(chunk, crc))
        expected[path.name] = size, crc
    return expected


def full() -> None:
    """The published figures; exits with an error if one is over its bound."""
    bounds = (
        ("1 x 10 GiB", 1, 10 << 30, 400 * MIB),
        ("64 x 64 MiB", 64, 64 * MIB, budget() + ALLOWANCE),
    )
    over = []
    for name, count, size, bound in bounds:
        peak = measure(count, size)
        print(
            f"{name}: peak {peak.peak_bytes / MIB:.0f} MiB of {bound / MIB:.0f} MiB allowed "
            f"(budget {budget() / MIB:.0f} MiB); {peak.cpu_s:.1f} s CPU, "
            f"{peak.cpu_s / (count * size / 2**30):.2f} s per GiB; {peak.copied} copied, {len(peak.different)} different",
            flush=True,
        )
        if peak.peak_bytes >= bound or peak.different or peak.copied != count:
            over.append(name)
    if over:
        sys.exit(f"over the bound, or not copied: {', '.join(over)}")
