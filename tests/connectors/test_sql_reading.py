"""Reading tables: exact values or an error, in batches, by ranges that are the whole table, from one state of it."""

from __future__ import annotations

import datetime as dt
import pickle
import sqlite3
from decimal import Decimal

import adbc_driver_sqlite
import hypothesis
import pyarrow as pa
import pytest
from hypothesis import strategies as st
from postgres_server import postgres  # noqa: F401 - a fixture

import crossdock as xd
from crossdock.combine import one_task, param
from crossdock.connectors.sql import KeyRange, TableName
from crossdock.connectors.sql.names import quoted
from crossdock.connectors.sql.ranges import cuts_of_whole_numbers, ranges_between
from crossdock.errors import ConfigError, MissingExtraError, NotFoundError, RowError, UnsupportedError


@pytest.fixture(scope="module")
def pg_url(postgres):  # noqa: F811
    return postgres.fresh()


@pytest.fixture
def pg(postgres, pg_url):  # noqa: F811
    return xd.source(pg_url, **postgres.options)


def read(source, query, **options):
    return source(query=query, **options).read_all()


# -- names


@hypothesis.given(table=st.text(min_size=1), schema=st.none() | st.text(min_size=1))
def test_a_table_name_reads_back(table, schema):
    if "\0" in f"{table}{schema}":
        with pytest.raises(ConfigError):
            TableName(table=table, schema=schema)
        return
    name = TableName(table=table, schema=schema)

    assert TableName.parse(str(name)) == name


@pytest.mark.parametrize(
    ("text", "schema", "table"),
    [
        ("t", None, "t"),
        ("s.t", "s", "t"),
        ('we"ird', None, 'we"ird'),
        ('"a.b"', None, "a.b"),
        ('s."a.b"', "s", "a.b"),
        ('"s""x"."t"', 's"x', "t"),
        ("s.t.u", "s", "t.u"),
    ],
)
def test_names_as_people_write_them(text, schema, table):
    assert TableName.parse(text) == TableName(schema=schema, table=table)


@pytest.mark.parametrize("text", ['"a', '"a"b', '"a"."b"."c"', "", ".t", "s."])
def test_what_is_no_name(text):
    with pytest.raises(ConfigError):
        TableName.parse(text)


def test_quotes_cannot_be_left():
    assert quoted('x"; drop table t; --') == '"x""; drop table t; --"'


# -- ranges


@hypothesis.given(
    st.lists(st.none() | st.integers(-50, 50)), st.lists(st.integers(-60, 60), unique=True).map(sorted)
)
def test_every_row_is_in_one_range(keys, cuts):
    """Whatever was cut where, and also for keys that were not there when it was cut."""
    ranges = ranges_between(TableName(table="t"), "k", cuts)

    assert [[_has(each, key) for each in ranges].count(True) for key in keys] == [1] * len(keys)


def _has(part, key):
    if key is None:
        return part.has_nulls
    return (part.start is None or key >= part.start) and (part.end is None or key < part.end)


@hypothesis.given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**64), st.integers(1, 20))
def test_cuts_lie_inside_and_grow(least, more, parts):
    cuts = cuts_of_whole_numbers(least, least + more, parts)

    assert cuts == sorted({*cuts})
    assert len(cuts) < parts
    assert all(least < each <= least + more for each in cuts)


