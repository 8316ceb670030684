"""Datasets: rows in any order to partitions, on real stores, and back."""

from __future__ import annotations

import pickle
import random
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from dataset_kit import PARTITIONS, ROWS, data_of, fresh, held, unsorted_rows

import crossdock as xd
from crossdock.batches import Batches
from crossdock.datasets import DatasetSink, dataset, dataset_sink, hour, month, shelves, year
from crossdock.errors import (
    ConfigError,
    UnsafeError,
    UnsupportedError,
)

at = datetime.fromisoformat


@pytest.fixture
def url():
    return fresh()


def test_unsorted_rows_over_300_partitions_with_8_of_them_in_memory(url, monkeypatch):
    """No row is lost or doubled, rows keep their order, and no more than 8 partitions are held at a time."""
    rows, open_at_once = unsorted_rows(), []
    spill = shelves.Shelves._spill
    monkeypatch.setattr(
        shelves.Shelves,
        "_spill",
        lambda self, shelf: (open_at_once.append(len(self._open)), spill(self, shelf)),
    )
    receipt = dataset_sink(url, partition_by="place", max_open=8, target_size="4KiB")(rows)
    found = dataset(url)().read_all()
    sizes = [len(body) for key, body in held(url).items() if key in data_of(url)]

    assert rows == found.sort_by("number")
    assert (receipt.rows, receipt.partitions) == (ROWS, PARTITIONS)
    assert receipt.objects == len(sizes) >= PARTITIONS
    assert receipt.size == sum(sizes)
    assert max(open_at_once) <= 8
    assert len(open_at_once) > PARTITIONS
    for place in (0, 17, 299):
        numbers = dataset(url, where={"place": place}, columns="number")().read_all()["number"].to_pylist()
        assert sorted(numbers) == numbers


def test_objects_are_of_about_the_size_asked_for(url):
    chance = random.Random(1)
    rows = pa.table({"a": [chance.randbytes(40) for _ in range(100_000)], "p": ["x"] * 100_000})
    receipt = dataset_sink(url, partition_by="p", target_size="256KiB")(rows)
    sizes = sorted(len(held(url)[key]) for key in data_of(url))

    assert receipt.objects == len(sizes) > 8
    assert all(200_000 < size < 400_000 for size in sizes[1:])  # all but the last of the partition


@pytest.mark.parametrize("end", ["local", "s3", "gcs"])
def test_round_trip_on_every_store(end, request):
    """Types and nulls exact, prefixes as deep as asked for; all on a real store; nothing but data and state behind."""
    end = request.getfixturevalue(end)()
    rows = pa.table(
        {
            "when": pa.array(
                [datetime(2024, 1, 31, 23, 30, tzinfo=UTC), None, datetime(2023, 12, 1, tzinfo=UTC)],
                pa.timestamp("us", tz="UTC"),
            ),
            "price": pa.array([Decimal("1.20"), None, Decimal("-3.00")], pa.decimal128(9, 2)),
            "kind": pa.array(["a/b=c", None, ""]).dictionary_encode(),
        }
    )
    sink = dataset_sink(f"{end.url}lake", partition_by={"year": year("when"), "kind": "kind"}, **end.options)
    receipt = sink(rows, batch_id="first")
    read = dataset(f"{end.url}lake/", **end.options)
    found = read().read_all()
    keys = sorted(each.key for each in read.fragments())
    again = sink(rows, batch_id="first")

    assert [key.rpartition("/")[0] for key in keys] == [
        "year=2023/kind=",
        "year=2024/kind=a%2Fb%3Dc",
        "year=__HIVE_DEFAULT_PARTITION__/kind=__HIVE_DEFAULT_PARTITION__",
    ]
    assert rows.schema == found.select(rows.schema.names).schema
    assert found["year"].to_pylist() == [2023, 2024, None]
    assert [rows.to_pylist()[index] for index in (2, 0, 1)] == found.select(rows.schema.names).to_pylist()
    assert (receipt.rows, receipt.objects, again.method) == (3, 3, "skip")
    assert keys == sorted(each.key for each in read.fragments())
    assert sink.confirms(again)
    assert not sink.confirms(receipt)  # the state was written anew, though nothing else was
    if end.everything is not None:
        assert len(end.everything()) == len([name for name in end.everything() if "part-" in name]) + 1 == 4


@pytest.mark.parametrize(
    "format", ["csv", "csv.gz", "jsonl.zst", "arrow", "arrow_stream", "orc", "avro", "parquet"]
)
def test_every_format_and_the_same_rows_again(url, format):
    """What a format cannot keep aside (JSON has texts for times), rows and types come back, and bytes are the same each time."""
    rows = pa.table(
        {
            "n": [1, None, 3],
            "s": ["x", "", None],
            "at": [at("2024-01-01"), None, at("2024-01-02")],
            "p": [1, 1, 2],
        }
    )
    sink = dataset_sink(url, partition_by="p", format=format)
    first, again = sink(rows, batch_id="one"), sink(rows, batch_id="one")

    # An Avro object has a random mark of its own, so it is replaced by one with the same rows.
    assert (first.method, again.method) == ("dataset", "dataset" if format == "avro" else "skip")
    assert len(data_of(url)) == 2
    assert dataset(url)().read_all() == rows


