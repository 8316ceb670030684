"""A run of a billion objects on a thousand workers, from costs measured here: what it takes, and where the next limit is.

Two cores cannot move a billion objects. They can measure what one object, one shard, one page and one record cost, and
the rest is arithmetic and a queue: one scheduler that serves shards, workers that take them, services that
bound requests. Every assumption is a field of ``World`` and is printed beside the result.
"""

from __future__ import annotations

import heapq
import math
import random
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import crossdock as xd
from crossdock.connectors.memory import MemoryStore

__all__ = ["Costs", "Outcome", "World", "full", "measure", "simulate"]

PAGE = 1_000
SHARD_ROWS = 1_000  # flows.shards.MAX_ROWS
FLUSH_S = 2.0  # a ledger's segment is written at least so often
SAMPLE = 20_000
SHARDS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What was measured, in seconds of CPU and in bytes."""

    plan_s: float  # of the driver, for each object: listing of memory, comparing, writing the manifest
    move_s: float  # of a worker, for each small object, memory to memory: without any service's own cost
    shard_s: float  # of driver and scheduler, for each shard sent and answered
    manifest_bytes: float  # for each object
    ledger_bytes: float  # for each object
    driver_bytes: float  # for each shard that is planned


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is assumed of everything else."""

    objects: int = 10**9
    mean_bytes: int = 1 << 20
    workers: int = 1_000
    cores: int = 2
    latency_s: float = 0.03  # of one request
    requests_an_object: int = 2  # one GET, one PUT
    concurrency: int = 64  # requests under way in each worker
    worker_bytes_per_s: float = 1.25e9
    get_rate: float = 5_500 * 64  # requests a second: S3's 5,500 for each prefix, 64 prefixes
    put_rate: float = (
        1_000 * 16
    )  # GCS begins at 1,000 writes a second for a bucket and doubles; 16 after a while
    listers: int = 32  # key ranges listed at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What comes of it; times in seconds."""

    listing_s: float
    planning_s: float
    moving_s: float
    shards: int
    scheduler_share: float  # of one core, while the run lasts
    slots_busy: float  # share of the workers' time
    segments: int
    manifest_bytes: float
    ledger_bytes: float
    driver_bytes: float
    limit: str


def measure() -> Costs:
    """Move small objects in this process and run empty shards on a local cluster."""
    plan_s, move_s, manifest_bytes, ledger_bytes = _measure_objects()
    return Costs(
        plan_s=plan_s,
        move_s=move_s,
        shard_s=_measure_shards(),
        manifest_bytes=manifest_bytes,
        ledger_bytes=ledger_bytes,
        driver_bytes=_bytes_of_a_shard(),
    )


def _measure_objects() -> tuple[float, float, float, float]:
    name = f"scale-{uuid.uuid4().hex}"
    store = MemoryStore(name)
    for number in range(SAMPLE):
        store.put(f"{number:09d}", b"%d" % number)
    began = time.process_time()
    planned = xd.plan(f"memory://{name}/", f"memory://{name}-none/")
    count = sum(1 for _ in planned)
    plan_s = (time.process_time() - began) / count
    with tempfile.TemporaryDirectory(prefix="scale-") as scratch:
        began = time.process_time()
        xd.migrate(
            f"memory://{name}/", f"memory://{name}-to/", run_dir=f"file://{scratch}/run"
        ).raise_for_failures()
        move_s = (time.process_time() - began) / count - plan_s
        return plan_s, move_s, _size(scratch, "manifest") / count, _size(scratch, "ledger") / count


def _size(scratch: str, part: str) -> int:
    return sum(each.stat().st_size for each in (Path(scratch) / "run" / part).rglob("*") if each.is_file())


def _nothing(number: int) -> int:
    return number


def _measure_shards() -> float:
    """The scheduler of a local cluster lives in this process, as it does beside a driver."""
    with xd.DaskRunner(n_workers=2, shard_size=1) as runner:
        task: Any = xd.task(_nothing, name="nothing")
        task.map(range(50), runner=runner).wait()  # the cluster starts
        began = time.process_time()
        task.map(range(SHARDS), runner=runner).wait()
        return (time.process_time() - began) / SHARDS


def _bytes_of_a_shard() -> float:
    import tracemalloc

    from crossdock.flows.runs.shards import ShardSize, cut_shards

    rows = ((True, 1) for _ in range(SAMPLE))
    tracemalloc.start()
    kept = list(cut_shards([rows], ShardSize(max_rows=1, max_bytes=1 << 40)))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / len(kept)


