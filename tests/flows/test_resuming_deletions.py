"""Runs of ``sync`` and ``move`` that were stopped: nothing is deleted then, and a resume does what was asked, deletions too."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta

import pytest
from flow_kit import Troubled, bucket, contents, filled

import crossdock as xd
from crossdock.connectors.memory import MemoryStore
from crossdock.errors import ConfigError, LedgerError, UnsafeError
from crossdock.flows.deleting.doomed import Journal
from crossdock.flows.deleting.outcome import with_deletions
from crossdock.flows.reporting.report import build_report
from crossdock.flows.runs.directory import open_run, run_files
from crossdock.testing import EmbeddedS3, Rule

MANY = {f"{number:03d}": bytes(1_000) for number in range(400)}
OLD = {"old-1": b"1", "old-2": b"22"}


class Later:
    """A clock two hours on."""

    @staticmethod
    def now(zone):
        return datetime.now(zone) + timedelta(hours=2)


@pytest.fixture
def run():
    return f"memory://{bucket()}/"


def numbers(report):
    deletes = report.deletes
    return deletes.planned, deletes.deleted, deletes.changed, deletes.kept, deletes.failed, deletes.pending


def limited_sync(run, **how):
    """A sync that had copied a part of 400 objects, with two to delete, when a limit stopped it."""
    source, sink = filled(MANY), filled(OLD)
    how = {"max_bytes": "20KB", "concurrency": 1} | how
    return source, sink, xd.sync(source, sink, delete=True, run_dir=run, **how)


def test_a_sync_that_a_limit_stopped_deletes_nothing_and_a_resume_does_the_rest(run):
    ended = []
    source, sink, report = limited_sync(run, on_failure=ended.append)

    assert (report.copies.state, report.exit_code, report.ok) == ("limited", 7, False)
    assert report.copies.counts.pending > 0
    assert report.deletes.not_begun.startswith("a limit stopped the copies: 0 failed,")
    assert numbers(report) == (2, 0, 0, 0, 0, 2)
    assert set(OLD) < set(contents(sink))
    assert [each.status for each in ended] == ["failed"]
    shown = []
    resumed = xd.resume(run, confirm=lambda plan: shown.append(plan) or True, on_success=ended.append)
    assert contents(sink) == contents(source) == MANY
    assert (resumed.copies.counts.copied, numbers(resumed)) == (400, (2, 2, 0, 0, 0, 0))
    assert (resumed.ok, resumed.exit_code) == (True, 0)
    assert [(each.delete, each.delete_bytes, each.examples) for each in shown] == [(2, 3, ("old-1", "old-2"))]
    assert [each.status for each in ended] == ["failed", "done"]


def test_whoever_says_no_to_a_resume_gets_nothing_done(run):
    _, sink, report = limited_sync(run)
    before = contents(sink)

    with pytest.raises(UnsafeError, match="not confirmed"):
        xd.resume(run, confirm=lambda _: False)

    assert contents(sink) == before
    assert report.copies.counts.pending > 0


def test_a_resume_deletes_only_what_was_listed_and_only_as_it_was(run):
    """Between the two somebody replaced one, wrote a new one, and gave the source one of them again."""
    source, sink, _ = limited_sync(run)
    there, here = MemoryStore(sink.removeprefix("memory://")), MemoryStore(source.removeprefix("memory://"))
    there.put("old-1", b"somebody's new object")
    there.put("new", b"nobody asked about this one")
    here.put("old-2", b"22")

    report = xd.resume(run)

    assert numbers(report) == (2, 0, 1, 1, 0, 0)
    assert {"old-1", "old-2", "new"} < set(contents(sink))
    assert report.exit_code == 5


def test_a_resume_after_which_a_copy_still_fails_deletes_nothing(run):
    source, sink = Troubled(), filled(OLD)
    for key in ("a", "b"):
        source.put(key, b"1")

    def refuse(verb, key):
        if (verb, key) == ("read", "b"):
            raise xd.DeniedError("this one may not be read", operation="read", key=key)

    source.before = refuse
    first = xd.sync(source.source(), sink, delete=True, run_dir=run)
    second = xd.resume(run, source=source.source())

    assert [each.deletes.not_begun for each in (first, second)] == ["1 copies failed, 0 are pending"] * 2
    assert set(OLD) < set(contents(sink))
    source.before = lambda *_: None
    assert xd.resume(run, source=source.source()).ok
    assert set(contents(sink)) == {"a", "b"}


def test_what_a_resume_deletes_is_put_aside_first(run):
    aside = filled({})
    _, sink, _ = limited_sync(run, backup_dir=f"{aside}/was/")

    assert xd.resume(run).deletes.deleted == 2
    assert contents(aside) == {f"was/{key}": body for key, body in OLD.items()}
    assert contents(sink) == MANY


def test_what_a_run_keeps_of_its_backup_has_no_secret_and_a_resume_is_given_it_again(tmp_path):
    with EmbeddedS3() as server:
        server.create_bucket("aside")
        options = {
            "endpoint_url": server.url,
            "key": "AKIDEXAMPLE",
            "secret": "a-secret-of-nobody",
            "region": "us-east-1",
        }
        store = xd.sink("s3://aside/", **options).store
        store.put("to/old", b"1")
        server.faults.add(Rule(operation="object.insert", key="to/a", status=403, name="denied"))
        ends = filled({"a": b"1"}), "s3://aside/to/"
        how = {"delete": True, "backup_dir": "s3://aside/was/", "sink_options": options}
        first = xd.sync(*ends, run_dir=f"{tmp_path}/run/", **how)
        server.faults.clear()
        kept = (tmp_path / "run" / "run.json").read_text()
        report = xd.resume(f"{tmp_path}/run/", sink_options=options)
        there = {key: bytes(held.data) for key, held in server.objects("aside").items()}

    assert first.deletes.not_begun == "1 copies failed, 0 are pending"
    assert ("s3://aside" in kept, "was/" in kept, "a-secret-of-nobody" in kept) == (True, True, False)
    assert (report.ok, there) == (True, {"to/a": b"1", "was/old": b"1"})


def test_excluded_ones_go_in_a_resume_as_they_would_have_gone(run):
    source, sink = filled(MANY | {"x.tmp": b"1"}), filled({"x.tmp": b"1", "y.tmp": b"1"})

    report = xd.sync(
        source,
        sink,
        delete=True,
        delete_excluded=True,
        exclude="*.tmp",
        run_dir=run,
        max_bytes="20KB",
        concurrency=1,
    )
    resumed = xd.resume(run)

    assert report.copies.state == "limited"
    assert numbers(resumed) == (2, 2, 0, 0, 0, 0)
    assert contents(sink) == MANY


def test_the_same_sync_again_lists_anew_and_its_list_replaces_the_earlier(run):
    source, sink, _ = limited_sync(run)
    there = MemoryStore(sink.removeprefix("memory://"))
    there.delete("old-1")
    there.put("old-3", b"3")

    report = xd.sync(source, sink, delete=True, run_dir=run)

    assert (numbers(report), report.plan.examples) == ((2, 2, 0, 0, 0, 0), ("old-2", "old-3"))
    assert contents(sink) == MANY


def test_a_copy_that_goes_on_with_the_run_of_a_sync_takes_its_deletions_away(run):
    source, sink, _ = limited_sync(run)

    assert xd.migrate(source, sink, run_dir=run, max_bytes="20KB", concurrency=1).state == "limited"
    resumed = xd.resume(run)

    assert resumed.counts.copied == 400
    assert set(OLD) < set(contents(sink))


def test_a_list_that_was_never_finished_is_not_deleted_by_and_the_command_is_named(run):
    """Its writer was killed in the middle of writing it again."""
    _, sink, _ = limited_sync(run)
    Journal(run_files(run)).forget()

    with pytest.raises(LedgerError, match="crossdock sync --delete"):
        xd.resume(run)

    assert set(OLD) < set(contents(sink))


def test_a_resume_of_deletions_that_a_deadline_stopped_goes_on_with_them(run, monkeypatch):
    source, sink = filled({"a": b"1"}), filled(OLD)
    with monkeypatch.context() as late:
        late.setattr("crossdock.flows.deleting.removing.datetime", Later)
        report = xd.sync(source, sink, delete=True, run_dir=run, deadline=timedelta(hours=1))

    assert (report.copies.ok, report.ok, report.exit_code) == (True, False, 7)
    assert report.deletes.limited.startswith("the deadline ")
    assert numbers(report) == (2, 0, 0, 0, 0, 2)
    whole = with_deletions(build_report(open_run(run)))
    assert (whole.copies.state, numbers(whole)) == ("complete", (2, 0, 0, 0, 0, 2))
    assert numbers(xd.resume(run)) == (2, 2, 0, 0, 0, 0)
    assert set(contents(sink)) == {"a"}


def test_deletions_stop_when_too_many_fail(run):
    source, sink = filled({"a": b"1"}), Troubled()
    for number in range(300):
        sink.put(f"{number:03d}", b"1")

    def refuse(key, **_):
        raise xd.DeniedError("this one is held", operation="delete", key=key)

    sink.delete = refuse
    report = xd.sync(source, sink.sink(), delete=True, max_delete="100%", max_errors=5, run_dir=run)

    assert report.deletes.failed > 5
    assert (report.deletes.pending > 0, report.exit_code) == (True, 7)
    assert "max_errors is 5" in report.deletes.limited
    del sink.delete
    assert xd.resume(run, sink=sink.sink()).deletes.deleted == 300


CRASH = """
import sys
import crossdock as xd

