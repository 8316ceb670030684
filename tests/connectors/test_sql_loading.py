"""A load of many units: each once over restarts and twins, visible all at once, published once, nothing left."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest
from postgres_server import postgres  # noqa: F401 - a fixture

import crossdock as xd
from crossdock.batches import Batches
from crossdock.connectors.sql.left import discard_left, loads_left
from crossdock.errors import ConfigError, ExistsError, IntegrityError, PreconditionError, RowError

SCHEMA = pa.schema([("id", pa.int64()), ("name", pa.string())])


def unit(number, size=10):
    ids = range(number * size, (number + 1) * size)
    return pa.table({"id": ids, "name": [f"n{each}" for each in ids]}, SCHEMA)


def whole(units, size=10):
    return [{"id": each, "name": f"n{each}"} for each in range(units * size)]


class Place:
    def __init__(self, url, options=None, back_door=None):
        self.url, self.options, self.back_door = url, options or {}, back_door

    @property
    def sink(self):
        return xd.sink(self.url, **self.options)

    def load(self, load_id="run-1", table="t", schema=SCHEMA, **more):
        return self.sink.load(table, load_id=load_id, schema=schema, **more)

    def rows(self, table="t"):
        source = xd.source(self.url, **self.options)
        return source(table).read_all().sort_by("id").to_pylist() if source.has(table) else []

    def tables(self):
        return [*xd.source(self.url, **self.options).list()]


@pytest.fixture
def pg(postgres):  # noqa: F811
    url = postgres.fresh()
    return Place(url, postgres.options, lambda sql: postgres.rows(sql, url))


def opened(request, tmp_path):
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        return Place(server.url(), server.options | {"schema": server.fresh_schema()})
    return Place(f"{request.param}://{tmp_path}/t.db")


@pytest.fixture(params=["postgresql", "sqlite", "duckdb"])
def place(request, tmp_path):
    return opened(request, tmp_path)


@pytest.fixture(params=["postgresql", "sqlite"])
def on_disk(request, tmp_path):
    """Without DuckDB, whose import alone would take most of a test."""
    return opened(request, tmp_path)


def left(place):
    return [each for each in loads_left(place.sink.database) if each.table.endswith("t")]


def dying(table):
    def batches():
        yield from table.to_batches(max_chunksize=6)
        raise OSError(5, "the source is gone")

    return Batches(table.schema, batches())


# -- once, and at once


def test_a_load_in_the_search_path_is_found_and_removed(pg):
    """Begun without a schema: found with it."""
    load = pg.load()
    load.begin()
    load(unit(0), unit="0")
    (found,) = left(pg)
    discard_left(pg.sink.database, found)

    assert (str(found.staging), found.table, found.rows) == ("public.crossdock_load_run-1", "t", 10)
    assert left(pg) == []


def test_units_become_visible_together_and_each_once(place):
    """Staged twice, begun twice, published twice: every row is there once, and nothing is left beside the table."""
    load = place.load()
    assert load.begin().units == 0
    for number in range(3):
        staged = load(unit(number), unit=str(number))
        again = load(dying(unit(number)), unit=str(number))  # not even read
        assert (staged.rows, staged.method, again.rows, again.method) == (10, "stage", 10, "skip")
        assert place.rows() == []
    assert (place.load().begin().units, place.load().begin().rows) == (3, 30)
    published = load.publish(units=3, rows=30)
    again = place.load().publish(units=3, rows=30)

    assert (published.rows, published.rows_changed, published.method) == (30, 30, "append")
    assert (again.rows, again.rows_changed, again.method) == (30, 0, "skip")
    assert place.load().begin().is_published
    assert place.rows() == whole(3)
    assert left(place) == []
    assert not any("crossdock" in each for each in place.tables())


def test_a_unit_whose_source_dies_is_not_there(place):
    load = place.load()
    load.begin()
    load(unit(0), unit="0")
    with pytest.raises(OSError, match="gone"):
        load(dying(unit(1)), unit="1")
    assert (load.standing().units, load.standing().rows) == (1, 10)
    with pytest.raises(IntegrityError, match="1 units with 10 rows are noted"):
        load.publish(units=2, rows=20)
    assert place.rows() == []
    load(unit(1), unit="1")
    load.publish(units=2, rows=20)

    assert place.rows() == whole(2)


def test_many_threads_load_at_once(place):
    """Where one may write at a time they take turns; nobody fails."""
    load = place.load()
    load.begin()
    with ThreadPoolExecutor(4) as pool:
        receipts = list(pool.map(lambda number: load(unit(number), unit=str(number)), range(8)))
    load.publish(units=8, rows=80)

    assert sum(each.rows for each in receipts) == 80
    assert place.rows() == whole(8)


def test_of_twins_one_counts(place):
    """Both have looked and found nothing; the one that commits later takes its rows back."""
    load = place.load()
    load.begin()
    meet = threading.Barrier(2, timeout=60)

    def together():
        yield from unit(0).to_batches()
        meet.wait()

    with ThreadPoolExecutor(2) as pool:
        twins = [pool.submit(load, Batches(SCHEMA, together()), unit="0") for _ in range(2)]
        methods = sorted(each.result(60).method for each in twins)
    load.publish(units=1, rows=10)

    assert methods == ["skip", "stage"]
    assert place.rows() == whole(1)


_WORKER = """
import pickle, sys, pyarrow as pa
from crossdock.batches import Batches
load = pickle.loads(sys.stdin.buffer.read())
def batches():
    yield pa.record_batch({"id": list(range(10)), "name": [f"n{n}" for n in range(10)]})
