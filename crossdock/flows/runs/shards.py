"""Shards: slices of the manifest, bounded in count and bytes. References only; a scheduler never sees a key.

Pure. The cut is made once and kept with the run, so that a shard means the same rows in every attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from crossdock.model import GIB, MIB

__all__ = ["Shard", "ShardSize", "choose_shard_size", "cut_shards", "longest_first"]

MAX_ROWS = 1_000
MIN_ROWS = 64  # below this the two small writes of a shard's own would show
MAX_BYTES = 8 * GIB
MIN_BYTES = 64 * MIB
SHARDS_PER_WORKER = 4  # so that the last ones to end are short


class Shard(NamedTuple):
    """Rows ``[start, stop)`` of one part of the manifest; ``rows`` of them, of ``size_bytes``, are work."""

    number: int
    part: int
    start: int
    stop: int
    rows: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ShardSize:
    """Where a shard ends: at so many rows or so many bytes of work, whatever comes first."""

    max_rows: int
    max_bytes: int
    alone_bytes: int = GIB  # an object larger than this is a shard of its own: it may be cut over workers


def choose_shard_size(to_do: int, to_do_bytes: int, workers: int, *, alone_bytes: int = GIB) -> ShardSize:
    """A size that gives each worker several shards if there is enough work, within the bounds above."""
    wanted = max(1, workers) * SHARDS_PER_WORKER
    return ShardSize(
        max_rows=min(MAX_ROWS, max(MIN_ROWS, -(-to_do // wanted))),
        max_bytes=min(MAX_BYTES, max(MIN_BYTES, -(-to_do_bytes // wanted))),
        alone_bytes=alone_bytes,
    )


def cut_shards(parts: Iterable[Iterable[tuple[bool, int]]], size: ShardSize) -> Iterator[Shard]:
    """Cut each part into shards, in order; slices without work are left out.

    Args:
        parts: For each part its rows as (is work, bytes): ``Manifest.work``.
        size: Where a shard ends. One object larger than ``max_bytes`` or ``alone_bytes`` is a shard of its own.
    """
    number = 0
    most_bytes = min(size.max_bytes, size.alone_bytes)
    for part, rows in enumerate(parts):
        start = stop = count = size_bytes = 0
        is_alone = False
        for at, (is_work, row_bytes) in enumerate(rows):
            if not is_work:
                continue
            was_alone, is_alone = is_alone, row_bytes > most_bytes
            if count and (
                was_alone or is_alone or count == size.max_rows or size_bytes + row_bytes > size.max_bytes
            ):
                yield Shard(number, part, start, stop, count, size_bytes)
                number, count, size_bytes = number + 1, 0, 0
            if not count:
                start = at
            stop, count, size_bytes = at + 1, count + 1, size_bytes + row_bytes
        if count:
            yield Shard(number, part, start, stop, count, size_bytes)
            number += 1


def longest_first(shards: Callable[[], Iterator[Shard]], above_bytes: int) -> Iterator[Shard]:
    """Shards of one object larger than ``above_bytes``, the longest first; then the others, in order.

    The others are about equally long, and neighbours read the same part of the manifest. Asks for the shards twice;
    memory: those of one large object.
    """
    large = [shard for shard in shards() if shard.rows == 1 and shard.size_bytes > above_bytes]
    yield from sorted(large, key=lambda shard: (-shard.size_bytes, shard.number))
    numbers = {shard.number for shard in large}
    yield from (shard for shard in shards() if shard.number not in numbers)
