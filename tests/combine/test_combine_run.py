"""What happens when a combined task runs: where, on what object, who is blamed, what is closed and what is refused."""

from __future__ import annotations

import io
import itertools
import os
import threading
import warnings
from datetime import timedelta

import pyarrow as pa
import pyarrow.csv
import pytest

import crossdock as xd
from crossdock.combine import LargeResultWarning
from crossdock.combine.inputs import describe, inputs_text
from crossdock.combine.retrying import retry_policy
from crossdock.errors import Retry
from crossdock.model import ObjectInfo


def pair(first, second, **options):
    return xd.CombinedTask(xd.task(first), xd.task(second), name="pair", **options)


# -- same place, same object ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [object(), {"a": 1}, [1], pa.table({"a": [1]}), io.BytesIO(b"x")])
def test_the_same_object_crosses_in_the_same_process_on_the_same_thread(value):
    seen = {}

    def first():
        seen["first"] = os.getpid(), threading.get_ident()
        return value

    def second(given):
        seen["second"] = os.getpid(), threading.get_ident()
        return given is value

    assert pair(first, second)() is True
    assert seen["first"] == seen["second"]


def test_a_generator_crosses_as_itself():
    made = []

    def first():
        made.append(number for number in range(3))
        return made[0]

    assert pair(first, lambda given: given is made[0])() is True


# -- blame -------------------------------------------------------------------------------------------------------------


def raising(error):
    def generator():
        yield b"a,b\n1,2\n"
        raise error

    return generator


class Stream(io.RawIOBase):
    """A file of a foreign kind whose reads fail."""

    def readable(self):
        return True

    def readinto(self, _):
        raise OSError("cut")


class Endless:
    """An iterator written in Python, with state and close."""

    closed = False

    def __iter__(self):
        return self

    def __next__(self):
        raise OSError("cut")

    def close(self):
        self.closed = True


def fail(*_):
    raise OSError("cut")


@pytest.mark.parametrize(
    ("first", "second", "stitch", "phase"),
    [
        (fail, len, None, "source"),
        (lambda: 1, fail, None, "sink"),
        (lambda: 1, str, fail, "stitch"),
        (raising(OSError("cut")), list, None, "source"),
        (Endless, list, None, "source"),
        (Stream, lambda stream: stream.read(1), None, "source"),
        (Stream, lambda stream: pa.csv.read_csv(stream).num_rows, None, "source"),
        (lambda: map(fail, [1]), list, None, "source"),
        (lambda: itertools.chain([1], raising(OSError("cut"))()), list, None, "source"),
        (raising(OSError("cut")), list, lambda stream: (chunk for chunk in stream), "source"),
        (lambda: iter([1]), list, lambda stream: (fail(chunk) for chunk in stream), "stitch"),
        (lambda: iter([1]), lambda stream: [fail(chunk) for chunk in stream], None, "sink"),
    ],
    ids=[
        "first call",
        "second call",
        "stitch call",
        "generator pulled",
        "iterator class pulled",
        "file read",
        "file read by pyarrow",
        "map object pulled",
        "chain object pulled",
        "through a stitch",
        "of the stitch's own",
        "second while pulling",
    ],
)
def test_the_error_says_whose_it_was(first, second, stitch, phase):
    with pytest.raises(xd.TaskFailed) as caught:
        pair(first, second, stitch_function=stitch)()

    assert caught.value.phase == phase
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.task == "pair"
    assert caught.value.transient


def test_a_foreign_reader_that_wraps_the_error_does_not_hide_the_source():
    def second(stream):
        try:
            list(stream)
        except OSError as error:
            raise RuntimeError("cannot parse") from error

    with pytest.raises(xd.TaskFailed) as caught:
        pair(raising(OSError("cut")), second)()

    assert caught.value.phase == "source"


class StoredStream:
    """A byte stream over a store that a sink reads by range, so that its errors never pass through the stream."""

    def __init__(self, store):
        self.store = store
        self.info = ObjectInfo(key="k", size=10)
        self.name = "k"
        self.closed = 0

    def __iter__(self):
        yield b""

    def read(self, _=-1, /):
        return b""

    def close(self):
        self.closed += 1


class Store:
    url = "mem://bucket"


