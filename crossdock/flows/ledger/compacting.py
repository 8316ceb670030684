"""Compaction: many small segments of shards that ended become few large ones, without losing a record at any instant.

The large one is written first and proven, then the small ones are removed. Killed between the two, records are in both,
and a record counts once.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crossdock.errors import CrossdockError
from crossdock.flows.ledger.segments import (
    Merged,
    merged_name,
    merged_segments,
    read_merged,
    segment_shard,
    worker_segments,
    worker_tables,
)
from crossdock.flows.ledger.standing import standing_of
from crossdock.flows.runs.directory import RunDirectory, open_run
from crossdock.flows.runs.files import RunFiles
from crossdock.flows.runs.ownership import Owner

__all__ = ["AUTOMATIC_FROM", "Compaction", "compact", "compact_ended"]

AUTOMATIC_FROM = 32  # segments of ended shards: below it, a drive's end leaves them as they are
MERGED_ROWS = 200_000  # some 20 MB; a reader holds one of these, compressed
GROUP_ROWS = 2_000
_AT_A_TIME = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Compaction:
    """What a compaction did: segments that were merged, large ones written, and records in them."""

    merged: int = 0
    written: int = 0
    records: int = 0


def compact(run: str, *, run_options: Mapping[str, Any] | None = None) -> Compaction:
    """Merge the small segments of a run's ended shards; what the ledger says stays the same.

    A driver's end does it by itself. Killed at any instant it leaves a whole ledger, and the same call goes on. Memory: the
    records of one large segment (200,000: some 100 MB). Requests: a read and a delete for each small segment, a write for
    each large one.

    Args:
        run: The run's id, or the URL of its directory.
        run_options: Options for the store of the run's directory.

    Raises:
        NotFoundError: There is no such run.
        LedgerError: A driver is at work on it, or its directory is damaged or cannot be written.

    Example:
        >>> import crossdock as xd
        >>> _ = xd.sink("memory://small-from/")(b"1", key="a")
        >>> _ = xd.migrate("memory://small-from/", "memory://small-to/", run_dir="memory://small-runs/1/")
        >>> from crossdock.flows import compact
        >>> done = compact("memory://small-runs/1/")
        >>> done.written, compact("memory://small-runs/1/").written
        (1, 0)
    """
    directory = open_run(run, run_options)
    with Owner(directory.files):
        return compact_ended(directory)


def compact_ended(directory: RunDirectory, *, at_least: int = 2) -> Compaction:
    """The same for whoever owns the run; does nothing if there are fewer than ``at_least`` small segments to merge.

    Raises:
        LedgerError: A segment is damaged, or the directory cannot be written.
    """
    files = directory.files
    if sum(1 for _ in itertools.islice(worker_segments(files), at_least)) < at_least:
        return Compaction()  # one listing says so: nothing is read
    sizes = {shard.number: shard.rows for shard in directory.shards()}
    before = merged_segments(files)
    done = Compaction()
    names: list[str] = []
    tables: list[pa.Table] = []
    enough = False  # not known before so many were seen
    for shard, shard_names, table in _shards(files):
        if not _has_ended(files, before, shard, table, sizes.get(shard, 0)):
            continue
        names += shard_names
        tables.append(table)
        enough = enough or len(names) >= at_least
        if enough and sum(each.num_rows for each in tables) >= MERGED_ROWS:
            done = _plus(done, _merge(files, names, tables))
            names, tables = [], []
    if enough and len(names) > 1:
        done = _plus(done, _merge(files, names, tables))
    return done


def _shards(files: RunFiles) -> Iterator[tuple[int, list[str], pa.Table]]:
    """Shard by shard what its workers wrote. What was merged before stays as it is."""
    segments = itertools.groupby(worker_tables(files), key=lambda segment: segment_shard(segment[0]))
    for shard, group in segments:
        pairs = list(group)
        yield shard, [name for name, _ in pairs], pa.concat_tables([table for _, table in pairs])


def _has_ended(files: RunFiles, before: Sequence[Merged], shard: int, table: pa.Table, rows: int) -> bool:
    """Whether nothing is left in the shard; one that somebody retried has its earlier records in ``before``."""
    earlier = [each for each in before if each.first <= shard <= each.last]
    tables = [table, *(piece for each in earlier for _, piece in read_merged(files, each, shard=shard))]
    return standing_of(pa.concat_tables(tables)).is_done(rows)


def _merge(files: RunFiles, names: Sequence[str], tables: Sequence[pa.Table]) -> Compaction:
    """Write first, then remove: the order is what makes it safe."""
    table = pa.concat_tables(tables)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", row_group_size=GROUP_ROWS)
    shards = table["shard"]
    name = merged_name(pc.min(shards).as_py(), pc.max(shards).as_py(), secrets.token_hex(6))
    try:
        files.put(name, bytes(sink.getvalue()))
        with ThreadPoolExecutor(_AT_A_TIME, "crossdock-compact") as pool:
            for _ in pool.map(files.delete, names):
                pass
    except CrossdockError as error:
        raise files.failed(error, "compact ledger", name) from error
    return Compaction(merged=len(names), written=1, records=table.num_rows)


def _plus(one: Compaction, other: Compaction) -> Compaction:
    return Compaction(
        merged=one.merged + other.merged,
        written=one.written + other.written,
        records=one.records + other.records,
    )
