"""Where the rows of a shard stand, from its segments as columns: the same answer as ``records.best``, without an object a row.

Pure but for the reading. Scalars are taken from arrays: pyarrow imports pandas, if it is installed, for any value of Python.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crossdock.flows.ledger.failures import PASSING
from crossdock.flows.ledger.records import RecordState
from crossdock.flows.ledger.segments import read_tables
from crossdock.flows.ledger.tally import ShardCounts
from crossdock.flows.runs.arrays import array_of
from crossdock.flows.runs.files import RunFiles

__all__ = ["COLUMNS", "Standing", "any_passing", "in_state", "read_standings", "standing_of", "winners"]

COLUMNS = ("row", "state", "size", "method", "retryable", "time")
"""What ``winners`` and ``standing_of`` look at."""

_OUTCOMES = tuple(
    state.value for state in (RecordState.COPIED, RecordState.SKIPPED, RecordState.FAILED, RecordState.AGAIN)
)
_FINAL = (RecordState.COPIED.value, RecordState.SKIPPED.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One shard in numbers.

    Attributes:
        counts: Copied, skipped, failed (also those a resume tries again), bytes.
        outcomes: Rows that have a record at all; fewer than the shard has rows means that some never ended.
        retryable: Failed rows that a resume tries again.
        again: Rows that somebody asked to try again and that have no outcome since.
    """

    counts: ShardCounts
    outcomes: int
    retryable: int
    again: int

    def is_done(self, rows: int) -> bool:
        """Whether nothing is left to do in a shard of so many rows."""
        return self.outcomes >= rows and not self.retryable and not self.again


def winners(table: pa.Table) -> pa.Table:
    """Of all records of a shard the one that counts for each row, in the order of rows: as ``records.best``."""
    found = table.filter(_one_of(table["state"], _OUTCOMES))
    if pc.count_distinct(found["row"]).as_py() == found.num_rows:
        return found.take(pc.sort_indices(found, sort_keys=[("row", "ascending")]))
    final = _one_of(found["state"], _FINAL)
    seconds = pc.coalesce(found["time"].cast(pa.int64()), array_of([0] * found.num_rows, pa.int64()))
    keys = pa.Table.from_arrays(
        [
            found["row"],
            final.cast(pa.int8()),
            pc.and_(pc.is_valid(found["method"]), pc.invert(_one_of(found["method"], ("found",)))).cast(
                pa.int8()
            ),
            pc.if_else(final, pc.negate(seconds), seconds),
        ],
        names=["row", "final", "sent", "time"],
    )
    order = pc.sort_indices(
        keys,
        sort_keys=[
            ("row", "ascending"),
            ("final", "descending"),
            ("sent", "descending"),
            ("time", "descending"),
        ],
    )  # stable, so that of equal ones the first counts
    ordered = found.take(order)
    rows = ordered["row"].combine_chunks()
    first = pa.concat_arrays(
        [array_of([True], pa.bool_()), pc.not_equal(rows.slice(1), rows.slice(0, len(rows) - 1))]
    )
    return ordered.filter(first)


def in_state(table: pa.Table, *states: RecordState) -> pa.Table:
    """The records in one of these states."""
    return table.filter(_one_of(table["state"], tuple(state.value for state in states)))


def standing_of(table: pa.Table) -> Standing:
    """A shard's standing from all of its records."""
    counted = winners(table)
    copied = in_state(counted, RecordState.COPIED)
    failed = in_state(counted, RecordState.FAILED)
    return Standing(
        counts=ShardCounts(
            copied=copied.num_rows,
            skipped=in_state(counted, RecordState.SKIPPED).num_rows,
            failed=failed.num_rows,
            copied_bytes=pc.sum(copied["size"]).as_py() or 0,
        ),
        outcomes=counted.num_rows,
        retryable=pc.sum(failed["retryable"].cast(pa.int64())).as_py() or 0,
        again=in_state(counted, RecordState.AGAIN).num_rows,
    )


def read_standings(files: RunFiles) -> Iterator[tuple[int, Standing]]:
    """For each shard with records, in order, its standing; memory and requests as ``segments.read_tables``."""
    for shard, table in read_tables(files, COLUMNS):
        yield shard, standing_of(table)


def any_passing(files: RunFiles) -> bool:
    """Whether an object's last word is a failure that may pass by itself; requests and memory as ``read_standings``."""
    for _, table in read_tables(files, (*COLUMNS, "reason")):
        failed = in_state(winners(table), RecordState.FAILED)
        if failed.num_rows and pc.any(_one_of(failed["reason"], PASSING)).as_py():
            return True
    return False


def _one_of(column: Any, values: tuple[str, ...]) -> Any:
    """Which are among these; null is not."""
    return pc.is_in(column, value_set=array_of(values, pa.string()))
