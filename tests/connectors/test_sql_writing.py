"""Writing tables: one transaction, upserts that change nothing twice, batches that are appended once, kills that leave nothing."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import pyarrow as pa
import pytest
from postgres_server import postgres  # noqa: F401 - a fixture

import crossdock as xd
from crossdock.batches import Batches
from crossdock.errors import (
    ConfigError,
    CredentialsError,
    ExistsError,
    NotFoundError,
    Retry,
    RowError,
)

ROWS = pa.table({"id": [1, 2, 3], "name": ["a", None, "c"], "amount": [1.5, None, 2.5]})


class Place:
    """A database with its options, and what is in it."""

    def __init__(self, url, options=None, back_door=None):
        self.url = url
        self.options = options or {}
        self.back_door = back_door

    @property
    def source(self):
        return xd.source(self.url, **self.options)

    @property
    def sink(self):
        return xd.sink(self.url, **self.options)

    def rows(self, table="t"):
        found = self.source(table).read_all()
        return found.sort_by(found.column_names[0]).to_pylist()

    def tables(self):
        return [*self.source.list()]


@pytest.fixture
def pg(postgres):  # noqa: F811
    url = postgres.fresh()
    return Place(url, postgres.options, lambda sql: postgres.rows(sql, url))


@pytest.fixture(params=["postgresql", "sqlite", "duckdb"])
def place(request, tmp_path):
    if request.param == "postgresql":
        return request.getfixturevalue("pg")
    return Place(f"{request.param}://{tmp_path}/t.db")


def dying(after):
    def batches():
        yield from ROWS.to_batches()
        for number in range(after):
            yield pa.RecordBatch.from_pylist([{"id": 100 + number, "name": "x", "amount": 0.0}], ROWS.schema)
        raise OSError(5, "the source is gone")

    return Batches(ROWS.schema, batches())


# -- upsert


def test_an_upsert_run_again_changes_nothing(place):
    first = place.sink(ROWS, "t", mode="upsert", key="id")
    again = place.sink(ROWS, "t", mode="upsert", key="id")
    changed = ROWS.set_column(1, "name", pa.array(["a", "b", "c"]))
    third = place.sink(changed.slice(1), "t", mode="upsert", key=["id"])

    assert (first.rows, first.rows_changed) == (3, 3)
    assert (again.rows, again.rows_changed) == (3, 0)
    assert (third.rows, third.rows_changed) == (2, 1)
    assert changed.to_pylist() == place.rows()


def test_an_upsert_by_two_columns_that_are_all_there_is(place):
    pairs = pa.table({"a": [1, 1], "b": ["x", "y"]})
    place.sink(pairs, "t", mode="upsert", key=["a", "b"])

    assert place.sink(pairs, "t", mode="upsert", key=["a", "b"]).rows_changed == 0
    assert len(place.rows()) == 2


def test_a_key_that_occurs_twice_is_refused(place):
    place.sink(ROWS, "t", mode="upsert", key="id")
    doubled = pa.table({"id": [7, 8, 7], "name": ["x"] * 3, "amount": [0.0] * 3})
    with pytest.raises(RowError, match=r"id=7 occurs 2 times"):
        place.sink(doubled, "t", mode="upsert", key="id")
    with pytest.raises(RowError, match=r"null: id=None"):
        place.sink({"id": pa.array([None], pa.int64())}, "t", mode="upsert", key="id")

    assert ROWS.to_pylist() == place.rows()


def test_a_key_that_is_there_already_is_refused_by_append(place):
    place.sink(ROWS, "t", key="id")
    with pytest.raises(ExistsError, match="upsert"):
        place.sink(ROWS.slice(2), "t")

    assert ROWS.to_pylist() == place.rows()


def test_an_upsert_without_an_index_says_so(place):
    place.sink(ROWS, "t")
    with pytest.raises(ConfigError, match="unique index"):
        place.sink(ROWS, "t", mode="upsert", key="id")


def test_json_is_compared_as_text(pg):
    rows = pa.table({"id": [1], "doc": pa.array(['{"a": 1}'], pa.json_())})
    pg.sink(rows, "t", mode="upsert", key="id")

    assert pg.sink(rows, "t", mode="upsert", key="id").rows_changed == 0


# -- appended once


def test_a_batch_is_appended_once(place):
    first = place.sink(ROWS, "t", batch_id="2026-11-21")
    again = place.sink(dying(0), "t", batch_id="2026-11-21")  # not even read
    other = place.sink(ROWS, "t", batch_id="2026-11-22")

    assert (first.method, first.rows, first.rows_changed) == ("append", 3, 3)
    assert (again.method, again.rows, again.rows_changed) == ("skip", 3, 0)
    assert other.rows_changed == 3
    assert len(place.rows()) == 6
    assert not any("crossdock" in each for each in place.tables())


def test_a_batch_that_failed_was_not_appended(place):
    with pytest.raises(OSError, match="gone"):
        place.sink(dying(5), "t", batch_id="one")
    place.sink(ROWS, "t", batch_id="one")

    assert ROWS.to_pylist() == place.rows()


def test_the_same_batch_twice_at_once_is_appended_once(pg):
    """The second waits for the first to commit, and then adds nothing."""
    pg.sink(ROWS, "t")
    receipts, meet = [], threading.Barrier(2, timeout=60)

    def together():
        yield from ROWS.to_batches()
        meet.wait()  # both have looked for the batch, and found none

    def append():
        receipts.append(pg.sink(Batches(ROWS.schema, together()), "t", batch_id="one"))

    threads = [threading.Thread(target=append) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(90)

    assert sorted(each.method for each in receipts) == ["append", "skip"]
    assert len(pg.rows()) == 6


@pytest.mark.parametrize(
    ("batch_id", "retry", "hint"),
    [(None, Retry.NEVER, "unknown.*batch_id"), ("one", Retry.LATER, "reachable")],
)
def test_a_lost_commit_is_tried_again_only_where_that_is_safe(pg, postgres, batch_id, retry, hint):  # noqa: F811
    """A trigger that runs in the commit ends the server's side of the connection."""
    pg.sink(ROWS, "t")
    body = "BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END"
    postgres.execute(f"CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS '{body}'", pg.url)
    deferred = "AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION die()"
    postgres.execute(f"CREATE CONSTRAINT TRIGGER dies {deferred}", pg.url)
    with pytest.raises(xd.ConnectionLostError, match=hint) as caught:
        pg.sink(ROWS, "t", batch_id=batch_id)

    assert caught.value.operation == "commit"
    assert caught.value.retry is retry


