"""Two workers against one: work that the CPU bounds, and work that waits for the network.

Every figure is a ratio of rates on the same cluster class, ``DaskRunner(n_workers=...)``; 2.0 would be perfect on two free
cores. Servers and workers share those cores here, which takes from the first ratio; the second hardly uses them.
"""

from __future__ import annotations

import sys
import tempfile
import time
from statistics import median

import crossdock as xd
from benchmarks.latency import slow_pair
from benchmarks.measure import Figures, run

__all__ = ["scaling"]

ITEMS = 1_500
ROUNDS = 3
OBJECTS, SIZE = 1_500, 4096
DELAY_S = 0.05


def busy(number: int) -> int:
    """Some four milliseconds of Python, which holds the interpreter's lock."""
    return sum(each * each for each in range(number, number + 60_000))


def _items_per_s(workers: int) -> float:
    with xd.DaskRunner(n_workers=workers) as runner:
        task = xd.task(busy, name="busy")
        task.map(number=range(8), runner=runner).wait()  # the cluster starts
        rates = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            task.map(number=range(ITEMS), runner=runner).wait()
            rates.append(ITEMS / (time.perf_counter() - began))
        return median(rates)


def _objects_per_s(workers: int, concurrency: int | None) -> float:
    """Of whole commands, less what the same command takes for nothing to do: the cluster's start is no transfer."""
    rates = []
    with (
        tempfile.TemporaryDirectory(prefix="scaling-") as scratch,
        slow_pair(OBJECTS, SIZE, [{"name": "line", "delay_s": DELAY_S}]) as servers,
    ):
        for number in range(ROUNDS):
            servers.make_bucket(f"dst-{workers}-{number}")
            words = ["cp", "s3://src/", f"gs://dst-{workers}-{number}/", "-q", "--workers", str(workers)]
            words += ["--concurrency", str(concurrency)] * bool(concurrency)
            command = [sys.executable, "-m", "crossdock", *words, "--run-dir"]
            moved: Figures = run([*command, f"{scratch}/run-{workers}-{number}"], servers.env)
            idle: Figures = run([*command, f"{scratch}/idle-{workers}-{number}"], servers.env)
            rates.append(OBJECTS / max(moved.wall_s - idle.wall_s, 1e-3))
    return median(rates)


def scaling() -> None:
    """Print the three ratios."""
    one, two = _items_per_s(1), _items_per_s(2)
    print(f"CPU-bound items: one worker {one:,.0f}/s, two {two:,.0f}/s, ratio {two / one:.2f}", flush=True)
    for concurrency in (16, None):
        one, two = _objects_per_s(1, concurrency), _objects_per_s(2, concurrency)
        name = f"{concurrency} at a time in each" if concurrency else "as many at a time as is found"
        print(
            f"{OBJECTS:,} x {SIZE} B over {DELAY_S * 1000:.0f} ms, {name}: one worker {one:,.0f}/s, two {two:,.0f}/s, "
            f"ratio {two / one:.2f}",
            flush=True,
        )
