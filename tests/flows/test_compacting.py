"""Compaction: fewer segments, the same ledger, at every instant of a kill."""

from __future__ import annotations

import pytest
from flow_kit import Troubled, bucket, contents, filled

import crossdock as xd
from crossdock.connectors.memory import MemoryStore
from crossdock.errors import DeniedError, LedgerError, Retry
from crossdock.events import Note
from crossdock.flows.ledger import compacting, segments
from crossdock.flows.ledger.compacting import compact, compact_ended
from crossdock.flows.ledger.records import best
from crossdock.flows.ledger.writing import read_ledger, read_records, read_shard
from crossdock.flows.reporting.report import build_report
from crossdock.flows.runs.directory import RunDirectory, open_run, run_files
from crossdock.flows.runs.files import RunFiles
from crossdock.flows.runs.ownership import Owner

OBJECTS = {f"{number:03d}": b"x" for number in range(300)}


class Killed(BaseException):
    """SIGKILL, as a test sees it: nothing runs after it."""


class Deleting(Troubled):
    """A bucket that tells of deletes too."""

    def delete(self, key, **kwargs):
        self._note("delete", key)
        super().delete(key, **kwargs)


@pytest.fixture
def place():
    """A complete run of five shards, each with at least two segments."""
    place = f"memory://{bucket()}/"
    report = xd.migrate(filled(OBJECTS), f"memory://{bucket()}/", run_dir=place)
    assert report.counts.copied == 300
    return place


def ledger(place):
    return dict(read_ledger(run_files(place)))


def names(place, kind=""):
    return [name for name in contents(place.rstrip("/")) if name.startswith(f"ledger/{kind}")]


def test_few_segments_say_what_many_said(place):
    before, small = ledger(place), names(place)
    intents = {shard: len(list(records)) for shard, records in read_records(run_files(place))}

    done = compact(place)

    assert (len(small), 1) == (done.merged, done.written)
    assert names(place) == names(place, "merged-")
    assert len(names(place)) == 1
    assert before == ledger(place)
    assert intents == {shard: len(list(records)) for shard, records in read_records(run_files(place))}
    assert before == {shard: best(read_shard(run_files(place), shard)) for shard in before}
    assert compact(place).written == 0
    assert xd.resume(place).counts.copied == 300


def test_killed_at_any_instant_nothing_is_lost_and_the_next_one_ends_it(place):
    before, kept, at = ledger(place), contents(place.rstrip("/")), 0
    while True:
        store = Deleting(filled(kept).removeprefix("memory://"))
        writes = iter(range(at + 1))

        def kill(verb, key, writes=writes):
            if verb in ("put", "delete") and key.startswith("ledger/") and next(writes, None) is None:
                raise Killed

        store.before = kill
        directory = RunDirectory(RunFiles(store, ""))
        # One thread removes, so that the instant of the kill is the one that is meant.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compacting, "_AT_A_TIME", 1)
            try:
                compact_ended(directory)
                killed = False
            except Killed:
                killed = True

        assert before == ledger(f"{store.url}/"), f"killed at write {at}"
        compact(f"{store.url}/")
        assert before == ledger(f"{store.url}/")
        assert len(names(f"{store.url}/")) <= 2
        if not killed:
            break
        at += 1

    assert at >= 10


def test_the_end_of_a_drive_compacts_where_there_are_many(monkeypatch):
    monkeypatch.setattr("crossdock.flows.moving.driving.AUTOMATIC_FROM", 4)
    place = f"memory://{bucket()}/"

    report = xd.migrate(filled(OBJECTS), f"memory://{bucket()}/", run_dir=place)

    assert (report.state, report.counts.copied) == ("complete", 300)
    assert names(place) == names(place, "merged-")


def test_a_small_run_keeps_its_few_segments(place):
    assert 0 < len(names(place)) < compacting.AUTOMATIC_FROM
    assert not names(place, "merged-")


