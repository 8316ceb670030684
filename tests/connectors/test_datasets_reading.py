"""Datasets as sources: partitions, conditions, columns, fragments; those of others, told by listing."""

from __future__ import annotations

import pickle
from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from dataset_kit import data_of, fresh, held, unsorted_rows

import crossdock as xd
from crossdock.combine import CombinedTask
from crossdock.datasets import dataset, dataset_sink, hive
from crossdock.errors import (
    ConfigError,
    IntegrityError,
    NotFoundError,
    UnsupportedError,
)

at = datetime.fromisoformat


@pytest.fixture
def url():
    return fresh()


def test_a_reader_of_a_batch_that_was_replaced_is_told_so(url):
    sink = dataset_sink(url)
    sink([{"a": 1}], batch_id="one")
    source = dataset(url)
    (old,) = source.fragments()
    sink([{"a": 2}], batch_id="one")

    with pytest.raises(NotFoundError, match="ask the dataset again"):
        source(old).read_all()


@pytest.mark.parametrize(
    "values",
    [
        [
            "",
            " ",
            "a b",
            "a/b",
            "../x",
            "%2F",
            "=",
            "ü☃",
            "__HIVE_DEFAULT_PARTITION__",
            None,
            "null",
            "a\nb",
            "'\"",
            ".",
        ],
        pa.array([True, False, None]),
        pa.array([date(1969, 12, 31), date(2024, 2, 29)]),
        pa.array([at("2024-03-31T00:30"), at("2024-10-27T00:30")], pa.timestamp("us", tz="UTC")).cast(
            pa.timestamp("us", tz="Europe/Berlin")
        ),
        pa.array([-(2**63), 0, 2**63 - 1]),
        pa.array([0.1, 1e300, -0.5]),
        pa.array([Decimal("1.20"), Decimal("-0.01")]),
    ],
    ids=str,
)
def test_partition_values_come_back_exactly(url, values):
    rows = pa.table({"n": range(len(values)), "p": values})
    receipt = dataset_sink(url, partition_by="p")(rows)
    found = dataset(url)().read_all()

    assert rows == found.sort_by("n")
    assert len(values) == receipt.partitions
    for number, value in enumerate(rows["p"].to_pylist()):
        assert [number] == dataset(url, where={"p": value})().read_all()["n"].to_pylist()


