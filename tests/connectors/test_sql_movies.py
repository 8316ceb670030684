"""Two tables of films, 17,472 rows each with every type and many nulls: SQLite -> PostgreSQL -> SQLite, equal at every stop."""

from __future__ import annotations

import datetime as dt
import hashlib
import random
from decimal import Decimal

import pyarrow as pa
import pytest
from postgres_server import postgres  # noqa: F401 - a fixture

import crossdock as xd
from crossdock.batches import Batches
from crossdock.combine import CombinedTask, one_task

COUNT = 17_472


def films(seed):
    """Seeded: the same rows every time."""
    chance = random.Random(seed)

    def some(make):
        return [None if chance.random() < 0.2 else make() for _ in range(COUNT)]

    epoch = dt.datetime.fromisoformat("1888-10-14")
    return pa.table(
        {
            "id": pa.array(range(COUNT), pa.int64()),
            "title": some(
                lambda: (
                    chance.choice(["Amélie", "", "7\N{SUPERSCRIPT TWO}", "'\"\\", "x" * 300])
                    + str(chance.random())
                )
            ),
            "year": pa.array(some(lambda: chance.randint(1888, 2026)), pa.int64()),
            "rating": pa.array(some(chance.random), pa.float64()),
            "box_office": pa.array(
                some(lambda: Decimal(chance.randint(-(10**16), 10**16)) / 100), pa.decimal128(18, 2)
            ),
            "released": pa.array(
                some(lambda: dt.date.fromordinal(chance.randint(690_000, 740_000))), pa.date32()
            ),
            "seen": pa.array(
                some(lambda: epoch + dt.timedelta(microseconds=chance.randint(0, 4 * 10**15))),
                pa.timestamp("us"),
            ),
            "added": pa.array(
                some(lambda: epoch + dt.timedelta(microseconds=chance.randint(0, 4 * 10**15))),
                pa.timestamp("us", "UTC"),
            ),
            "begins": pa.array(
                some(lambda: dt.time(chance.randint(0, 23), 59, 59, chance.randint(0, 999_999))),
                pa.time64("us"),
            ),
            "in_colour": pa.array(some(lambda: chance.random() < 0.5), pa.bool_()),
            "poster": pa.array(some(lambda: chance.randbytes(20)), pa.binary()),
            "nothing": pa.nulls(COUNT, pa.string()),
        }
    )


def digests(table):
    """One digest a column, of type, values and nulls, in the order of the key."""
    ordered = table.sort_by("id")
    return {name: digest(ordered.column(name)) for name in ordered.column_names}


def digest(column):
    """Text is unambiguous for each type, and quick."""
    plain = column if pa.types.is_binary(column.type) else column.cast(pa.string())
    return hashlib.sha256(f"{column.type} {plain.to_pylist()!r}".encode()).hexdigest()


@pytest.fixture(scope="module")
def tables():
    return {"omdb": films(1), "tomatoes": films(2)}


@pytest.fixture
def lake(tmp_path, tables):
    url = f"sqlite://{tmp_path}/movies.db"
    for name, rows in tables.items():
        assert xd.sink(url)(rows, name).rows == COUNT
    return xd.source(url)


def test_there_and_back_again(tmp_path, lake, tables, postgres):  # noqa: F811
    """In combined tasks, streamed: no table is whole in this process between the two. An upsert run again changes nothing."""
    url = postgres.fresh()
    warehouse = xd.sink(url, **postgres.options)
    back = xd.sink(f"sqlite://{tmp_path}/back.db")
    for name, rows in tables.items():
        into = CombinedTask(lake.bind(name), warehouse.bind(table=name, mode="upsert", key="id"))
        first, again = into(), into()
        with one_task("back") as home:
            back(xd.source(url, **postgres.options)(name), table=name)
        home()

        assert (first.rows, first.rows_changed) == (COUNT, COUNT)
        assert (again.rows, again.rows_changed) == (COUNT, 0)
        for place in (lake, xd.source(url, **postgres.options), xd.source(back.url)):
            assert digests(place(name).read_all()) == digests(rows)


def test_a_digest_sees_one_value_and_one_null(tables):
    """The oracle is worth something."""
    years = tables["omdb"].column("year").to_pylist()
    empty = years.index(None)
    same, one, null = years, [*years[:-1], (years[-1] or 0) + 1], [*years[:empty], 0, *years[empty + 1 :]]
    seen = [digest(pa.chunked_array([pa.array(each, pa.int64())])) for each in (years, same, one, null)]

    assert seen[0] == seen[1]
    assert len({*seen}) == 3


def test_a_source_that_dies_at_60_per_cent_leaves_no_row(lake, postgres):  # noqa: F811
    url = postgres.fresh()
    fetched = []

    def dying(batch):
        fetched.append(batch.num_rows)
        if sum(fetched) > 0.6 * COUNT:
            raise OSError(5, "the source is gone")
        return batch

    source = xd.source(lake.url, batch_rows=1_000)
    into = CombinedTask(
        source.bind("omdb"),
        xd.sink(url, **postgres.options).bind(table="omdb"),
        stitch_function=lambda rows: Batches(rows.schema, map(dying, rows), close=rows.close),
    )
    with pytest.raises(xd.TaskFailed, match="the source is gone"):
        into()

    assert 0.6 * COUNT < sum(fetched) < 0.7 * COUNT
    assert [*xd.source(url, **postgres.options).list()] == []
    assert postgres.rows("SELECT count(*) FROM pg_class WHERE relname LIKE '%staging%'", url) == [(0,)]
