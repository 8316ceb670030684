"""What became of every object of a run, one row each: the manifest beside the ledger, as columns.

The manifest's order; a part of it at a time, so that a run of any length streams. Read only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crossdock.errors import ConfigError, LedgerError
from crossdock.flows.ledger.failures import hint_for, refusal_reason
from crossdock.flows.ledger.records import SCHEMA as LEDGER, RecordState
from crossdock.flows.ledger.segments import read_tables
from crossdock.flows.ledger.standing import winners
from crossdock.flows.planning.rows import Action
from crossdock.flows.runs.arrays import array_of, values_of
from crossdock.flows.runs.columns import DIGEST_FIELDS, TIME
from crossdock.flows.runs.directory import RunDirectory
from crossdock.model import Verification

__all__ = ["MAX_ROWS", "PENDING", "SCHEMA", "ends_reader", "ends_table"]

MAX_ROWS = 5_000_000  # of a table in memory: some 1.5 GB
PENDING = "pending"
_BATCH_ROWS = 10_000
_LEVELS = array_of([level.name for level in sorted(Verification)], pa.string())
_HEX = tuple(field.name for field in DIGEST_FIELDS if pa.types.is_binary(field.type))
_AS_RECORDED = ("method", "etag", "generation", "source_etag", "source_generation", "multipart_etag")
_NUMBERS = ("parts", "metadata_lost", "retries", "resent_bytes", "duration_s")
_ROWS = ("rows", "made_rows", "made_bytes")  # of a run that makes tables
_FAILURES = ("error", "retryable", "attempts")

_FIELDS: list[pa.Field[Any]] = [
    pa.field("row", pa.int64(), nullable=False),
    pa.field("key", pa.string(), nullable=False),
    pa.field("destination", pa.string(), nullable=False),
    pa.field("size", pa.int64()),
    pa.field("state", pa.string(), nullable=False),
    pa.field("level", pa.string()),
    pa.field("evidence", pa.string()),
    *(pa.field(name, pa.string()) for name in _HEX),
    *(LEDGER.field(name) for name in (*_AS_RECORDED, *_NUMBERS)),
    pa.field("reason", pa.string()),
    *(LEDGER.field(name) for name in (*_FAILURES, *_ROWS)),
    pa.field("message", pa.string()),
    pa.field("hint", pa.string()),
    pa.field("worker", pa.string()),
    pa.field("time", TIME),
]
SCHEMA = pa.schema(_FIELDS)
"""``state`` is copied, skipped, failed or pending; digests are hexadecimal, of what the destination holds.

