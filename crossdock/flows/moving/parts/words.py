"""What travels between the driver and the workers of a cut object: references, part numbers, counts. Never a key, never payload.

Pure values and decisions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from crossdock.flows.ledger.records import Failure
from crossdock.flows.ledger.tally import ShardCounts
from crossdock.flows.runs.shards import Shard
from crossdock.model import MIB

__all__ = [
    "Answer",
    "Closing",
    "Item",
    "Opened",
    "Opening",
    "PartsEnd",
    "Sending",
    "ShardEnd",
    "cut_tasks",
    "is_large",
    "stretches",
]

TASK_BYTES = 128 * MIB  # seconds of work: what a worker that comes late can take over
_LEAST_TASKS = 8
_MOST_TASKS = 1_000


class ShardEnd(NamedTuple):
    """A shard ended: which, how its rows stand, whether it was stopped before its end, how long its worker had it."""

    shard: int
    counts: ShardCounts
    stopped: bool = False
    seconds: float = 0.0


class Opening(NamedTuple):
    """Begin anew the object of this shard: an earlier attempt at it came to nothing."""

    shard: Shard
    attempt: int


class Opened(NamedTuple):
    """An upload is open and recorded as ``upload``; these parts of it, of ``part_size_bytes`` each, are missing."""

    shard: Shard
    upload: str
    part_size_bytes: int
    missing: tuple[tuple[int, int], ...]  # stretches [first, stop)
    attempt: int = 0


class Sending(NamedTuple):
    """Send parts ``[first, stop)`` of an upload."""

    shard: Shard
    upload: str
    first: int
    stop: int


class PartsEnd(NamedTuple):
    """How one ``Sending`` ended; its parts are in the ledger, each as soon as it was acknowledged.

    ``gone`` says that the upload is not there any more.
    """

    shard: int
    upload: str
    failure: Failure | None = None
    gone: bool = False
    stopped: bool = False
    retries: int = 0


class Closing(NamedTuple):
    """Complete an upload whose parts were sent, or with ``failure`` give it up."""

    shard: Shard
    upload: str
    attempt: int
    retries: int = 0
    failure: Failure | None = None


Item = Shard | Opening | Sending | Closing
Answer = ShardEnd | Opened | PartsEnd


def is_large(shard: Shard, above_bytes: int) -> bool:
    """Whether a shard is one object that may be cut; ``cut_shards`` leaves those alone."""
    return shard.rows == 1 and shard.size_bytes > above_bytes


def stretches(numbers: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Growing numbers as stretches ``[first, stop)``."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][1] == number:
            found[-1] = (found[-1][0], number + 1)
        else:
            found.append((number, number + 1))
    return tuple(found)


def cut_tasks(missing: Sequence[tuple[int, int]], part_size_bytes: int) -> Iterator[tuple[int, int]]:
    """Cut stretches of parts into what one worker sends at a time.

    Some 128 MiB each; less where that would leave workers idle, more where the scheduler would hold over a thousand.
    """
    count = sum(stop - first for first, stop in missing)
    tasks = min(_MOST_TASKS, max(_LEAST_TASKS, -(-count * part_size_bytes // TASK_BYTES)))
    size = max(1, -(-count // tasks))
    for first, stop in missing:
        for start in range(first, stop, size):
            yield start, min(start + size, stop)
