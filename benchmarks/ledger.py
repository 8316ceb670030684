"""The ledger at 10^6 objects: bytes a record, seconds and memory to resume, report, compact and export.

A finished run is made up on the local disk with the record that workers write: for each shard of 1,000 rows one segment
that announces it and one of receipts. Each figure is one process of the command line, from its start to its end.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import Figures, run
from crossdock.connectors.memory import MemoryStore
from crossdock.flows.ledger.records import SCHEMA, Record, RecordState, to_columns
from crossdock.flows.ledger.segments import segment_name
from crossdock.flows.ledger.writing import LedgerWriter
from crossdock.flows.planning.rows import Action, Row
from crossdock.flows.runs.arrays import array_of
from crossdock.flows.runs.columns import to_parquet
from crossdock.flows.runs.directory import RunDirectory, run_files
from crossdock.flows.runs.files import RunFiles
from crossdock.flows.runs.manifest import write_manifest
from crossdock.flows.runs.shards import Shard
from crossdock.model import Digests, ObjectInfo, Receipt, Verification, Version

__all__ = ["ledger"]

OBJECTS = 1_000_000
SHARD_ROWS = 1_000
PART_ROWS = 50_000


def ledger(objects: int = OBJECTS) -> None:
    """All figures of a run of so many objects, printed one a line."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "run"
        for name in ("from", "to"):
            (Path(scratch) / name).mkdir()
        _make_run(place, f"file://{scratch}/from", f"file://{scratch}/to", objects)
        segments = list((place / "ledger").iterdir())
        size = sum(path.stat().st_size for path in segments)
        manifest = sum(path.stat().st_size for path in (place / "manifest").iterdir())
        print(f"manifest: {manifest / objects:.1f} bytes an object")
        print(f"ledger: {len(segments):,} segments, {size / objects:.1f} bytes an object")
        _told("resume, every object recorded", run(_cli("resume", str(place), "-q"), {}))
        _told("runs show after it", run(_cli("runs", "show", str(place)), {}))
        merged = list((place / "ledger").iterdir())
        size = sum(path.stat().st_size for path in merged)
        print(
            f"compacted at the end of the resume: {len(merged):,} segments, {size / objects:.1f} bytes an object"
        )
        for form in ("parquet", "csv", "jsonl"):
            to = f"{scratch}/ends.{form}"
            _told(f"runs export, {form}", run(_cli("runs", "export", str(place), "--to", to, "-q"), {}))
    print(f"longest wait of a record for its segment: {_longest_wait_s():.2f} s")


def _cli(*words: str) -> list[str]:
    return [sys.executable, "-m", "crossdock", *words]


def _told(name: str, figures: Figures) -> None:
    peak = figures.peak_bytes / 2**20
    print(f"{name}: {figures.wall_s:.1f} s, {figures.cpu_s:.1f} s of CPU, peak {peak:.0f} MiB", flush=True)


