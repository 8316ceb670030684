"""When a map stops because of its failures: what is begun no more, what still ends, and that it adds up."""

from __future__ import annotations

import errno
import threading

import pytest

import crossdock as xd
from crossdock.combine.mapping.tolerance import Tolerance, is_systemic
from crossdock.errors import Retry
from crossdock.model import Outcome, State

WAIT_S = 60


@xd.task
def same(value):
    return value


def caused_by(error, **fields):
    failure = xd.TaskFailed("failed", task="t", **fields)
    failure.__cause__ = error
    return failure


def exhausted(kind, **fields):
    return kind("down", retry=Retry.EXHAUSTED, **fields)


# -- when to stop ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (xd.CredentialsError("none found", where="s3://b"), True),
        (xd.CredentialsError("none found", where="s3://b", key="k"), True),
        (xd.MissingExtraError("no s3fs"), True),
        (xd.CompositionError("no"), True),
        (xd.LedgerError("no"), True),
        (ModuleNotFoundError("x"), True),
        (NameError("x"), True),
        (MemoryError(), True),
        (OSError(errno.ENOSPC, "full"), True),
        (xd.DeniedError("no", where="s3://b"), True),
        (xd.DeniedError("no", where="s3://b", key="k"), False),
        (xd.ConfigError("no such option"), True),
        (xd.ConfigError("bad key", key="k"), False),
        (xd.UnsupportedError("read only", where="x://"), True),
        (xd.UnsupportedError("too large", where="x://", key="k"), False),
        (xd.StrictError("weaker", where="x://"), False),
        (exhausted(xd.ConnectionLostError, where="s3://b", key="k"), True),
        (exhausted(xd.ThrottledError, where="s3://b"), True),
        (exhausted(xd.StalledError, where="s3://b"), True),
        (exhausted(xd.ConnectionLostError, operation="run"), False),
        (xd.ConnectionLostError("cut", where="s3://b"), False),
        (xd.NotFoundError("gone", where="s3://b", key="k"), False),
        (xd.IntegrityError("bit flip", key="k"), False),
        (xd.PreconditionError("replaced", key="k"), False),
        (ValueError("x"), False),
        (KeyError("x"), False),
        (TypeError("x"), False),
        (FileNotFoundError(errno.ENOENT, "x"), False),
        (ConnectionResetError(errno.ECONNRESET, "x"), False),
    ],
    ids=repr,
)
def test_which_failures_the_next_item_would_meet_too(error, expected):
    assert expected is is_systemic(error)
    assert expected is is_systemic(caused_by(caused_by(error)))


def test_an_item_whose_own_retries_were_used_up_counts_as_exhausted():
    cut = xd.ConnectionLostError("cut", where="s3://b")

    assert is_systemic(caused_by(cut, retry=Retry.EXHAUSTED))
    assert not is_systemic(caused_by(cut))


def test_the_verdict_counts_what_has_no_value():
    def verdict(state, failures, **tolerance):
        error = None if state is State.DONE else caused_by(ValueError("x"))
        return bool(Tolerance(**tolerance).verdict(Outcome(index=0, state=state, error=error), failures))

    assert not verdict(State.DONE, 9, tolerate="none", max_failures=1)
    assert not verdict(State.CANCELLED, 9, tolerate="none", max_failures=1)
    assert verdict(State.FAILED, 1, tolerate="none")
    assert verdict(State.UPSTREAM_FAILED, 1, tolerate="none")
    assert not verdict(State.FAILED, 2, max_failures=3)
    assert verdict(State.FAILED, 3, max_failures=3)
    assert verdict(State.UPSTREAM_FAILED, 3, tolerate="data", max_failures=3)
    assert not verdict(State.FAILED, 10**6)


@pytest.mark.parametrize(
    "options", [{"tolerate": "some"}, {"max_failures": 0}, {"max_failures": True}, {"max_failures": "3"}]
)
def test_options_without_a_meaning(options):
    with pytest.raises(xd.ConfigError):
        same.map(value=[1], **options)


def failing(number):
    if number % 10 == 3:
        raise xd.NotFoundError("gone", where="s3://b", key=str(number))
    if number == 57:
        raise xd.CredentialsError("expired", where="s3://b")
    return number


