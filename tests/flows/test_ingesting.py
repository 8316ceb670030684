"""Ingest: every row once and all at once, over kills, reruns, bad files and workers; on PostgreSQL and SQLite."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from decimal import Decimal
from urllib.parse import parse_qs

import pyarrow as pa
import pytest
from flow_kit import Troubled, bucket, filled
from postgres_server import postgres  # noqa: F401 - a fixture
from rest_server import API

import crossdock as xd
from crossdock.connectors.sql.left import loads_left
from crossdock.errors import ConfigError, DeniedError, ExistsError, LedgerError, RowError
from crossdock.flows import RunDirectory, list_runs
from crossdock.flows.runs.directory import run_files
from crossdock.testing.wire import Response


def csv(number, rows=10):
    ids = range(number * rows, (number + 1) * rows)
    return "".join(
        ["id,name,day\n", *(f"{each},n{each},2026-11-{each % 28 + 1:02}\n" for each in ids)]
    ).encode()


def files(count, rows=10):
    return filled({f"in/d{number % 2}/{number:03}.csv": csv(number, rows) for number in range(count)})


class Table:
    """A table that is not there yet."""

    def __init__(self, url, options):
        self.url, self.options = url, options
        self.database = xd.sink(url, **options).database

    def ids(self, table="t"):
        source = xd.source(self.url, **self.options)
        return sorted(source(table, columns=["id"]).read_all()["id"].to_pylist()) if source.has(table) else []

    def left(self):
        return [each.load_id for each in loads_left(self.database)]


@pytest.fixture(params=["postgresql", "sqlite"])
def into(request, tmp_path):
    if request.param == "sqlite":
        return Table(f"sqlite://{tmp_path}/t.db", {})
    server = request.getfixturevalue("postgres")
    return Table(server.url(), server.options | {"schema": server.fresh_schema()})


def ingest(source, into, table="t", **more):
    return xd.ingest(source, into.url, table=table, sink_options=into.options, unit_size=700, **more)


# -- all at once, each once


def test_files_become_rows_all_at_once(into):
    """Many units, one publication; receipts in rows and bytes; types as in the files."""
    source = files(7)
    report = ingest(f"{source}/in/", into)

    assert (report.state, report.exit_code, report.counts.copied) == ("complete", 0, 7)
    assert (report.made.rows, report.made.rows_read) == (70, 70)
    assert report.made.outputs > 2
    assert report.counts.copied_bytes == sum(len(csv(number)) for number in range(7))
    assert (report.finished["published"], report.finished["rows_changed"]) == (True, 70)
    assert into.ids() == [*range(70)]
    day = xd.source(into.url, **into.options).schema("t").field("day").type
    assert day == pa.date32()
    assert into.left() == []


def test_a_rerun_of_append_changes_nothing_and_new_files_are_added(into):
    """Each version of an object is loaded once; one that changed is another version."""
    source = files(4)
    ingest(f"{source}/in/", into)
    again = ingest(f"{source}/in/", into)
    xd.sink(f"{source}/")(csv(4), key="in/new.csv")
    third = ingest(f"{source}/in/", into)

    assert (again.counts.copied, again.counts.skipped, again.exit_code) == (0, 4, 0)
    assert again.finished["published"] is False
    assert (third.counts.copied, third.counts.skipped, third.finished["rows_changed"]) == (1, 4, 10)
    assert into.ids() == [*range(50)]
    assert ingest(f"{source}/in/new.csv", into, again=True).made.rows == 10
    assert len(into.ids()) == 60


@pytest.mark.parametrize(("mode", "changed"), [("replace", 40), ("upsert", 0)])
def test_a_rerun_of_the_other_modes_changes_nothing(into, mode, changed):
    source = files(4)
    key = "id" if mode == "upsert" else ()
    ingest(f"{source}/in/", into, mode=mode, key=key)
    again = ingest(f"{source}/in/", into, mode=mode, key=key)

    assert again.finished["rows_changed"] == changed
    assert into.ids() == [*range(40)]


def test_rows_without_a_reader_of_their_own(into):
    """One object, by its name; and another format that its ending tells."""
    source = files(1)
    ingest(f"{source}/in/d0/000.csv", into)
    xd.sink(f"{source}/")(b'{"id": 100, "name": "x", "day": "2026-01-01"}\n', key="more/a.jsonl")
    report = ingest(f"{source}/more/", into)

    assert report.made.rows == 1
    assert into.ids() == [*range(10), 100]


def test_text_is_read_as_what_the_table_holds(into):
    """A column that looks like numbers, into a table of text and of exact numbers."""
    into_sink = xd.sink(into.url, **into.options)
    rows = pa.table({"code": ["x"], "price": pa.array([1], pa.decimal128(10, 2))})
    into_sink(rows, "t")
    source = filled({"a.csv": b"code,price\n007,1.50\n"})
    ingest(source, into)

    found = xd.source(into.url, **into.options)("t").read_all().to_pylist()
    assert {"code": "007", "price": Decimal("1.50")} in found


def test_a_watcher_sees_the_old_rows_or_all_of_the_new(postgres):  # noqa: F811
    """Somebody counts all the time: while units are staged, while they are moved, and afterwards."""
    into = Table(postgres.url(), postgres.options | {"schema": postgres.fresh_schema()})
    xd.sink(into.url, **into.options)({"id": [-1], "name": ["old"], "day": pa.array([0], pa.date32())}, "t")
    source = files(8, rows=2_000)
    name = into.database.named("t").sql
    seen, over = set(), threading.Event()

    def watch():
        with postgres.connect() as connection, connection.cursor() as cursor:
            while True:
                last = over.is_set()
                cursor.execute(f"SELECT count(*), min(id) FROM {name}")  # noqa: S608
                seen.add(cursor.fetchone())
                if last:
                    return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        ingest(f"{source}/in/", into, mode="replace")
    finally:
        over.set()
        watcher.join(60)

    assert seen == {(1, -1), (16_000, 0)}


# -- what dies leaves nothing that can be seen


def test_a_publication_whose_connection_breaks_in_the_commit_is_tried_again(postgres):  # noqa: F811
    """Whether it went through is unknown; publishing twice is publishing once. A trigger ends the first connection."""
    schema = postgres.fresh_schema()
    into = Table(postgres.url(), postgres.options | {"schema": schema})
    postgres.execute(
        f"CREATE TABLE {schema}.t (id bigint, name text, day date); CREATE SEQUENCE {schema}.tries"
    )
    postgres.execute(
        f"CREATE FUNCTION {schema}.die() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN "
        f"IF nextval(''{schema}.tries'') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN NULL; END'"
    )
    postgres.execute(
        f"CREATE CONSTRAINT TRIGGER dies AFTER INSERT ON {schema}.t DEFERRABLE INITIALLY DEFERRED "
        f"FOR EACH ROW EXECUTE FUNCTION {schema}.die()"
    )
    source = files(3)
    report = ingest(f"{source}/in/", into)

    assert postgres.rows(f"SELECT last_value > 1 FROM {schema}.tries") == [(True,)]  # noqa: S608 - the fault fired
    assert report.finished["published"] is True
    assert into.ids() == [*range(30)]


def test_a_source_that_dies_leaves_no_row_visible(into):
    """At 60 % of the objects the store refuses: nothing is visible; when it answers again, the run goes on."""
    store = Troubled()
    for number in range(10):
        store.put(f"{number:03}.csv", csv(number))

    def refuse(verb, key):
        if verb == "read" and key >= "006":
            raise DeniedError("no more", operation="read")

    sick, run = store.source(), f"memory://{bucket()}/run/"
    schema = pa.schema([("id", pa.int64()), ("name", pa.string()), ("day", pa.date32())])
    store.before = refuse
    first = ingest(sick, into, run_dir=run, schema=schema)
    assert (first.state, first.exit_code, first.counts.failed > 0) == ("incomplete", 5, True)
    assert first.finished["published"] is False
    assert "nothing of this run is visible" in first.finished["why"]
    assert into.ids() == []
    store.before = lambda *_: None
    second = ingest(sick, into, run_dir=run, schema=schema)

    assert (second.state, second.made.rows) == ("complete", 100)
    assert into.ids() == [*range(100)]


def test_one_bad_file_keeps_all_rows_out_and_is_named(into):
    source = files(5)
    xd.sink(f"{source}/")(b"id,name,day\n1,x,not a day\n", key="in/d1/bad.csv")
    report = ingest(f"{source}/in/", into, types={"day": "date32"})

    (group,) = [each for each in report.failures if "in/d1/bad.csv" in each.keys] or [None]
    assert group.reason == "rows"
    assert "not a day" in str(next(each.error for each in report.failed if each.key == "in/d1/bad.csv"))
    assert into.ids() == []


def test_a_key_that_occurs_twice_is_told_and_nothing_is_visible(into):
    source = filled({"a.csv": b"id\n1\n", "b.csv": b"id\n1\n"})
    with pytest.raises(RowError, match=r"id=1 occurs 2 times"):
        ingest(source, into, mode="upsert", key="id")

    assert into.ids() == []


def test_a_row_that_the_table_refuses(into):
    source = files(2)
    xd.sink(into.url, **into.options)(
        {"id": [5], "name": ["old"], "day": pa.array([0], pa.date32())}, "t", key="id"
    )
    with pytest.raises(ExistsError, match="upsert"):
        ingest(f"{source}/in/", into)

    assert into.ids() == [5]


# -- killed

_DRIVER = """
import json, sys
import crossdock as xd
source, into, run, options = json.loads(sys.argv[1])
report = xd.ingest(source, into, table="t", sink_options=options, run_dir=run, unit_size=700)
sys.exit(report.exit_code)
"""


def killed(source, into, run, at):
    environment = os.environ | {"CROSSDOCK_CRASH_AT": at}
    told = json.dumps([source, into.url, run, into.options])
    return subprocess.run([sys.executable, "-c", _DRIVER, told], env=environment, check=False).returncode


@pytest.mark.parametrize(
    ("into", "with_run_dir"), [("postgresql", True), ("sqlite", False)], indirect=["into"]
)
def test_sigkill_at_every_stage_and_the_same_command_again(into, tmp_path, with_run_dir):
    """The driver dies planning, before and after commits of units, before recording, and after the publication.

    One run is killed again and again, then ends; the row count is exact, nothing is doubled, nothing is left. Without a run
    directory the same command finds its unfinished run by itself.
    """
    root = tmp_path / "files" / "in"
    root.mkdir(parents=True)
    for number in range(6):
        (root / f"{number}.csv").write_bytes(csv(number))
    run = f"file://{tmp_path}/run/" if with_run_dir else None
    for point in (
        ["manifest-written", "before-commit:2", "after-commit"] if with_run_dir else ["before-record"]
    ):
        assert killed(f"file://{root}/", into, run, point) == -signal.SIGKILL
        assert into.ids() == []
    # The units that are left commit first; the next commit is the publication's.
    left = units_left(into, run or newest())
    assert killed(f"file://{root}/", into, run, f"after-commit:{left + 1}") == -signal.SIGKILL
    assert into.ids() == [*range(60)]  # visible, and nobody knows
    assert killed(f"file://{root}/", into, run, "") == 0
    if with_run_dir:
        assert into.ids() == [*range(60)]
        with pytest.raises(LedgerError, match="complete"):
            xd.ingest(
                f"file://{root}/", into.url, table="t", sink_options=into.options, run_dir=run, unit_size=700
            )
    again = ingest(f"file://{root}/", into)

    assert (again.counts.skipped, again.made.rows) == (6, 0)
    assert into.ids() == [*range(60)]
    assert into.left() == []


# -- workers


def test_processes_load_together_where_the_database_lets_them(postgres, tmp_path):  # noqa: F811
    """Two processes stage at once on PostgreSQL; SQLite takes one, and says what to do."""
    root = tmp_path / "in"
    root.mkdir()
    for number in range(6):
        (root / f"{number}.csv").write_bytes(csv(number))
    many = Table(postgres.url(), postgres.options | {"schema": postgres.fresh_schema()})
    report = ingest(f"file://{root}/", many, runner=xd.LocalRunner(processes=2))
    one = Table(f"sqlite://{tmp_path}/t.db", {})
    refused = ingest(f"file://{root}/", one, runner=xd.LocalRunner(processes=1))

    assert (report.made.rows, many.ids()) == (60, [*range(60)])
    assert refused.counts.failed == 6
    assert "one process write at a time" in next(refused.failed).error
    assert one.ids() == []


def test_duckdb_is_loaded_by_the_threads_of_one_process(tmp_path):
    into = Table(f"duckdb://{tmp_path}/t.db", {})
    source = files(6)
    report = ingest(f"{source}/in/", into, mode="upsert", key="id")
    again = ingest(f"{source}/in/", into, mode="upsert", key="id")

    assert (report.finished["rows_changed"], again.finished["rows_changed"]) == (60, 0)
    assert into.ids() == [*range(60)]


# -- going on


def test_resume_goes_on_from_what_the_run_kept(into, tmp_path):
    """By the run's directory alone; a password comes again by reference, for it is not kept."""
    source = files(5)
    xd.sink(f"{source}/")(b"\xff\xfe", key="in/d1/zz.csv")
    run = f"file://{tmp_path}/run/"
    types = {"id": "int64", "name": "string", "day": "date32"}
    first = ingest(f"{source}/in/", into, run_dir=run, types=types)
    assert (first.exit_code, into.ids()) == (5, [])
    kept = (tmp_path / "run" / "run.json").read_text()
    assert os.environ["CROSSDOCK_TEST_PGPASSWORD"] not in kept if "password" in into.options else True
    again = xd.retry(run, sink_options=into.options)

    assert again.counts.failed == first.counts.failed
    assert into.ids() == []
    assert len(into.left()) == 1