def _make_run(place: Path, source: str, sink: str, objects: int) -> None:
    """A run whose driver was killed after the last record and before the report."""
    directory = RunDirectory(run_files(f"file://{place}/"))
    end = {"prefix": "", "options": {}}
    asked = {
        "source": {"store": source, **end},
        "sink": {"store": sink, **end, "transfer": {}},
        "one": None,
        "exact": None,
        "include": [],
        "exclude": [],
        "overwrite": "if-different",
    }
    directory.create("20261121T000000-000000", asked)
    summary = write_manifest(directory.files, _rows(objects), part_rows=PART_ROWS)
    shards = [
        Shard(number, start // PART_ROWS, start % PART_ROWS, start % PART_ROWS + rows, rows, rows * 4096)
        for number, start in enumerate(range(0, objects, SHARD_ROWS))
        for rows in [min(SHARD_ROWS, objects - start)]
    ]
    directory.write_shards(iter(shards))
    template = _template()
    for shard in shards:
        _write_segments(directory.files, shard, template)
    directory.update(state="running", plan=summary.as_dict(), excluded=0)


def _info(number: int) -> ObjectInfo:
    md5 = hashlib.md5(str(number).encode(), usedforsecurity=False).digest()
    return ObjectInfo(
        key=f"2026/11/{number // 10_000:05d}/part-{number:09d}.parquet",
        size=4096,
        version=Version(etag=md5.hex()),
        digests=Digests(md5=md5),
        modified=datetime.now(UTC),
    )


def _rows(objects: int) -> Iterator[Row]:
    for number in range(objects):
        info = _info(number)
        yield Row(source=info, name=info.key, destination=info.key, action=Action.COPY, reason="it is new")


def _write_segments(files: RunFiles, shard: Shard, template: pa.Table) -> None:
    """What a worker leaves of a shard; its columns are as unlike each other as real ones where that costs bytes."""
    first = shard.part * PART_ROWS + shard.start
    infos = [_info(number) for number in range(first, first + shard.rows)]
    keys = [info.key for info in infos]
    made: dict[str, list[Any]] = {
        "shard": [shard.number] * shard.rows,
        "row": [*range(first, first + shard.rows)],
        "key": keys,
        "source": [f"s3://source-bucket/{key}" for key in keys],
        "destination": [f"gs://destination-bucket/{key}" for key in keys],
        "destination_key": keys,
        "generation": [str(1_763_000_000_000_000 + number * 7919) for number in range(shard.rows)],
        "source_etag": [info.version.etag for info in infos],
        "md5": [info.digests.md5 for info in infos],
        "crc32c": [os.urandom(4) for _ in infos],
    }
    table = template.slice(0, shard.rows)
    columns = [
        array_of(made[field.name], field.type) if field.name in made else table[field.name]
        for field in SCHEMA
    ]
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.Table.from_arrays(columns, schema=SCHEMA), sink, compression="zstd", row_group_size=10_000
    )
    begun = Record(
        shard=shard.number, row=-1, state=RecordState.BEGUN, worker="worker-0001:4242", time=datetime.now(UTC)
    )
    files.put(
        segment_name(shard.number, "0123abcd", 0), to_parquet([to_columns(begun)], SCHEMA, group_rows=10_000)
    )
    files.put(segment_name(shard.number, "0123abcd", 1), bytes(sink.getvalue()))


def _template() -> pa.Table:
    """A shard's worth of receipts, of which only what differs is replaced."""
    now = datetime.now(UTC)
    records = [
        to_columns(_record(0, number, "worker-0001:4242", now + timedelta(milliseconds=number)))
        for number in range(SHARD_ROWS)
    ]
    return pq.ParquetFile(pa.BufferReader(to_parquet(records, SCHEMA, group_rows=10_000))).read()


def _record(shard: int, number: int, worker: str, now: datetime) -> Record:
    info = _info(number)
    receipt = Receipt(
        source=f"s3://source-bucket/{info.key}",
        destination=f"gs://destination-bucket/{info.key}",
        key=info.key,
        size=4096,
        version=Version(generation=str(1_763_000_000_000_000 + number * 7919)),
        source_version=info.version,
        digests=Digests(md5=info.digests.md5, crc32c=hashlib.sha256(str(number).encode()).digest()[:4]),
        verification=Verification.V2,
        evidence="source md5, destination crc32c",
        method="put",
        duration_s=0.0123 + number % 97 / 1000,
    )
    return Record(
        shard=shard,
        row=number,
        state=RecordState.COPIED,
        key=info.key,
        size=4096,
        receipt=receipt,
        worker=worker,
        time=now,
    )


class _Noting(MemoryStore):
    """A bucket that notes when something was put."""

    def put(self, key: str, *args: object, **kwargs: object) -> ObjectInfo:
        answer = super().put(key, *args, **kwargs)  # type: ignore[arg-type]
        self.puts.append(time.monotonic())
        return answer

    puts: list[float]


def _longest_wait_s(seconds: float = 10.0) -> float:
    """Records arrive all the time; the longest time between two segments is the longest that one waited."""
    store = _Noting("benchmark-ledger")
    store.puts = []
    ends = time.monotonic() + seconds
    now = datetime.now(UTC)
    with LedgerWriter(RunFiles(store, ""), 0) as writer:
        began = time.monotonic()
        while time.monotonic() < ends:
            writer.record(_record(0, 1, "w", now))
            time.sleep(0.01)
    moments = [began, *store.puts]
    return max(after - before for before, after in pairwise(moments))
