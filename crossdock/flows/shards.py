"""Shards: slices of the manifest, bounded in count and bytes. References only; a scheduler never sees a key.

Pure. The cut is made once and kept with the run, so that a shard means the same rows in every attempt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from crossdock.model import GIB, MIB

__all__ = ["Shard", "ShardSize", "choose_shard_size", "cut_shards"]

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


def choose_shard_size(to_do: int, to_do_bytes: int, workers: int) -> ShardSize:
    """A size that gives each worker several shards if there is enough work, within the bounds above."""
    wanted = max(1, workers) * SHARDS_PER_WORKER
    return ShardSize(
        max_rows=min(MAX_ROWS, max(MIN_ROWS, -(-to_do // wanted))),
        max_bytes=min(MAX_BYTES, max(MIN_BYTES, -(-to_do_bytes // wanted))),
    )


def cut_shards(parts: Iterable[Iterable[tuple[bool, int]]], size: ShardSize) -> Iterator[Shard]:
    """Cut each part into shards, in order; slices without work are left out.

    Args:
        parts: For each part its rows as (is work, bytes): ``Manifest.work``.
        size: Where a shard ends. One object larger than ``max_bytes`` is a shard of its own.
    """
    number = 0
    for part, rows in enumerate(parts):
        start = stop = count = size_bytes = 0
        for at, (is_work, row_bytes) in enumerate(rows):
            if not is_work:
                continue
            if count and (count == size.max_rows or size_bytes + row_bytes > size.max_bytes):
                yield Shard(number, part, start, stop, count, size_bytes)
                number, count, size_bytes = number + 1, 0, 0
            if not count:
                start = at
            stop, count, size_bytes = at + 1, count + 1, size_bytes + row_bytes
        if count:
            yield Shard(number, part, start, stop, count, size_bytes)
            number += 1
