"""A manifest of units cut into shards: whole units, bounded in rows and bytes where a unit allows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from crossdock.flows.planning.rows import Action, Row
from crossdock.flows.runs.shards import Shard
from crossdock.model import GIB, MIB

__all__ = ["Line", "UnitShardSize", "choose_unit_shard_size", "cut_units", "units_of"]

_WANTED_SHARDS = 64  # four for each of sixteen workers: a cluster's size is not known before it starts
_MOST_ROWS = 1_000
_LEAST_ROWS = (
    8  # of small objects: a worker does them at the same time, and a shard has small writes of its own
)
_LEAST_BYTES = 16 * MIB  # below this the small writes of a shard's own would show
_MOST_BYTES = GIB

Line = tuple[str, bool, int]
"""A row of the manifest as far as cutting goes: its destination, whether it is work, its bytes."""


@dataclass(frozen=True, slots=True)
class UnitShardSize:
    """Where a shard ends: at so many rows or bytes of work, whatever comes first; never within a unit."""

    max_rows: int
    max_bytes: int


def choose_unit_shard_size(to_do: int, to_do_bytes: int) -> UnitShardSize:
    """A size that gives sixteen workers several shards each if there is enough work; a large object may be a shard of its own."""
    least = _LEAST_ROWS if to_do_bytes < to_do * MIB else 1
    return UnitShardSize(
        max_rows=min(_MOST_ROWS, max(least, -(-to_do // _WANTED_SHARDS))),
        max_bytes=min(_MOST_BYTES, max(_LEAST_BYTES, -(-to_do_bytes // _WANTED_SHARDS))),
    )


def cut_units(parts: Iterable[Iterable[Line]], size: UnitShardSize) -> Iterator[Shard]:
    """Cut each part into shards, in order; slices without work are left out.

    Args:
        parts: For each part of the manifest its rows. A unit lies within one part.
        size: Where a shard ends. A unit larger than that is a shard of its own.
    """
    number = 0
    for part, lines in enumerate(parts):
        start = stop = count = size_bytes = 0
        numbered = ((at, line) for at, line in enumerate(lines) if line[1])
        for _, unit in groupby(numbered, key=lambda each: each[1][0]):
            rows = [(at, row_bytes) for at, (_, _, row_bytes) in unit]
            unit_bytes = sum(row_bytes for _, row_bytes in rows)
            if count and (count + len(rows) > size.max_rows or size_bytes + unit_bytes > size.max_bytes):
                yield Shard(number, part, start, stop, count, size_bytes)
                number, count, size_bytes = number + 1, 0, 0
            if not count:
                start = rows[0][0]
            stop, count, size_bytes = rows[-1][0] + 1, count + len(rows), size_bytes + unit_bytes
        if count:
            yield Shard(number, part, start, stop, count, size_bytes)
            number += 1


def units_of(rows: Iterable[Row]) -> Iterator[Sequence[Row]]:
    """The rows of a shard that are work, unit by unit."""
    work = (row for row in rows if row.action in (Action.COPY, Action.COMPARE))
    for _, unit in groupby(work, key=lambda row: row.destination):
        yield tuple(unit)
