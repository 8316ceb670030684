"""Tables in memory: read as often as asked for, collected up to a bound."""

from __future__ import annotations

import pickle

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import crossdock as xd
from crossdock.batches import Batches
from crossdock.combine import CombinedTask
from crossdock.errors import ConfigError, NotFoundError, UnsupportedError

ROWS = [{"a": 1, "b": "x"}, {"a": 2, "b": None}]
COLUMNS = {"a": [1, 2], "b": ["x", None]}


@pytest.mark.parametrize(
    "table",
    [ROWS, COLUMNS, pa.table(COLUMNS), pd.DataFrame(COLUMNS), pl.DataFrame(COLUMNS)],
    ids=type,
)
@pytest.mark.parametrize("form", ["arrow", "pandas", "polars", "rows"])
def test_any_frame_becomes_any_other(table, form):
    source = xd.frames(t=table)
    found = xd.collect(form)(source("t"))
    again = xd.collect("rows")(source("t"))

    assert [*source.list()] == ["t"]
    assert again == ROWS
    assert xd.collect("rows")(found) == ROWS


def test_a_frame_goes_through_a_combined_task_into_a_database_and_back(tmp_path):
    url = f"sqlite://{tmp_path}/t.db"
    into = CombinedTask(xd.frames(t=ROWS).bind("t"), xd.sink(url).bind(table="t"))
    back = CombinedTask(xd.source(url).bind("t"), xd.collect("rows").bind())

    assert into().rows == 2
    assert back() == ROWS


def test_more_than_the_bound_is_refused_and_the_rest_not_read():
    pulled, closed = [], []

    def batches():
        for number in range(100):
            pulled.append(number)
            yield pa.record_batch({"a": [number] * 1_000})

    rows = Batches(pa.schema([("a", pa.int64())]), batches(), close=lambda: closed.append(True))
    with pytest.raises(UnsupportedError, match="max_bytes"):
        xd.collect(max_bytes=20_000)(rows)

    assert (len(pulled), closed) == (3, [True])


def test_an_empty_table_keeps_its_columns():
    found = xd.collect()(xd.frames(t=pa.table(COLUMNS).slice(0, 0))("t"))

    assert (found.num_rows, found.column_names) == (0, ["a", "b"])


def test_mistakes_are_told():
    with pytest.raises(NotFoundError, match="the tables are t"):
        xd.frames(t=ROWS)("u")
    with pytest.raises(ConfigError, match="only once"):
        xd.frames(t=iter(pa.table(COLUMNS).to_batches()))("t")
    with pytest.raises(ConfigError, match="twice"):
        xd.frames({"t": ROWS}, t=ROWS)
    with pytest.raises(ConfigError, match="numpy"):
        xd.collect("numpy")
    with pytest.raises(ConfigError, match="positive"):
        xd.collect(max_bytes=0)


def test_both_are_recipes():
    source, sink = pickle.loads(pickle.dumps((xd.frames(t=ROWS), xd.collect("rows"))))  # noqa: S301 - our own bytes

    assert sink(source("t")) == ROWS
