"""Segments of the ledger: their names, their bytes as tables, and all of them in the order of shards.

A worker's segment is ``ledger/<shard>-<attempt>-<sequence>.parquet``. Compaction makes ``ledger/merged-<first>-<last>-
<random>.parquet`` of many: their records in the order of shards. A record that is in two segments counts once, so every
moment of a compaction is a whole ledger.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import re
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crossdock.errors import CrossdockError, LedgerError, NotFoundError, Retry
from crossdock.flows.ledger.records import OLDER, SCHEMA
from crossdock.flows.runs.files import RunFiles

__all__ = [
    "Merged",
    "merged_name",
    "merged_segments",
    "read_merged",
    "read_table",
    "read_tables",
    "segment_name",
    "segment_shard",
    "shard_tables",
    "worker_segments",
    "worker_tables",
]

PREFIX = "ledger/"
MERGED_PREFIX = f"{PREFIX}merged-"  # after every worker's segment in key order: m is behind the digits
_AHEAD = 8  # segments read before they are asked for: a bucket answers in tens of milliseconds each
_MERGED_NAME = re.compile(rf"{MERGED_PREFIX}(\d+)-(\d+)-[0-9a-f]+\.parquet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """A compacted segment: it has records of shards from ``first`` to ``last``, not of all between."""

    name: str
    first: int
    last: int


def segment_name(shard: int, attempt: str, sequence: int) -> str:
    """The name of a worker's segment."""
    return f"{PREFIX}{shard:08d}-{attempt}-{sequence:05d}.parquet"


def merged_name(first: int, last: int, token: str) -> str:
    """The name of a compacted segment."""
    return f"{MERGED_PREFIX}{first:08d}-{last:08d}-{token}.parquet"


def segment_shard(name: str) -> int:
    """The number of the shard a worker's segment belongs to.

    Raises:
        LedgerError: The name is not a segment's.
    """
    text = name.removeprefix(PREFIX).partition("-")[0]
    if not text.isdecimal():
        raise LedgerError("not a ledger segment", operation="read ledger", key=name)
    return int(text)


def merged_segments(files: RunFiles) -> tuple[Merged, ...]:
    """The compacted segments, in order; one request for 1,000.

    Raises:
        LedgerError: Something else is among them.
    """
    found = []
    for name in files.names(MERGED_PREFIX):
        match = _MERGED_NAME.fullmatch(name)
        if match is None:
            raise LedgerError("not a ledger segment", operation="read ledger", where=files.url, key=name)
        found.append(Merged(name=name, first=int(match[1]), last=int(match[2])))
    return tuple(found)


def worker_segments(files: RunFiles, shard: int | None = None) -> Iterator[str]:
    """Names of the segments that workers wrote, in the order of shards; of one shard if it is given."""
    names = files.names(PREFIX if shard is None else f"{PREFIX}{shard:08d}-")
    return itertools.takewhile(lambda name: not name.startswith(MERGED_PREFIX), names)


