"""Run a command as a process and read what the kernel says of it: wall and CPU seconds, peak memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from statistics import median

__all__ = ["Figures", "run", "side_by_side"]


@dataclass(frozen=True, slots=True)
class Figures:
    """One finished process. Seconds, bytes."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


def run(command: list[str], env: dict[str, str]) -> Figures:
    """Run to the end; a failure ends the benchmark with what the command printed."""
    with tempfile.TemporaryFile() as output:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **env})
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{output.read().decode(errors='replace')[-3000:]}")
    return Figures(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def side_by_side(title: str, ours: list[Figures], theirs: list[Figures], other: str) -> str:
    """Medians of both and the ratio, theirs over ours: above 1 we win."""
    rows = [title]
    for name, get, unit in (
        ("wall", lambda f: f.wall_s, "s"),
        ("cpu", lambda f: f.cpu_s, "s"),
        ("peak memory", lambda f: f.peak_bytes / 2**20, "MiB"),
    ):
        a, b = median(map(get, ours)), median(map(get, theirs))
        rows.append(
            f"  {name:<12} crossdock {a:8.2f} {unit:<3} | {other} {b:8.2f} {unit:<3} | ratio {b / a:5.2f}"
        )
    return "\n".join(rows)
