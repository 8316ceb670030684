"""``xd.move``: a source goes only when its copy is proven, and only in the version that was read."""

from __future__ import annotations

import subprocess
import sys
import uuid

import pytest
from flow_kit import HOSTILE, Troubled, bucket, contents, filled

import crossdock as xd
from crossdock.connectors.layers import layered
from crossdock.connectors.memory import MemoryStore
from crossdock.connectors.objects import ObjectSource
from crossdock.errors import ConfigError, NotFoundError, StorageError, TaskFailed, UnsafeError
from crossdock.testing import EmbeddedGCS, EmbeddedS3, Rule


@pytest.fixture(scope="module")
def server():
    with EmbeddedS3() as s3:
        yield s3


@pytest.fixture
def s3(server):
    name = f"move-{uuid.uuid4().hex[:8]}"
    server.create_bucket(name)
    server.faults.clear()
    server.faults.reset_counters()
    yield name
    server.faults.clear()


def options_of(server):
    return {"endpoint_url": server.url, "key": "AKIDEXAMPLE", "secret": "a-secret", "region": "us-east-1"}


def moved(source, sink, **how):
    return xd.move(source, sink, run_dir=f"memory://{bucket()}/", **how)


def numbers(report):
    deletes = report.deletes
    return deletes.planned, deletes.deleted, deletes.changed, deletes.kept, deletes.failed, deletes.pending


def bare(url):
    return MemoryStore(url.removeprefix("memory://"))


def test_everything_arrives_and_is_gone_from_the_source():
    objects = {f"in/{key}": key.encode() for key in HOSTILE}
    source, sink = filled(objects | {"in-2/a": b"", "in": b""}), filled({})

    report = moved(f"{source}/in/", f"{sink}/out/")

    assert contents(sink) == {f"out/{key}": key.encode() for key in HOSTILE}
    assert set(contents(source)) == {"in", "in-2/a"}
    assert numbers(report) == (len(HOSTILE), len(HOSTILE), 0, 0, 0, 0)
    counts = report.copies.counts
    assert counts.planned == counts.copied + counts.skipped + counts.failed + counts.pending
    assert (report.ok, report.exit_code, report.copies.levels) == (True, 0, {"V2": len(HOSTILE)})
    report.raise_for_failures()


def test_between_clouds(server, s3):
    with EmbeddedGCS(buckets=("there",)) as gcs:
        store = xd.source(f"s3://{s3}/", **options_of(server)).store
        for key in ("a", "b/c"):
            store.put(key, key.encode())

        report = moved(
            f"s3://{s3}/",
            "gs://there/",
            source_options=options_of(server),
            sink_options={"endpoint_url": gcs.url},
        )

        assert {k: bytes(o.data) for k, o in gcs.objects("there").items()} == {"a": b"a", "b/c": b"b/c"}
    assert server.objects(s3) == {}
    assert numbers(report) == (2, 2, 0, 0, 0, 0)


def test_one_object_is_renamed_and_never_onto_itself(tmp_path):
    url = filled({"d/a": b"1", "d/b": b"2"})

    report = moved(f"{url}/d/a", f"{url}/d/c")

    assert contents(url) == {"d/b": b"2", "d/c": b"1"}
    assert report.exit_code == 0
    for onto in ("d/b", "d/"):
        with pytest.raises(ConfigError, match="same object"):
            moved(f"{url}/d/b", f"{url}/{onto}")
    with pytest.raises(ConfigError, match="same place"):
        moved(f"{url}/d/", f"{url}/d/")
    for source, sink in (("d/", "d/e/"), ("d/", "")):
        with pytest.raises(UnsafeError, match="is within"):
            moved(f"{url}/{source}", f"{url}/{sink}")
    assert contents(url) == {"d/b": b"2", "d/c": b"1"}
    (tmp_path / "a").write_bytes(b"1")
    moved(str(tmp_path / "a"), str(tmp_path / "b"))
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_source_that_changed_after_it_was_read_stays():
    source, sink = filled({"a": b"old", "b": b"1"}), Troubled()

    def meddle(verb, key):  # the look at the copy, just before the deletion
        if verb == "stat" and key == "a":
            bare(source).put("a", b"new")

    sink.before = meddle

    report = moved(source, sink.sink())

    assert contents(source) == {"a": b"new"}
    assert contents(sink.url) == {"a": b"old", "b": b"1"}
    assert numbers(report) == (2, 1, 1, 0, 0, 0)
    assert (report.deletes.examples[0].key, report.exit_code) == ("a", 5)
    with pytest.raises(TaskFailed, match="1 of 2 objects were not deleted; first 'a': replaced"):
        report.raise_for_failures()
    sink.before = lambda *_: None
    assert moved(source, sink.sink()).ok
    assert (contents(source), contents(sink.url)["a"]) == ({}, b"new")


