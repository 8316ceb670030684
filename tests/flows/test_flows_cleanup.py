"""``cleanup``: a run's own leftovers and nobody else's; others' only by age and on request; never an object."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta

import pytest
from flow_kit import Troubled, bucket, contents, filled

import crossdock as xd
from crossdock.connectors.local import LocalStore
from crossdock.connectors.memory import MemoryStore
from crossdock.connectors.strategy import TransferOptions
from crossdock.errors import ConfigError, DeniedError, LedgerError, NotFoundError, TaskFailed
from crossdock.flows import Fate
from crossdock.flows.ledger.leftovers import CLOCK_SKEW, common_prefix, not_old, not_ours
from crossdock.flows.runs.directory import default_runs_url, run_files
from crossdock.flows.runs.ownership import Owner
from crossdock.model import Upload

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PARTS = TransferOptions(part_size_bytes=1_000)


class Dated(Troubled):
    """A bucket whose uploads were begun when a test says, and whose aborts can be refused."""

    def __init__(self, *args):
        super().__init__(*args)
        self.begun = {}
        self.refused = set()

    def list_uploads(self, prefix=""):
        for upload in super().list_uploads(prefix):
            self._note("list uploads", prefix)
            yield dataclasses.replace(upload, begun=self.begun.get(upload.id, upload.begun))

    def abort(self, upload):
        if upload.id in self.refused:
            raise DeniedError("not allowed to", operation="abort", where=self.url, key=upload.key)
        super().abort(upload)


@pytest.fixture
def store():
    return Dated()


@pytest.fixture
def place(store):
    """The directory of a run of three objects, one of which is small, that was killed before it recorded anything."""
    source = filled({"in/a": b"a" * 3_000, "in/b": b"b" * 3_000, "in/small": b"s"})
    place = f"memory://{bucket()}/"
    xd.migrate(f"{source}/in/", store.sink("out/", transfer=PARTS), run_dir=place)
    forget_outcomes(place)
    for key in ("out/a", "out/b"):
        store.delete(key)
    return place


def forget_outcomes(place):
    run = MemoryStore(place.removeprefix("memory://").rstrip("/"))
    for name in [info.key for page in run.list("ledger/") for info in page]:
        if not name.endswith("-00000.parquet"):
            run.delete(name)
    document = json.loads(bytes(run.read("run.json").read_all()))
    run.put("run.json", json.dumps(document | {"state": "running"}).encode())


def ids(uploads):
    return {upload.id for upload in uploads}


def opened(store, *keys):
    return [store.begin(key, part_size_bytes=1_000) for key in keys]


def test_a_runs_own_uploads_go_and_those_of_others_and_objects_stay(store, place):
    store.put("out/c", b"visible")
    own = opened(store, "out/a", "out/a", "out/b")
    others = opened(store, "out/a-not", "out/c", "out/small", "elsewhere")
    before = contents(store.url)

    planned = xd.cleanup(place, sink=store.sink("out/"), dry_run=True)
    assert ids(own) | ids(others) == ids(store.list_uploads())
    report = xd.cleanup(place, sink=store.sink("out/"))

    assert ids(own) == {each.id for each in report.removed} == {each.id for each in planned.removed}
    assert {Fate.REMOVED} == {each.fate for each in report.leftovers}
    assert {Fate.REMOVABLE} == {each.fate for each in planned.leftovers}
    assert ids(others) == ids(store.list_uploads())
    assert before == contents(store.url)
    assert (report.exit_code, report.to_dict()["removed"], planned.to_dict()["removable"]) == (0, 3, 3)
    assert xd.cleanup(place, sink=store.sink("out/")).leftovers == ()


def test_an_upload_to_the_same_key_of_another_time_is_not_the_runs(store, place):
    """Begun before the run announced its own or after its last sign of life, or nobody knows when: kept, and said why."""
    early, late, own = opened(store, "out/a", "out/a", "out/a")
    store.begun[early.id] = datetime.now(UTC) - timedelta(hours=1)
    store.begun[late.id] = datetime.now(UTC) + timedelta(hours=1)

    report = xd.cleanup(place, sink=store.sink("out/"))

    assert {own.id} == {each.id for each in report.removed}
    assert {early.id: "before", late.id: "after"} == {each.id: each.reason.split()[3] for each in report.kept}
    assert {early.id, late.id} == ids(store.list_uploads())


def test_a_resumed_run_is_done_after_cleanup(store, place):
    opened(store, "out/a")
    xd.cleanup(place, sink=store.sink("out/"))

    report = xd.resume(place, sink=store.sink("out/", transfer=PARTS))

    assert (report.counts.planned, report.counts.copied, report.counts.failed) == (3, 3, 0)
    assert list(store.list_uploads()) == []
    assert xd.cleanup(place, sink=store.sink("out/")).leftovers == ()


def test_a_driver_at_work_is_not_disturbed(store, place):
    opened(store, "out/a")

    with Owner(run_files(place)):
        for dry_run in (True, False):
            with pytest.raises(LedgerError, match="another driver owns this run"):
                xd.cleanup(place, sink=store.sink("out/"), dry_run=dry_run)

    assert len(list(store.list_uploads())) == 1
    assert len(xd.cleanup(place, sink=store.sink("out/")).removed) == 1


def test_what_the_driver_left_in_the_run_directory_is_the_runs(tmp_path):
    """A put to a directory that was killed leaves a temporary file; the cleaner's own heartbeat is not one."""
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "a").write_bytes(b"1")
    run = tmp_path / "run"
    xd.migrate(f"{tmp_path}/from/", f"{tmp_path}/to/", run_dir=f"{run}/")
    left = opened(LocalStore(str(run)), "ledger/00000000-x-00001.parquet", "driver.json")

    report = xd.cleanup(f"{run}/")

    assert ids(left) == {each.id for each in report.removed}
    assert list(LocalStore(str(run)).list_uploads()) == []
    assert xd.resume(f"{run}/").state == "complete"


