"""Steps between a decoder and an encoder: what they do to rows, when they close, what they refuse."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import crossdock as xd
from crossdock.batches import Batches
from crossdock.errors import ConfigError, RowError

SCHEMA = pa.schema([("a", pa.int64()), ("b", pa.string())])


def batches(*groups, closed=None):
    made = [
        pa.record_batch({"a": pa.array(each, pa.int64()), "b": pa.array(map(str, each))}) for each in groups
    ]
    return Batches(SCHEMA, made, close=lambda: closed.append(1) if closed is not None else None)


def column(step, *groups, name="a"):
    return step(batches(*groups)).read_all()[name].to_pylist()


def test_select_and_rename():
    assert xd.select("b", "a")(batches([1])).read_all().to_pylist() == [{"b": "1", "a": 1}]
    assert xd.rename({"a": "n"})(batches([1])).read_all().to_pylist() == [{"n": 1, "b": "1"}]
    with pytest.raises(ConfigError, match=r"no column 'z'.*columns: a, b"):
        xd.select("z")(batches([1]))
    with pytest.raises(ConfigError, match="two columns would be named b"):
        xd.rename({"a": "b"})(batches([1]))


def test_cast_some_columns_and_whole_schemas():
    assert xd.cast({"a": "int8"})(batches([1])).schema == pa.schema([("a", pa.int8()), ("b", pa.string())])
    whole = pa.schema([("c", pa.int8()), ("b", pa.int16())])
    assert xd.cast(whole)(batches([1])).read_all().to_pylist() == [{"c": None, "b": 1}]
    with pytest.raises(ConfigError, match="no column type 'int65'"):
        xd.cast({"a": "int65"})(batches([1]))
    for name, kind in (
        ("decimal128(10, 2)", pa.decimal128(10, 2)),
        ("timestamp[us, tz=UTC]", pa.timestamp("us", "UTC")),
    ):
        assert xd.cast({"a": name})(Batches.of(pa.table({"a": pa.nulls(1)}))).schema.field("a").type == kind


def test_what_does_not_fit_is_a_bad_row_with_its_number_over_all_batches():
    with pytest.raises(RowError, match=r"row 4, column 'a'.*300.*\"b\": \"300\""):
        xd.cast({"a": "int8"})(batches([1, 2], [3, 300, 4])).read_all()
    taken = []
    step = xd.cast({"a": "int8"}, on_bad_row=taken.append)
    assert column(step, [1, 300], [400, 3, 500]) == [1, 3]
    assert [row.number for row in taken] == [2, 3, 5]


def test_nulls_where_none_may_be_are_bad_rows():
    strict = pa.schema([pa.field("a", pa.int64(), nullable=False)])
    table = pa.table({"a": [1, None, 3]})

    assert xd.cast(strict, on_bad_row="skip")(table).read_all()["a"].to_pylist() == [1, 3]


def test_filter_by_expression_and_by_function():
    assert column(xd.filter(pc.field("a") > 1), [1, 2], [3]) == [2, 3]
    assert column(xd.filter(lambda batch: pc.equal(batch["b"], "3")), [1, 2], [3]) == [3]
    with pytest.raises(ConfigError, match="columns: a: int64"):
        column(xd.filter(pc.field("z") > 1), [1])
    with pytest.raises(ConfigError, match="a condition is"):
        xd.filter("a > 1")


def test_limit_stops_reading_and_closes():
    closed, pulled = [], []

    def source():
        for number in range(100):
            pulled.append(number)
            yield pa.record_batch({"a": pa.array([number] * 10, pa.int64()), "b": pa.array(["x"] * 10)})

    limited = xd.limit(15)(Batches(SCHEMA, source(), close=lambda: closed.append(1)))
    assert limited.read_all().num_rows == 15
    assert (pulled, closed) == ([0, 1], [1])


def test_limit_closes_as_soon_as_it_has_its_rows():
    """Not only when the consumer asks for one batch more."""
    closed = []
    limited = xd.limit(1)(batches([1], [2], closed=closed))
    next(limited)
    assert closed == [1]
    assert xd.limit(0)(batches([1])).read_all().num_rows == 0
    assert xd.limit(9)(batches([1], [2])).read_all().num_rows == 2


def test_samples_are_the_same_for_a_seed_however_rows_are_cut():
    everything = list(range(1000))
    cut = [everything[start : start + 7] for start in range(0, 1000, 7)]
    for options in ({"fraction": 0.1}, {"rows": 100}):
        one = column(xd.sample(**options, seed=4), everything)
        assert one == column(xd.sample(**options, seed=4), *cut)
        assert one != column(xd.sample(**options, seed=5), everything)
        assert one == sorted(one)
        assert 60 < len(one) < 140
    assert len(column(xd.sample(rows=100), everything)) == 100
    assert column(xd.sample(rows=5000), everything) == everything
    assert column(xd.sample(rows=0), everything) == []


def test_a_sample_by_number_is_fair():
    """Each tenth of the stream has about a tenth of 2,000 rows drawn."""
    drawn = [0] * 10
    for seed in range(100):
        for value in column(xd.sample(rows=20, seed=seed), *([[n, n] for n in range(10)] * 5)):
            drawn[value] += 1
    assert sum(drawn) == 2000
    assert min(drawn) > 140
    assert max(drawn) < 260


@pytest.mark.parametrize("frame", ["arrow", "pandas", "polars"])
def test_transform_gets_the_frame_it_asks_for(frame):
    seen = []

    def double(rows):
        seen.append(type(rows))
        if frame == "arrow":
            return rows.set_column(0, "a", pc.multiply(rows["a"], 2))
        if frame == "pandas":
            return rows.assign(a=rows["a"] * 2)
        return rows.with_columns(pl.col("a") * 2)

    made = xd.transform(double, frame=frame)(batches([1, 2], [3])).read_all()

    assert made["a"].to_pylist() == [2, 4, 6]
    assert made["b"].to_pylist() == ["1", "2", "3"]
    assert set(seen) == {{"arrow": pa.RecordBatch, "pandas": pd.DataFrame, "polars": pl.DataFrame}[frame]}


def test_large_integers_with_nulls_stay_exact_in_pandas():
    big = 2**62 + 1
    table = pa.table({"a": [big, None], "t": [True, None]})

    assert xd.transform(lambda rows: rows, frame="pandas")(table).read_all().to_pydict() == table.to_pydict()


def test_results_have_one_schema():
    """An empty result says little of types and is not asked; a later one is cast without loss, or refused."""
    emptied = xd.transform(lambda rows: rows[rows["a"] > 1], frame="pandas")
    assert column(emptied, [1], [2], [1], [3]) == [2, 3]
    assert column(emptied, [1], [1]) == []

    def odd(rows):
        return pa.table({"a": pa.array(["x"] if rows["a"][0].as_py() > 1 else [1])})

    with pytest.raises(RowError, match=r"row 2, column 'a'.*schema=\.\.\."):
        column(xd.transform(odd), [1], [2])
    with pytest.raises(ConfigError, match="lacks b"):
        column(xd.transform(lambda rows: rows if rows["a"][0].as_py() < 2 else rows.select(["a"])), [1], [2])
    with pytest.raises(ConfigError, match="returned nothing"):
        column(xd.transform(lambda _: None), [1])


def test_a_schema_given_is_kept_even_without_rows():
    step = xd.transform(lambda rows: rows.slice(0, 0), schema={"a": "int8", "b": "string"})

    assert step(batches([1])).read_all().schema == pa.schema([("a", pa.int8()), ("b", pa.string())])


def test_an_error_of_the_function_stays_its_own_and_closes():
    closed = []

    def broken(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        xd.transform(broken, schema=SCHEMA)(batches([1], closed=closed)).read_all()
    assert closed == [1]


def test_closing_the_end_of_a_chain_closes_its_beginning():
    closed = []
    step = xd.chain(
        xd.select("a", "b"), xd.rename({"a": "n"}), xd.cast({"n": "int32"}), xd.filter(pc.field("n") > 0),
        xd.sample(fraction=1.0), xd.transform(lambda rows: rows), xd.encode("csv"),
    )  # fmt: skip
    with step(batches([1], [2], [3], closed=closed)) as out:
        next(iter(out))
    assert closed == [1]


def test_a_chain_is_flat_and_closes_what_a_failing_step_leaves():
    closed = []
    assert len(xd.chain(xd.chain(xd.limit(1), xd.limit(2)), xd.limit(3)).steps) == 3
    with pytest.raises(ConfigError, match="no column"):
        xd.chain(xd.limit(5), xd.select("z"))(batches([1], closed=closed))
    assert closed == [1]
    with pytest.raises(ConfigError, match="a step is a function"):
        xd.chain(xd.limit(1), "encode")


STEPS = {
    "decode('csv', delimiter=';')": lambda: xd.decode("csv", delimiter=";"),
    "decode('auto')": lambda: xd.decode("auto"),
    "encode('parquet', row_group_rows=5)": lambda: xd.encode("parquet", row_group_rows=5),
    "select('a', 'b')": lambda: xd.select("a", "b"),
    "rename({'a': 'b'})": lambda: xd.rename({"a": "b"}),
    "cast({'a': 'int8'})": lambda: xd.cast({"a": "int8"}),
    "limit(3)": lambda: xd.limit(3),
    "sample(rows=3, seed=1)": lambda: xd.sample(rows=3, seed=1),
    "compress('gzip', level=2)": lambda: xd.compress("gzip", level=2),
    "decompress('auto')": lambda: xd.decompress("auto"),
    "transform(sorted, frame='pandas')": lambda: xd.transform(sorted, frame="pandas"),
    "chain(limit(1), encode('csv'))": lambda: xd.chain(xd.limit(1), xd.encode("csv")),
}


@pytest.mark.parametrize("text", STEPS)
def test_steps_print_as_they_are_written_travel_and_compare(text):
    step = STEPS[text]()

    assert repr(step) == text
    assert pickle.loads(pickle.dumps(step)) == STEPS[text]()  # noqa: S301 - our own


@pytest.mark.parametrize(
    "make",
    [
        lambda: xd.limit(-1),
        lambda: xd.limit(1.5),
        lambda: xd.sample(seed=1),
        lambda: xd.sample(rows=1, fraction=0.5),
        lambda: xd.sample(fraction=2),
        lambda: xd.transform(len, frame="spark"),
        lambda: xd.transform(7),
        lambda: xd.select(1),
        lambda: xd.decode("auto", delimiter=";"),
    ],
)
def test_nonsense_is_refused_at_once(make):
    with pytest.raises(ConfigError):
        make()


@pytest.mark.parametrize("value", ["text", {"a": [1]}, pa.table({"a": [1]}), 7])
def test_a_decoder_takes_bytes_only(value):
    with pytest.raises(ConfigError, match="takes bytes"):
        xd.decode("csv")(value)
    with pytest.raises(ConfigError, match="yielded int"):
        xd.decode("csv")([1, 2])


def test_building_steps_loads_no_pyarrow():
    script = """
import sys
import crossdock as xd
step = xd.chain(xd.decompress(), xd.decode("csv", schema={"a": "int64"}), xd.select("a"), xd.cast({"a": "int8"}),
                xd.limit(1), xd.sample(rows=1), xd.rename({"a": "b"}), xd.transform(len), xd.encode("parquet"))
assert "pyarrow" not in sys.modules and "numpy" not in sys.modules, repr(step)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
