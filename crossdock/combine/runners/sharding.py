"""Shards: many items in one message to a worker, sized by how long items take; and what becomes of one whose worker died.

A Dask task costs the scheduler about 2 ms and 10 kB, so items are grouped. Everything here is decided on plain values, in the
driver, without I/O; ``runners`` acts on it.
"""

from __future__ import annotations

import math
import os
import sys
import uuid
from dataclasses import dataclass
from typing import Any

from crossdock import __version__

__all__ = [
    "MAX_LOSSES_ALONE",
    "MAX_REFUSALS",
    "Recipe",
    "Shard",
    "ShardSizer",
    "after_loss",
    "mismatch_text",
    "origin",
    "software",
]

MAX_LOSSES_ALONE = 2  # under suspicion and alone on its worker; it was lost in company at least once before
MAX_REFUSALS = (
    10  # by workers that came late and are not fit; each takes a second, so that fit ones get the work
)

_SUSPICIOUS_LOSSES = 2  # one worker lost is an accident: a spot instance, a neighbour's memory
_TARGET_SHARD_S = 0.5  # long against the 2 ms of a Dask task, short against a person's patience
_MAX_SHARD_ITEMS = 2_000
_MAX_GROWTH = 8  # a few quick items are weak evidence for the next ones

_PROCESS = uuid.uuid4().hex


def software() -> tuple[str, str]:
    """What must be equal on driver and workers: our version, and Python's minor version (pickles of code)."""
    return __version__, f"{sys.version_info.major}.{sys.version_info.minor}"


def mismatch_text(driver: tuple[str, str], worker: tuple[str, str]) -> str:
    """In words: whose ``software()`` is what."""
    return (
        f"a worker runs crossdock {worker[0]} on Python {worker[1]}, the driver crossdock {driver[0]} on "
        f"Python {driver[1]}"
    )


def origin() -> str:
    """This process among all processes of all machines; a worker that is a thread of the driver has the driver's."""
    return f"{_PROCESS}-{os.getpid()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What every shard of one run has in common; travels with each of them.

    ``function`` is pickled once, before a cluster starts: worker processes inherit the secrets it refers to.

    Attributes:
        function: The pickled function.
        name: What errors call it.
        run_id: Tells the runs of one driver, and of several, apart.
        threads: Items at once in one shard.
        software: The driver's.
        origin: The driver's process: what is logged there is heard there already.
        log_level: Records from this level on are carried to the driver; ``None`` carries none.
        check: What a worker must have shown before it may run the first shard; ``None`` asks for nothing.
    """

    function: bytes
    name: str
    run_id: str
    threads: int
    software: tuple[str, str]
    origin: str
    log_level: int | None = None
    check: Any = None


@dataclass(slots=True, eq=False)
class Shard:
    """Items under way: their positions, themselves (to send again), and what happened to them so far.

    Attributes:
        losses: How many workers died while they had it.
        losses_alone: The same, of those losses that leave little doubt: it was one item, and no other suspect was out.
        refusals: How many workers were not fit to run it.
    """

    numbers: list[int]
    items: list[Any]
    losses: int = 0
    losses_alone: int = 0
    refusals: int = 0

    @property
    def is_suspect(self) -> bool:
        """Whether it may be what kills its workers; suspects of a run are out one at a time, to tell them apart."""
        return self.losses >= _SUSPICIOUS_LOSSES

    def halves(self) -> list[Shard]:
        """Two shards of the same items, in order, with the same past."""
        middle = len(self.items) // 2
        return [
            Shard(self.numbers[part], self.items[part], losses=self.losses)
            for part in (slice(None, middle), slice(middle, None))
        ]


def after_loss(shard: Shard, deaths: int) -> list[Shard]:
    """What to run again after ``deaths`` more workers died while they had the shard; nothing if it is given up.

    Once, it simply runs again. After that it is a suspect and is halved at each loss, until the item that kills its workers
    stands alone; an item is given up when it was alone twice. So a culprit among n items costs at most ``log2(n) + 4`` workers
    (and as many times more as a scheduler of somebody else's repeats each loss by itself before it tells).
    """
    if shard.is_suspect and len(shard.items) == 1:
        shard.losses_alone += deaths
    shard.losses += deaths
    if shard.losses_alone >= MAX_LOSSES_ALONE:
        return []
    return shard.halves() if shard.is_suspect and len(shard.items) > 1 else [shard]


class ShardSizer:
    """Decides how many items the next shard takes. Not thread-safe: the loop that submits asks.

    Args:
        fixed: Always this many; ``None`` sizes by observed durations, so that a shard takes about half a second.
        threads: How many items a shard runs at once: fewer than that would leave threads idle.
        slots: How many shards the cluster runs at once.
        total: The number of items if known: no worker gets more than its share of few, and the last shards shrink,
            so that all workers end together.
    """

    def __init__(self, fixed: int | None, *, threads: int, slots: int, total: int | None) -> None:
        self._fixed = fixed
        self._least = max(1, threads)
        self._slots = max(1, slots)
        self._total = total
        self._size = self._least
        self._taken = 0

    def next_size(self) -> int:
        """Items for the next shard, at least 1."""
        if self._fixed is not None:
            return self._fixed
        if self._total is None:
            return self._size
        fair = max(1, math.ceil(self._total / self._slots))
        last = math.ceil((self._total - self._taken) / (2 * self._slots))
        return min(self._size, fair, max(self._least, last))

    def took(self, items: int) -> None:
        """So many items went into the shard."""
        self._taken += items

    def observe(self, items: int, seconds: float) -> None:
        """A shard of ``items`` items took ``seconds`` on its worker."""
        wanted = int(items * _TARGET_SHARD_S / max(seconds, 1e-6))
        self._size = max(self._least, min(wanted, _MAX_GROWTH * self._size, _MAX_SHARD_ITEMS))