@pytest.mark.parametrize("kind", ["postgresql", "sqlite", "duckdb"])
@pytest.mark.parametrize("by", ["n", "word", "day", "money", "moment", "raw"])
def test_a_table_is_split_without_loss(request, tmp_path, kind, by, postgres):  # noqa: F811
    """By any type; equal keys and nulls too. What is read is every row once."""
    count = 500
    rows = pa.table(
        {
            "n": pa.array([None if n % 50 == 0 else n // 3 - 80 for n in range(count)], pa.int64()),
            "word": pa.array([None if n % 70 == 0 else f"wo'rd \N{SNOWMAN} {n % 90}" for n in range(count)]),
            "day": pa.array([dt.date(2020, 1, 1) + dt.timedelta(n) for n in range(count)]),
            "money": pa.array([Decimal(n) / 100 for n in range(count)], pa.decimal128(10, 2)),
            "moment": pa.array([n * 1_000_001 for n in range(count)], pa.timestamp("us", "UTC")),
            "raw": pa.array([b"\0'%d" % n for n in range(count)]),
            "id": pa.array(range(count), pa.int64()),
        }
    )
    options = {}
    url = f"{kind}://{tmp_path}/t.db"
    if kind == "postgresql":
        url, options = postgres.url(), {**postgres.options, "schema": postgres.fresh_schema()}
    xd.sink(url, **options)(rows, "t")
    source = xd.source(url, **options)
    parts = source.split("t", by=by, parts=4)
    sent = pickle.loads(pickle.dumps(parts))  # noqa: S301 - our own bytes
    found = [source(part).read_all() for part in sent]

    assert len(parts) == 4
    assert sorted(pa.concat_tables(found).column("id").to_pylist()) == [*range(count)]
    assert all(each.num_rows < count / 2 for each in found)


def test_a_table_without_keys_is_one_range(tmp_path):
    url = f"sqlite://{tmp_path}/t.db"
    xd.sink(url)({"k": pa.array([None, None], pa.int64())}, "t")
    (part,) = xd.source(url).split("t", by="k", parts=8)

    assert part == KeyRange(table=TableName(table="t"), by="k", has_nulls=True)
    assert xd.source(url)(part).read_all().num_rows == 2


# -- PostgreSQL's types


def test_what_arrow_has_no_type_for_is_text_from_a_table_and_refused_in_a_query(pg, postgres, pg_url):  # noqa: F811
    postgres.execute(
        "CREATE TABLE strange AS SELECT '10.0.0.1'::inet AS place, 12.5::numeric::money AS price, 4000000000::oid AS id, "
        "'10:00+02'::timetz AS at, '[1,5)'::int4range AS span, b'101' AS bits, ARRAY[1.50, 2]::numeric[] AS sums",
        pg_url,
    )
    found = pg("strange").read_all().to_pylist()[0]

    assert found == {
        "place": "10.0.0.1/32",
        "price": "$12.50",
        "id": "4000000000",
        "at": "10:00:00+02",
        "span": "[1,5)",
        "bits": "101",
        "sums": ["1.50", "2"],
    }
    with pytest.raises(UnsupportedError, match=r"'place', 'price', 'id', 'at', 'span', 'bits'.*::text"):
        pg(query="SELECT * FROM strange")


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        ("infinity", "timestamp", "infinity"),
        ("-infinity", "timestamptz", "infinity"),
        ("infinity", "date", "infinity"),
        ("24:00", "time", "24:00"),
        ("NaN", "numeric(10, 2)", "decimal128"),
    ],
)
def test_what_has_no_place_in_arrow_is_loud_with_its_row(pg, value, kind, words):
    """The driver lets it run over into some date."""
    with pytest.raises(RowError, match=f"row 3, column 'x'.*{words}"):
        read(pg, f"SELECT x::{kind} AS x FROM (VALUES (NULL), (NULL), ('{value}')) AS v (x)")  # noqa: S608 - a test's


def test_arrays_of_several_dimensions_are_refused_rather_than_flattened(pg):
    with pytest.raises(UnsupportedError, match=r"'x'.*to_json"):
        pg(query="SELECT ARRAY[[1, 2], [3, 4]] AS x")

    assert read(pg, "SELECT ARRAY[1, NULL] AS x UNION ALL SELECT '{}'").to_pylist() == [
        {"x": [1, None]},
        {"x": []},
    ]


def test_numbers_have_the_precision_they_were_declared_with(pg):
    found = read(pg, "SELECT 1.5::numeric(10, 2) AS a, 1.50::numeric AS b, 7::numeric(60, 0) AS c")

    assert found.schema.types == [pa.decimal128(10, 2), pa.string(), pa.decimal256(60, 0)]
    assert found.to_pylist() == [{"a": Decimal("1.50"), "b": "1.50", "c": Decimal(7)}]


def test_parameters_are_values_and_not_text(pg):
    found = read(pg, "SELECT $1::text AS a, $2::bigint AS b", parameters=["'; drop table t; --", 5])

    assert found.to_pylist() == [{"a": "'; drop table t; --", "b": 5}]


