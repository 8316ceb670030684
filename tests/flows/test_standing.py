"""The columns' answer is the objects' answer: which record counts for a row, and how a shard stands."""

from __future__ import annotations

import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crossdock.flows.ledger.records import SCHEMA, Failure, Record, RecordState, best, is_left, to_columns
from crossdock.flows.ledger.standing import Standing, standing_of, winners
from crossdock.flows.ledger.tally import ShardCounts, counts_of
from crossdock.flows.ledger.writing import records_of
from crossdock.flows.runs.columns import to_parquet
from crossdock.model import Receipt, Verification, Version

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def table_of(records):
    data = to_parquet([to_columns(record) for record in records], SCHEMA, group_rows=100)
    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)


def receipt(method):
    return Receipt(
        source="a",
        destination="b",
        key="k",
        size=7,
        version=Version(),
        method=method,
        verification=Verification.V1,
    )


def made(random_, row):
    state = random_.choice([*RecordState])
    failure = Failure(reason="denied", error="DeniedError", message="no", retryable=random_.random() < 0.5)
    return Record(
        shard=1,
        row=-1 if state is RecordState.BEGUN else row,
        state=state,
        key=f"k{row}",
        size=7,
        receipt=receipt(random_.choice(["put", "found"])) if state is RecordState.COPIED else None,
        failure=failure if state in (RecordState.FAILED, RecordState.AGAIN) else None,
        evidence="same" if state is RecordState.SKIPPED else "",
        time=NOW + timedelta(seconds=random_.randrange(3)),
    )


@pytest.mark.parametrize("seed", range(40))
def test_columns_and_objects_agree(seed):
    random_ = random.Random(seed)
    records = [made(random_, random_.randrange(6)) for _ in range(random_.randrange(40))]

    counted = best(records)
    standing = standing_of(table_of(records))

    assert [counted[row] for row in sorted(counted)] == records_of(winners(table_of(records)))
    assert counts_of(counted) == standing.counts
    assert len(counted) == standing.outcomes
    left = [record for record in counted.values() if is_left(record)]
    assert len(left) == standing.retryable + standing.again
    assert (not left) == standing.is_done(len(counted))
    assert not standing.is_done(len(counted) + 1)


def test_no_records_are_nothing():
    assert standing_of(SCHEMA.empty_table()) == Standing(
        counts=ShardCounts(), outcomes=0, retryable=0, again=0
    )


def test_standing_is_derived_without_pandas():
    """A worker that only moves objects must not pay a second of CPU and 50 MiB for a data frame library."""
    code = (
        "import sys; from crossdock.flows.ledger.standing import standing_of; from crossdock.flows.ledger.records import SCHEMA;"
        "from crossdock.flows.runs.columns import to_parquet; import pyarrow as pa, pyarrow.parquet as pq;"
        "row = dict(shard=0, row=0, state='copied', key='k', size=1, method='put');"
        "data = to_parquet([row, row], SCHEMA, group_rows=9);"
        "print(standing_of(pq.ParquetFile(pa.BufferReader(data)).read()).outcomes, 'pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.split() == ["1", "False"]
