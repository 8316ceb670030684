"""The decisions behind cut objects, and the crash points: pure, so without a store."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import CancelledError
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from crossdock import crash_points
from crossdock.connectors.writer import Begun
from crossdock.errors import ConnectionLostError, LedgerError
from crossdock.flows.ledger.failures import failure_of
from crossdock.flows.ledger.leftovers import same_upload
from crossdock.flows.ledger.records import Record, RecordState, best
from crossdock.flows.ledger.tally import ShardCounts
from crossdock.flows.moving.parts.agenda import Agenda
from crossdock.flows.moving.parts.noted import begun_text, part_text, progress_of
from crossdock.flows.moving.parts.words import (
    Closing,
    Opened,
    Opening,
    PartsEnd,
    Sending,
    ShardEnd,
    cut_tasks,
    stretches,
)
from crossdock.flows.runs.shards import Shard, ShardSize, cut_shards, longest_first
from crossdock.model import GIB, MIB, Digests, Metadata, Part, Upload, Version

DONE = ShardCounts(copied=1)


def shard(number, size=2 * GIB):
    return Shard(number, 0, number, number + 1, 1, size)


def upload(**fields):
    made = Upload(
        key="to/k", id="u1", part_size_bytes=10, metadata=Metadata(user={"a": "\u00e9"}), state={"x": "y"}
    )
    return replace(made, **fields)


def begun(**fields):
    made = Begun(
        source_key="k",
        version=Version(etag="e", generation="7"),
        size=95,
        upload=upload(),
        names=frozenset({"crc32c", "crc64nvme"}),
        by_part=True,
        lost=("user.b",),
    )
    return replace(made, **fields)


# -- cutting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "part_size", "tasks"),
    [(1, 8 * MIB, 1), (7, 8 * MIB, 7), (128, 8 * MIB, 8), (256, 8 * MIB, 16), (10_000, 525 * MIB, 1_000)],
)
def test_tasks_cover_every_missing_part_once(count, part_size, tasks):
    """Some 128 MiB each, at least eight where there are parts for them, and never over a thousand."""
    cut = list(cut_tasks([(1, count + 1)], part_size))

    assert tasks == len(cut)
    assert [*range(1, count + 1)] == [number for first, stop in cut for number in range(first, stop)]


def test_only_what_is_missing_is_cut():
    missing = stretches([1, 2, 3, 7, 9, 10])

    assert missing == ((1, 4), (7, 8), (9, 11))
    assert [n for first, stop in cut_tasks(missing, 1) for n in range(first, stop)] == [1, 2, 3, 7, 9, 10]
    assert stretches([]) == ()
    assert list(cut_tasks([], 1)) == []


def test_an_object_that_may_be_cut_is_a_shard_of_its_own():
    rows = [(True, 5), (True, 5), (True, 50), (True, 5), (False, 99), (True, 51), (True, 52), (True, 1)]
    cut = list(cut_shards([rows], ShardSize(max_rows=100, max_bytes=1_000, alone_bytes=49)))

    assert [(each.rows, each.size_bytes) for each in cut] == [
        (2, 10),
        (1, 50),
        (1, 5),
        (1, 51),
        (1, 52),
        (1, 1),
    ]
    assert [(each.start, each.stop) for each in cut] == [(0, 2), (2, 3), (3, 4), (5, 6), (6, 7), (7, 8)]


def test_the_longest_objects_begin_first_and_the_rest_in_order():
    shards = [shard(0, 5), shard(1, 50), Shard(2, 0, 2, 4, 2, 90), shard(3, 70), shard(4, 10)]

    assert [each.number for each in longest_first(lambda: iter(shards), 49)] == [3, 1, 0, 2, 4]


# -- the agenda ----------------------------------------------------------------------------------------------------


def agenda_of(*shards):
    return Agenda(iter(shards), threading.Event())


def opened(number, *missing, attempt=0):
    return Opened(shard(number), f"u{number}", 128 * MIB, missing, attempt)


def take(agenda, counter):
    return next(counter), next(agenda)


def test_parts_come_before_what_was_not_begun_and_the_completion_after_all_parts():
    agenda, counter = agenda_of(shard(0), shard(1)), itertools.count()
    agenda.heard(take(agenda, counter)[0], opened(0, (1, 3)))
    one, two = take(agenda, counter), take(agenda, counter)
    three = take(agenda, counter)

    assert (Sending(shard(0), "u0", 1, 2), Sending(shard(0), "u0", 2, 3), shard(1)) == (
        one[1],
        two[1],
        three[1],
    )
    assert not agenda.ready()  # nothing is due, and something may yet be
    assert agenda.heard(two[0], PartsEnd(0, "u0", retries=2)) is None
    assert not agenda.ready()
    assert agenda.heard(one[0], PartsEnd(0, "u0", retries=3)) is None
    assert agenda.ready()
    closing = take(agenda, counter)
    assert Closing(shard(0), "u0", 0, retries=5) == closing[1]
    end = ShardEnd(0, DONE)
    assert end == agenda.heard(closing[0], end)
    assert agenda.heard(three[0], ShardEnd(1, DONE)) == ShardEnd(1, DONE)
    assert agenda.ready()
    assert list(agenda) == []
    assert not agenda.has_more


def test_what_has_no_part_missing_is_only_completed():
    agenda, counter = agenda_of(shard(0)), itertools.count()
    agenda.heard(take(agenda, counter)[0], opened(0))

    assert Closing(shard(0), "u0", 0) == next(agenda)


def test_a_failed_part_calls_off_the_others_and_is_written_down_once():
    agenda, counter = agenda_of(shard(0)), itertools.count()
    agenda.heard(take(agenda, counter)[0], opened(0, (1, 6)))
    one, two = take(agenda, counter), take(agenda, counter)
    failure = failure_of(ConnectionLostError("x"))

    assert agenda.heard(one[0], PartsEnd(0, "u0", failure=failure)) is None
    assert not agenda.ready()  # two is still out, the other three are not begun
    assert agenda.heard(two[0], PartsEnd(0, "u0")) is None
    assert Closing(shard(0), "u0", 0, failure=failure) == next(agenda)


def test_an_upload_that_is_gone_is_begun_anew_a_bounded_number_of_times():
    agenda, counter = agenda_of(shard(0)), itertools.count()
    item = take(agenda, counter)
    attempts = []
    while not isinstance(item[1], Closing):
        attempts.append(item[1])
        attempt = item[1].attempt if isinstance(item[1], Opening) else 0
        agenda.heard(item[0], opened(0, (1, 2), attempt=attempt))
        sending = take(agenda, counter)
        agenda.heard(sending[0], PartsEnd(0, "u0", gone=True))
        item = take(agenda, counter)

    assert [shard(0), Opening(shard(0), 1), Opening(shard(0), 2)] == attempts
    assert "vanished 3 times" in item[1].failure.message


def test_a_part_lost_for_good_is_the_loss_of_its_shard():
    agenda, counter = agenda_of(shard(0), shard(1)), itertools.count()
    agenda.heard(take(agenda, counter)[0], opened(0, (1, 4)))
    sending, error = take(agenda, counter), ConnectionLostError("dead")

    assert (shard(0), error) == agenda.heard(sending[0], error)
    assert shard(1) == next(agenda)


def test_stopping_hands_out_nothing_more():
    agenda, counter = agenda_of(shard(0), shard(1)), itertools.count()
    woken = []
    agenda.listen(lambda: woken.append(True))
    agenda.heard(take(agenda, counter)[0], opened(0, (1, 2)))
    sending = take(agenda, counter)
    agenda.stop()

    assert woken
    assert agenda.stopped
    assert agenda.ready()
    assert ShardEnd(0, ShardCounts(), stopped=True) == agenda.heard(sending[0], CancelledError())
    assert list(agenda) == []
    assert not agenda.has_more


# -- what the ledger keeps -----------------------------------------------------------------------------------------


def noted(state, text, *, seconds=0):
    time = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return Record(shard=0, row=3, state=state, evidence=text, time=time)


def test_an_upload_and_its_parts_come_back_as_they_were():
    part = Part(
        number=2, size=10, etag="x", digests=Digests(crc32c=b"1234", crc64nvme=b"12345678", md5=b"m" * 16)
    )
    records = [
        noted(RecordState.UPLOAD, begun_text(begun())),
        noted(RecordState.PART, part_text("u1", part), seconds=1),
        noted(RecordState.PART, part_text("u1", replace(part, etag="y")), seconds=2),
        noted(RecordState.PART, part_text("another", replace(part, number=5)), seconds=3),
    ]
    (progress,) = progress_of(records)

    assert begun() == progress.begun
    assert {2: replace(part, etag="y")} == progress.parts
    assert progress.missing == ((1, 2), (3, 11))
    assert best(records) == {}  # none of this says how the row ended


def test_of_two_uploads_the_furthest_is_gone_on_with():
    part = Part(number=1, size=10, etag="x")
    records = [
        noted(RecordState.UPLOAD, begun_text(begun(upload=upload(id="first")))),
        noted(RecordState.UPLOAD, begun_text(begun(upload=upload(id="second"))), seconds=1),
        noted(RecordState.PART, part_text("first", part), seconds=2),
    ]

    assert [progress.id for progress in progress_of(records)] == ["first", "second"]


def test_a_damaged_record_is_loud():
    with pytest.raises(LedgerError):
        progress_of([noted(RecordState.UPLOAD, "{")])


def test_an_assembled_upload_without_an_id_is_told_by_its_state():
    assert same_upload(upload(), upload(state={}))
    assert same_upload(upload(), upload(id=""))
    assert not same_upload(upload(), upload(id="", state={"x": "z"}))
    assert not same_upload(upload(), upload(key="other"))


# -- crash points --------------------------------------------------------------------------------------------------


def test_without_the_variable_a_crash_point_is_an_empty_function():
    assert crash_points.armed("")("before-commit") is None


@pytest.mark.parametrize("text", ["nowhere", "before-commit:0", "before-commit:x", ":1"])
def test_a_crash_point_that_does_not_exist_is_refused(text):
    """A test that kills nothing would pass."""
    with pytest.raises(ValueError, match="LABEL"):
        crash_points.armed(text)


def test_the_process_dies_when_it_passes_for_the_nth_time():
    code = "from crossdock import crash_points as c\nfor n in 1, 2, 3: c.reached('part-sent'); print(n, flush=True)"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, crash_points.VARIABLE: "part-sent:3"},
        capture_output=True,
        check=False,
    )

    assert (found.returncode, found.stdout) == (-signal.SIGKILL, b"1\n2\n")


def test_every_label_is_a_place_in_the_code(pytestconfig):
    """And every place in the code is a label."""
    code = "".join(path.read_text() for path in (pytestconfig.rootpath / "crossdock").rglob("*.py"))
    found = {piece.partition('"')[0] for piece in code.split('crash_points.reached("')[1:]}

    assert {*crash_points.LABELS} == found
    assert json.loads(json.dumps(crash_points.LABELS)) == [*crash_points.LABELS]


class Hours:
    """A clock that is put forward by hand."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def tail():
    """Five shards out at once on a runner that waits for more, three of which took 100 s."""
    clock = Hours()
    agenda = Agenda(iter([shard(number, MIB) for number in range(5)]), threading.Event(), clock=clock)
    agenda.listen(lambda: None)
    assert len([next(agenda) for _ in range(5)]) == 5
    assert not agenda.ready()
    clock.now = 100.0
    for number in range(3):
        agenda.heard(number, ShardEnd(number, DONE, seconds=100.0))
    return agenda, clock


