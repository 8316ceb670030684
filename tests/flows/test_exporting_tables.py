"""Export: every row once, each file whole or not there, over kills and reruns; from PostgreSQL and SQLite."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flow_kit import Troubled, bucket, contents
from postgres_server import postgres  # noqa: F401 - a fixture

import crossdock as xd
from crossdock.errors import ConfigError, LedgerError, NotFoundError, PreconditionError, UnsafeError
from crossdock.flows import list_runs
from crossdock.testing import EmbeddedS3

ROWS = pa.table(
    {
        "id": [None, *range(1, 100)],
        "name": [f"n{number}" for number in range(100)],
        "at": pa.array(range(100), pa.timestamp("us", "UTC")),
    }
)


class From:
    def __init__(self, url, options):
        self.url, self.options = url, options

    @property
    def sink(self):
        return xd.sink(self.url, **self.options)

    def select(self, what, more=""):
        return f"SELECT {what} FROM {self.sink.database.named('t').sql} {more}"  # noqa: S608

    def export(self, place, /, **more):
        return xd.export(self.url, place, source_options=self.options, **more)


@pytest.fixture(params=["postgresql", "sqlite"])
def base(request, tmp_path):
    if request.param == "sqlite":
        found = From(f"sqlite://{tmp_path}/t.db", {})
    else:
        server = request.getfixturevalue("postgres")
        found = From(server.url(), server.options | {"schema": server.fresh_schema()})
    found.sink(ROWS, "t")
    return found


def rows_of(url):
    """Every row of the Parquet files of a bucket, by name, and their keys."""
    found = {key: pq.read_table(pa.BufferReader(body)) for key, body in sorted(contents(url).items())}
    return pa.concat_tables(found.values()).sort_by("name").to_pylist(), [*found]


WANTED = ROWS.sort_by("name").to_pylist()


def test_slices_become_files_with_names_that_stay(base):
    """Every row once, also the one without a key; receipts in rows and bytes; types as in the table."""
    to = f"memory://{bucket()}"
    report = base.export(f"{to}/", table="t", slices=4, by="id")
    found, keys = rows_of(to)

    assert (report.state, report.counts.copied, report.made.outputs, report.made.rows) == (
        "complete",
        4,
        4,
        100,
    )
    assert report.made.bytes == sum(map(len, contents(to).values()))
    assert report.finished["one_state"] is base.url.startswith("postgresql")
    assert found == WANTED
    assert keys == [f"part-{number:05}.parquet" for number in range(4)]


def test_a_query_to_one_file(base):
    to = f"memory://{bucket()}"
    report = base.export(f"{to}/some.csv.gz", query=base.select("name", "WHERE id < 3 ORDER BY id"))

    assert (report.made.rows, report.made.outputs) == (2, 1)
    assert gzip.decompress(contents(to)["some.csv.gz"]) == b'"name"\n"n1"\n"n2"\n'


def test_a_query_in_slices_and_columns_of_a_table(base):
    to, other = f"memory://{bucket()}", f"memory://{bucket()}"
    base.export(f"{to}/", query=base.select("*", "WHERE id < 50 -- some"), slices=3, by="id")
    base.export(other, table="t", columns=["name"], to="jsonl")

    assert len(rows_of(to)[0]) == 49
    assert json.loads(contents(other)["part-00000.jsonl"].splitlines()[0]).keys() == {"name"}


def test_steps_come_between(base):
    to = f"memory://{bucket()}"
    report = base.export(to, table="t", columns=["name"], steps=xd.limit(7))

    assert report.made.rows == 7


# -- what is there


def test_an_export_that_is_there_is_refused_unless_it_is_to_be_overwritten(base):
    """Then what it has more of goes at the end; other objects stay."""
    to = f"memory://{bucket()}"
    xd.sink(f"{to}/")(b"other", key="part-of-something.txt")
    base.export(f"{to}/", table="t", slices=4, by="id")
    with pytest.raises(UnsafeError, match="4 objects, such as part-00000"):
        base.export(f"{to}/", table="t")
    report = base.export(f"{to}/", table="t", slices=2, by="id", overwrite=True)

    assert report.finished["removed"] == 2
    assert sorted(contents(to)) == ["part-00000.parquet", "part-00001.parquet", "part-of-something.txt"]


def test_a_run_directory_holds_one_question(base):
    """Another query is another run; the same again, once it is complete, too."""
    run, to = f"memory://{bucket()}/run/", Troubled()
    to.before = failing("part-00001")
    first = xd.export(
        base.url, to.sink(), table="t", slices=2, by="id", source_options=base.options, run_dir=run
    )
    assert (first.exit_code, first.counts.failed) == (5, 1)
    with pytest.raises(LedgerError, match="another question"):
        base.export(to.sink(), query=base.select("*"), slices=2, by="id", run_dir=run)


def failing(name):
    def before(verb, key):
        if verb in ("put", "begin") and name in key:
            raise PermissionError(13, "no more")

    return before


# -- all at once


def test_files_of_a_dataset_become_visible_together(base):
    """One slice fails: readers see nothing. It goes through: all rows. Another export: the old rows until all of the new are there."""
    store = Troubled()
    run, more = f"memory://{bucket()}/run/", {"table": "t", "slices": 3, "by": "id", "dataset": True}
    more["source_options"] = base.options
    store.before = failing("00002.parquet")
    first = xd.export(base.url, store.sink("lake/"), run_dir=run, **more)
    lake = xd.dataset(f"{store.url}/lake/")
    assert (first.exit_code, first.finished["published"], "nothing" in first.finished["why"]) == (
        5,
        False,
        True,
    )
    with pytest.raises(NotFoundError):
        lake()
    store.before = lambda *_: None
    second = xd.export(base.url, store.sink("lake/"), run_dir=run, **more)
    assert (second.state, second.finished["published"], second.finished["rows"]) == ("complete", True, 100)
    assert lake().read_all().sort_by("name").to_pylist() == WANTED
    with pytest.raises(UnsafeError, match="batch 't' already"):
        xd.export(base.url, store.sink("lake/"), **more)
    base.sink(ROWS.slice(90), "t", mode="replace")
    third = xd.export(base.url, store.sink("lake/"), overwrite=True, steps=xd.select("name"), **more)

    assert third.finished["removed"] == 3
    assert sorted(row["name"] for row in lake().read_all().to_pylist()) == [
        f"n{number}" for number in range(90, 100)
    ]
    assert lake.schema().names == ["name"]


def test_a_batch_that_was_taken_over_is_not_committed(base):
    """Two exports of one batch: the one that began later counts, and the other says so."""
    store = Troubled()
    more = {"table": "t", "slices": 2, "by": "id", "dataset": "all", "source_options": base.options}
    run = f"memory://{bucket()}/run/"
    store.before = failing("00001.parquet")
    xd.export(base.url, store.sink("lake/"), run_dir=run, **more)
    store.before = lambda *_: None
    xd.export(base.url, store.sink("lake/"), **more)
    with pytest.raises(PreconditionError, match="took over the batch"):
        xd.export(base.url, store.sink("lake/"), run_dir=run, **more)

    assert len(xd.dataset(f"{store.url}/lake/")().read_all()) == 100


# -- what dies


def test_a_slice_that_dies_leaves_no_file(postgres):  # noqa: F811
    """The database ends the query at 60 % of its rows: nothing is at the destination; repaired, the run goes on."""
    base = From(postgres.url(), postgres.options | {"schema": postgres.fresh_schema()})
    schema = base.options["schema"]
    big, bound = f"{schema}.big", f"{schema}.bound"
    postgres.execute(f"CREATE TABLE {big} AS SELECT n AS id FROM generate_series(1, 200000) AS n")  # noqa: S608
    postgres.execute(f"CREATE TABLE {bound} AS SELECT 120000 AS most")
    query = f"SELECT id, CASE WHEN id > most THEN 1 / (id - id) ELSE 0 END AS x FROM {big}, {bound}"  # noqa: S608
    run, to = f"memory://{bucket()}/run/", f"memory://{bucket()}"
    first = base.export(f"{to}/all.parquet", query=query, run_dir=run)

    assert (first.exit_code, first.counts.failed) == (5, 1)
    assert "division by zero" in next(first.failed).error
    assert contents(to) == {}
    postgres.execute(f"UPDATE {bound} SET most = 200000")  # noqa: S608
    second = base.export(f"{to}/all.parquet", query=query, run_dir=run)
    assert (second.state, second.made.rows) == ("complete", 200_000)


_DRIVER = """
import json, sys
import crossdock as xd
source, to, run, options, *more = json.loads(sys.argv[1])
how = {"source_options": options, "run_dir": run, "sink_options": more[0] if more else None}
report = xd.export(source, to, table="t", slices=4, by="id", **how)
sys.exit(report.exit_code)
"""


@pytest.mark.parametrize(
    ("base", "with_run_dir"), [("postgresql", False), ("sqlite", True)], indirect=["base"]
)
def test_sigkill_in_the_middle_and_the_same_command_again(base, tmp_path, with_run_dir):
    """Killed before a commit, and after one that nobody recorded; then every row is there once."""
    to = tmp_path / "out"
    to.mkdir()
    run = f"file://{tmp_path}/run/" if with_run_dir else None
    told = json.dumps([base.url, f"file://{to}/", run, base.options])
    codes = [
        subprocess.run(
            [sys.executable, "-c", _DRIVER, told],
            env=os.environ | {"CROSSDOCK_CRASH_AT": point},
            check=False,
        ).returncode
        for point in ("before-commit:2", "before-record", "")
    ]
    found = pa.concat_tables([pq.read_table(each) for each in sorted(to.glob("*.parquet"))])

    assert codes == [-signal.SIGKILL, -signal.SIGKILL, 0]
    assert found.sort_by("name").to_pylist() == WANTED
    assert sorted(each.name for each in to.iterdir()) == [f"part-{number:05}.parquet" for number in range(4)]


@pytest.mark.parametrize("base", ["sqlite"], indirect=True)
def test_what_was_written_and_not_recorded_is_found_in_a_bucket(base, tmp_path):
    """Its mark says that this run made it of this slice: it is not read again, and its rows are counted."""
    with EmbeddedS3(buckets=("out",)) as server:
        options = {
            "endpoint_url": server.url,
            "key": "access-key",
            "secret": "secret-key",
            "region": "us-east-1",
        }
        told = json.dumps([base.url, "s3://out/t/", f"file://{tmp_path}/run/", base.options, options])
        codes = [
            subprocess.run(
                [sys.executable, "-c", _DRIVER, told],
                env=os.environ | {"CROSSDOCK_CRASH_AT": point},
                check=False,
            ).returncode
            for point in ("before-record", "")
        ]
        secrets = {name: options[name] for name in ("key", "secret")}  # not kept with the run
        report = xd.resume(f"file://{tmp_path}/run/", sink_options=secrets)
        found = xd.dataset("s3://out/t/", **options)().read_all()

    assert codes == [-signal.SIGKILL, 0]
    assert report.methods["found"] >= 1
    assert report.made.rows == 100
    assert found.sort_by("name").to_pylist() == WANTED


def test_resume_from_what_the_run_kept(base):
    """Nothing that is there is read again; the table may have gone on."""
    run, to = f"memory://{bucket()}/run/", f"memory://{bucket()}"
    started = base.export(f"{to}/", table="t", slices=4, by="id", run_dir=run, max_errors=0)
    assert started.state == "complete"
    with pytest.raises(LedgerError, match="complete"):
        base.export(f"{to}/", table="t", slices=4, by="id", run_dir=run)
    assert xd.resume(run, source_options=base.options).made.rows == 100


def test_a_table_that_changed_its_columns_is_another_table(base, tmp_path):
    """Half a table in the old columns and half in the new is no table."""
    run, to = f"memory://{bucket()}/run/", Troubled()
    to.before = failing("part-00001")
    more = {"table": "t", "slices": 2, "by": "id", "source_options": base.options, "run_dir": run}
    assert xd.export(base.url, to.sink(), **more).counts.failed == 1
    to.before = lambda *_: None
    base.sink(ROWS.select(["id", "name"]), "t", mode="replace")
    report = xd.export(base.url, to.sink(), **more)

    assert report.counts.failed == 1
    assert "columns changed" in next(report.failed).error


# -- mistakes


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        ({}, ConfigError, "one of the two"),
        ({"table": "t", "query": "select 1"}, ConfigError, "one of the two"),
        ({"table": "t", "slices": 2}, ConfigError, "a column to cut by"),
        ({"table": "t", "slices": 0, "by": "id"}, ConfigError, "at least 1"),
        ({"table": "none"}, NotFoundError, "none"),
        ({"table": "t", "to": "nope"}, ConfigError, "no format"),
        ({"query": "selec 1"}, ConfigError, "syntax"),
    ],
)
def test_mistakes_leave_no_run_and_no_file(base, more, error, words):
    to = f"memory://{bucket()}"
    with pytest.raises(error, match=words):
        base.export(f"{to}/", **more)

    assert [*list_runs()] == []
    assert contents(to) == {}


def test_the_key_of_one_object_is_for_one_slice(base):
    with pytest.raises(ConfigError, match="several slices"):
        base.export("memory://out/a.parquet", table="t", slices=2, by="id")
    with pytest.raises(ConfigError, match="ends like parquet"):
        base.export("memory://out/a.parquet", table="t", to="csv")


def test_a_dry_run_cuts_and_counts(base):
    to = f"memory://{bucket()}"
    report = base.export(f"{to}/", table="t", slices=4, by="id", dry_run=True)

    assert (report.state, report.counts.planned) == ("planned", 4)
    assert contents(to) == {}


def test_there_and_back(base, tmp_path):
    """A table to files and into another database: equal, column by column."""
    to = f"memory://{bucket()}"
    base.export(f"{to}/", table="t", slices=3, by="id", dataset=True)
    other = f"sqlite://{tmp_path}/other.db"
    report = xd.ingest(f"{to}/", other, table="t", mode="replace")

    assert (report.counts.copied, report.counts.skipped) == (3, 1)  # the batch's state holds no rows
    assert xd.source(other)("t").read_all().sort_by("name").to_pylist() == WANTED