# -- nothing is left


def test_a_source_that_dies_leaves_no_table(place):
    with pytest.raises(OSError, match="the source is gone"):
        place.sink(dying(5), "t", mode="replace")

    assert place.tables() == []
    place.sink(ROWS, "t")
    with pytest.raises(OSError, match="the source is gone"):
        place.sink(dying(5), "t")
    assert ROWS.to_pylist() == place.rows()
    assert len(place.tables()) == 1


_WRITER = """
import pickle, sys, pyarrow as pa
from crossdock.batches import Batches
sink = pickle.loads(sys.stdin.buffer.read())
def batches():
    batch = pa.record_batch({"id": list(range(100_000)), "name": ["x" * 50] * 100_000})
    while True:
        yield batch
        print("a batch is on its way", flush=True)
sink(Batches(pa.schema([("id", pa.int64()), ("name", pa.string())]), batches()), "t")
"""


def test_a_killed_writer_leaves_nothing(place):
    """SIGKILL in the middle: no row, no staging table, no lock; the same call goes through afterwards."""
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ
    ) as writer:
        writer.stdin.write(pickle.dumps(place.sink))
        writer.stdin.close()
        for _ in range(3):
            assert writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        writer.wait(30)

    assert place.tables() == []
    if place.back_door is not None:
        _until(
            lambda: (
                place.back_door("SELECT count(*) FROM pg_class WHERE relname LIKE 'crossdock%'")[0][0] == 0
            )
        )
    place.sink(ROWS, "t")
    assert ROWS.to_pylist() == place.rows()


