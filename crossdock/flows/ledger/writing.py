"""The ledger: append-only receipts and failures, as immutable Parquet segments written by workers at any URL.

A segment's name has its shard and a random attempt, so writers never meet and a shard's segments are listed together.
State is derived: manifest minus ledger is what is left.
"""

from __future__ import annotations

import itertools
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import pyarrow as pa

from crossdock import crash_points
from crossdock.errors import CrossdockError, LedgerError
from crossdock.flows.ledger.records import SCHEMA, Record, best, from_columns, to_columns
from crossdock.flows.ledger.segments import read_table, read_tables, segment_name, segment_shard, shard_tables
from crossdock.flows.runs.columns import rows_of, to_parquet
from crossdock.flows.runs.files import RunFiles
from crossdock.pausing import stopping_with

__all__ = [
    "FLUSH_INTERVAL_S",
    "LedgerWriter",
    "read_ledger",
    "read_records",
    "read_segment",
    "read_shard",
    "records_of",
    "segment_shard",
]

FLUSH_INTERVAL_S = 1.5  # with the write itself, a record waits two seconds at most
_GROUP_ROWS = 10_000


class LedgerWriter:
    """Writes the records of one attempt at one shard; thread-safe; use it in a ``with`` block.

    Records are durable at most ``interval_s`` after ``record`` returned, and all of them when the block ends. A killed
    process loses at most that much, and what was lost is recognised at the destination. A segment that cannot be
    written is loud: ``record`` or the end of the block raises.

    Args:
        files: The run's files.
        shard: The shard's number.
        interval_s: How long a record may wait.
        on_tick: Called after each interval, from the writer's thread: a cheap look at the world. Must not raise.
        label: Begins the attempt's name, so that its segments can be listed alone.
    """

    def __init__(
        self,
        files: RunFiles,
        shard: int,
        *,
        interval_s: float = FLUSH_INTERVAL_S,
        on_tick: Callable[[], None] = lambda: None,
        label: str = "",
    ) -> None:
        self._files = files
        self._shard = shard
        self._interval_s = interval_s
        self._on_tick = on_tick
        self._attempt = label + secrets.token_hex(4)
        self._sequence = itertools.count()
        self._lock = threading.Lock()
        self._waiting: list[Record] = []
        self._broken: LedgerError | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"crossdock-ledger-{shard}", daemon=True)
        self.worker = f"{socket.gethostname()}:{os.getpid()}"

    def record(self, *records: Record) -> None:
        """Take records; written soon.

        Raises:
            LedgerError: An earlier segment could not be written.
        """
        with self._lock:
            if self._broken is not None:
                raise self._broken
            self._waiting.extend(records)

    def now(self) -> datetime:
        """The time of a record."""
        return datetime.now(UTC)

    def flush(self) -> None:
        """Write what waits as one segment, now. What could not be written waits on.

        Raises:
            LedgerError: The segment could not be written.
        """
        with self._lock:
            taken, self._waiting = self._waiting, []
            if not taken:
                return
            name = segment_name(self._shard, self._attempt, next(self._sequence))
        data = to_parquet([to_columns(record) for record in taken], SCHEMA, group_rows=_GROUP_ROWS)
        try:
            with stopping_with(None):  # what is known is written down, also while the run stops
                self._files.put(name, data)
            if any(record.is_final for record in taken):
                crash_points.reached("after-record")
        except CrossdockError as error:
            failure = self._files.failed(error, "write ledger", name)
            failure.hint = (
                failure.hint or "make room, or allow the write, then resume: what arrived is not sent again"
            )
            with self._lock:
                self._waiting = taken + self._waiting
                self._broken = failure
            raise failure from error

    def _run(self) -> None:
        while not self._ended.wait(self._interval_s):
            try:
                self.flush()
            except LedgerError:
                return  # kept: the next record() raises it
            self._on_tick()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        try:
            self.flush()  # a passing trouble may be over: what waits is tried once more
        except LedgerError as failure:
            if error is None:
                raise
            error.add_note(f"records were lost too: {failure}")


def read_segment(files: RunFiles, name: str) -> list[Record]:
    """The records of one segment, in the order they were made.

    Raises:
        LedgerError: The segment cannot be read, or is damaged: never a silent gap.
    """
    return records_of(read_table(files, name))


def read_shard(files: RunFiles, shard: int) -> list[Record]:
    """Every record of one shard, all attempts; two listings and one read a segment."""
    return list(itertools.chain.from_iterable(map(records_of, shard_tables(files, shard))))


def read_ledger(files: RunFiles) -> Iterator[tuple[int, dict[int, Record]]]:
    """For each shard with records, in order: the record that counts for each of its rows. Memory: one shard.

    Every record becomes an object of Python; where numbers are enough, ``standing.read_standings`` is twenty times faster.
    """
    for shard, records in read_records(files):
        yield shard, best(records)


def read_records(files: RunFiles) -> Iterator[tuple[int, Iterator[Record]]]:
    """For each shard with records, in order: all of them, every attempt's."""
    for shard, table in read_tables(files):
        yield shard, iter(records_of(table))


def records_of(table: pa.Table) -> list[Record]:
    """The rows of a table with all columns, in order."""
    return [from_columns(row) for row in rows_of(table)]