def test_a_run_that_failed_is_not_gone_on_with_unless_it_is_named(into):
    """The files may have been repaired since: the same command lists anew."""
    source = filled({"a.csv": b"id\n1\n", "b.csv": b"id\n1\n"})
    with pytest.raises(RowError):
        ingest(source, into, key="id")
    xd.sink(f"{source}/")(b"id\n2\n", key="b.csv")
    report = ingest(source, into, key="id")

    assert (report.state, into.ids()) == ("complete", [1, 2])


def test_another_question_in_the_same_run_directory_is_refused(into, tmp_path):
    source = files(1)
    run = f"file://{tmp_path}/run/"
    xd.sink(f"{source}/")(csv(0), key="in/d1/twin.csv")
    with pytest.raises(RowError):  # the run stays, unfinished
        ingest(f"{source}/in/", into, run_dir=run, key="id")
    with pytest.raises(LedgerError, match="another question"):
        ingest(f"{source}/in/", into, run_dir=run, mode="replace", key="id")


def test_a_dry_run_writes_nothing(tmp_path):
    source = files(3)
    report = xd.ingest(f"{source}/in/", f"sqlite://{tmp_path}/none.db", table="t", dry_run=True)

    assert (report.state, report.counts.planned) == ("planned", 3)
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"mode": "merge"}, "append"),
        ({"mode": "upsert"}, "key"),
        ({"again": True, "mode": "replace"}, "again goes with append"),
        ({"table": "crossdock_batches"}, "notes"),
        ({"unit_size": 0}, "unit size"),
        ({"key": "nope"}, "'nope'"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(tmp_path, more, words):
    source = files(1)
    with pytest.raises(ConfigError, match=words):
        xd.ingest(f"{source}/in/", f"sqlite://{tmp_path}/t.db", **{"table": "t", **more})

    assert [*list_runs()] == []


def test_a_source_that_is_no_source(tmp_path):
    sink = f"sqlite://{tmp_path}/t.db"
    with pytest.raises(ConfigError, match="described calls"):
        xd.ingest(xd.source(sink), sink, table="t")
    with pytest.raises(ConfigError, match="no database"):
        xd.ingest("memory://a/", "memory://b/", table="t")
    with pytest.raises(ConfigError, match="described calls"):
        xd.ingest([1], sink, table="t")


# -- cleaned up


def test_what_a_run_staged_is_removed_and_what_it_published_stays(into, tmp_path):
    """By the run; then nothing of it can become visible by mistake."""
    source = files(3)
    run = f"file://{tmp_path}/run/"
    xd.sink(f"{source}/")(b"id,name,day\n1,x,bad\n", key="in/d1/zz.csv")
    types = {"day": "date32"}
    ingest(f"{source}/in/", into, run_dir=run, types=types)
    looked = xd.cleanup(run, sink_options=into.options, dry_run=True)
    done = xd.cleanup(run, sink_options=into.options)

    assert [each.fate.value for each in looked.leftovers] == ["would be removed"]
    assert [each.key.rpartition(".")[2] for each in done.removed] == [f"crossdock_load_{done.removed[0].id}"]
    assert (into.left(), into.ids()) == ([], [])
    good = ingest(f"{source}/in/d0/", into, run_dir=f"file://{tmp_path}/good/")
    assert xd.cleanup(f"file://{tmp_path}/good/", sink_options=into.options).leftovers == ()
    assert len(into.ids()) == good.made.rows


def test_what_is_staged_in_a_database_is_listed_and_removed_by_age(into):
    load = xd.sink(into.url, **into.options).load(
        "t", load_id="20200101T000000-abcdef", schema=pa.schema([("id", pa.int64())])
    )
    load.begin()
    other = xd.sink(into.url, **into.options).load(
        "t", load_id="of-somebody", schema=pa.schema([("id", pa.int64())])
    )
    other.begin()
    listed = xd.cleanup(into.url, options=into.options)
    removed = xd.cleanup(into.url, options=into.options, older_than="7d")

    assert [each.fate.value for each in listed.leftovers] == ["kept", "kept"]
    assert [each.id for each in removed.removed] == ["20200101T000000-abcdef"]
    assert into.left() == ["of-somebody"]


# -- what tasks give


def users(api, since):
    return xd.rest(api.url, records="items").batches.bind("users", since=since)


def answer(api, records):
    api.handlers["/users"] = lambda request: _page(api, request, records)


def _page(api, request, records):
    since = parse_qs(request.target.partition("?")[2]).get("since", ["0"])[0]
    body = {"items": [each for each in records if each["at"] >= since]}
    return Response.text(200, json.dumps(body), "application/json")


def test_an_api_goes_into_a_table_and_its_cursor_moves_after_the_publication(into, tmp_path):
    with API() as api:
        since = xd.Cursor(f"file://{tmp_path}/cursors/users", field="at")
        (tmp_path / "cursors").mkdir()
        records = [{"id": number, "at": f"2026-11-{number + 1:02}"} for number in range(20)]
        answer(api, records)
        source = users(api, since)
        first = ingest_calls(source, into, mode="upsert", key="id")
        records.append({"id": 20, "at": "2026-11-25"})
        second = ingest_calls(source, into, mode="upsert", key="id")

    assert (first.made.rows, first.finished["cursors"]) == (20, [since.url])
    assert (second.made.rows, second.finished["rows_changed"]) == (2, 1)  # the last one comes again
    assert since.open().value == "2026-11-25"
    assert into.ids() == [*range(21)]


def test_a_cursor_stays_where_a_publication_fails_and_moves_when_it_goes_through(into, tmp_path):
    """Staged, and not published: the rows' place waits in the run's directory, and the API is not asked again."""
    (tmp_path / "cursors").mkdir()
    run = f"file://{tmp_path}/run/"
    into_sink = xd.sink(into.url, **into.options)
    into_sink({"id": [7], "at": ["old"]}, "t", key="id")
    with API() as api:
        since = xd.Cursor(f"file://{tmp_path}/cursors/users", field="at")
        answer(api, [{"id": number, "at": f"2026-11-{number + 1:02}"} for number in range(9)])
        with pytest.raises(ExistsError):
            ingest_calls(users(api, since), into, run_dir=run)
        assert (into.ids(), since.open().value) == ([7], None)
        asked = len(api.seen)
        with into.database.session("repair", to_write=True) as session:
            session.execute(f"DELETE FROM {into.database.named('t').sql}")  # noqa: S608
            session.commit()
        report = ingest_calls(users(api, since), into, run_dir=run)

    assert report.finished["published"] is True
    assert into.ids() == [*range(9)]
    assert since.open().value == "2026-11-09"
    assert len(api.seen) == asked
    with pytest.raises(ConfigError, match=r"xd\.ingest"):
        xd.resume(run)


def test_lists_without_records_are_no_failure(into, tmp_path):
    with API() as api:
        answer(api, [])
        report = ingest_calls(xd.rest(api.url, records="items").batches.bind("users"), into)

    assert (report.exit_code, report.counts.skipped) == (0, 1)
    assert into.ids() == []


def test_frames_and_queries_are_sources_too(into):
    """Several calls are several units of one table, visible at once."""
    frames = xd.frames(a={"id": [1, 2]}, b={"id": [3]})
    report = ingest_calls([frames.bind("a"), frames.bind("b")], into)

    assert (report.counts.copied, report.made.rows) == (2, 3)
    assert into.ids() == [1, 2, 3]


def ingest_calls(source, into, **more):
    return xd.ingest(source, into.url, table="t", sink_options=into.options, **more)


def newest():
    return [each["url"] for each in list_runs()][-1]


def units_left(into, run):
    """Units of a run that are not staged."""
    rows = RunDirectory(run_files(run)).manifest.all_rows()
    (load,) = loads_left(into.database)
    return len({row.destination for row in rows}) - load.units