def test_segments_that_cannot_be_merged_are_told_of_and_end_no_run(monkeypatch):
    """A run whose objects all arrived is complete, whatever becomes of its housekeeping."""
    monkeypatch.setattr("crossdock.flows.moving.driving.AUTOMATIC_FROM", 4)
    put, told = MemoryStore.put, []

    def refuse(self, key, *args, **kwargs):
        if "merged-" in key:
            raise DeniedError("not here", operation="put", where=self.url)
        return put(self, key, *args, **kwargs)

    monkeypatch.setattr(MemoryStore, "put", refuse)
    report = xd.migrate(
        filled(OBJECTS), f"memory://{bucket()}/", run_dir=f"memory://{bucket()}/", observer=told.append
    )

    assert report.state == "complete"
    assert [note for note in told if isinstance(note, Note) and "small segments" in note.text]


def test_a_shard_with_work_left_is_not_merged():
    """Who resumes reads the segments of the shards that are left; those must not hide in a large one."""
    store, place = Troubled(), f"memory://{bucket()}/"
    store.put("zzz", b"")

    def refuse(verb, key):
        if verb == "put" and key < "010":
            raise DeniedError("no")

    store.before = refuse
    report = xd.migrate(filled(OBJECTS), store.sink(), run_dir=place)
    done = compact(place)

    assert report.counts.failed == 10
    assert done.written == 1
    assert {name[:15] for name in names(place) if "merged" not in name} == {"ledger/00000000"}


def test_a_retried_shard_counts_its_merged_records(place):
    """Its later segments alone would look unfinished: what was merged before belongs to it."""
    compact(place)
    files = run_files(place)
    records = read_shard(files, 2)
    from crossdock.flows.ledger.again import _append

    for token in ("aa", "bb"):
        _append(files, segments.segment_name(2, token, 0), records[:3])
    before = ledger(place)

    assert compact(place).merged == 2
    assert before == ledger(place)
    assert len(names(place, "merged-")) == 2


def test_a_driver_at_work_is_left_alone(place):
    with Owner(run_files(place)), pytest.raises(LedgerError, match="another driver"):
        compact(place)


def test_reading_while_somebody_compacts_is_loud_and_a_report_reads_again(place):
    """A reader that owns nothing may have listed what is gone a moment later: never a silent gap."""
    reading = segments.read_tables(run_files(place))
    next(reading)
    compact(place)

    with pytest.raises(LedgerError) as caught:
        list(reading)
    assert caught.value.retry is Retry.LATER
    assert build_report(open_run(place)).counts.copied == 300


def test_a_report_survives_a_compaction_in_its_middle(place, monkeypatch):
    from crossdock.flows.reporting import report

    read, once = report.read_tables, iter([True])

    def interfere(files, columns):
        for index, each in enumerate(read(files, columns)):
            if index == 1 and next(once, False):
                compact(place)
            yield each

    monkeypatch.setattr(report, "read_tables", interfere)

    assert build_report(open_run(place)).counts.copied == 300
    assert next(once, None) is None


def test_a_damaged_large_segment_is_loud(place):
    compact(place)
    files, name = run_files(place), names(place)[0]
    data, _ = files.get(name)
    files.put(name, data[: len(data) // 2])
    segments._held._data.clear()

    with pytest.raises(LedgerError, match="damaged") as caught:
        ledger(place)
    assert "delete it and resume" in str(caught.value)


def test_a_few_segments_are_counted_and_not_read(place, monkeypatch):
    """The end of a small run in a bucket must not read its ledger once more to find that it is small."""
    read = []
    original = MemoryStore.read
    monkeypatch.setattr(
        MemoryStore,
        "read",
        lambda self, key, *args, **kw: read.append(key) or original(self, key, *args, **kw),
    )

    assert compact_ended(open_run(place), at_least=1_000).written == 0
    assert not [key for key in read if key.startswith("ledger/")]
    assert compact_ended(open_run(place), at_least=2).written == 1
    assert [key for key in read if key.startswith("ledger/")]
