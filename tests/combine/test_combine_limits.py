"""Attempts that are watched: no progress, too long, too much scratch; and options in their one place."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from datetime import timedelta

import pytest

import crossdock as xd
from crossdock.combine import supervision
from crossdock.errors import StalledError, StorageError
from crossdock.events import BytesMoved, emit


def pair(first, second, **options):
    return xd.CombinedTask(xd.task(first), xd.task(second), name="pair", **options)


def for_ever():
    """Python that never ends and moves nothing."""
    while True:
        time.sleep(0.001)


# -- timeouts ----------------------------------------------------------------------------------------------------------


def test_no_progress_is_given_up_and_says_in_whose_code_it_stood():
    with pytest.raises(xd.TaskFailed, match=r"no progress for 0\.1 s") as caught:
        pair(lambda: 1, lambda _: for_ever(), timeout=0.1)()

    assert isinstance(caught.value.__cause__, StalledError)
    assert caught.value.phase == "sink"
    assert caught.value.transient


def test_a_source_that_stalls_while_it_is_pulled_is_the_sources_fault():
    closed = threading.Event()

    def first():
        try:
            yield b"a"
            for_ever()
        finally:
            closed.set()

    with pytest.raises(xd.TaskFailed, match="no progress") as caught:
        pair(first, list, timeout=0.1)()

    assert caught.value.phase == "source"
    assert closed.is_set()


@pytest.mark.parametrize(
    "sign",
    [
        pytest.param(lambda: xd.current().progress(), id="says so"),
        pytest.param(lambda: xd.current().count(rows=1), id="counts rows"),
        pytest.param(lambda: emit(BytesMoved(bytes=1)), id="moves bytes"),
    ],
)
def test_whoever_makes_progress_may_take_as_long_as_it_likes(sign):
    def second(_):
        ends = time.monotonic() + 1.0
        while time.monotonic() < ends:
            sign()
            time.sleep(0.01)
        return "done"

    assert pair(lambda: 1, second, timeout=0.5)() == "done"


def test_items_pulled_out_of_a_generator_are_progress():
    def slowly():
        for number in range(100):
            time.sleep(0.01)
            yield number

    assert pair(slowly, sum, timeout=0.5)() == sum(range(100))


def test_bytes_handed_over_by_a_source_are_progress():
    class Slow:
        def __iter__(self):
            for _ in range(100):
                time.sleep(0.01)
                yield b"x"

    from crossdock.connectors.streams import as_byte_stream

    def foreign(stream):
        return sum(len(chunk) for chunk in stream)

    assert pair(lambda: as_byte_stream(Slow()), foreign, timeout=0.5)() == 100


def test_the_total_timeout_takes_no_excuses():
    def busy(_):
        while True:
            xd.current().progress()
            time.sleep(0.001)

    with pytest.raises(xd.TaskFailed, match=r"not done within 0\.1 s"):
        pair(lambda: 1, busy, total_timeout=timedelta(seconds=0.1))()


def test_an_attempt_given_up_is_tried_again_if_the_task_has_retries():
    attempts = itertools.count(1)

    def second(_):
        if next(attempts) < 3:
            for_ever()
        return xd.current().attempt

    assert pair(lambda: 1, second, timeout=0.1, retries=2)() == 3


def test_giving_up_lets_the_halves_clean_up():
    cleaned = []

    def second(_):
        try:
            for_ever()
        except Exception:
            cleaned.append("an exception the half could have swallowed")
        finally:
            cleaned.append("finally")

    with pytest.raises(xd.TaskFailed):
        pair(lambda: 1, second, timeout=0.1)()

    assert cleaned == ["finally"]


def test_a_thread_stuck_in_native_code_is_left_behind_and_said(monkeypatch, caplog):
    monkeypatch.setattr(supervision, "_GRACE_S", 0.1)
    stuck = threading.Event()

    with caplog.at_level(logging.WARNING), pytest.raises(xd.TaskFailed, match="no progress"):
        pair(lambda: 1, lambda _: stuck.wait(30), timeout=0.1)()
    stuck.set()

    assert "stuck in native code" in caplog.text


def test_a_connection_that_hangs_is_closed_to_wake_its_reader():
    class Connection:
        def __init__(self):
            self.open = threading.Event()

        def read(self, _=-1):
            self.open.wait(30)
            raise OSError("closed under me")

        def close(self):
            self.open.set()

    with pytest.raises(xd.TaskFailed) as caught:
        pair(Connection, lambda connection: connection.read(), timeout=0.1)()

    assert caught.value.phase == "source"


def test_both_halves_of_a_watched_attempt_share_one_thread():
    seen = []

    def first():
        seen.append(threading.get_ident())
        yield 1

    def second(stream):
        seen.append(threading.get_ident())
        return list(stream)

    assert pair(first, second, timeout=10)() == [1]
    assert seen[0] == seen[1]


def test_a_watched_failure_is_the_halves_own():
    with pytest.raises(xd.TaskFailed) as caught:
        pair(lambda: 1, lambda _: 1 / 0, timeout=10)()

    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert caught.value.phase == "sink"


def test_a_plain_task_has_timeouts_too():
    with pytest.raises(StalledError, match="no progress"):
        xd.task(for_ever, timeout=0.1)()


def test_mapped_items_stall_alone():
    def second(number):
        if number == 3:
            for_ever()
        return number

    with xd.one_task("one", timeout=0.5) as one:
        xd.task(second)(xd.task(lambda number: number)(xd.param("number")))
    result = one.map(number=range(6))

    assert result.results(failed="none") == [0, 1, 2, None, 4, 5]
    assert "no progress" in str(result.failed()[0].error)


# -- scratch -----------------------------------------------------------------------------------------------------------


def write_to_scratch(size):
    (xd.current().scratch / "file").write_bytes(bytes(size))


def test_scratch_above_its_quota_is_a_failure_even_at_the_very_end():
    task = pair(lambda: write_to_scratch(2000), lambda _: "done", scratch_quota=1000)

    with pytest.raises(xd.TaskFailed, match=r"2\.0 KiB, more than its quota of 1000 B") as caught:
        task()

    assert isinstance(caught.value.__cause__, StorageError)
    assert not caught.value.transient


def test_scratch_above_its_quota_stops_a_task_that_goes_on():
    def second(_):
        write_to_scratch(2 * 1024 * 1024)
        for_ever()

    with pytest.raises(xd.TaskFailed, match=r"more than its quota of 1\.0 MiB"):
        pair(lambda: 1, second, scratch_quota="1MiB")()


def test_scratch_within_its_quota_is_fine():
    assert pair(lambda: write_to_scratch(1000), lambda _: "done", scratch_quota=1000)() == "done"


def test_scratch_is_kept_on_failure_if_asked_and_the_log_says_where(caplog):
    places = []

    def second(_):
        places.append(xd.current().scratch)
        write_to_scratch(3)
        raise ValueError("no")

    with pytest.raises(xd.TaskFailed):
        pair(lambda: 1, second, keep_scratch="on_failure")()

    assert (places[0] / "file").read_bytes() == bytes(3)
    assert str(places[0]) in caplog.text
    (places[0] / "file").unlink()
    places[0].rmdir()


def test_scratch_of_a_success_is_never_kept():
    places = pair(lambda: xd.current().scratch, lambda place: place, keep_scratch="on_failure")()

    assert not places.exists()


# -- what an outcome says ----------------------------------------------------------------------------------------------


def test_an_outcome_is_one_row_of_metrics_for_the_pair():
    seen = []

    def second(number):
        xd.current().count(objects=2, rows=30)
        emit(BytesMoved(bytes=number))

    with xd.one_task("pair", on_completion=seen.append, tags=["nightly"]) as task:
        xd.task(second)(xd.task(lambda number: number)(xd.param("number")))
    task(number=7)
    [mapped] = task.map(number=[9])

    for outcome, size in ((seen[0], 7), (mapped, 9)):
        assert (size, 2, 30) == (outcome.bytes, outcome.objects, outcome.rows)
        assert (outcome.task, outcome.tags, outcome.attempts) == ("pair", ("nightly",), 1)
        assert outcome.run_id == "" or len(outcome.run_id) == 12
        assert outcome.bytes_per_s > 0


def test_what_an_earlier_attempt_moved_is_not_counted():
    attempts = itertools.count(1)

    def second(_):
        emit(BytesMoved(bytes=5))
        if next(attempts) == 1:
            raise OSError("cut")

    seen = []
    pair(lambda: 1, second, retries=1, on_success=seen.append)()

    assert seen[0].bytes == 5


# -- options -----------------------------------------------------------------------------------------------------------


def forms():
    first, second = xd.task(lambda: 1, name="first"), xd.task(lambda value: value, name="second")

    def in_a_block(**options):
        with xd.one_task("pair", **options) as task:
            second(first())
        return task

    return [
        lambda **options: xd.task(lambda: 1, **options),
        lambda **options: xd.task(**options)(lambda: 1),
        lambda **options: xd.CombinedTask(first, second, **options),
        lambda **options: xd.combine(first, second, **options),
        in_a_block,
        lambda **options: xd.one_task(**options)(lambda: second(first())),
    ]


@pytest.mark.parametrize("form", range(6))
def test_every_form_takes_every_option_and_with_options_changes_some(form):
    task = forms()[form](retries=2, retry_delay=3, timeout=4, tags="a", scratch_quota="1KiB")
    changed = task.with_options(retries=5, total_timeout=9, name="other")

    assert (task.settings.policy.retries, task.settings.policy.retry_delay) == (2, 3)
    assert (changed.settings.policy.retries, changed.settings.policy.retry_delay) == (5, 3)
    assert (changed.settings.timeouts.no_progress_s, changed.settings.timeouts.total_s) == (4.0, 9.0)
    assert changed.settings.tags == ("a",)
    assert changed.settings.scratch_quota_bytes == 1024
    assert changed.name == "other"
    assert 1 == task() == changed()


@pytest.mark.parametrize("form", range(6))
@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("retriess", 1, "did you mean 'retries'"),
        ("retry_delay_seconds", 1, "here it is retry_delay"),
        ("max_retries", 1, "here it is retries"),
        ("cache_key_fn", 1, "here it is cache=xd.Cache(key=...)"),
        ("zzz", 1, "known options: allow_large_result"),
        ("timeout", 0, "timeout takes seconds"),
        ("timeout", True, "timeout takes seconds"),
        ("total_timeout", "soon", "total_timeout takes seconds"),
        ("scratch_quota", "much", "scratch_quota takes bytes"),
        ("scratch_quota", 0, "scratch_quota is above 0"),
        ("keep_scratch", "always", "keep_scratch is 'never' or 'on_failure'"),
        ("tags", [1], "tags are words"),
        ("on_success", 3, "on_success"),
        ("retries", -1, "retries"),
    ],
)
def test_wrong_options_are_refused_in_words(form, option, value, words):
    with pytest.raises((xd.ConfigError, TypeError)) as caught:
        forms()[form](**{option: value})

    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"retries": 1}, "retries"),
        ({"timeout": 1}, "timeout"),
        ({"on_failure": print}, "hooks"),
        ({"tags": ["a"]}, "tags"),
        ({"scratch_quota": 1}, "scratch_quota"),
    ],
)
def test_a_half_with_a_scope_of_its_own_is_refused(options, word):
    half = xd.task(lambda: 1, name="stubborn", **options)

    with pytest.raises(xd.CompositionError, match="'stubborn'") as caught:
        xd.combine(half, xd.task(str))

    assert word in str(caught.value)