def test_types_that_are_hard_to_hold_aside_come_back_from_disk(url):
    """Dictionaries that differ from batch to batch, nested values; every batch is spilled."""
    kinds = pa.dictionary(pa.int32(), pa.string())

    def batch(number):
        return pa.record_batch(
            {
                "d": pa.array([f"{number}", "x", None], pa.string()).dictionary_encode().cast(kinds),
                "nested": [{"a": [number, None], "b": {"c": "y"}}, None, {"a": [], "b": None}],
                "large": pa.array(["z" * number, None, ""], pa.large_string()),
                "p": [1, 2, 1],
            }
        )

    rows = pa.Table.from_batches([batch(number) for number in range(5)])
    receipt = dataset_sink(url, partition_by="p", memory=1, max_open=1, format="arrow_stream")(
        Batches(rows.schema, rows.to_batches())
    )
    found = dataset(url)().read_all()

    assert "spilled to disk 10 times" in receipt.evidence
    assert found.schema == rows.schema
    assert found.to_pylist() == [row for p in (1, 2) for row in rows.to_pylist() if row["p"] == p]


@pytest.mark.parametrize("values", [pa.array([float("nan")]), pa.array([b"x"]), pa.array([[1]])], ids=str)
def test_values_without_an_exact_text_are_refused(url, values):
    with pytest.raises(ConfigError, match="has a text"):
        dataset_sink(url, partition_by="p")(pa.table({"n": [1], "p": values}))

    assert held(url) == {}


def test_from_csv_to_a_dataset_as_a_combined_task_counts_each_row_once(url):
    source, sink = xd.MemorySource("in-" + url[9:-6]), xd.MemorySink("in-" + url[9:-6])
    lines = b"".join(b"2024-%02d-03 %02d:00:00,%d\n" % (n % 12 + 1, n % 24, n) for n in range(50_000))
    sink([b"at,n\n" + lines], key="a.csv")
    lake = dataset_sink(url, partition_by=[month("at"), hour("at")], target_size="1KiB", format="csv.gz")
    pair = lake.combine(source.bind("a.csv"), stitch_function=xd.decode("csv"), batch_id="a.csv")
    (outcome,) = xd.task(lambda _number: pair()).map(_number=[1], runner=xd.LocalRunner(threads=1))
    receipt = outcome.value
    months = dataset(url, where={"month": 2, "hour": 1})().read_all()

    assert (receipt.rows, receipt.partitions) == (50_000, 24)
    assert receipt.objects > 24
    assert {at("2024-02-03T01:00"), at("2024-02-03T13:00")} >= set(months["at"].to_pylist())
    assert dataset(url, columns=["n"])().read_all().num_rows == 50_000
    assert all(key.endswith(".csv.gz") for key in data_of(url))


def test_rows_without_rows_are_a_batch_too(url):
    empty = pa.table({"a": pa.array([], pa.int64()), "p": pa.array([], pa.string())})
    receipt = dataset_sink(url, partition_by="p")(empty)

    assert (receipt.rows, receipt.objects) == (0, 0)
    assert empty == dataset(url)().read_all()


def test_a_type_that_cannot_be_split_is_refused_and_told(url):
    rows = pa.table({"v": pa.array(["x"], pa.string_view()), "p": [1]})
    with pytest.raises(ConfigError, match=r"xd.cast\("):
        dataset_sink(url, partition_by="p")(rows)

    assert held(url) == {}


def test_too_many_partitions_are_refused_and_nothing_is_left(url):
    with pytest.raises(UnsafeError, match="max_partitions"):
        dataset_sink(url, partition_by="n", max_partitions=10)(pa.table({"n": range(11), "a": range(11)}))

    assert held(url) == {}


def test_a_value_too_long_for_a_key_leaves_nothing(tmp_path):
    with pytest.raises(UnsupportedError):
        dataset_sink(f"file://{tmp_path}/lake/", partition_by="p")(
            pa.table({"p": ["a", "x" * 300], "a": [1, 2]})
        )

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"partition_by": "zz"}, "no column 'zz'"),
        ({"partition_by": ["a", "a"]}, "twice"),
        ({"partition_by": ["a", "p"]}, "every column"),
        ({"partition_by": {"p": year("a")}}, "another name"),
        ({"partition_by": year("a")}, "has no year"),
        ({"partition_by": {"x": "a"}}, "rename"),
        ({"partition_by": {"x": lambda _: 3}}, "one value a row"),
        ({"target_size": "much"}, "target_size"),
        ({"max_open": 0}, "max_open"),
        ({"on_done": "append"}, "on_done"),
        ({"format": "xls"}, "no format"),
    ],
    ids=str,
)
def test_mistakes_are_told_before_anything_is_written(url, arguments, said):
    with pytest.raises(ConfigError, match=said):
        dataset_sink(url, **arguments)(pa.table({"a": [1], "p": ["x"]}))

    assert held(url) == {}


def test_a_sink_is_a_picklable_recipe(url):
    made = dataset_sink(url, partition_by=[hour("t")], format=xd.encode("parquet", level=3))
    sink = pickle.loads(pickle.dumps(made))  # noqa: S301 - our own

    assert isinstance(sink, DatasetSink)
    assert sink({"t": [at("2024-01-01")], "a": [1]}).rows == 1