if sys.argv[1] == "publish":
    load.publish(units=1, rows=10)
else:
    load(Batches(load.schema, batches()), unit="0")
"""


@pytest.mark.parametrize("where", ["before-commit", "after-commit"])
@pytest.mark.parametrize("verb", ["stage", "publish"])
def test_killed_beside_the_commit(on_disk, verb, where):
    """SIGKILL just before or just after the commit of a unit, or of the end; then the same again."""
    place = on_disk
    load = place.load()
    load.begin()
    if verb == "publish":
        load(unit(0), unit="0")
    environment = os.environ | {"CROSSDOCK_CRASH_AT": where}
    killed = subprocess.run(
        [sys.executable, "-c", _WORKER, verb], input=pickle.dumps(load), env=environment, check=False
    )

    assert killed.returncode == -signal.SIGKILL
    assert place.rows() == (whole(1) if (verb, where) == ("publish", "after-commit") else [])
    load.begin()
    if verb == "stage":
        assert load(unit(0), unit="0").method == ("skip" if where == "after-commit" else "stage")
    load.publish(units=1, rows=10)
    assert place.rows() == whole(1)
    assert left(place) == []


# -- modes


def test_append_adds_to_what_is_there(place):
    place.sink(unit(0), "t")
    load = place.load()
    load.begin()
    load(unit(1), unit="1")
    load.publish(units=1, rows=10)

    assert place.rows() == whole(2)


def test_replace_keeps_the_old_rows_until_the_end(place):
    place.sink(unit(5), "t")
    load = place.load(mode="replace")
    load.begin()
    load(unit(0), unit="0")
    assert place.rows() == unit(5).to_pylist()
    load.publish(units=1, rows=10)

    assert place.rows() == whole(1)


def test_upsert_changes_only_what_differs(place):
    place.sink(unit(0), "t", key="id")
    load = place.load(mode="upsert", key="id")
    load.begin()
    load(unit(0).set_column(1, "name", pa.array(["new", *(f"n{n}" for n in range(1, 10))])), unit="0")
    load(unit(1), unit="1")
    first = load.publish(units=2, rows=20)
    other = place.load("run-2", mode="upsert", key="id")
    other.begin()
    other(unit(1), unit="1")
    second = other.publish(units=1, rows=10)

    assert (first.rows, first.rows_changed, second.rows_changed) == (20, 11, 0)
    assert place.rows() == [{"id": 0, "name": "new"}, *whole(2)[1:]]


def test_a_key_in_two_units_is_found_before_anything_moves(place):
    load = place.load(mode="upsert", key="id")
    load.begin()
    load(unit(0), unit="0")
    load(unit(0), unit="1")
    with pytest.raises(RowError, match="occurs 2 times"):
        load.publish(units=2, rows=20)

    assert place.rows() == []
    assert len(left(place)) == 1


def test_what_the_table_refuses_moves_nothing(place):
    place.sink(unit(0), "t", key="id")
    load = place.load()
    load.begin()
    load(unit(1), unit="1")
    load(unit(0), unit="0")
    with pytest.raises(ExistsError, match="upsert"):
        load.publish(units=2, rows=20)

    assert place.rows() == whole(1)


# -- what is found at the beginning


def test_what_cannot_end_well_does_not_begin(place):
    place.sink(unit(0), "t")
    with pytest.raises(ConfigError, match="unique index"):
        place.load(mode="upsert", key="id").begin()
    with pytest.raises(ConfigError, match="'other'"):
        place.load(schema=pa.schema([("other", pa.int64())])).begin()
    with pytest.raises(ConfigError, match="letters, digits"):
        place.load("a b")
    with pytest.raises(ConfigError, match="where a load waits"):
        place.load(table="crossdock_load_x")

    assert left(place) == []


def test_a_unit_of_other_columns_is_refused_by_name(place):
    load = place.load()
    load.begin()
    turned = load(unit(0).select(["name", "id"]), unit="0")  # the order is the load's
    with pytest.raises(ConfigError, match=r"'name' \(int64 and not string\)"):
        load({"id": [1], "name": [1]}, unit="1")
    load.publish(units=1, rows=10)

    assert turned.rows == 10
    assert place.rows() == whole(1)


def test_one_name_is_one_load(place):
    place.load().begin()
    with pytest.raises(ConfigError, match="another load's"):
        place.load(table="other").begin()
    with pytest.raises(ConfigError, match="another load's"):
        place.load(schema=SCHEMA.append(pa.field("more", pa.int64()))).begin()


# -- discarded


def test_a_load_that_is_discarded_leaves_nothing_and_takes_no_more(place):
    load = place.load()
    load.begin()
    load(unit(0), unit="0")
    (found,) = left(place)
    assert (found.load_id, found.units, found.rows) == ("run-1", 1, 10)
    discard_left(place.sink.database, found)
    load.discard()
    with pytest.raises(PreconditionError, match="discarded"):
        load(unit(1), unit="1")
    with pytest.raises(PreconditionError, match="discarded"):
        load.publish(units=1, rows=10)

    assert left(place) == []
    assert place.rows() == []


def test_a_straggler_after_the_end_is_told(place):
    load = place.load()
    load.begin()
    load(unit(0), unit="0")
    load.publish(units=1, rows=10)
    with pytest.raises(PreconditionError, match="discarded"):
        load(unit(1), unit="1")

    assert place.rows() == whole(1)


def test_rows_that_went_missing_are_found(pg):
    load = pg.load()
    load.begin()
    load(unit(0), unit="0")
    with pg.sink.database.session("break", to_write=True) as session:
        session.execute('DELETE FROM "crossdock_load_run-1" WHERE id = 3')
        session.commit()
    with pytest.raises(IntegrityError, match="9 rows are in the staging table"):
        load.publish(units=1, rows=10)

    assert pg.rows() == []


def test_types_of_the_table_are_kept(pg, postgres):  # noqa: F811
    """As in a single write: text becomes what only a cast makes of it, on the way from the staging table."""
    postgres.execute("CREATE TABLE t (id bigint, doc jsonb, total numeric)", pg.url)
    schema = pa.schema([("id", pa.int64()), ("doc", pa.string()), ("total", pa.decimal128(10, 2))])
    load = pg.load(schema=schema)
    load.begin()
    load({"id": [1], "doc": ['{"a": 1}'], "total": pa.array(["1.50"]).cast(pa.decimal128(10, 2))}, unit="0")
    load.publish(units=1, rows=1)

    assert pg.back_door("SELECT id, doc::text, total::text FROM t") == [(1, '{"a": 1}', "1.50")]


def test_numbers_of_any_length_pass_through_the_staging_table(pg, postgres):  # noqa: F811
    postgres.execute(
        "CREATE TABLE f AS SELECT 1 AS id, 12345678901234567890123456789012345678901234567890.5::numeric AS n",
        pg.url,
    )
    source = xd.source(pg.url, **pg.options)
    load = pg.load(schema=source.schema("f"))
    load.begin()
    load.begin()
    load(source("f"), unit="0")
    load.publish(units=1, rows=1)

    assert pg.back_door("SELECT pg_typeof(n)::text, n::text FROM t") == [
        ("numeric", "12345678901234567890123456789012345678901234567890.5")
    ]


def test_origins_are_remembered_with_what_they_gave(place):
    """Of this table, by every later load; not of a load that failed."""
    load = place.load()
    load.begin()
    load(unit(0), unit="0")
    with pytest.raises(IntegrityError):
        load.publish(units=1, rows=9, origins=["never"])
    load.publish(units=1, rows=10, origins=(f"s3://b/{number}" for number in range(2_500)))

    other = place.load("run-2")
    other.begin()
    other(unit(1), unit="0")
    with pytest.raises(ExistsError, match="1 of what was to be loaded"):
        other.publish(units=1, rows=10, origins=["new", "s3://b/7"], once=True)
    assert place.rows() == whole(1)
    assert place.load("run-2").loaded() == {f"s3://b/{number}" for number in range(2_500)}
    assert place.load("run-2", table="other").loaded() == set()


def test_columns_take_the_types_of_the_table_they_go_into(place):
    """But only where their own would not fit."""
    place.sink({"id": pa.array([1], pa.int64()), "at": pa.array([0], pa.timestamp("us")), "x": [0.5]}, "t")
    given = pa.schema([("id", pa.int32()), ("at", pa.string()), ("x", pa.float64()), ("new", pa.string())])

    assert place.load().suited(given) == given.set(1, pa.field("at", pa.timestamp("us")))
    assert place.load(mode="replace").suited(given) == given
    assert place.load(table="none").suited(given) == given
