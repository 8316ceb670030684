"""The ledger: append-only receipts and failures, as immutable Parquet segments written by workers at any URL.

A segment is ``ledger/<shard>-<random>-<sequence>.parquet``, so writers never meet and a shard's segments are listed
together. State is derived: manifest minus ledger is what is left.
"""

from __future__ import annotations

import itertools
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from crossdock.errors import CrossdockError, LedgerError
from crossdock.flows.columns import rows_of, to_parquet
from crossdock.flows.records import SCHEMA, Record, best, from_columns, to_columns
from crossdock.flows.run_files import RunFiles

__all__ = [
    "FLUSH_INTERVAL_S",
    "LedgerWriter",
    "read_ledger",
    "read_records",
    "read_segment",
    "read_shard",
    "segment_shard",
]

FLUSH_INTERVAL_S = 2.0
PREFIX = "ledger/"
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
    """

    def __init__(
        self,
        files: RunFiles,
        shard: int,
        *,
        interval_s: float = FLUSH_INTERVAL_S,
        on_tick: Callable[[], None] = lambda: None,
    ) -> None:
        self._files = files
        self._shard = shard
        self._interval_s = interval_s
        self._on_tick = on_tick
        self._attempt = secrets.token_hex(4)
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
            name = f"{PREFIX}{self._shard:08d}-{self._attempt}-{next(self._sequence):05d}.parquet"
        data = to_parquet([to_columns(record) for record in taken], SCHEMA, group_rows=_GROUP_ROWS)
        try:
            self._files.put(name, data)
        except CrossdockError as error:
            failure = self._files.failed(error, "write ledger", name)
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


def segment_shard(name: str) -> int:
    """The number of the shard a segment belongs to.

    Raises:
        LedgerError: The name is not a segment's.
    """
    text = name.removeprefix(PREFIX).partition("-")[0]
    if not text.isdecimal():
        raise LedgerError("not a ledger segment", operation="read ledger", key=name)
    return int(text)


def read_segment(files: RunFiles, name: str) -> list[Record]:
    """The records of one segment, in the order they were made.

    Raises:
        LedgerError: The segment cannot be read, or is damaged: never a silent gap.
    """
    try:
        data, _ = files.get(name)
        table = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
        return [from_columns(row) for row in rows_of(table)]
    except CrossdockError as error:
        raise files.failed(error, "read ledger", name) from error
    except (pa.ArrowException, KeyError, TypeError, ValueError, OSError) as error:
        raise LedgerError(
            f"the segment is damaged: {error}",
            operation="read ledger",
            where=files.url,
            key=name,
            hint="delete it and resume: what it recorded is recognised at the destination",
        ) from error


def read_shard(files: RunFiles, shard: int) -> list[Record]:
    """Every record of one shard, all attempts; one listing and one read a segment."""
    names = files.names(f"{PREFIX}{shard:08d}-")
    return list(itertools.chain.from_iterable(read_segment(files, name) for name in names))


def read_ledger(files: RunFiles) -> Iterator[tuple[int, dict[int, Record]]]:
    """For each shard with records, in order: the record that counts for each of its rows. Memory: one shard."""
    for shard, records in read_records(files):
        yield shard, best(records)


def read_records(files: RunFiles) -> Iterator[tuple[int, Iterator[Record]]]:
    """For each shard with records, in order: all of them, every attempt's. Use them up before the next shard."""
    for shard, names in itertools.groupby(files.names(PREFIX), key=segment_shard):
        yield shard, _records(files, names)


def _records(files: RunFiles, names: Iterable[str]) -> Iterator[Record]:
    for name in names:
        yield from read_segment(files, name)