def test_a_query_is_not_committed(pg, postgres, pg_url):  # noqa: F811
    """A source only reads, whatever the statement says."""
    postgres.execute("CREATE TABLE kept AS SELECT 1 AS a", pg_url)
    read(pg, "DELETE FROM kept RETURNING a")

    assert postgres.rows("SELECT count(*) FROM kept", pg_url) == [(1,)]


def test_tables_are_listed_by_names_that_open(pg, postgres, pg_url):  # noqa: F811
    postgres.execute('CREATE SCHEMA "Od.d"; CREATE TABLE "Od.d"."na""me" AS SELECT 1 AS a', pg_url)
    listed = [*pg.list()]

    assert '"Od.d"."na""me"' in listed
    assert pg('"Od.d"."na""me"').read_all().num_rows == 1
    assert not any(each.startswith(("pg_", "information_schema")) for each in listed)
    assert [*xd.source(pg_url, **postgres.options, schema="Od.d").list()] == ['"Od.d"."na""me"']


def test_columns_may_be_chosen(pg, postgres, pg_url):  # noqa: F811
    postgres.execute("CREATE TABLE wide AS SELECT 1 AS a, 2 AS b, 3 AS c", pg_url)

    assert pg("wide", columns=["c", "a"]).read_all().to_pylist() == [{"c": 3, "a": 1}]
    assert pg.schema("wide").names == ["a", "b", "c"]
    assert (pg.has("wide"), pg.has("narrow")) == (True, False)


# -- SQLite


@pytest.fixture
def others(tmp_path):
    """A database as somebody else wrote it; its source."""
    path = tmp_path / "others.db"

    def make(script, *rows):
        with sqlite3.connect(path) as connection:
            connection.executescript(script)
            for row in rows:
                connection.execute(*row)
        connection.close()
        return xd.source(f"sqlite://{path}")

    return make


def test_columns_are_what_they_hold(others):
    """Also where the first thousands of rows are null, and where nothing is declared."""
    source = others(
        "CREATE TABLE t (a INTEGER, b TEXT, c, d NUMERIC, e BOOLEAN, f DATETIME, g DECIMAL(10, 2), h);"
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) INSERT INTO t SELECT "
        "NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM n;"
        "INSERT INTO t VALUES (1, 'x', x'00ff', 2.5, 1, '2020-01-02 03:04:05.678', 3, NULL)"
    )
    found = source("t").read_all()

    assert found.schema.types == [
        *(pa.int64(), pa.string(), pa.binary(), pa.float64(), pa.bool_(), pa.timestamp("us")),
        *(pa.int64(), pa.string()),
    ]
    assert found.slice(5000).to_pylist() == [
        {
            "a": 1,
            "b": "x",
            "c": b"\0\xff",
            "d": 2.5,
            "e": True,
            "g": 3,
            "h": None,
            "f": dt.datetime.fromisoformat("2020-01-02 03:04:05.678"),
        }
    ]


@pytest.mark.parametrize(
    ("declared", "values"),
    [
        ("", "(1), ('x')"),
        ("", "(1.5), ('x')"),
        ("", "(x'00'), (1)"),
        ("INTEGER", "(1), ('x')"),
        ("NUMERIC", "(0.5), (9007199254740993)"),
    ],
)
def test_a_column_of_several_kinds_is_refused_by_name(others, declared, values):
    """The driver would make text of numbers, and lose digits."""
    source = others(f"CREATE TABLE t (k {declared}); INSERT INTO t VALUES {values}")  # noqa: S608 - a test's
    with pytest.raises(UnsupportedError, match="'k'"):
        source("t").read_all()


def test_a_column_that_changes_its_kind_late_is_refused(others):
    source = others(
        "CREATE TABLE t (k INTEGER);"
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000) INSERT INTO t SELECT i FROM n;"
        "INSERT INTO t VALUES ('x')"
    )
    with pytest.raises(xd.StorageError, match=r"(?i)mismatch"):
        source("t").read_all()


def test_a_declaration_that_is_not_kept_is_told_and_can_be_put_aside(others):
    source = others(
        "CREATE TABLE t (day DATE, ok BOOLEAN); INSERT INTO t VALUES ('2020-01-01', 1), ('soon', 2)"
    )
    with pytest.raises(RowError, match=r"row 2, column 'day': 'soon'.*declared_types=False"):
        source("t").read_all()
    plain = xd.source(source.url, declared_types=False)("t").read_all()

    assert plain.to_pylist() == [{"day": "2020-01-01", "ok": 1}, {"day": "soon", "ok": 2}]