getattr(xd, sys.argv[1])(*sys.argv[2:4], run_dir=sys.argv[4], **eval(sys.argv[5]))
"""


@pytest.mark.parametrize("point", ["manifest-written", "shards-written", "before-commit"])
def test_a_sync_that_was_killed_while_it_copied_is_resumed_with_its_deletions(tmp_path, monkeypatch, point):
    """SIGKILL: the list was whole before the plan counted, so either there is no run, or all of it."""
    for place, keys in {"from": range(5), "to": range(3, 9)}.items():
        (tmp_path / place).mkdir()
        for key in keys:
            (tmp_path / place / str(key)).write_bytes(b"%d" % key)
    ends, run = (f"{tmp_path}/from/", f"{tmp_path}/to/"), f"{tmp_path}/run/"
    monkeypatch.setenv("CROSSDOCK_CRASH_AT", point)

    killed = subprocess.run(
        [sys.executable, "-c", CRASH, "sync", *ends, run, "{'delete': True}"],
        check=False,
        capture_output=True,
    )
    monkeypatch.delenv("CROSSDOCK_CRASH_AT")

    assert killed.returncode == -9, killed.stderr
    planned = "plan" in json.loads((tmp_path / "run" / "run.json").read_text())
    if planned:
        report = xd.resume(run)
    else:
        with pytest.raises(LedgerError, match="start it anew"):
            xd.resume(run)
        report = xd.sync(*ends, delete=True, run_dir=run)
    assert planned == (point == "before-commit")
    assert numbers(report) == (4, 4, 0, 0, 0, 0)
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == ["0", "1", "2", "3", "4"]


def test_a_move_that_a_limit_stopped_deletes_nothing_and_a_resume_does_the_rest(run):
    source, sink = filled(MANY), filled({})

    report = xd.move(source, sink, run_dir=run, max_bytes="20KB", concurrency=1)

    assert (report.copies.state, report.exit_code) == ("limited", 7)
    assert contents(source) == MANY
    arrived = report.copies.counts.copied
    assert numbers(report) == (arrived, 0, 0, 0, 0, arrived)
    assert report.deletes.not_begun.startswith("a limit stopped the copies")
    resumed = xd.resume(run)
    assert (contents(source), contents(sink)) == ({}, MANY)
    assert (numbers(resumed), resumed.exit_code) == ((400, 400, 0, 0, 0, 0), 0)
    assert xd.resume(run).ok  # once more: nothing is left


def test_a_move_of_one_object_that_was_killed_before_its_deletion_is_resumed(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"1")
    run = f"{tmp_path}/run/"
    monkeypatch.setenv("CROSSDOCK_CRASH_AT", "report-written")

    killed = subprocess.run(
        [sys.executable, "-c", CRASH, "move", f"{tmp_path}/a", f"{tmp_path}/b", run, "{}"],
        check=False,
        capture_output=True,
    )
    monkeypatch.delenv("CROSSDOCK_CRASH_AT")
    report = xd.resume(run)

    assert killed.returncode == -9, killed.stderr
    assert (report.ok, report.state, report.counts.copied, numbers(report)) == (
        True,
        "complete",
        1,
        (1, 1, 0, 0, 0, 0),
    )
    assert (report.run_dir, (tmp_path / "a").exists(), (tmp_path / "b").read_bytes()) == (
        f"file://{tmp_path}/run",
        False,
        b"1",
    )


def test_a_resumed_move_proves_as_much_as_was_required(run):
    """The copy that was made first is replaced before the resume: its source stays."""
    source, sink = filled(MANY), filled({})
    report = xd.move(source, sink, run_dir=run, require="v2", max_bytes="20KB", concurrency=1)
    first = min(contents(sink))
    MemoryStore(sink.removeprefix("memory://")).put(first, b"somebody's")

    resumed = xd.resume(run)

    assert report.copies.state == "limited"
    assert numbers(resumed) == (400, 399, 0, 1, 0, 0)
    assert set(contents(source)) == {first}


def test_a_retry_of_a_move_leaves_the_deletions_to_a_resume(run):
    with EmbeddedS3() as server:
        server.create_bucket("retry-move")
        options = {
            "endpoint_url": server.url,
            "key": "AKIDEXAMPLE",
            "secret": "a-secret",
            "region": "us-east-1",
        }
        source = filled({"a": b"1", "b": b"2"})
        server.faults.add(Rule(operation="object.insert", key="b", status=403, name="denied"))
        how = {"sink_options": options}
        first = xd.move(source, "s3://retry-move/", run_dir=run, **how)
        server.faults.clear()
        retried = xd.retry(run, **how)
        whole = with_deletions(retried)
        resumed = xd.resume(run, **how)

    assert numbers(first) == (1, 1, 0, 0, 0, 0)
    assert (retried.ok, retried.retried) == (True, 1)
    assert (numbers(whole), whole.exit_code) == ((2, 1, 0, 0, 0, 1), 5)
    assert numbers(resumed) == (2, 2, 0, 0, 0, 0)
    assert contents(source) == {}


@pytest.mark.parametrize("flow", [xd.sync, xd.move])
@pytest.mark.parametrize(
    "given", [{"max_errors": -1}, {"max_bytes": "a lot"}, {"deadline": "soon"}, {"bandwidth": 0}]
)
def test_what_makes_no_sense_is_refused_before_anything(flow, given):
    source, sink = filled({"a": b"1"}), filled({})
    with pytest.raises(ConfigError):
        flow(source, sink, **given)
    assert (contents(source), contents(sink)) == ({"a": b"1"}, {})


@pytest.mark.parametrize("flow", [xd.sync, xd.move])
def test_bytes_a_second(flow, run, monkeypatch):
    from crossdock.connectors import bandwidth

    asked = []
    monkeypatch.setattr(
        bandwidth.Bandwidth, "take", lambda self, size: asked.append((self.bytes_per_s, size))
    )
    sink = Troubled()

    flow(filled({"a": bytes(1_000), "b": bytes(500)}), sink.sink(), run_dir=run, bandwidth="1MB")

    assert sorted(asked) == [(1_000_000, 500), (1_000_000, 1_000)]