def test_a_change_between_the_look_and_the_delete_is_seen_by_the_server(server, s3):
    store = xd.source(f"s3://{s3}/", **options_of(server)).store
    store.put("in/a", b"old")
    server.faults.add(
        Rule(operation="object.delete", first=1, act=lambda: store.put("in/a", b"new"), name="written")
    )

    report = moved(f"s3://{s3}/in/", filled({}), source_options=options_of(server))

    assert server.faults.fired["written"] == 1
    assert bytes(server.objects(s3)["in/a"].data) == b"new"
    assert numbers(report) == (1, 0, 1, 0, 0, 0)


@pytest.mark.parametrize("harm", ["replaced", "gone"])
def test_a_copy_that_is_not_there_any_more_keeps_its_source(harm):
    """The receipt proved it, and somebody changed the destination since: the last look finds that."""
    source, sink = filled({"a": b"1"}), Troubled()
    copy = bare(sink.url)

    def meddle(verb, key):
        if verb == "stat" and contents(sink.url).get("a") == b"1":
            copy.delete(key) if harm == "gone" else copy.put(key, b"2")

    sink.before = meddle

    report = moved(source, sink.sink())

    assert contents(source) == {"a": b"1"}
    assert numbers(report) == (1, 0, 0, 1, 0, 0)
    assert harm.replace("gone", "not at the destination") in report.deletes.examples[0].reason


def test_what_failed_stays_and_the_rest_goes(server, s3):
    store = xd.source(f"s3://{s3}/", **options_of(server)).store
    for key in ("in/a", "in/b", "in/c"):
        store.put(key, b"1")
    server.faults.add(Rule(operation="object.get", key="in/b", status=403, name="denied"))

    report = moved(f"s3://{s3}/in/", sink := filled({}), source_options=options_of(server))

    assert server.faults.fired["denied"] >= 1
    assert set(server.objects(s3)) == {"in/b"}
    assert set(contents(sink)) == {"a", "c"}
    assert (report.copies.counts.failed, report.exit_code, numbers(report)) == (1, 5, (2, 2, 0, 0, 0, 0))


def test_a_failing_page_moves_and_deletes_nothing(server, s3, monkeypatch):
    monkeypatch.setattr("crossdock.connectors.s3.listing._PAGE", 3)
    store = xd.source(f"s3://{s3}/", **options_of(server)).store
    for number in range(5):
        store.put(f"in/{number}", b"1")
    server.faults.add(Rule(operation="object.list", path="prefix=in", skip=1, status=500, name="page"))

    with pytest.raises(StorageError):
        moved(f"s3://{s3}/in/", sink := filled({}), source_options=options_of(server))

    assert server.faults.fired["page"] >= 1
    assert (len(server.objects(s3)), contents(sink)) == (5, {})


def test_a_delete_that_is_answered_with_500_is_tried_again(server, s3):
    xd.source(f"s3://{s3}/", **options_of(server)).store.put("a", b"1")
    server.faults.add(Rule(operation="object.delete", status=500, first=2, name="busy"))

    report = moved(f"s3://{s3}/", filled({}), source_options=options_of(server))

    assert server.faults.fired["busy"] == 2
    assert (numbers(report), server.objects(s3)) == ((1, 1, 0, 0, 0, 0), {})


def test_what_is_there_already_is_proven_before_its_source_goes(tmp_path):
    """Equal sizes and a younger destination are enough to skip a copy, and not enough to delete the only one."""
    for place, wrong in (("from", b"1"), ("to", b"2")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "same").write_bytes(b"0")
        (tmp_path / place / "wrong").write_bytes(wrong)

    report = moved(f"{tmp_path}/from/", f"{tmp_path}/to/")

    assert (report.copies.counts.skipped, report.copies.counts.copied) == (2, 0)
    assert [path.name for path in (tmp_path / "from").iterdir()] == ["wrong"]
    assert (tmp_path / "to" / "wrong").read_bytes() == b"2"
    assert numbers(report) == (2, 1, 0, 1, 0, 0)
    assert report.deletes.examples[0].reason == "the destination does not provably hold the same bytes"


def test_never_overwriting_keeps_the_source_of_what_is_different():
    source, sink = filled({"a": b"1", "b": b"1"}), filled({"a": b"1", "b": b"2"})

    report = moved(source, sink, overwrite="never")

    assert (contents(source), contents(sink)["b"]) == ({"b": b"1"}, b"2")
    assert numbers(report) == (2, 1, 0, 1, 0, 0)


