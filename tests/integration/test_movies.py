"""``movies.db`` (CC0, of bokeh_sampledata): two real SQLite tables to Parquet on GCS and into PostgreSQL, types and nulls exact.

What is expected is read by Python's own driver of SQLite; Parquet is read by pyarrow from the server's memory, PostgreSQL by its catalogue
and by plain queries. ``test_sql_movies.py`` does the same with every type there is and rows that are made.
"""

from __future__ import annotations

import io
import sqlite3
from importlib import resources

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from postgres_server import postgres  # noqa: F401 - a fixture

import crossdock as xd

COUNT = 17_472
ARROW = {"INTEGER": pa.int64(), "REAL": pa.float64(), "TEXT": pa.string()}
POSTGRESQL = {"INTEGER": "bigint", "REAL": "double precision", "TEXT": "text"}


@pytest.fixture(scope="module")
def movies():
    """Where the database is; what is in it: by table, the declared type of each column and the rows in the order of their key."""
    found = resources.files("bokeh_sampledata") / "_data" / "movies.db"
    with resources.as_file(found) as path, sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        held = {}
        for name in ("omdb", "tomatoes"):
            kinds = {row[1]: row[2] for row in database.execute(f"PRAGMA table_info({name})")}
            held[name] = kinds, database.execute(f"SELECT * FROM {name} ORDER BY ID").fetchall()  # noqa: S608
    database.close()
    return str(found), held


@pytest.mark.parametrize("name", ["omdb", "tomatoes"])
def test_to_parquet_and_into_postgresql(movies, gcs, postgres, name):  # noqa: F811
    path, held = movies
    kinds, rows = held[name]
    url, options, server, bucket = gcs
    warehouse = postgres.fresh()
    source = xd.source(f"sqlite://{path}")
    to_parquet = xd.sink(url, **options).combine(
        source.bind(name), stitch_function=xd.encode("parquet"), key=f"{name}.parquet"
    )
    upsert = xd.sink(warehouse, **postgres.options).combine(
        source.bind(name), table=name, mode="upsert", key="ID"
    )
    written, loaded = to_parquet(), upsert()
    where_rows_are = f"SELECT ctid::text, xmin::text FROM {name} ORDER BY 1"  # noqa: S608
    places = postgres.rows(where_rows_are, warehouse)
    again = upsert()
    parquet = pq.read_table(io.BytesIO(server.objects(bucket)[f"{name}.parquet"].data))
    columns = postgres.rows(
        "SELECT column_name::text, data_type::text FROM information_schema.columns "  # noqa: S608
        f"WHERE table_name = '{name}' ORDER BY ordinal_position",
        warehouse,
    )
    wanted = ", ".join(f'"{column}"' for column in kinds)
    in_table = postgres.rows(f'SELECT {wanted} FROM {name} ORDER BY "ID"', warehouse)  # noqa: S608

    assert len(rows) == COUNT
    assert written.size == len(server.objects(bucket)[f"{name}.parquet"].data)
    assert {column: ARROW[kind] for column, kind in kinds.items()} == dict(
        zip(parquet.schema.names, parquet.schema.types, strict=True)
    )
    assert rows == [*zip(*(column.to_pylist() for column in parquet.sort_by("ID").columns), strict=True)]
    assert [(column, POSTGRESQL[kind]) for column, kind in kinds.items()] == columns
    assert rows == in_table
    assert (loaded.rows, loaded.rows_changed) == (COUNT, COUNT)
    assert (again.rows, again.rows_changed) == (COUNT, 0)
    assert places == postgres.rows(where_rows_are, warehouse)


def test_the_tables_are_worth_it(movies):
    """Columns of nulls only, of some and of none; of each type."""
    _, held = movies
    nulls = {
        kind: {sum(value is None for value in column) for column in columns}
        for kinds, rows in held.values()
        for kind, columns in _by_kind(kinds, rows).items()
    }

    assert all(min(found) < max(found) for found in nulls.values())
    assert COUNT in nulls["INTEGER"]
    assert COUNT in nulls["TEXT"]


def _by_kind(kinds, rows):
    columns = dict(zip(kinds, zip(*rows, strict=True), strict=True))
    return {kind: [columns[name] for name in kinds if kinds[name] == kind] for kind in {*kinds.values()}}