def simulate(world: World, costs: Costs, *, seed: int = 1) -> Outcome:
    """The run as a queue: one scheduler, ``workers`` slots, shards of uneven length, longest first."""
    shards = math.ceil(world.objects / SHARD_ROWS)
    listing_s = world.objects / PAGE * world.latency_s / world.listers
    planning_s = world.objects * costs.plan_s
    mean_s, bound = _mean_shard_s(world, costs)
    moving_s, scheduler_s, busy_s = _queue(_durations(shards, mean_s, seed), world, costs)
    share = scheduler_s / moving_s
    segments = shards * max(1, math.ceil(mean_s / FLUSH_S))
    limit = bound
    if share > 0.9:
        limit = "one scheduler's core"
    elif planning_s > moving_s:
        limit = "the driver's planning, which is one process"
    return Outcome(
        listing_s=listing_s,
        planning_s=planning_s,
        moving_s=moving_s,
        shards=shards,
        scheduler_share=share,
        slots_busy=busy_s / (moving_s * world.workers),
        segments=segments,
        manifest_bytes=world.objects * costs.manifest_bytes,
        ledger_bytes=world.objects * costs.ledger_bytes,
        driver_bytes=shards * costs.driver_bytes,
        limit=limit,
    )


def _mean_shard_s(world: World, costs: Costs) -> tuple[float, str]:
    """How long a worker takes for a shard when all work at once, and what bounds that."""
    rows = SHARD_ROWS
    candidates = {
        "the workers' CPU": rows * costs.move_s / world.cores,
        "latency and concurrency": rows * world.requests_an_object * world.latency_s / world.concurrency,
        "the workers' network": rows * world.mean_bytes * 2 / world.worker_bytes_per_s,
        "the source's request rate": rows * world.workers / world.get_rate,
        "the destination's request rate": rows * world.workers / world.put_rate,
    }
    bound = max(candidates, key=lambda name: candidates[name])
    return candidates[bound], bound


def _durations(shards: int, mean_s: float, seed: int) -> Iterator[float]:
    """Uneven: a log-normal spread of a half, as sizes of objects make it."""
    dice, sigma = random.Random(seed), 0.5
    mu = math.log(mean_s) - sigma * sigma / 2
    for _ in range(shards):
        yield dice.lognormvariate(mu, sigma)


def _queue(durations: Iterator[float], world: World, costs: Costs) -> tuple[float, float, float]:
    """When the last shard ends, how long the scheduler worked, how long the slots did."""
    free = [0.0] * world.workers
    heapq.heapify(free)
    clock = scheduler_s = busy_s = end = 0.0
    for duration in durations:
        begin = heapq.heappop(free)
        clock = max(clock + costs.shard_s, begin)  # the scheduler hands out one shard after the other
        scheduler_s += costs.shard_s
        busy_s += duration
        done = clock + duration
        end = max(end, done)
        heapq.heappush(free, done)
    return end, scheduler_s, busy_s


def full() -> None:
    """Measure, simulate four worlds, print."""
    costs = measure()
    print(
        f"measured: plan {costs.plan_s * 1e6:.0f} us an object, move {costs.move_s * 1e6:.0f} us an object, "
        f"scheduler and driver {costs.shard_s * 1e3:.2f} ms a shard; manifest {costs.manifest_bytes:.0f} B, ledger "
        f"{costs.ledger_bytes:.0f} B an object; {costs.driver_bytes:.0f} B of the driver a shard",
        flush=True,
    )
    worlds = {
        "10^9 objects of 1 MiB, 1,000 workers": World(),
        "10^9 objects of 10 KiB, 1,000 workers": World(mean_bytes=10 << 10),
        "the same, no limit of requests": World(mean_bytes=10 << 10, get_rate=math.inf, put_rate=math.inf),
        "10^8 objects of 1 MiB, 100 workers": World(objects=10**8, workers=100),
    }
    for name, world in worlds.items():
        got = simulate(world, costs)
        print(
            f"{name}: listing {_time(got.listing_s)}, planning {_time(got.planning_s)}, moving {_time(got.moving_s)}; "
            f"{got.shards:,} shards, scheduler {got.scheduler_share:.1%} of a core, workers busy {got.slots_busy:.0%}; "
            f"manifest {got.manifest_bytes / 1e9:.0f} GB, ledger {got.ledger_bytes / 1e9:.0f} GB in {got.segments:,} "
            f"segments, driver {got.driver_bytes / 1e6:.0f} MB of shards; bound by {got.limit}",
            flush=True,
        )


def _time(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds > 3600 else f"{seconds / 60:.0f} min"


if __name__ == "__main__":
    full()