def test_less_than_required_is_neither_copied_nor_deleted(tmp_path):
    (tmp_path / "a").write_bytes(b"1")

    report = moved(f"{tmp_path}/", sink := filled({}), require="v2")

    assert (report.copies.counts.failed, numbers(report)) == (1, (0, 0, 0, 0, 0, 0))
    assert (contents(sink), (tmp_path / "a").exists()) == ({}, True)
    with pytest.raises(ConfigError, match="v1, v2 or v3"):
        moved(f"{tmp_path}/", sink, require="v0")


def test_what_the_filters_leave_out_stays():
    source = filled({"a.csv": b"1", "b.tmp": b"2"})

    report = moved(source, sink := filled({}), exclude="*.tmp")

    assert (contents(source), contents(sink)) == ({"b.tmp": b"2"}, {"a.csv": b"1"})
    assert report.ok


def test_a_dry_run_moves_nothing():
    source = filled({"a": b"1"})

    report = xd.move(source, sink := filled({}), dry_run=True)

    assert (contents(source), contents(sink)) == ({"a": b"1"}, {})
    assert (report.deletes.planned, report.exit_code) == (1, 0)


def test_nothing_can_be_moved_from_where_nothing_can_be_deleted():
    with pytest.raises(ConfigError, match="nothing can be deleted there"):
        xd.move("http://127.0.0.1:9/a", filled({}))


def test_a_store_that_cannot_delete_one_version_is_looked_at_first():
    class Unpinned(Troubled):
        def delete(self, key, *, version=None):
            if version:
                raise xd.UnsupportedError("one version only cannot be deleted", operation="delete", key=key)
            super().delete(key)

    source = Unpinned()
    source.put("a", b"1")

    report = moved(ObjectSource(layered(source), ""), filled({}))

    assert (numbers(report), report.deletes.unconditional) == ((1, 1, 0, 0, 0, 0), 1)


CRASH = """
import os, signal, sys
import crossdock as xd
from crossdock.connectors.local import LocalStore

plain, deleted = LocalStore.delete, []

def deadly(self, key, **how):
    if self.url.endswith("/from"):
        deleted.append(key)
        if len(deleted) == int(sys.argv[4]):
            os.kill(os.getpid(), signal.SIGKILL)
    plain(self, key, **how)

LocalStore.delete = deadly
xd.move(sys.argv[1], sys.argv[2], run_dir=sys.argv[3])
"""


@pytest.mark.parametrize(("at", "same_run"), [(1, True), (6, False)])
def test_killed_between_copy_and_delete_the_same_call_converges(tmp_path, at, same_run):
    """SIGKILL before the first deletion, or in the middle of them: all is copied, and copied once."""
    (tmp_path / "from").mkdir()
    for number in range(20):
        (tmp_path / "from" / f"{number:02d}").write_bytes(b"%d" % number)
    ends, run = (f"{tmp_path}/from/", f"{tmp_path}/to/"), f"{tmp_path}/run/"

    killed = subprocess.run(
        [sys.executable, "-c", CRASH, *ends, run, str(at)], check=False, capture_output=True
    )
    written = {path.name: path.stat().st_ino for path in (tmp_path / "to").iterdir()}
    left = len(list((tmp_path / "from").iterdir()))
    report = xd.move(*ends, run_dir=run if same_run else f"{tmp_path}/run-2/")

    assert killed.returncode == -9, killed.stderr
    assert (len(written), 0 < left <= 20) == (20, True)
    assert report.ok
    assert list((tmp_path / "from").iterdir()) == []
    assert written == {path.name: path.stat().st_ino for path in (tmp_path / "to").iterdir()}
    assert report.deletes.deleted == (20 if same_run else left)
    with pytest.raises(NotFoundError):
        moved(*ends)  # once more, when all is done: there is nothing to move


def test_a_run_directory_within_the_source_would_be_moved_itself(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"1")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    with pytest.raises(UnsafeError, match="the run directory is within the source"):
        xd.move(f"{tmp_path}/", filled({}))
    assert moved(f"{tmp_path}/", filled({})).ok


def test_the_same_run_goes_on_with_what_failed_and_counts_all_of_it(server, s3):
    """The list grows with each attempt; what was deleted before stays counted, by its place in the manifest."""
    store = xd.source(f"s3://{s3}/", **options_of(server)).store
    for key in ("in/a", "in/b", "in/c"):
        store.put(key, b"1")
    server.faults.add(Rule(operation="object.get", key="in/b", status=403, name="denied"))
    run, sink = f"memory://{bucket()}/", filled({})

    def call():
        return xd.move(f"s3://{s3}/in/", sink, run_dir=run, source_options=options_of(server))

    first = call()
    server.faults.clear()
    second = call()

    assert server.faults.fired["denied"] >= 1
    assert numbers(first) == (2, 2, 0, 0, 0, 0)
    assert numbers(second) == (3, 3, 0, 0, 0, 0)
    assert (set(contents(sink)), server.objects(s3), second.exit_code) == ({"a", "b", "c"}, {}, 0)