def test_a_condition_on_partitions_opens_no_other_object(url, monkeypatch):
    rows = pa.table({"n": range(100), "y": [n % 10 for n in range(100)], "m": [n // 50 for n in range(100)]})
    dataset_sink(url, partition_by=["y", "m"])(rows)
    source = dataset(
        url, where=(pc.field("y") == 3) & (pc.field("n") > 60) | pc.field("m").is_null(), columns=["n", "m"]
    )
    opened = []
    stat = type(source._of.store).stat
    monkeypatch.setattr(
        type(source._of.store),
        "stat",
        lambda self, key, **more: (opened.append(key), stat(self, key, **more))[1],
    )
    found = source().read_all()

    assert found["n"].to_pylist() == [63, 73, 83, 93]
    assert found.column_names == ["n", "m"]
    assert [key.removeprefix("lake/").rpartition("/")[0] for key in opened] == ["y=3/m=0", "y=3/m=1"]
    assert len(dataset(url, where={"m": [1, None]}).fragments()) == 10


def test_a_listed_dataset_has_partition_columns_of_inferred_types(url):
    """What others wrote, with no state of ours: numbers and dates by their look, a leading zero is text, hidden names passed over."""
    sink = xd.sink(url)
    for name, body in {
        "year=2024/day=2024-02-29/code=007/b.csv": b"n,s\n3,z\n",
        "year=2023/day=2023-01-01/code=12/a.csv": b"n,s\n1,x\n2,\n",
        "year=__HIVE_DEFAULT_PARTITION__/day=2023-01-01/code=12/a.csv": b"n,s\n4,\n",
        "_SUCCESS": b"x",
        "_temporary/year=1/x.csv": b"nonsense",
    }.items():
        sink([body], key=name)
    found = dataset(url)()
    rows = found.read_all()
    typed = dataset(url, types={"code": "int32", "n": "int16"}, where={"code": 7})().read_all()

    assert [pa.int64(), pa.string(), pa.int64(), pa.date32(), pa.string()] == found.schema.types
    assert [
        {"n": 1, "s": "x", "year": 2023, "day": date(2023, 1, 1), "code": "12"},
        {"n": 2, "s": None, "year": 2023, "day": date(2023, 1, 1), "code": "12"},
        {"n": 3, "s": "z", "year": 2024, "day": date(2024, 2, 29), "code": "007"},
        {"n": 4, "s": None, "year": None, "day": date(2023, 1, 1), "code": "12"},
    ] == rows.to_pylist()
    assert [{"n": 3, "s": "z", "year": 2024, "day": date(2024, 2, 29), "code": 7}] == typed.to_pylist()
    with pytest.raises(ConfigError, match="types="):
        dataset(url, types={"day": "int64"})().read_all()


def test_objects_of_a_listed_dataset_have_the_columns_of_the_first(url):
    sink = xd.sink(url)
    sink([b"n,s\n1,x\n"], key="a.csv")
    sink([b"n\n2\n"], key="b.csv")

    with pytest.raises(ConfigError, match="missing"):
        dataset(url)().read_all()
    assert dataset(url, evolve="missing")().read_all().to_pylist() == [
        {"n": 1, "s": "x"},
        {"n": 2, "s": None},
    ]
    sink([b"n,s\n1,x\n"], key="z=1/c.csv")
    with pytest.raises(ConfigError, match="partition columns"):
        dataset(url)()


def test_a_column_in_key_and_object_is_the_keys(url):
    sink = xd.sink(url)
    sink([b"n,year\n1,1\n"], key="year=2023/a.csv")
    sink([b"n,year\n2,1\n"], key="year=2024/a.csv")
    found = dataset(url)().read_all()

    assert found.to_pylist() == [{"n": 1, "year": 2023}, {"n": 2, "year": 2024}]
    assert dataset(url, columns=["year"])().read_all()["year"].to_pylist() == [2023, 2024]


def test_a_schema_and_what_may_differ_from_it(url):
    sink = xd.sink(url)
    sink([b"n,s,extra\n1,x,y\n"], key="p=1/a.csv")
    sink([b"n,s\n2,y\n"], key="p=2/b.csv")
    schema = {"p": "int8", "n": "int16", "gone": "string"}
    found = dataset(url, schema=schema, evolve="drop")().read_all()

    assert found.schema.types == [pa.int8(), pa.int16(), pa.string()]
    assert found.to_pylist() == [{"p": 1, "n": 1, "gone": None}, {"p": 2, "n": 2, "gone": None}]
    with pytest.raises(ConfigError, match="missing"):
        dataset(url, schema=schema)()


def test_columns_of_batches_are_merged_by_name_and_types_that_differ_are_loud(url):
    sink = dataset_sink(url, partition_by="p")
    sink(pa.table({"p": [1], "a": pa.array([1], pa.int32())}), batch_id="1")
    sink(pa.table({"b": ["x"], "p": [1], "a": pa.array([2], pa.int32())}), batch_id="2")
    merged = dataset(url, where={"p": 1})().read_all()
    sink(pa.table({"p": [1], "a": ["text"]}), batch_id="3")

    assert merged.column_names == ["p", "a", "b"]
    assert sorted(zip(merged["a"].to_pylist(), merged["b"].to_pylist(), strict=True), key=str) == [
        (1, None),
        (2, "x"),
    ]
    with pytest.raises(ConfigError, match=r"column 'a' is int32 in batch '1' and string in batch '3'"):
        dataset(url)()
    assert sorted(dataset(url, types={"a": "string"})().read_all()["a"].to_pylist()) == ["1", "2", "text"]


def test_an_object_that_was_replaced_is_noticed_before_it_is_read(url):
    dataset_sink(url)(pa.table({"a": [1]}), batch_id="1")
    (key,) = data_of(url)
    xd.sink(url)([bytes(len(held(url)[key]))], key=key)

    with pytest.raises(IntegrityError, match="than its batch lists"):
        dataset(url)().read_all()


def test_fragments_are_mapped_over(url):
    """From one dataset to objects by name, an object a time, on two threads; the source and its fragments travel as pickles."""
    rows = unsorted_rows().slice(0, 2_000)
    dataset_sink(url, partition_by={"place": "place", "tenth": _tenth})(rows)
    source = pickle.loads(pickle.dumps(dataset(url, where={"tenth": [0, 1, 2]})))  # noqa: S301 - our own
    fragments = pickle.loads(pickle.dumps(source.fragments()))  # noqa: S301 - our own
    out = fresh()
    pair = CombinedTask(source.bind(xd.param("fragment")), xd.sink(out), stitch_function=xd.encode("csv"))
    result = pair.map(fragment=fragments, runner=xd.LocalRunner(threads=2))
    result.raise_if_failed()

    expected = pc.sum(pc.less(pc.divide(rows["place"], 100), 3)).as_py()
    assert expected == sum(outcome.rows for outcome in result) > 0
    assert {each.key.replace(".parquet", ".csv") for each in fragments} == data_of(out)
    assert fragments[0].rows == source(fragments[0]).read_all().num_rows


def _tenth(batch):
    return pc.divide(batch.column("place"), 100)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"columns": ["zz"]}, "no column 'zz'"),
        ({"where": {"zz": 1}}, "no column 'zz'"),
        ({"where": {"a": "text"}}, "no value"),
        ({"where": pc.field("zz") == 1}, "does not fit"),
        ({"where": "a = 1"}, "mapping"),
        ({"types": {"zz": "int64"}}, "no column 'zz'"),
        ({"schema": {"a": "int64"}}, "evolve"),
        ({"evolve": "maybe"}, "evolve"),
    ],
    ids=str,
)
def test_mistakes_of_reading(url, arguments, said):
    dataset_sink(url, partition_by="p")(pa.table({"a": [1], "p": ["x"]}))

    with pytest.raises(ConfigError, match=said):
        dataset(url, **arguments)().read_all()


def test_ends_that_cannot_be_datasets(tmp_path):
    with pytest.raises(ConfigError, match="database"):
        dataset_sink(f"sqlite://{tmp_path}/t.db")
    with pytest.raises(UnsupportedError, match="conditional"):
        dataset_sink("sftp://user@host/srv/")
    with pytest.raises(NotFoundError, match="no object"):
        dataset(f"file://{tmp_path}/")()


@pytest.mark.parametrize("text", ["", "a", "é/=%", hive.NULL, None, "%5F", "."])
def test_texts_in_keys_are_reversible(text):
    key = hive.prefix_of(["na=me"], [text]) + "x.parquet"

    assert (("na=me", text),) == hive.pairs_of(key)
    assert key.count("/") == 1