def _until(holds):
    """The server notices on its own that a client is gone, soon."""
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        threading.Event().wait(0.01)


def test_readers_see_the_old_rows_until_the_end(pg):
    """Also while a replacement is staged; and a reader that began before it keeps what it saw."""
    pg.sink(ROWS, "t")
    seen = []

    def watched():
        for batch in ROWS.slice(0, 1).to_batches():
            yield batch
            seen.append(len(pg.rows()))

    with pg.source.database.session("read") as reader:
        before = reader.rows('SELECT count(*) FROM "t"')
        pg.sink(Batches(ROWS.schema, watched()), "t", mode="replace")
        after = reader.rows('SELECT count(*) FROM "t"')

    assert seen == [3]
    assert [(3,)] == before == after
    assert len(pg.rows()) == 1


def test_a_replacement_keeps_a_table_with_the_same_columns(pg, postgres):  # noqa: F811
    """With its indexes, views and rights; with other columns it is made anew."""
    pg.sink(ROWS, "t", key="id")
    postgres.execute("CREATE VIEW v AS SELECT count(*) AS n FROM t", pg.url)
    pg.sink(ROWS.slice(1), "t", mode="replace")

    assert pg.rows("v") == [{"n": 2}]
    with pytest.raises(xd.StorageError, match="view v depends on table t") as caught:
        pg.sink({"other": [1]}, "t", mode="replace")
    assert "\n" not in str(caught.value)
    assert pg.rows("v") == [{"n": 2}]


@pytest.mark.parametrize("change", ["DROP COLUMN name", "ALTER COLUMN name TYPE int USING 1"])
def test_a_table_that_changes_meanwhile_is_looked_at_again(pg, postgres, change):  # noqa: F811
    """No lock is held on it while rows are on their way; what does not fit any more is refused by name."""
    pg.sink(ROWS, "t")

    def changing():
        yield from ROWS.to_batches()
        postgres.execute(f"ALTER TABLE t {change}", pg.url)

    with pytest.raises(ConfigError, match="'name'"):
        pg.sink(Batches(ROWS.schema, changing()), "t")

    assert pg.back_door("SELECT count(*) FROM t") == [(3,)]