def read_table(files: RunFiles, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """One segment, or some columns of it.

    Raises:
        LedgerError: The segment cannot be read, or is damaged: never a silent gap.
    """
    try:
        data, _ = files.get(name)
        return _whole(_parquet(data).read, columns)
    except CrossdockError as error:
        raise _unreadable(files, name, error) from error
    except (pa.ArrowException, KeyError, TypeError, ValueError, OSError) as error:
        raise _damaged(files, name, error) from error


def worker_tables(files: RunFiles, columns: Sequence[str] | None = None) -> Iterator[tuple[str, pa.Table]]:
    """Workers' segments by name, in the order of shards, a few read ahead.

    Raises:
        LedgerError: One cannot be read, or is damaged.
    """
    names = worker_segments(files)
    waiting: deque[tuple[str, Future[pa.Table]]] = deque()
    with ThreadPoolExecutor(_AHEAD, "crossdock-ledger-read") as pool:
        try:
            while True:
                for name in itertools.islice(names, _AHEAD - len(waiting)):
                    waiting.append((name, pool.submit(read_table, files, name, columns)))
                if not waiting:
                    return
                name, future = waiting.popleft()
                yield name, future.result()
        finally:
            for _, future in waiting:
                future.cancel()


def read_merged(
    files: RunFiles, merged: Merged, columns: Sequence[str] | None = None, *, shard: int | None = None
) -> Iterator[tuple[int, pa.Table]]:
    """A compacted segment as tables of one shard each, in order; one shard's alone if it is given.

    A shard may come in several pieces. Memory: the segment, compressed, and one group of its rows.

    Raises:
        LedgerError: The segment cannot be read, or is damaged.
    """
    try:
        data = _held.get(files, merged.name)
        file = _parquet(data)
        for group in range(file.metadata.num_row_groups):
            about = file.metadata.row_group(group).column(0).statistics
            if shard is not None and not _may_have(about, shard):
                continue
            table = _whole(functools.partial(file.read_row_group, group), columns)
            yield from (each for each in _cut(table) if shard is None or each[0] == shard)
    except CrossdockError as error:
        raise _unreadable(files, merged.name, error) from error
    except (pa.ArrowException, KeyError, TypeError, ValueError, OSError) as error:
        raise _damaged(files, merged.name, error) from error


def shard_tables(files: RunFiles, shard: int) -> list[pa.Table]:
    """All segments of one shard; two listings, one read a segment, less where neighbours were read before."""
    merged = [each for each in merged_segments(files) if each.first <= shard <= each.last]
    tables = [table for each in merged for _, table in read_merged(files, each, shard=shard)]
    return tables + [read_table(files, name) for name in worker_segments(files, shard)]


def read_tables(files: RunFiles, columns: Sequence[str] | None = None) -> Iterator[tuple[int, pa.Table]]:
    """For each shard with records, in order: all of them, every attempt's.

    Memory: the records of one shard, a few segments read ahead, and the compacted segments that overlap it, compressed. Requests: two listings more
    than 1,000 segments each take, and one a segment. Fit for a run at work: what is written meanwhile may be missing.

    Args:
        files: The run's files.
        columns: Those that are wanted, ``shard`` always among them; all by default.

    Raises:
        LedgerError: A segment is damaged or gone, or the ledger was compacted meanwhile (``retry`` is LATER).
    """
    merged = merged_segments(files)
    streams = [_workers(files, columns), *(_lazily(files, each, columns) for each in merged)]
    try:
        pieces = heapq.merge(*streams, key=lambda piece: piece[0])
        for shard, group in itertools.groupby(pieces, key=lambda piece: piece[0]):
            tables = [table for _, table in group if table is not None]
            if tables:
                yield shard, tables[0] if len(tables) == 1 else pa.concat_tables(tables)
    except LedgerError as error:
        if isinstance(error.__cause__, NotFoundError):
            _demand_same(files, merged)
        raise
    _demand_same(files, merged)


def _demand_same(files: RunFiles, merged: tuple[Merged, ...]) -> None:
    """A compaction removes what we have listed or were about to: then this reading may have missed it."""
    if merged_segments(files) != merged:
        raise LedgerError(
            "the ledger was compacted while it was read",
            operation="read ledger",
            where=files.url,
            retry=Retry.LATER,
            hint="do the same again",
        )


def _workers(files: RunFiles, columns: Sequence[str] | None) -> Iterator[tuple[int, pa.Table | None]]:
    for name, table in worker_tables(files, columns):
        yield segment_shard(name), table


def _lazily(
    files: RunFiles, merged: Merged, columns: Sequence[str] | None
) -> Iterator[tuple[int, pa.Table | None]]:
    """Nothing is read before the merge of all streams has come to the first shard."""
    yield merged.first, None
    yield from read_merged(files, merged, columns)


def _may_have(about: pq.Statistics | None, shard: int) -> bool:
    """Whether a group of rows may have some of a shard; one that does not say is looked at."""
    if about is None or about.min is None or about.max is None:
        return True
    return bool(about.min <= shard <= about.max)


def _cut(table: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    start = 0
    shards: list[Any] = table["shard"].to_pylist()
    for shard, run in itertools.groupby(shards):
        length = sum(1 for _ in run)
        yield shard, table.slice(start, length)
        start += length


def _whole(read: Callable[..., pa.Table], columns: Sequence[str] | None) -> pa.Table:
    """The columns asked for, the shard always among them; those that a ledger of an earlier version has not are null."""
    wanted = SCHEMA.names if columns is None else list(dict.fromkeys(("shard", *columns)))
    table = read(columns=wanted, use_threads=False)
    if table.column_names == wanted:
        return table
    for name in wanted:
        if name not in table.column_names:
            table = table.append_column(SCHEMA.field(name), pa.nulls(table.num_rows, SCHEMA.field(name).type))
    return table.select(wanted)


def _parquet(data: bytes) -> pq.ParquetFile:
    file = pq.ParquetFile(pa.BufferReader(data))
    if file.schema_arrow not in (SCHEMA, OLDER):
        raise ValueError("its columns are not a ledger's")
    return file


def _unreadable(files: RunFiles, name: str, error: CrossdockError) -> LedgerError:
    failure = files.failed(error, "read ledger", name)
    if isinstance(error, NotFoundError):
        failure.hint = (
            failure.hint or "it was there a moment ago: somebody removes segments; resume, and look who"
        )
    return failure


def _damaged(files: RunFiles, name: str, error: BaseException) -> LedgerError:
    return LedgerError(
        f"the segment is damaged: {error}",
        operation="read ledger",
        where=files.url,
        key=name,
        hint="delete it and resume: what it recorded is recognised at the destination",
    )


class _Held:
    """The last few compacted segments read by this process: the shards of one are asked for one after another."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._lock = threading.Lock()
        self._data: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    def get(self, files: RunFiles, name: str) -> bytes:
        place = (files.url, name)  # the name is random, so it is never another's
        with self._lock:
            if place in self._data:
                self._data.move_to_end(place)
                return self._data[place]
        data, _ = files.get(name)
        with self._lock:
            self._data[place] = data
            while len(self._data) > self._keep:
                self._data.popitem(last=False)
        return data


_held = _Held(keep=2)