@pytest.mark.parametrize(
    ("error", "phase"),
    [
        (xd.ConnectionLostError("cut", operation="read", where="mem://bucket", key="k"), "source"),
        (xd.ConnectionLostError("cut", operation="stat", where="mem://other", key="k"), "sink"),
        (xd.ConnectionLostError("cut", operation="put_part", where="mem://other", key="k"), "sink"),
        (xd.PreconditionError("changed", operation="complete", where="mem://other", key="k"), "commit"),
    ],
)
def test_ranged_reads_and_commits_are_told_by_the_errors_operation(error, phase):
    def second(_):
        raise error

    with pytest.raises(xd.TaskFailed) as caught:
        pair(lambda: StoredStream(Store()), second)()

    assert caught.value.phase == phase
    assert caught.value.retry is error.retry


def test_the_failure_names_task_inputs_attempts_and_cause():
    with xd.one_task("n", retries=2, retry_delay=0) as combined:
        xd.task(fail)(xd.task(lambda key, password: (key, password))(xd.param("key"), xd.param("password")))

    with pytest.raises(xd.TaskFailed) as caught:
        combined(key="a/b", password="hunter2")

    assert str(caught.value).startswith("task n(key='a/b', password=***) failed in its sink: OSError: cut")
    assert caught.value.attempts == 3
    assert caught.value.retry is Retry.EXHAUSTED
    assert "hunter2" not in repr(caught.value.inputs)


def test_inputs_show_neither_payload_nor_secrets():
    assert describe(b"x" * 10_000) == "<10000 bytes>"
    assert describe("https://me:pw@host/x?X-Amz-Signature=abc&part=1") == (
        "'https://***@host/x?X-Amz-Signature=***&part=1'"
    )
    assert describe({"secret": "s"}) == "<dict of 1>"
    assert describe(xd.Secret("s")) == "Secret(***)"
    assert len(describe("x" * 10_000)) <= 120
    assert inputs_text({"api_token": "s", "key": "k"}) == {"api_token": "***", "key": "'k'"}


# -- closing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [None, OSError("boom"), KeyboardInterrupt()])
def test_the_firsts_stream_is_closed_on_every_exit(error):
    stream = StoredStream(None)

    def second(_):
        if error is not None:
            raise error
        return "done"

    combined = pair(lambda: stream, second)
    if error is None:
        assert combined() == "done"
    else:
        with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else xd.TaskFailed):
            combined()
    assert stream.closed == 1


def test_an_abandoned_generator_and_its_transform_are_closed_outermost_first():
    order = []

    def first():
        try:
            yield 1
        finally:
            order.append("first")

    def stitch(stream):
        try:
            for number in stream:
                yield number * 10
        finally:
            order.append("stitch")

    assert pair(first, next, stitch_function=stitch)() == 10
    assert order == ["stitch", "first"]


def test_a_value_that_merely_has_close_is_left_alone():
    class Client:
        closed = False

        def close(self):
            self.closed = True

    assert pair(Client, lambda client: client)().closed is False


def test_a_stream_that_fails_to_close_after_success_is_a_failure_of_the_source():
    def first():
        try:
            yield 1
        finally:
            raise OSError("lost at the end")

    with pytest.raises(xd.TaskFailed, match="lost at the end") as caught:
        pair(first, next)()

    assert caught.value.phase == "source"


# -- results ---------------------------------------------------------------------------------------------------------


def test_a_large_result_warns_and_a_huge_one_fails_unless_asked():
    with pytest.warns(LargeResultWarning, match=r"'pair' returned 2\.0 MiB"):
        pair(lambda: 2 << 20, bytes)()
    with pytest.raises(xd.TaskFailed, match=r"more than 16\.0 MiB"):
        pair(lambda: 17 << 20, bytes)()
    with pytest.raises(xd.TaskFailed, match=r"more than 16\.0 MiB"):
        pair(lambda: 17 << 20, lambda size: pa.table({"a": pa.array([b"x" * size])}))()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(pair(lambda: 17 << 20, bytes, allow_large_result=True)()) == 17 << 20
        assert len(pair(lambda: 1 << 20, bytes)()) == 1 << 20


def test_a_stream_is_no_result():
    with pytest.raises(xd.TaskFailed, match="returned a stream"):
        pair(lambda: 1, lambda _: (number for number in range(3)))()


# -- retries ---------------------------------------------------------------------------------------------------------


def flaky(errors):
    remaining = list(errors)
    attempts = []

    def first():
        attempts.append(xd.current().attempt)
        if remaining:
            raise remaining.pop(0)
        return "ok"

    return first, attempts


def test_the_whole_pair_is_tried_again():
    first, attempts = flaky([OSError("1"), xd.ThrottledError("2")])

    assert pair(first, str.upper, retries=5)() == "OK"
    assert attempts == [1, 2, 3]


