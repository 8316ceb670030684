"""The stream of record batches: what it takes, that it is read once, closed always, and keeps errors what they are."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from crossdock.batches import Batches
from crossdock.errors import ConfigError

SCHEMA = pa.schema([("a", pa.int64())])


class BoomError(Exception):
    pass


def batch(*values):
    return pa.record_batch({"a": pa.array(values, pa.int64())})


def failing(after=1):
    for number in range(after):
        yield batch(number)
    raise BoomError("the source broke")


def test_counts_and_closes_at_the_end():
    closed = []
    batches = Batches(SCHEMA, [batch(1, 2), batch(3)], close=lambda: closed.append(1))

    assert [each.num_rows for each in batches] == [2, 1]
    assert (batches.rows, batches.bytes, batches.closed, closed) == (3, 24, True, [1])
    assert list(batches) == []
    batches.close()
    assert closed == [1]


def test_nothing_is_read_before_it_is_asked_for():
    """One batch at a time: the source is never ahead of the consumer."""
    pulled = []

    def source():
        for number in range(3):
            pulled.append(number)
            yield batch(number)

    batches = Batches(SCHEMA, source())
    assert pulled == []
    next(batches)
    assert pulled == [0]


def test_reading_on_after_close_is_an_error_and_not_an_end():
    batches = Batches(SCHEMA, [batch(1), batch(2)])
    next(batches)
    batches.close()

    with pytest.raises(ConfigError, match="closed before their end"):
        next(batches)


def test_a_failure_closes_the_source_and_stays():
    closed = []
    batches = Batches(SCHEMA, failing(), close=lambda: closed.append(1))
    next(batches)
    with pytest.raises(BoomError):
        next(batches)

    assert closed == [1]
    with pytest.raises(BoomError):
        next(batches)


def test_the_generator_behind_it_is_closed():
    closed = []

    def source():
        try:
            yield batch(1)
            yield batch(2)
        finally:
            closed.append(1)

    with Batches(SCHEMA, source()) as batches:
        next(batches)

    assert closed == [1]


def test_a_batch_of_another_schema_is_refused_by_name():
    batches = Batches(SCHEMA, [batch(1), pa.record_batch({"a": pa.array(["x"])})])
    next(batches)

    with pytest.raises(ConfigError, match="a: string instead of int64"):
        next(batches)


def test_an_error_keeps_its_identity_through_a_pyarrow_reader():
    reader = Batches(SCHEMA, failing()).reader()
    reader.read_next_batch()

    with pytest.raises(BoomError):
        reader.read_next_batch()


def test_an_error_keeps_its_identity_through_the_c_stream():
    """The consumer sees a text; what leaves the block is the source's error, traceback and all."""
    with pytest.raises(BoomError) as caught, Batches(SCHEMA, failing()) as batches:
        pa.RecordBatchReader.from_stream(batches).read_all()

    assert isinstance(caught.value.__cause__, pa.ArrowInvalid)
    assert "failing" in [each.name for each in caught.traceback]


def test_an_error_of_the_consumer_stays_its_own():
    def consume():
        with Batches(SCHEMA, failing()) as batches:
            next(batches)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        consume()


FORMS = {
    "batches": lambda: Batches(SCHEMA, [batch(1, 2)]),
    "reader": lambda: pa.RecordBatchReader.from_batches(SCHEMA, [batch(1, 2)]),
    "table": lambda: pa.table({"a": [1, 2]}),
    "batch": lambda: batch(1, 2),
    "list of batches": lambda: [batch(1), batch(2)],
    "iterator of tables": lambda: iter([pa.table({"a": [1]}), pa.table({"a": [2]})]),
    "pandas": lambda: pd.DataFrame({"a": [1, 2]}),
    "pandas, filtered": lambda: pd.DataFrame({"a": [1, 5, 2]}).query("a != 5"),
    "polars": lambda: pl.DataFrame({"a": [1, 2]}),
    "lazy polars": lambda: pl.LazyFrame({"a": [1, 2]}),
    "dicts": lambda: [{"a": 1}, {"a": 2}],
    "columns": lambda: {"a": [1, 2]},
}


@pytest.mark.parametrize("form", FORMS)
def test_rows_are_taken_in_any_form(form):
    table = Batches.of(FORMS[form]()).read_all()

    assert table.to_pydict() == {"a": [1, 2]}
    assert table.schema == SCHEMA


class OnlyStream:
    def __arrow_c_stream__(self, requested_schema=None):
        return pa.table({"a": [1, 2]}).__arrow_c_stream__(requested_schema)


class OnlyInterchange:
    def __dataframe__(self, **options):
        return pa.table({"a": [1, 2]}).__dataframe__(**options)


@pytest.mark.parametrize("value", [OnlyStream(), OnlyInterchange()])
def test_foreign_frames_are_taken_by_their_protocols(value):
    assert Batches.of(value).read_all().to_pydict() == {"a": [1, 2]}


def test_dicts_may_lack_keys_and_bring_new_ones():
    table = Batches.of([{"a": 1}, {"b": "x"}]).read_all()

    assert table.to_pydict() == {"a": [1, None], "b": [None, "x"]}


def test_a_named_index_is_a_column_and_strings_are_strings():
    table = Batches.of(pd.DataFrame({"a": ["x"]}, index=pd.Index([7], name="id"))).read_all()

    assert table.to_pydict() == {"a": ["x"], "id": [7]}
    assert pa.large_string() == Batches.of(pl.DataFrame({"a": ["x"]})).schema.field("a").type


def test_large_frames_come_in_slices_of_one_type():
    """A column that is empty in one slice and full in the next has one type."""
    values = [None] * 70_000 + ["x"]

    assert sum(1 for _ in Batches.of(pd.DataFrame({"a": pd.Series(values, dtype=object)}))) == 2


@pytest.mark.parametrize(
    "frame", [pd.DataFrame({"a": pd.Series([], dtype="int64")}), pl.DataFrame(schema={"a": pl.Int64})]
)
def test_an_empty_frame_has_its_columns(frame):
    assert Batches.of(frame).read_all().schema == SCHEMA


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"a,b", "xd.decode"),
        (7, "type int"),
        ([], "empty list"),
        ([1], "list of int"),
        (iter([1]), "list_iterator"),
        ([{"a": 1}, {"a": "x"}], "one type"),
    ],
)
def test_anything_else_is_an_error_that_says_what_to_give(value, text):
    with pytest.raises(ConfigError, match=text):
        Batches.of(value)


def test_map_counts_closes_and_enforces():
    closed = []
    batches = Batches(SCHEMA, [batch(1, 2), batch(3)], close=lambda: closed.append(1))

    assert batches.map(lambda each: each.slice(each.num_rows - 1)).read_all()["a"].to_pylist() == [2, 3]
    assert closed == [1]
    with pytest.raises(ConfigError, match="b: int64 instead of absent"):
        Batches(SCHEMA, [batch(1)]).map(lambda each: each.rename_columns(["b"])).read_all()


def test_polars_and_duckdb_like_readers_pull_it():
    assert pl.DataFrame(Batches(SCHEMA, [batch(0), batch(1)]))["a"].to_list() == [0, 1]


def test_the_module_loads_no_pyarrow_and_streaming_no_pandas():
    script = """
import sys
from crossdock.batches import Batches
assert "pyarrow" not in sys.modules
import pyarrow as pa
schema = pa.schema([("a", pa.int64())])
empty = pa.RecordBatch.from_arrays([pa.nulls(3, pa.int64())], schema=schema)
assert Batches(schema, [empty]).read_all().num_rows == 3
assert "pandas" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
