"""Failures set aside to be tried again: appended to the ledger as pending once more, and nothing of it is changed.

Killed at any instant, what was set aside and not tried yet is pending, and a resume does it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from crossdock.errors import CrossdockError
from crossdock.flows.ledger.failures import PASSING
from crossdock.flows.ledger.records import SCHEMA, Record, RecordState, to_columns
from crossdock.flows.ledger.segments import read_tables, segment_name
from crossdock.flows.ledger.standing import in_state, winners
from crossdock.flows.ledger.writing import records_of
from crossdock.flows.runs.columns import to_parquet
from crossdock.flows.runs.files import RunFiles

__all__ = ["Takes", "failures_of", "may_pass", "set_aside"]

Takes = Callable[[Record], bool]
"""Whether a row is meant, by its record that counts: a failure, or one set aside before that nobody reached."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)  # what a record's time can tell
_WRITES_AT_A_TIME = 16


def may_pass(record: Record) -> bool:
    """Whether this failed of what may be over a while later, without anybody doing anything."""
    failure = record.failure
    return record.state is RecordState.FAILED and failure is not None and failure.reason in PASSING


def failures_of(files: RunFiles, takes: Takes) -> Iterator[tuple[int, list[Record]]]:
    """For each shard with failures that are meant: those. Memory: one shard of the ledger."""
    for shard, table in read_tables(files):
        failed = in_state(winners(table), RecordState.FAILED, RecordState.AGAIN)
        meant = [record for record in records_of(failed) if takes(record)] if failed.num_rows else []
        if meant:
            yield shard, meant


def set_aside(files: RunFiles, takes: Takes) -> int:
    """Append to the ledger that these rows are pending again; how many they are. One request for each shard with any.

    Raises:
        LedgerError: The ledger cannot be read or written.
    """
    attempt, marked = secrets.token_hex(4), 0
    with ThreadPoolExecutor(_WRITES_AT_A_TIME, "crossdock-retry") as pool:
        writes = []
        for shard, records in failures_of(files, takes):
            name = segment_name(shard, attempt, 0)
            writes.append(pool.submit(_append, files, name, list(map(_again, records))))
            marked += len(records)
        for write in writes:
            write.result()
    return marked


def _again(record: Record) -> Record:
    """The next thing that happened to this row after it failed, whatever this machine's clock says."""
    failed = record.time or _EPOCH
    return replace(record, state=RecordState.AGAIN, time=failed + _TICK)


def _append(files: RunFiles, name: str, records: Sequence[Record]) -> None:
    data = to_parquet([to_columns(record) for record in records], SCHEMA, group_rows=len(records))
    try:
        files.put(name, data)
    except CrossdockError as error:
        raise files.failed(error, "write ledger", name) from error