@pytest.mark.parametrize(
    "error",
    [
        TypeError("bug"),
        ValueError("bug"),
        KeyError("bug"),
        xd.NotFoundError("gone"),
        xd.PreconditionError("changed"),
    ],
)
def test_permanent_errors_are_not_tried_again(error):
    first, attempts = flaky([error])

    with pytest.raises(xd.TaskFailed) as caught:
        pair(first, str.upper, retries=5)()

    assert attempts == [1]
    assert caught.value.retry is Retry.NEVER


def test_an_exhausted_error_is_tried_again_only_because_this_task_asks():
    error = xd.ThrottledError("slow down", retry=Retry.EXHAUSTED, attempts=9)
    first, attempts = flaky([error])
    assert pair(first, str.upper, retries=1)() == "OK"
    assert attempts == [1, 2]

    first, attempts = flaky([error])
    with pytest.raises(xd.TaskFailed) as caught:
        pair(first, str.upper)()
    assert attempts == [1]
    assert caught.value.retry is Retry.EXHAUSTED


@pytest.mark.parametrize("retry_on", [ValueError, (ValueError, KeyError), lambda error: "bug" in str(error)])
def test_retry_on_chooses_errors(retry_on):
    first, attempts = flaky([ValueError("bug")])
    assert pair(first, str.upper, retries=1, retry_on=retry_on)() == "OK"

    first, attempts = flaky([OSError("network")])
    with pytest.raises(xd.TaskFailed):
        pair(first, str.upper, retries=1, retry_on=retry_on)()
    assert attempts == [1]


@pytest.mark.parametrize(
    ("options", "delays"),
    [
        ({"retry_delay": 2}, [2, 2, 2]),
        ({"retry_delay": timedelta(seconds=2)}, [2, 2, 2]),
        ({"retry_delay": [1, timedelta(seconds=5)]}, [1, 5, 5]),
        ({"retry_delay": lambda attempt: attempt * 10}, [10, 20, 30]),
        ({"retry_delay": 1, "backoff": 3}, [1, 3, 9]),
        ({}, [0, 0, 0]),
    ],
)
def test_delays(options, delays):
    policy = retry_policy(retries=3, **options)

    assert [policy.delay_s(attempt) for attempt in (1, 2, 3)] == delays


def test_a_delay_is_jittered_upwards_and_never_shorter_than_the_server_asks():
    policy = retry_policy(retries=1, retry_delay=10, jitter=0.5)

    assert all(10 <= policy.delay_s(1) <= 15 for _ in range(50))
    assert policy.delay_s(1, xd.ThrottledError("slow", retry_after_s=60)) == 60


def test_ctrl_c_is_never_tried_again():
    first, attempts = flaky([KeyboardInterrupt()])

    with pytest.raises(KeyboardInterrupt):
        pair(first, str.upper, retries=5, retry_on=BaseException)()
    assert attempts == [1]


def test_a_plain_task_with_retries_raises_its_own_error():
    first, attempts = flaky([OSError("1"), OSError("2"), OSError("3")])

    with pytest.raises(OSError, match="3"):
        xd.task(first, retries=2)()
    assert attempts == [1, 2, 3]


# -- context ---------------------------------------------------------------------------------------------------------


def test_both_halves_share_one_context_and_scratch_directory():
    seen = {}

    def first():
        seen["first"] = xd.current()
        (xd.current().scratch / "part").write_text("hello")

    def second(_):
        seen["second"] = xd.current()
        return str(xd.current().scratch), (xd.current().scratch / "part").read_text()

    directory, text = pair(first, second)()

    assert text == "hello"
    assert seen["first"] is seen["second"]
    assert seen["first"].name == "pair"
    assert seen["first"].item is None
    assert not os.path.exists(directory)  # noqa: PTH110 - the text is what crossed


def test_scratch_is_removed_after_a_failure_and_fresh_for_each_attempt():
    directories = []

    def first():
        directories.append(xd.current().scratch)
        assert list(directories[-1].iterdir()) == []
        (directories[-1] / "left").touch()
        raise OSError("again")

    with pytest.raises(xd.TaskFailed):
        pair(first, str.upper, retries=1)()

    assert len(set(directories)) == 2
    assert not any(directory.exists() for directory in directories)


def test_no_context_outside_a_task():
    with pytest.raises(xd.CompositionError, match="no task is running"):
        xd.current()


def test_the_logger_carries_the_task(caplog):
    with caplog.at_level("INFO"):
        xd.task(lambda: xd.current().logger.info("at work"), name="worker")()

    assert caplog.records[0].task == "worker"
    assert caplog.records[0].attempt == 1
