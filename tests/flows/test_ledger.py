"""The ledger: durable soon, derived state, loud about damage."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from flow_kit import Troubled, bucket

from crossdock.connectors.memory import MemoryStore
from crossdock.errors import DeniedError, LedgerError
from crossdock.flows.ledger.records import Failure, Record, RecordState, best
from crossdock.flows.ledger.writing import LedgerWriter, read_ledger, read_shard
from crossdock.flows.runs.files import RunFiles
from crossdock.model import Digests, Receipt, Verification, Version

NOW = datetime(2026, 11, 20, 12, 0, 0, 1, tzinfo=UTC)
RECEIPT = Receipt(
    source="s3://b/k",
    destination="gs://c/k",
    key="k",
    size=3,
    version=Version(generation="9"),
    source_version=Version(etag="e"),
    digests=Digests(md5=bytes(16), multipart_etag="z-2"),
    verification=Verification.V2,
    evidence="source md5, destination crc32c",
    method="parts",
    parts=4,
    metadata_lost=("cache_control", "user.a"),
    retries=2,
    resent_bytes=7,
    duration_s=0.5,
)


def record(row=0, state=RecordState.COPIED, seconds=0, shard=3, **fields):
    return Record(
        shard=shard, row=row, state=state, key="k\n", size=3, time=NOW + timedelta(seconds=seconds), **fields
    )


def failed(row=0, seconds=0):
    return record(
        row,
        RecordState.FAILED,
        seconds,
        failure=Failure(
            reason="denied", error="DeniedError", message="no", hint="ask", retryable=True, attempts=8
        ),
    )


def test_records_come_back_with_every_field():
    files = RunFiles(MemoryStore(bucket()), "r/")
    written = [record(receipt=RECEIPT), failed(1), record(2, RecordState.SKIPPED, evidence="same")]

    with LedgerWriter(files, 3) as ledger:
        ledger.record(*written)

    assert written == read_shard(files, 3)
    assert [(3, {each.row: each for each in written})] == list(read_ledger(files))
    assert read_shard(files, 30) == []


def test_a_record_is_durable_soon_without_the_shard_ending():
    """The writer's own thread flushes; the test waits for its segment, not for a time."""
    store, written = Troubled(), threading.Event()
    files = RunFiles(store, "")

    with LedgerWriter(files, 0, interval_s=0.01, on_tick=written.set) as ledger:
        ledger.record(record(shard=0))
        assert written.wait(30)
        written.clear()
        assert written.wait(30)
        assert [record(shard=0)] == read_shard(files, 0)


def test_a_segment_that_cannot_be_written_is_loud():
    store = Troubled()

    def refuse(verb, key):
        if verb == "put":
            raise DeniedError("disk full")

    store.before = refuse
    with pytest.raises(LedgerError, match="disk full"), LedgerWriter(RunFiles(store, ""), 0) as ledger:
        ledger.record(record())

    assert store.count("put")


def test_a_damaged_segment_is_loud():
    files = RunFiles(MemoryStore(bucket()), "")
    files.put("ledger/00000000-aa-00000.parquet", b"PAR1 truncated")

    with pytest.raises(LedgerError, match="damaged"):
        list(read_ledger(files))


def test_a_success_beats_a_failure_and_the_one_that_sent_beats_the_one_that_found():
    sent = record(receipt=RECEIPT, seconds=1)
    found = record(
        receipt=Receipt(source="", destination="", key="k", size=3, version=Version(), method="found")
    )
    later = failed(0, seconds=9)

    assert {0: sent} == best([found, sent, later])
    assert {0: later} == best([failed(0), later])
    assert best([record(-1, RecordState.BEGUN), record(0, RecordState.INTENT)]) == {}