def test_a_run_that_never_had_a_plan_left_nothing_at_its_destination(store):
    source, place = Troubled(), f"memory://{bucket()}/"
    source.put("a", b"1")

    def refuse(verb, key):
        if verb == "list":
            raise DeniedError("no")

    source.before = refuse
    with pytest.raises(DeniedError):
        xd.migrate(source.source(), store.sink(), run_dir=place)

    assert xd.cleanup(place).leftovers == ()


def test_below_a_destination_everything_is_listed_and_nothing_removed(store):
    opened(store, "logs/a", "logs", "logs-2/b")

    report = xd.cleanup(f"{store.url}/logs")

    assert (
        ["logs", "logs/a"]
        == sorted(each.key for each in report.kept)
        == sorted(each.key for each in report.leftovers)
    )
    assert {"only listed: say older_than to remove what others left"} == {each.reason for each in report.kept}
    assert len(list(store.list_uploads())) == 3


def test_older_than_removes_by_age_and_keeps_what_is_younger():
    store = MemoryStore(bucket())
    opened(store, "logs/a", "logs-2/b")
    store.put("logs/a", b"visible")

    young = xd.cleanup(f"{store.url}/logs/", older_than="1h")
    dry = xd.cleanup(f"{store.url}/logs/", older_than=timedelta(0), dry_run=True)
    assert len(list(store.list_uploads())) == 2
    old = xd.cleanup(f"{store.url}/logs/", older_than="0s")

    assert [each.reason for each in young.kept] == ["it is younger than asked for"]
    assert (
        [each.key for each in dry.removed],
        [each.key for each in old.removed],
    ) == (["logs/a"], ["logs/a"])
    assert [upload.key for upload in store.list_uploads()] == ["logs-2/b"]
    assert contents(store.url) == {"logs/a": b"visible"}