def test_what_takes_as_long_as_others_is_left_alone(tail):
    agenda, clock = tail
    clock.now = 599.0

    assert agenda.stragglers() == []


def test_what_takes_much_longer_is_handed_over_once_and_begins_again_when_its_worker_let_go(tail):
    agenda, clock = tail
    clock.now = 601.0

    assert [each.number for each in agenda.stragglers()] == [3, 4]
    assert agenda.stragglers() == []

    let_go = []
    agenda.when_let_go(let_go.append)
    assert agenda.heard(4, ShardEnd(4, DONE)) == ShardEnd(4, DONE)  # it was ready before it was asked
    assert not agenda.ready()
    assert agenda.heard(3, ShardEnd(3, ShardCounts(), stopped=True)) is None
    assert let_go == [3]
    assert agenda.ready()
    assert next(agenda) == shard(3, MIB)
    clock.now = 10_000.0
    assert agenda.stragglers() == []  # once is enough: it may simply be long
    ended = ShardEnd(3, ShardCounts(), stopped=True)  # whatever stopped it now, it was not asked for again
    assert agenda.heard(5, ended) == ended
    assert let_go == [3]
    assert agenda.ready()  # the end


def test_a_straggler_whose_worker_was_lost_is_news_like_any_other(tail):
    agenda, clock = tail
    clock.now = 601.0
    agenda.stragglers()
    lost = ConnectionLostError("gone", operation="map")

    assert agenda.heard(3, lost) == (shard(3, MIB), lost)


def test_a_straggler_is_not_begun_again_in_a_run_that_stops(tail):
    agenda, clock = tail
    clock.now = 601.0
    agenda.stragglers()
    agenda.stop()
    ended = ShardEnd(3, ShardCounts(), stopped=True)

    assert agenda.heard(3, ended) == ended


def test_nothing_straggles_while_there_is_more_to_begin():
    clock = Hours()
    agenda = Agenda(iter([shard(number, MIB) for number in range(3)]), threading.Event(), clock=clock)
    next(agenda), next(agenda)
    agenda.heard(0, ShardEnd(0, DONE))
    clock.now = 1_000.0
    assert agenda.stragglers() == []
    next(agenda)
    clock.now = 2_000.0
    assert agenda.stragglers() == []  # whether that was the last one is not known yet
    assert not agenda.ready()
    assert [each.number for each in agenda.stragglers()] == [1, 2]
