"""``xd.sync``: the destination becomes what the source is, and nothing is deleted that should not be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from datetime import UTC, datetime

import pytest
from flow_kit import HOSTILE, Troubled, bucket, contents, filled, generations

import crossdock as xd
from crossdock.connectors.memory import MemoryStore
from crossdock.errors import (
    ConfigError,
    NotFoundError,
    PreconditionError,
    StorageError,
    TaskFailed,
    UnsafeError,
    UnsupportedError,
)
from crossdock.flows.deleting.doomed import Journal
from crossdock.flows.deleting.removing import delete_observed, removal_report
from crossdock.flows.deleting.safety import DeleteLimit, demand_apart, limit_of
from crossdock.flows.runs.directory import run_files
from crossdock.model import ObjectInfo, Version
from crossdock.testing import EmbeddedGCS, EmbeddedS3, Rule


@pytest.fixture(scope="module")
def server():
    with EmbeddedS3() as s3:
        yield s3


@pytest.fixture(scope="module")
def gcs():
    with EmbeddedGCS(buckets=("there",)) as server:
        yield server


@pytest.fixture
def s3(server):
    """A bucket of its own, and a server without faults."""
    name = f"sync-{uuid.uuid4().hex[:8]}"
    server.create_bucket(name)
    server.faults.clear()
    server.faults.reset_counters()
    yield name
    server.faults.clear()


def options_of(server):
    return {"endpoint_url": server.url, "key": "AKIDEXAMPLE", "secret": "a-secret", "region": "us-east-1"}


def synced(source, sink, **how):
    return xd.sync(source, sink, delete=True, run_dir=f"memory://{bucket()}/", **how)


def within_s3(server, name, **how):
    """One bucket, from ``in/`` to ``out/``; the server copies by itself."""
    options = {"source_options": options_of(server), "sink_options": options_of(server)}
    return synced(f"s3://{name}/in/", f"s3://{name}/out/", **options, **how)


def put_into(server, name, objects):
    store = xd.source(f"s3://{name}/", **options_of(server)).store
    for key, body in objects.items():
        store.put(key, body)


def bodies(server, name):
    return {key: bytes(held.data) for key, held in server.objects(name).items()}


def numbers(deletes):
    return deletes.planned, deletes.deleted, deletes.changed, deletes.kept, deletes.failed, deletes.pending


def test_the_destination_becomes_the_source_and_a_second_run_writes_nothing():
    source = filled({f"in/{n}": b"%d" % n for n in range(8)})
    sink = filled({f"out/{n}": b"%d" % n for n in range(4, 10)} | {"out-2/x": b"", "out": b"", "other": b""})

    first = synced(f"{source}/in", f"{sink}/out")
    before = generations(sink)
    second = synced(f"{source}/in", f"{sink}/out")

    assert {key: body for key, body in contents(sink).items() if key.startswith("out/")} == {
        f"out/{n}": b"%d" % n for n in range(8)
    }
    assert {"out-2/x", "out", "other"} <= set(contents(sink))
    assert (first.copies.counts.copied, first.copies.counts.skipped) == (4, 4)
    assert numbers(first.deletes) == (2, 2, 0, 0, 0, 0)
    assert (first.plan.new, first.plan.both, first.plan.examples) == (4, 4, ("out/8", "out/9"))
    assert (first.ok, first.exit_code, first.to_dict()["deleted"]) == (True, 0, 2)
    counts = first.copies.counts
    assert counts.planned == counts.copied + counts.skipped + counts.failed + counts.pending
    assert generations(sink) == before
    assert (second.copies.counts.skipped, numbers(second.deletes)) == (8, (0, 0, 0, 0, 0, 0))
    second.raise_for_failures()


def test_without_delete_nothing_is_deleted_and_nothing_more_is_listed():
    source, sink = Troubled(), filled({"extra": b"1"})
    source.put("a", b"1")

    report = xd.sync(source.source(), sink, run_dir=f"memory://{bucket()}/")

    assert set(contents(sink)) == {"a", "extra"}
    assert (report.plan, report.deletes.planned, source.count("list")) == (None, 0, 1)


def test_hostile_keys_are_deleted_exactly():
    source = filled({"in/a//b": b"1"})
    sink = filled({f"out/{key}": b"1" for key in HOSTILE})

    report = synced(f"{source}/in/", f"{sink}/out/", max_delete="100%")

    assert contents(sink) == {"out/a//b": b"1"}
    assert report.deletes.deleted == len(HOSTILE) - 1


def test_the_marker_of_the_destination_itself_stays():
    source, sink = filled({"a": b"1"}), filled({"out/": b"", "out/d/": b"", "out/b": b""})

    synced(source, f"{sink}/out/")

    assert set(contents(sink)) == {"out/", "out/a"}


@pytest.mark.parametrize("side", ["in", "out"])
def test_a_failing_page_of_either_listing_deletes_and_copies_nothing(server, s3, monkeypatch, side):
    monkeypatch.setattr("crossdock.connectors.s3.listing._PAGE", 3)
    put_into(server, s3, {f"in/{n}": b"1" for n in range(5)} | {f"out/{n}": b"1" for n in range(3, 8)})
    before = bodies(server, s3)
    server.faults.add(
        Rule(operation="object.list", path=f"prefix={side}", skip=1, status=500, name="second page")
    )

    with pytest.raises(StorageError):
        within_s3(server, s3, max_delete="100%")

    assert server.faults.fired["second page"] >= 1
    assert bodies(server, s3) == before
    server.faults.clear()
    assert within_s3(server, s3, max_delete="100%").deletes.deleted == 3


def test_an_empty_source_deletes_nothing():
    source, sink = filled({"elsewhere": b"1"}), filled({"a": b"1", "b": b"2"})
    before = generations(sink)

    with pytest.raises(UnsafeError, match="the source has no object"):
        synced(f"{source}/in/", sink, max_delete="100%")
    with pytest.raises(UnsafeError, match="the source has no object"):
        synced(source, sink, include=["a", "b"], max_delete="100%")

    assert generations(sink) == before


def test_nothing_at_either_end_is_what_it_is_for_a_copy():
    with pytest.raises(NotFoundError):
        synced(filled({}), filled({}))


@pytest.mark.parametrize(
    ("there", "only_there", "limit", "refused"),
    [
        (100, 26, None, True),
        (100, 25, None, False),
        (12, 10, None, False),  # a handful may go, whatever the share
        (12, 11, None, True),
        (12, 4, 3, True),
        (12, 4, "4", False),
        (12, 4, "25%", True),
        (12, 4, "34%", False),
        (12, 1, 0, True),
    ],
)
def test_never_more_than_the_limit_and_then_nothing_is_copied_either(there, only_there, limit, refused):
    sink = filled({f"{n:03d}": b"1" for n in range(there)})
    source = filled({f"{n:03d}": b"1" for n in range(only_there, there)} | {"new": b"1"})
    before = generations(sink)

    if refused:
        with pytest.raises(UnsafeError, match=rf"{only_there} of {there} objects would be deleted"):
            synced(source, sink, max_delete=limit)
        assert generations(sink) == before
    else:
        assert synced(source, sink, max_delete=limit).deletes.deleted == only_there


def test_the_default_limit_is_a_thousand_of_any_number():
    assert limit_of(None).allowed(10_000_000) == 1_000
    assert limit_of("50%").allowed(10_000_000) == 5_000_000
    assert limit_of(7).allowed(3) == 3
    assert str(limit_of(None)) == "1,000 objects and 25 %"
    assert DeleteLimit(percent=0).allowed(50) == 0


@pytest.mark.parametrize("wrong", ["", "many", "-1", "101%", "%", True, -3])
def test_a_limit_that_is_none_is_refused(wrong):
    with pytest.raises(ConfigError, match="max_delete"):
        limit_of(wrong)


def test_after_a_failed_copy_nothing_is_deleted(server, s3):
    put_into(server, s3, {"in/good": b"1", "in/poison": b"2", "out/old": b"3"})
    server.faults.add(Rule(operation="object.copy", key="poison", status=403, name="denied"))
    ended = []

    report = within_s3(server, s3, on_failure=ended.append)

    assert server.faults.fired["denied"] >= 1
    assert bodies(server, s3)["out/old"] == b"3"
    assert (report.copies.counts.copied, report.copies.counts.failed, report.exit_code) == (1, 1, 5)
    assert report.deletes.not_begun == "1 copies failed, 0 are pending"
    assert numbers(report.deletes) == (1, 0, 0, 0, 0, 1)
    assert [each.status for each in ended] == ["failed"]
    with pytest.raises(TaskFailed, match="1 of 2 objects failed"):
        report.raise_for_failures()
    server.faults.clear()
    assert within_s3(server, s3).deletes.deleted == 1
    assert "out/old" not in bodies(server, s3)


def test_a_copy_the_destination_refuses_counts_as_failed_too(tmp_path):
    """Known before any byte moves, but the destination will not be what the source is: nothing is deleted."""
    (tmp_path / "old").write_bytes(b"1")

    report = synced(filled({"a": b"1", "bad//key": b"2"}), str(tmp_path))

    assert (report.copies.counts.failed, report.exit_code) == (1, 5)
    assert (tmp_path / "old").exists()


def test_what_the_filters_leave_out_is_never_deleted_unless_asked():
    source = filled({"a.csv": b"1", "kept.tmp": b"1"})
    sink = {"a.csv": b"1", "b.csv": b"1", "mine.tmp": b"1", "kept.tmp": b"1"}
    first, second = filled(sink), filled(sink)

    synced(source, first, exclude=["*.tmp"])
    synced(source, second, exclude=["*.tmp"], delete_excluded=True)

    assert set(contents(first)) == {"a.csv", "mine.tmp", "kept.tmp"}
    assert set(contents(second)) == {"a.csv"}


def test_a_delete_that_is_answered_with_500_is_tried_again(server, s3):
    put_into(server, s3, {"in/a": b"1", "out/a": b"1", "out/b": b"2"})
    server.faults.add(Rule(operation="object.delete", status=500, first=2, name="busy"))

    report = within_s3(server, s3)

    assert server.faults.fired["busy"] == 2
    assert (report.deletes.deleted, report.exit_code) == (1, 0)
    assert set(bodies(server, s3)) == {"in/a", "out/a"}


def test_a_delete_whose_answer_was_lost_counts_as_deleted(server, s3):
    put_into(server, s3, {"in/a": b"1", "out/a": b"1", "out/b": b"2"})
    server.faults.add(Rule(operation="object.delete", lose_ack=True, first=1, name="lost"))

    report = within_s3(server, s3)

    assert server.faults.fired["lost"] == 1
    assert numbers(report.deletes) == (1, 1, 0, 0, 0, 0)


def test_one_object_that_may_not_be_deleted_fails_alone_and_the_same_call_goes_on(server, s3):
    put_into(server, s3, {"in/a": b"1"} | {f"out/{n}": b"2" for n in range(5)})
    server.faults.add(Rule(operation="object.delete", key="out/3", status=403, name="locked"))
    run, ended = f"memory://{bucket()}/", []
    options = {"source_options": options_of(server), "sink_options": options_of(server)}

    def call():
        return xd.sync(
            f"s3://{s3}/in/",
            f"s3://{s3}/out/",
            delete=True,
            run_dir=run,
            on_completion=ended.append,
            **options,
        )

    first = call()

    assert server.faults.fired["locked"] >= 1
    assert (first.copies.ok, first.ok, first.exit_code) == (True, False, 5)
    assert numbers(first.deletes) == (5, 4, 0, 0, 1, 0)
    assert [each.key for each in first.deletes.examples] == ["out/3"]
    with pytest.raises(TaskFailed, match="1 of 5 objects were not deleted; first 'out/3'"):
        first.raise_for_failures()
    server.faults.clear()
    second = call()
    assert numbers(second.deletes) == (5, 5, 0, 0, 0, 0)
    assert set(bodies(server, s3)) == {"in/a", "out/a"}
    assert [each.status for each in ended] == ["failed", "done"]


def _writer(kind, server, gcs, tmp_path):
    """A destination of each kind of condition, its options, and a way to write there behind our back."""
    if kind == "memory":
        url = filled({})
        return url, {}, MemoryStore(url.removeprefix("memory://")).put
    if kind == "local":
        (tmp_path / "to").mkdir()
        return f"{tmp_path}/to/", {}, lambda key, body: (tmp_path / "to" / key).write_bytes(body)
    if kind == "gcs":
        options = {"endpoint_url": gcs.url}
        return "gs://there/", options, xd.sink("gs://there/", **options).store.put
    name = f"sync-{uuid.uuid4().hex[:8]}"
    server.create_bucket(name)
    return f"s3://{name}/", options_of(server), xd.sink(f"s3://{name}/", **options_of(server)).store.put


@pytest.mark.parametrize("kind", ["memory", "local", "s3", "gcs"])
def test_what_changed_at_the_destination_between_plan_and_delete_stays(kind, server, gcs, tmp_path):
    server.faults.clear()
    url, options, put = _writer(kind, server, gcs, tmp_path)
    for key in ("a", "old", "touched"):
        put(key, b"before")
    meddled = []

    def meddle(plan):
        meddled.append(plan.delete)
        put("touched", b"somebody's new object")
        return True

    report = synced(filled({"a": b"before"}), url, sink_options=options, confirm=meddle)

    assert meddled == [2]
    assert numbers(report.deletes) == (2, 1, 1, 0, 0, 0)
    assert (report.deletes.examples[0].key, report.exit_code) == ("touched", 5)
    left = xd.source(url, **options)
    assert {"a", "touched"} == set(left.list())
    assert bytes(left.store.read("touched").read_all()) == b"somebody's new object"


def test_a_change_between_the_look_and_the_delete_is_seen_by_the_server(server, s3):
    """S3: the HEAD finds the listed version, and the DELETE itself demands it: written in between, it stays."""
    put_into(server, s3, {"in/a": b"1", "out/a": b"1", "out/b": b"2"})
    server.faults.add(
        Rule(
            operation="object.delete",
            first=1,
            act=lambda: put_into(server, s3, {"out/b": b"new"}),
            name="written in between",
        )
    )

    report = within_s3(server, s3)

    assert server.faults.fired["written in between"] == 1
    assert bodies(server, s3)["out/b"] == b"new"
    assert numbers(report.deletes) == (1, 0, 1, 0, 0, 0)


def test_what_the_source_has_again_is_not_deleted():
    source, sink = filled({"a": b"1"}), filled({"a": b"1", "b": b"2"})

    def again(_):
        MemoryStore(source.removeprefix("memory://")).put("b", b"2")
        return True

    report = synced(source, sink, confirm=again)

    assert set(contents(sink)) == {"a", "b"}
    assert numbers(report.deletes) == (1, 0, 0, 1, 0, 0)
    assert report.deletes.examples[0].reason == "it is at the source again"


@pytest.mark.parametrize(
    ("source", "sink"), [("in/", "in/old/"), ("in/new/", "in/"), ("", "in/"), ("in", "")]
)
def test_one_end_within_the_other_is_refused(source, sink):
    url = filled({"in/a": b"1", "in/new/b": b"2", "in/old/c": b"3"})

    with pytest.raises(UnsafeError, match="is within the"):
        synced(f"{url}/{source}", f"{url}/{sink}")

    assert len(contents(url)) == 3


def test_directories_are_compared_behind_their_links(tmp_path):
    (tmp_path / "from" / "inner").mkdir(parents=True)
    (tmp_path / "from" / "a").write_bytes(b"1")
    (tmp_path / "link").symlink_to(tmp_path / "from" / "inner")

    with pytest.raises(UnsafeError, match="the destination is within the source"):
        synced(f"{tmp_path}/from/", f"{tmp_path}/link/")
    synced(f"{tmp_path}/from/", f"{tmp_path}/from-2/")


def test_the_same_bucket_name_of_two_services_is_two_places(server):
    one = xd.source("s3://bucket/", **options_of(server)).store
    other = xd.source("s3://bucket/", **options_of(server) | {"endpoint_url": "http://127.0.0.1:9"}).store

    demand_apart((one, ""), (other, "in/"), operation="sync", names=("source", "destination"))
    with pytest.raises(UnsafeError):
        demand_apart((one, ""), (one, "in/"), operation="sync", names=("source", "destination"))


def test_what_makes_no_sense_is_refused_before_anything():
    url = filled({"a": b"1"})
    for wrong in ({"delete_excluded": True}, {"max_delete": 3}, {"backup_dir": "memory://x/"}):
        with pytest.raises(ConfigError, match="give delete too"):
            xd.sync(url, filled({}), **wrong)
    with pytest.raises(ConfigError, match="one object"):
        synced(f"{url}/a", filled({"b": b""}))


def test_a_dry_run_says_what_would_be_deleted():
    source, sink = filled({"a": b"1", "b": b"2"}), filled({"c": b"333"})
    shown = []

    report = xd.sync(source, sink, delete=True, dry_run=True, confirm=shown.append)

    assert set(contents(sink)) == {"c"}
    assert (report.copies.state, report.copies.counts.pending, report.exit_code) == ("planned", 2, 0)
    assert numbers(report.deletes) == (1, 0, 0, 0, 0, 1)
    assert [(each.delete, each.delete_bytes, each.new) for each in shown] == [(1, 3, 2)]


def test_whoever_says_no_gets_nothing_done():
    source, sink = filled({"a": b"1"}), filled({"c": b"3"})
    before = generations(sink)

    with pytest.raises(UnsafeError, match="not confirmed"):
        synced(source, sink, confirm=lambda _: False)

    assert generations(sink) == before


def test_what_is_deleted_can_be_put_aside_first():
    source, sink = filled({"a": b"1"}), filled({"out/b": b"2", "out/d/c": b"3"})

    report = synced(source, f"{sink}/out/", backup_dir=f"{sink}/old", max_delete=2)

    assert contents(sink) == {"out/a": b"1", "old/b": b"2", "old/d/c": b"3"}
    assert report.ok
    with pytest.raises(UnsafeError, match="backup directory"):
        synced(source, f"{sink}/out/", backup_dir=f"{sink}/out/old/")


def test_what_cannot_be_put_aside_is_not_deleted(server, s3):
    put_into(server, s3, {"in/a": b"1", "out/a": b"1", "out/b": b"2"})
    server.faults.add(Rule(operation="object.copy", key="old/", status=403, name="denied"))

    report = within_s3(server, s3, backup_dir=f"s3://{s3}/old/")

    assert server.faults.fired["denied"] >= 1
    assert numbers(report.deletes) == (1, 0, 0, 0, 1, 0)
    assert "out/b" in bodies(server, s3)


CRASH = """
import os, signal, sys
import crossdock as xd
from crossdock.connectors.local import LocalStore