@pytest.mark.parametrize("make", [range, lambda n: iter(range(n))], ids=["range", "iterator"])
@pytest.mark.parametrize(
    ("options", "reason", "failed"),
    [
        ({"tolerate": "none"}, "none may", 1),
        ({"tolerate": "data"}, "the next would fail as item 57 did", 7),
        ({"max_failures": 4}, "4 items failed", 4),
        ({"tolerate": "data", "max_failures": 2}, "2 items failed", 2),
        ({"tolerate": "all"}, "", 11),
    ],
)
def test_a_map_stops_when_it_was_told_to(options, reason, failed, make, caplog):
    """One item at a time, so that it is exact: what was not begun is cancelled, each once, and says why."""
    began = []

    def work(number):
        began.append(number)
        return failing(number)

    result = xd.task(work, name="work").map(number=make(100), window=1, **options)
    outcomes = list(result)
    counts = result.counts

    assert failed == counts[State.FAILED]
    assert len({outcome.index for outcome in outcomes}) == len(outcomes)
    assert len(began) == counts[State.DONE] + counts[State.FAILED]
    cancelled = [outcome for outcome in outcomes if outcome.state is State.CANCELLED]
    assert not set(began) & {outcome.index for outcome in cancelled}
    assert all(reason in str(outcome.error) and outcome.task == "work" for outcome in cancelled)
    assert {(result.run_id, 0)} >= {(outcome.run_id, outcome.attempts) for outcome in cancelled}
    if result.known_total == 100 and make is range:
        assert sum(counts.values()) == 100
        assert bool(cancelled) is bool(reason)
    assert (f"begins nothing more: {reason}" in caplog.text or reason in caplog.text) if reason else True


def test_what_runs_when_a_map_stops_keeps_its_value():
    """In flight is not lost: it ends, and its outcome is told."""
    both, go_on = threading.Barrier(2), threading.Event()

    def work(number):
        both.wait(WAIT_S)
        if number == 0:
            raise ValueError("first")
        assert go_on.wait(WAIT_S)
        return number

    result = xd.task(work).map(number=range(10), runner=xd.LocalRunner(2, window=2), tolerate="none")
    first = next(iter(result))
    go_on.set()

    assert (first.index, first.state) == (0, State.FAILED)
    assert result.wait().counts == {State.FAILED: 1, State.DONE: 1, State.CANCELLED: 8}


def test_a_stop_ends_pauses_between_retries():
    paused = threading.Event()

    def work(number):
        if number == 0:
            paused.set()
            raise OSError("again")
        assert paused.wait(WAIT_S)
        raise ValueError("for good")

    result = xd.task(work, retries=1, retry_delay=3600).map(
        number=[0, 1, 2], runner=xd.LocalRunner(2, window=2), tolerate="none"
    )

    assert State.DONE not in result.wait().counts  # would wait an hour
    assert sum(result.counts.values()) == 3


def test_tolerance_on_dask(dask_runner):
    result = xd.task(failing).map(number=range(2_000), runner=dask_runner, tolerate="data")

    assert len(result) == 2_000
    assert State.CANCELLED in result.counts
    assert 57 in {outcome.index for outcome in result.failed() if outcome.state is State.FAILED}
    assert list(range(2_000)) == [outcome.index for outcome in result.in_order()]


@pytest.fixture(scope="module")
def dask_runner():
    with xd.DaskRunner(n_workers=1, threads=2, shard_size=5, window=2) as runner:
        yield runner


# -- runners of others -----------------------------------------------------------------------------------------------


class PlainRunner:
    """Knows nothing of windows or of stopping: takes an item, runs it, yields; loses every third."""

    def run(self, function, items, *, name="task"):
        class Results:
            """An iterator, not a generator: there is nothing to close."""

            def __init__(self):
                self.numbered = enumerate(items)

            def __iter__(self):
                return self

            def __next__(self):
                position, item = next(self.numbered)
                if position % 3 == 2:
                    return position, xd.ConnectionLostError("the worker died", operation="run")
                return position, function(item)

        assert name == "work"
        return Results()

    def close(self):
        raise AssertionError("a runner that was given is not closed")


@pytest.mark.parametrize("make", [range, lambda n: iter(range(n))], ids=["range", "iterator"])
def test_a_lost_item_has_all_that_is_known(make):
    result = xd.task(lambda n: n, name="work", tags=["nightly"]).map(n=make(6), runner=PlainRunner())

    assert result.results(failed="drop") == [0, 1, 3, 4]
    lost = result.failed()
    assert [outcome.index for outcome in lost] == [2, 5]
    assert {(o.task, o.run_id, o.tags, o.attempts, o.state) for o in lost} == {
        ("work", result.run_id, ("nightly",), 1, State.FAILED)
    }
    assert lost[0].inputs == {"n": "2"}
    assert isinstance(lost[0].error.__cause__, xd.ConnectionLostError)
    assert lost[0].error.transient


def test_a_runner_that_cannot_be_told_stops_for_want_of_items():
    result = xd.task(failing, name="work").map(number=range(100), runner=PlainRunner(), max_failures=1)

    assert result.wait().counts == {State.DONE: 2, State.FAILED: 1, State.CANCELLED: 97}