Of a run that makes tables ``rows`` is what the object gave; what several became together is told with the first of them.
"""


def ends_reader(directory: RunDirectory) -> pa.RecordBatchReader:
    """Every object's end, in the manifest's order, read while it is pulled.

    Memory: one part of the manifest (50,000 rows) and the records of its shards. Requests: one a part, and those that
    read the ledger.

    Raises:
        LedgerError: The directory is damaged, or the run has no plan; also from the reader, and if the ledger is
            compacted meanwhile.
    """
    parts = directory.manifest.parts
    return pa.RecordBatchReader.from_batches(SCHEMA, _batches(directory, parts))


def ends_table(directory: RunDirectory, *, max_rows: int = MAX_ROWS) -> pa.Table:
    """The same as one table.

    Raises:
        ConfigError: The run has more than ``max_rows`` objects.
    """
    planned = directory.summary.planned
    if planned > max_rows:
        raise ConfigError(
            f"the run has {planned:,} objects, and {max_rows:,} are held in memory at most",
            operation="report",
            where=directory.url,
            hint="give max_rows, read report.batches(), or write a file: crossdock runs export",
        )
    return ends_reader(directory).read_all()


def _batches(directory: RunDirectory, parts: int) -> Iterator[pa.RecordBatch]:
    manifest = directory.manifest
    recorded = _Recorded(directory)
    for part in range(parts):
        planned = pa.concat_tables(list(manifest.tables(part)))
        yield from _joined(planned, recorded.of_part(part)).to_batches(max_chunksize=_BATCH_ROWS)
    recorded.finish()


class _Recorded:
    """The ledger, read once in the order of shards, which is the order of parts."""

    def __init__(self, directory: RunDirectory) -> None:
        self._part_of = {shard.number: shard.part for shard in directory.shards()}
        self._where = directory.url
        self._tables = read_tables(directory.files)
        self._next: tuple[int, pa.Table] | None = None

    def of_part(self, part: int) -> pa.Table:
        """The records that count, of all shards of one part; parts are asked for in order."""
        found = [LEDGER.empty_table()]
        while True:
            if self._next is None:
                self._next = next(self._tables, None)
            if self._next is None or self._part(self._next[0]) > part:
                return pa.concat_tables(found)
            found.append(winners(self._next[1]))
            self._next = None

    def _part(self, shard: int) -> int:
        if shard not in self._part_of:
            raise LedgerError(f"there is no shard {shard}", operation="read ledger", where=self._where)
        return self._part_of[shard]

    def finish(self) -> None:
        """Read to the end, where the reader finds out whether the ledger stayed what it was."""
        for _ in self._tables:
            pass


def _joined(planned: pa.Table, recorded: pa.Table) -> pa.Table:
    """Each planned row beside the record that counts for it, if there is one."""
    count = planned.num_rows
    at = pc.index_in(planned["row"], value_set=recorded["row"])
    found = recorded.take(at)
    refused = _equal(planned["action"], Action.REFUSE.value)
    skipped = _equal(planned["action"], Action.SKIP.value)
    state = pc.if_else(_equal(found["state"], RecordState.AGAIN.value), _nulls(count), found["state"])
    state = pc.if_else(refused, _filled(RecordState.FAILED.value, count), state)
    state = pc.if_else(skipped, _filled(RecordState.SKIPPED.value, count), state)
    has_failed = _equal(state, RecordState.FAILED.value)
    reasons = [refusal_reason(text) for text in values_of(planned["reason"])]
    classes, hints = (
        array_of(reasons, pa.string()),
        array_of([hint_for(each) for each in reasons], pa.string()),
    )
    columns: dict[str, Any] = {
        "row": planned["row"],
        "key": planned["key"],
        "destination": planned["destination"],
        "size": pc.coalesce(found["size"], planned["size"]),
        "state": pc.coalesce(state, _filled(PENDING, count)),
        "level": _LEVELS.take(found["verification"].combine_chunks().cast(pa.int64())),
        "evidence": pc.if_else(skipped, planned["reason"], found["evidence"]),
        **{name: _hex(found[name]) for name in _HEX},
        **{name: found[name] for name in (*_AS_RECORDED, *_NUMBERS, *_ROWS)},
        "reason": pc.if_else(refused, classes, _where(has_failed, found["reason"])),
        "error": pc.if_else(refused, _filled("UnsupportedError", count), _where(has_failed, found["error"])),
        "retryable": found["retryable"],
        "attempts": found["attempts"],
        "message": pc.if_else(refused, planned["reason"], _where(has_failed, found["message"])),
        "hint": pc.if_else(refused, hints, _where(has_failed, found["hint"])),
        "worker": found["worker"],
        "time": found["time"],
    }
    return pa.Table.from_arrays([columns[field.name] for field in SCHEMA], schema=SCHEMA)


def _equal(column: Any, value: str) -> Any:
    """False where it is null."""
    return pc.is_in(column, value_set=array_of([value], pa.string()))


def _where(mask: Any, column: Any) -> Any:
    return pc.if_else(mask, column, _nulls(len(column)))


def _filled(value: str, count: int) -> Any:
    return array_of([value] * count, pa.string())


def _nulls(count: int) -> Any:
    return pa.nulls(count, pa.string())


def _hex(column: Any) -> Any:
    return array_of([None if value is None else value.hex() for value in column.to_pylist()], pa.string())