def test_a_query_keeps_its_order_and_its_parameters(others):
    source = others("CREATE TABLE t (a INTEGER, b TEXT); INSERT INTO t VALUES (1, 'x'), (3, NULL), (2, 'y')")
    found = read(source, "SELECT a, b FROM t WHERE a < ? ORDER BY a DESC;", parameters=[9])

    assert found.to_pylist() == [{"a": 3, "b": None}, {"a": 2, "b": "y"}, {"a": 1, "b": "x"}]
    with pytest.raises(UnsupportedError, match="one name"):
        source(query="SELECT a, a FROM t")


def test_a_file_that_is_not_there_is_not_made(tmp_path):
    for kind in ("sqlite", "duckdb"):
        with pytest.raises(NotFoundError, match="no such file"):
            xd.source(f"{kind}://{tmp_path}/none.db")("t")

    assert [*tmp_path.iterdir()] == []


# -- others


def test_any_driver_can_be_read_from(tmp_path):
    """By the path of its library, here SQLite's."""
    with sqlite3.connect(tmp_path / "t.db") as connection:
        connection.executescript('CREATE TABLE "a""b" (x INTEGER); INSERT INTO "a""b" VALUES (1), (2)')
    connection.close()
    options = {"driver": adbc_driver_sqlite._driver_path(), "db_kwargs": {"uri": str(tmp_path / "t.db")}}
    source = xd.source("adbc+sqlite://", **options)

    assert source('a"b').read_all().to_pylist() == [{"x": 1}, {"x": 2}]
    assert read(source, 'SELECT x FROM "a""b" WHERE x > 1').num_rows == 1
    with pytest.raises(ConfigError, match="source only"):
        xd.sink("adbc+sqlite://", **options)
    with pytest.raises(UnsupportedError, match="name the table"):
        source.list()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda source: source(), "one of the two"),
        (lambda source: source("t", query="select 1"), "one of the two"),
        (lambda source: source("t", parameters=[1]), "parameters go with"),
        (lambda source: source(query="select 1", columns=["a"]), "columns go with"),
        (lambda source: source("t", columns=[]), "names none"),
        (lambda source: source.split("t", by="a", parts=0), "at least 1"),
        (lambda _: xd.source("sqlite://"), "no database"),
        (lambda _: xd.source("sqlite://:memory:"), "in memory"),
        (lambda _: xd.source("adbc+://"), "no driver"),
        (lambda _: xd.source("sqlite:///x.db", declared_type=True), "did you mean 'declared_types'"),
        (lambda _: xd.copy("sqlite:///x.db", "memory://b/k"), "tables, not objects"),
    ],
)
def test_mistakes_are_told(call, words):
    with pytest.raises(ConfigError, match=words):
        call(xd.source("sqlite:///nowhere.db"))


def test_a_missing_driver_is_named_with_the_command_that_installs_it(monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "duckdb", None)
    monkeypatch.delitem(sys.modules, "crossdock.connectors.sql.duck", raising=False)
    with pytest.raises(MissingExtraError, match=r"duckdb.*pip install 'crossdock\[duckdb\]'"):
        xd.sink(f"duckdb://{tmp_path}/t.db")({"a": [1]}, "t")


# -- together


def test_parts_of_a_table_are_mapped_from_one_database_into_another(tmp_path, pg, postgres, pg_url):  # noqa: F811
    """A combined task, mapped over ranges: each part appended once, also when all of it is run again."""
    rows = pa.table({"id": range(5_000), "text": [f"t{n}" for n in range(5_000)]})
    xd.sink(pg_url, **postgres.options)(rows, "mapped")
    sink = xd.sink(f"sqlite://{tmp_path}/t.db")
    with one_task("part") as part:
        sink(pg(param("part")), table="mapped", batch_id=param("name"))
    parts = pg.split("mapped", by="id", parts=5)
    for _ in range(2):
        result = part.map(part=parts, name=[str(each) for each in parts])
        result.raise_if_failed()
    found = xd.source(sink.url)("mapped").read_all().sort_by("id")

    assert found.equals(rows.cast(found.schema))
    assert sum(each.rows_changed for each in result.results()) == 0
