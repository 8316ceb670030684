"""The manifest keeps rows byte for byte; shards are bounded slices of it."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime

import pytest
from flow_kit import HOSTILE, bucket
from hypothesis import given, strategies as st

from crossdock.connectors.memory import MemoryStore
from crossdock.errors import LedgerError
from crossdock.flows.planning.rows import Action, Row
from crossdock.flows.runs.files import RunFiles
from crossdock.flows.runs.manifest import Manifest, write_manifest
from crossdock.flows.runs.shards import ShardSize, choose_shard_size, cut_shards
from crossdock.model import GIB, Digests, Metadata, ObjectInfo, Version


def rows_with(keys, action=Action.COPY):
    return [
        Row(
            source=ObjectInfo(
                key=f"p/{key}",
                size=index or None,
                version=Version(etag=f"e{index}", generation=None),
                digests=Digests(md5=bytes(16), crc32c=b"\x00\xff\x00\xff", multipart_etag="x-2"),
                metadata=Metadata(content_type="text/x", user={"K": "v  v"}) if index % 2 else None,
                modified=datetime(2026, 11, 20, 1, 2, 3, 456789, tzinfo=UTC),
                storage_class="STANDARD",
            ),
            name=key,
            destination=f"q/{key}",
            action=action,
            reason="absent",
            observed=[None, Version(), Version(etag="x", generation="7")][index % 3],
        )
        for index, key in enumerate(keys)
    ]


def test_rows_come_back_as_they_were_written_in_any_slice():
    """Hostile keys, absent values and absent objects stay what they are, over parts and row groups."""
    files = RunFiles(MemoryStore(bucket()), "r/")
    rows = rows_with([*HOSTILE, "\x00nul"])

    summary = write_manifest(files, rows, part_rows=8)
    manifest = pickle.loads(pickle.dumps(Manifest(files=files, run_id="1", parts=summary.parts)))  # noqa: S301 - our own

    expected = [(index, row.source, row.name, row.observed) for index, row in enumerate(rows)]
    assert expected == [(row.number, row.source, row.name, row.observed) for row in manifest.all_rows()]
    assert expected[11:13] == [
        (row.number, row.source, row.name, row.observed) for row in manifest.rows(1, 3, 5)
    ]
    assert (summary.parts, summary.planned, summary.to_do) == (3, 21, 21)


def test_a_missing_or_damaged_part_is_loud():
    files = RunFiles(MemoryStore(bucket()), "")
    write_manifest(files, rows_with(["a"]))

    with pytest.raises(LedgerError, match="cannot see the manifest"):
        list(Manifest(files=files, run_id="1", parts=2).rows(1))
    files.put("manifest/part-00000.parquet", b"no parquet")
    with pytest.raises(LedgerError, match="damaged"):
        list(Manifest(files=files, run_id="2", parts=1).rows(0))


WORK = st.lists(st.lists(st.tuples(st.booleans(), st.integers(0, 100)), max_size=30), max_size=4)


@given(parts=WORK, max_rows=st.integers(1, 7), max_bytes=st.integers(1, 200))
def test_shards_cover_all_work_once_within_their_bounds(parts, max_rows, max_bytes):
    shards = list(cut_shards(parts, ShardSize(max_rows, max_bytes)))

    covered = [
        (shard.part, at)
        for shard in shards
        for at in range(shard.start, shard.stop)
        if parts[shard.part][at][0]
    ]
    assert [(part, at) for part, rows in enumerate(parts) for at, row in enumerate(rows) if row[0]] == covered
    assert list(range(len(shards))) == [shard.number for shard in shards]
    for shard in shards:
        sizes = [size for work, size in parts[shard.part][shard.start : shard.stop] if work]
        assert (len(sizes), sum(sizes)) == (shard.rows, shard.size_bytes)
        assert 1 <= shard.rows <= max_rows
        assert shard.size_bytes <= max_bytes or shard.rows == 1


def test_ten_thousand_small_objects_are_few_shards_and_a_million_stay_bounded():
    size = choose_shard_size(10_000, 10_000 * 4096, 16)

    assert len(list(cut_shards([[(True, 4096)] * 10_000], size))) == 64
    assert choose_shard_size(1_000_000, 10**9, 16).max_rows == 1_000
    assert choose_shard_size(1_000_000, 10**16, 16).max_bytes == 8 * GIB
