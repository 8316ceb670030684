"""Slices of a table or of a query: every row in exactly one, of one state where the database can share it."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from postgres_server import postgres  # noqa: F401 - a fixture

import crossdock as xd
from crossdock.connectors.sql.names import TableName
from crossdock.connectors.sql.slicing import Bounds, Selection, cut, held, opened, schema_of
from crossdock.errors import ConfigError, CrossdockError, PreconditionError

ROWS = pa.table({"id": [None, *range(1, 100)], "name": [None, *(f"n{each:02}" for each in range(1, 100))]})
TABLE = Selection(table=TableName(table="t"))
QUERY = Selection(query='SELECT id, name FROM "t" WHERE id < 50 OR id IS NULL -- and no more')


@pytest.fixture(params=["postgresql", "sqlite", "duckdb"])
def database(request, tmp_path):
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        sink = xd.sink(server.fresh(), **server.options)
    else:
        sink = xd.sink(f"{request.param}://{tmp_path}/t.db")
    sink(ROWS, "t")
    return sink.database


@pytest.mark.parametrize("selection", [TABLE, QUERY], ids=["table", "query"])
@pytest.mark.parametrize("by", ["id", "name"])
@pytest.mark.parametrize("parts", [1, 7])
def test_slices_are_all_of_it(database, selection, by, parts):
    """Also after a way through JSON, as a run keeps them; rows that came meanwhile are in the last."""
    slices = cut(database, selection, by=by, parts=parts)
    kept = [Bounds.from_dict(json.loads(json.dumps(each.as_dict()))) for each in slices]
    found = [opened(database, selection, each).read_all() for each in kept]
    together = pa.concat_tables(found).sort_by("id")
    wanted = opened(database, selection, Bounds()).read_all().sort_by("id")

    assert kept == slices
    assert len(slices) == parts
    assert together.to_pylist() == wanted.to_pylist()
    assert wanted.num_rows == (100 if selection is TABLE else 50)
    assert all(each.schema == schema_of(database, selection) for each in found)


def test_columns_of_a_table(database):
    selection = Selection(table=TableName(table="t"), columns=("name",))
    slices = cut(database, selection, by="id", parts=3)
    found = pa.concat_tables([opened(database, selection, each).read_all() for each in slices])

    assert (found.column_names, found.num_rows) == (["name"], 100)


def test_mistakes(database):
    with pytest.raises(ConfigError, match="a column to cut by"):
        cut(database, TABLE, by=None, parts=2)
    with pytest.raises(ConfigError, match="at least 1"):
        cut(database, TABLE, by="id", parts=0)
    with pytest.raises(CrossdockError, match="none"):
        cut(database, TABLE, by="none", parts=2)
    with pytest.raises(ConfigError, match="one of the two"):
        Selection(table=TableName(table="t"), query="select 1")
    with pytest.raises(ConfigError, match="columns go with a table"):
        Selection(query="select 1", columns=("a",))


def test_a_held_state_is_seen_by_all(postgres):  # noqa: F811
    """Rows that are committed while slices are read are in none of them; afterwards the state is gone."""
    sink = xd.sink(postgres.fresh(), **postgres.options)
    sink(ROWS, "t")
    slices = cut(sink.database, TABLE, by="id", parts=2)
    with held(sink.database) as snapshot:
        first = opened(sink.database, TABLE, slices[0], snapshot=snapshot).read_all()
        sink({"id": [0, 1000], "name": ["late", "late"]}, "t")
        second = opened(sink.database, TABLE, slices[1], snapshot=snapshot).read_all()
        now = opened(sink.database, TABLE, slices[1]).read_all()
    with pytest.raises(PreconditionError, match="resume the run"):
        opened(sink.database, TABLE, slices[0], snapshot=snapshot)

    assert first.num_rows + second.num_rows == 100
    assert now.num_rows == second.num_rows + 1


def test_nothing_is_held_where_nothing_can_be(tmp_path):
    sink = xd.sink(f"sqlite://{tmp_path}/t.db")
    sink(ROWS, "t")
    with held(sink.database) as snapshot:
        assert snapshot is None