@pytest.mark.parametrize("mode", ["append", "upsert", "replace"])
def test_several_that_make_a_table_at_once_take_turns(place, mode):
    """None of them saw it when it began; rows of all are there, or of one where each replaces."""
    meet = threading.Barrier(4, timeout=60)
    failures = []

    def write(number):
        def batches():
            yield pa.record_batch({"id": [number]})
            meet.wait()

        rows = Batches(pa.schema([("id", pa.int64())]), batches())
        for _ in range(20):
            try:
                place.sink(rows, "t", mode=mode, key="id")
                return
            except xd.CrossdockError as error:  # DuckDB lets the second fail rather than wait
                failures.append(error)
                if error.retry is not Retry.LATER:
                    return
                rows = Batches.of({"id": [number]})

    threads = [threading.Thread(target=write, args=[number]) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(90)

    found = [row["id"] for row in place.rows()]
    assert [str(each) for each in failures if each.retry is not Retry.LATER] == []
    assert place.url.startswith("duckdb") or not failures
    if mode == "replace":
        assert len(found) == 1
    else:
        assert found == [0, 1, 2, 3]


# -- tables that others made


def test_rows_go_into_a_table_of_ours_made_by_others(pg, postgres):  # noqa: F811
    """Text becomes what only a cast makes of it; ranges and lengths are the database's to refuse, loudly."""
    postgres.execute(
        "CREATE TYPE mood AS ENUM ('good', 'bad'); "
        "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY, small smallint, doc jsonb, who uuid, how mood, "
        "total numeric, short varchar(3), made timestamptz DEFAULT now())",
        pg.url,
    )
    who = "00000000-0000-0000-0000-000000000001"
    good = {"small": [1], "doc": ['{"a": 1}'], "who": [who], "how": ["good"], "total": [12], "short": ["abc"]}
    pg.sink(good, "t")
    with pytest.raises(xd.StorageError, match="too long"):
        pg.sink({"short": ["abcd"]}, "t")
    with pytest.raises(xd.StorageError, match="out of range"):
        pg.sink({"small": [40_000]}, "t")
    with pytest.raises(xd.StorageError, match="invalid input value for enum"):
        pg.sink({"how": ["so-so"]}, "t")

    found = pg.back_door(
        "SELECT small, doc::text, who::text, how::text, total::text, short, made IS NULL FROM t"
    )
    assert found == [(1, '{"a": 1}', who, "good", "12", "abc", False)]


def test_a_column_that_must_not_be_null_is_missed_before_the_first_row(pg, postgres):  # noqa: F811
    postgres.execute("CREATE TABLE t (id int NOT NULL, name text)", pg.url)
    with pytest.raises(ConfigError, match="'id'"):
        pg.sink({"name": ["x"]}, "t")


def test_numbers_of_any_length_stay_numbers(pg, postgres):  # noqa: F811
    """``numeric`` without a precision: text that knows what it is, from one table into the next."""
    long = "1" * 200 + "." + "2" * 200
    postgres.execute(
        f"CREATE TABLE t AS SELECT {long}::numeric AS n UNION ALL SELECT 'NaN' UNION ALL SELECT NULL", pg.url
    )
    pg.sink(pg.source("t"), "copy")
    found = pg.back_door("SELECT pg_typeof(n)::text, n::text FROM copy ORDER BY n")

    assert found == [("numeric", long), ("numeric", "NaN"), ("numeric", None)]


# -- mistakes


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "merge"}, "append"),
        ({"mode": "upsert"}, "key"),
        ({"mode": "upsert", "key": ["nope"]}, "'nope'"),
        ({"mode": "replace", "batch_id": "x"}, "batch_id"),
        ({"batch_id": ""}, "200"),
        ({"key": ["id", "id"]}, "twice"),
        ({"table": "crossdock_batches"}, "notes"),
    ],
)
def test_mistakes_are_told_before_anything_is_read(tmp_path, options, words):
    closed = []
    rows = Batches(ROWS.schema, ROWS.to_batches(), close=lambda: closed.append(True))
    with pytest.raises(ConfigError, match=words):
        xd.sink(f"sqlite://{tmp_path}/t.db")(rows, **{"table": "t", **options})

    assert (rows.rows, closed) == (0, [True])


def test_a_name_that_postgresql_would_cut_is_refused(pg):
    with pytest.raises(xd.UnsupportedError, match="63 bytes"):
        pg.sink(ROWS, "t" * 64)
    with pytest.raises(xd.UnsupportedError, match="63 bytes"):
        pg.sink({"ä" * 32: [1]}, "t")


def test_errors_say_what_to_do_and_hold_no_secret(pg, postgres, monkeypatch):  # noqa: F811
    monkeypatch.setenv("WRONG_PASSWORD", "hunter2-canary")
    wrong = xd.source(pg.url, password="env:WRONG_PASSWORD")
    with pytest.raises(CredentialsError, match="check user and password") as caught:
        wrong("t")
    with pytest.raises(NotFoundError):
        xd.source(pg.url.rpartition("/")[0] + "/none", **postgres.options)("t")
    with pytest.raises(NotFoundError, match="list"):
        pg.source("none")
    with pytest.raises(ConfigError, match="syntax error"):
        pg.source(query="selec 1")

    assert "hunter2-canary" not in f"{caught.value!r} {caught.value} {wrong!r} {pickle.dumps(wrong)!r}"


@pytest.mark.parametrize(
    "url", ["postgresql://u:secret-canary@h/db", "postgresql://u@h/db?password=secret-canary&sslmode=require"]
)
def test_a_password_in_a_url_is_refused_and_not_repeated(url):
    with pytest.raises(ConfigError, match="password=env:NAME") as caught:
        xd.source(url)

    assert "secret-canary" not in str(caught.value)


def test_a_server_that_is_not_there_is_worth_another_try():
    with pytest.raises(xd.ConnectionLostError, match="server running") as caught:
        xd.sink("postgresql://nobody@127.0.0.1:1/db")(ROWS, "t")

    assert Retry.LATER is caught.value.retry