def test_what_cannot_be_removed_is_a_failure_and_does_not_stop_the_others(store, place):
    refused, fine = opened(store, "out/a", "out/b")
    store.refused.add(refused.id)

    report = xd.cleanup(place, sink=store.sink("out/"))

    assert ({refused.id}, {fine.id}) == (ids(store.list_uploads()), {each.id for each in report.removed})
    assert report.exit_code == 5
    with pytest.raises(TaskFailed, match="not allowed to"):
        report.raise_for_failures()


def test_all_runs_are_cleaned_and_those_at_work_or_unusable_are_named(monkeypatch):
    stores = [MemoryStore(bucket()) for _ in range(3)]
    for number, store in enumerate(stores):
        source = filled({"a": b"a" * 3_000})
        options = {"part_size_bytes": 1_000}
        xd.migrate(source, store.url, sink_options=options, run_dir=f"{default_runs_url()}/2026-{number}/")
        store.begin("a", part_size_bytes=1_000)
    broken = run_files(f"{default_runs_url()}/2026-2/")
    document, _ = broken.get_json("run.json")
    document["asked"]["sink"]["store"] = "nowhere://x"
    broken.put_json("run.json", document)

    with Owner(run_files(f"{default_runs_url()}/2026-1/")):
        report = xd.cleanup(all_runs=True)

    assert [[*stores[0].list_uploads()], *(len([*each.list_uploads()]) for each in stores[1:])] == [[], 1, 1]
    assert [(each.run.rpartition("/")[2], each.live) for each in report.untouched] == [
        ("2026-1", True),
        ("2026-2", False),
    ]
    assert "nowhere" in report.untouched[1].reason
    assert report.exit_code == 5
    json.dumps(report.to_dict())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "name a run or a destination"),
        ({"place": "x", "all_runs": True}, "name a run or a destination"),
        ({"all_runs": True, "older_than": "1d"}, "no further options"),
        ({"place": "memory://b/", "older_than": "7"}, "not a length of time such as"),
        ({"place": "memory://b/", "older_than": timedelta(-1)}, "0 or more"),
        ({"place": "memory://b/", "older_than": "7d", "sink_options": {"a": 1}}, "a destination has options"),
    ],
)
def test_arguments_that_do_not_go_together(arguments, told):
    with pytest.raises(ConfigError, match=told):
        xd.cleanup(**arguments)


def test_an_id_that_is_no_run_is_not_taken_for_a_path(tmp_path, monkeypatch):
    (tmp_path / "20261120T000000-000000").mkdir()
    monkeypatch.chdir(tmp_path)

    with pytest.raises(NotFoundError, match="no run here"):
        xd.cleanup("20261120T000000-000000")


@pytest.mark.parametrize(
    ("begun", "is_ours"),
    [
        (None, False),
        (NOW - CLOCK_SKEW - timedelta(seconds=1), False),
        (NOW - CLOCK_SKEW, True),
        (NOW + timedelta(hours=1) + CLOCK_SKEW, True),
        (NOW + timedelta(hours=1, seconds=1) + CLOCK_SKEW, False),
    ],
)
def test_whose_an_upload_is(begun, is_ours):
    upload = Upload(key="k", id="i", part_size_bytes=1, begun=begun)

    assert is_ours == (not_ours(upload, NOW, NOW + timedelta(hours=1)) is None)


def test_how_old_an_upload_is():
    def old(begun):
        return not_old(Upload(key="k", id="i", part_size_bytes=1, begun=begun), NOW) is None

    assert [old(NOW), old(NOW + timedelta(seconds=1)), old(None)] == [True, False, False]


def test_prefixes_are_of_characters():
    assert [common_prefix(*pair) for pair in (("abc", "abd"), ("", "a"), ("a/b", "a/bc"), ("x", "y"))] == [
        "ab",
        "",
        "a/b",
        "",
    ]