plain, deleted = LocalStore.delete, []

def deadly(self, key, **how):
    plain(self, key, **how)
    if self.url.endswith("/to"):
        deleted.append(key)
        if len(deleted) == 7:
            os.kill(os.getpid(), signal.SIGKILL)

LocalStore.delete = deadly
xd.sync(sys.argv[1], sys.argv[2], delete=True, max_delete="100%", run_dir=sys.argv[3])
"""


def test_killed_in_the_middle_of_the_deletions_the_same_call_goes_on_and_lists_nothing(tmp_path, monkeypatch):
    """SIGKILL after seven deletions, none of them recorded yet: the list was, so the same run directory finishes it."""
    for name, keys in {"from": range(5), "to": range(40)}.items():
        (tmp_path / name).mkdir()
        for key in keys:
            (tmp_path / name / f"{key:02d}").write_bytes(b"%d" % key)
    ends, run = (f"{tmp_path}/from/", f"{tmp_path}/to/"), f"{tmp_path}/run/"

    killed = subprocess.run([sys.executable, "-c", CRASH, *ends, run], check=False, capture_output=True)

    assert killed.returncode == -9, killed.stderr
    left = len(list((tmp_path / "to").iterdir()))
    assert 5 < left <= 33
    journal = Journal(run_files(run))
    before = removal_report(journal)
    assert before.planned == 35
    assert before.pending == before.planned - before.deleted
    planned = xd.sync(*ends, delete=True, max_delete="100%", run_dir=run, dry_run=True)
    assert (planned.deletes.planned, planned.deletes.deleted) == (left - 5, 0)
    assert left == len(list((tmp_path / "to").iterdir()))
    monkeypatch.setattr("crossdock.flows.deleting.pruning.Pruning.plan", None)  # nothing is listed again
    report = xd.sync(*ends, delete=True, max_delete="100%", run_dir=run)
    assert numbers(report.deletes) == (35, 35, 0, 0, 0, 0)
    assert {f"{n:02d}" for n in range(5)} == {path.name for path in (tmp_path / "to").iterdir()}
    document = json.loads((tmp_path / "run" / "run.json").read_text())
    assert document["deletes"]["deleted"] == 35


def test_killed_without_a_run_directory_of_ones_own_a_new_run_finds_the_rest(tmp_path):
    for name, keys in {"from": range(5), "to": range(40)}.items():
        (tmp_path / name).mkdir()
        for key in keys:
            (tmp_path / name / f"{key:02d}").write_bytes(b"%d" % key)
    ends = (f"{tmp_path}/from/", f"{tmp_path}/to/")

    killed = subprocess.run(
        [sys.executable, "-c", CRASH, *ends, f"{tmp_path}/run/"], check=False, capture_output=True
    )
    report = synced(*ends, max_delete="100%")

    assert killed.returncode == -9, killed.stderr
    assert report.deletes.planned == report.deletes.deleted < 35
    assert {f"{n:02d}" for n in range(5)} == {path.name for path in (tmp_path / "to").iterdir()}


def test_interrupted_deletions_are_recorded_and_finished_later():
    source, sink = filled({"a": b"1"}), Troubled()
    for n in range(300):
        sink.put(f"{n:03d}", b"1")
    run, plain = f"memory://{bucket()}/", MemoryStore.delete

    def delete(key, **how):
        if key == "150":
            raise KeyboardInterrupt
        plain(sink, key, **how)

    sink.delete = delete
    with pytest.raises(KeyboardInterrupt):
        xd.sync(source, sink.sink(), delete=True, max_delete="100%", run_dir=run)
    recorded = removal_report(Journal(run_files(run)))
    there = set(contents(sink.url))

    assert recorded.planned == 300
    assert recorded.deleted == 301 - len(there)
    del sink.delete
    assert numbers(xd.sync(source, sink.sink(), delete=True, max_delete="100%", run_dir=run).deletes) == (
        300,
        300,
        0,
        0,
        0,
        0,
    )
    assert set(contents(sink.url)) == {"a"}


class Unpinned(Troubled):
    """A store that cannot demand a version when it deletes, as those behind fsspec."""

    def delete(self, key, *, version=None):
        if version:
            raise UnsupportedError("one version only cannot be deleted", operation="delete", key=key)
        self._note("delete", key)
        super().delete(key)


def test_where_no_version_can_be_demanded_the_object_is_looked_at_just_before():
    store = Unpinned()
    store.put("a", b"1")
    seen = store.stat("a")

    assert delete_observed(store, seen) is True
    assert delete_observed(store, seen) is False  # it is gone already
    store.put("a", b"2")
    with pytest.raises(PreconditionError, match="not what was observed"):
        delete_observed(store, seen)
    assert contents(store.url) == {"a": b"2"}
    report = synced(filled({"b": b""}), store.sink(), max_delete=1)
    assert (report.deletes.deleted, report.deletes.unconditional) == (1, 1)


@pytest.mark.parametrize(
    "other",
    [
        {"size": 2},
        {"modified": datetime(2026, 1, 2, tzinfo=UTC)},
        {"version": Version(etag="other")},
    ],
)
def test_any_sign_of_another_state_keeps_an_object_that_cannot_be_pinned(other):
    class Store(Unpinned):
        def stat(self, key, **_):
            known = {"size": 1, "modified": datetime(2026, 1, 1, tzinfo=UTC), "version": Version(etag="e")}
            return ObjectInfo(key=key, **known | other)

    store = Store()
    observed = ObjectInfo(
        key="a", size=1, modified=datetime(2026, 1, 1, tzinfo=UTC), version=Version(etag="e")
    )

    with pytest.raises(PreconditionError):
        delete_observed(store, observed)
    assert store.count("delete") == 0


def test_a_list_of_several_parts_is_read_back_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("crossdock.flows.deleting.doomed._PART_ROWS", 7)
    for name, keys in {"from": range(2), "to": range(30)}.items():
        (tmp_path / name).mkdir()
        for key in keys:
            (tmp_path / name / f"{key:02d}").write_bytes(os.urandom(3))

    report = synced(f"{tmp_path}/from/", f"{tmp_path}/to/", max_delete="100%", overwrite="always")

    assert numbers(report.deletes) == (28, 28, 0, 0, 0, 0)
    assert report.deletes.deleted_bytes == 84


def test_sizes_are_judged_by_the_source_so_that_half_a_pair_is_never_deleted():
    """The source's object is too small to be taken, the destination's is not: it is left out, and not only there."""
    source = filled({"a": b"1234", "b": b"1"})
    sink = {"b": b"1234", "c": b"1234", "d": b"1"}
    first, second = filled(sink), filled(sink)

    report = synced(source, first, min_size=3)
    synced(source, second, min_size=3, delete_excluded=True)

    assert set(contents(first)) == {"a", "b", "d"}
    assert numbers(report.deletes) == (1, 1, 0, 0, 0, 0)
    assert set(contents(second)) == {"a"}


def test_equal_sizes_and_a_younger_destination_are_compared_by_checksum_if_asked(tmp_path):
    for place, body in (("from", b"1"), ("to", b"2")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "a").write_bytes(body)
    ends = f"{tmp_path}/from/", f"{tmp_path}/to/"

    assert synced(*ends).copies.counts.copied == 0
    assert synced(*ends, compare="checksum").copies.counts.copied == 1
    assert (tmp_path / "to" / "a").read_bytes() == b"1"


def test_a_run_directory_within_the_destination_would_be_deleted_by_the_next_run():
    source, sink = filled({"a": b"1"}), filled({"b": b"1"})

    with pytest.raises(UnsafeError, match="the run directory is within the destination"):
        xd.sync(source, sink, delete=True, run_dir=f"{sink}/runs/1/")
    assert set(contents(sink)) == {"b"}
    assert xd.sync(source, sink, run_dir=f"{sink}/runs/1/").ok  # nothing is deleted


def test_a_destination_that_is_not_there_yet_has_nothing_to_delete(tmp_path):
    report = synced(filled({"a": b"1"}), f"{tmp_path}/new/")

    assert (report.deletes.planned, report.ok) == (0, True)
    assert (tmp_path / "new" / "a").read_bytes() == b"1"
