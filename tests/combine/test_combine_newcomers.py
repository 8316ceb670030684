"""Mistakes that newcomers made, each of them once found by one: a clear line, and nothing silently wrong."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pytest

import crossdock as xd
from crossdock.model import State


async def coroutine(*_):
    return 1


def test_a_generator_is_no_result_of_a_mapped_task():
    ran = []

    @xd.task
    def gen(n):
        ran.append(n)
        yield n

    result = gen.map(n=[1, 2])

    assert result.counts == {State.FAILED: 2} or result.wait().counts == {State.FAILED: 2}
    assert "nothing would pull it" in str(result.failed()[0].error)
    assert not ran


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda: xd.task(lambda _: coroutine())(1), id="returned by a lambda"),
        pytest.param(
            lambda: xd.task(lambda x: [coroutine(x)][0]).map([1]).results()[0], id="returned in a map"
        ),
        pytest.param(type("A", (xd.Task,), {"run": coroutine})(), id="an async run, called"),
        pytest.param(lambda: xd.combine(xd.task(int), xd.task(str), stitch_function=coroutine), id="stitch"),
        pytest.param(lambda: xd.one_task("x", stitch_function=coroutine), id="stitch of a block"),
        pytest.param(lambda: xd.one_task("x", stitch_function=3), id="stitch that is no function"),
    ],
)
def test_async_is_refused_wherever_it_hides(write):
    with pytest.raises((xd.CompositionError, ExceptionGroup)) as caught:
        write()

    text = str(caught.value.exceptions[0] if isinstance(caught.value, ExceptionGroup) else caught.value)
    assert "async" in text or "coroutine" in text or "stitch_function is a function" in text


def test_an_async_hook_is_refused():
    with pytest.raises(xd.ConfigError, match="never be awaited"):
        xd.task(int, on_success=coroutine)


def test_outcomes_are_not_values():
    task = xd.task(lambda x: 1 / x, name="invert")
    result = task.map([0, 1]).wait()

    with pytest.raises(xd.CompositionError, match=r"task\.map\(result\.failed\(\)\)"):
        task.map(list(result.failed()))
    about = xd.task(lambda outcome: outcome.index).map(outcome=list(result))
    assert sorted(about.results()) == [0, 1]


@pytest.mark.parametrize(
    "column",
    [pd.Series([1, 2]), pa.chunked_array([[1], [2]]), pa.array([1, 2])],
    ids=lambda each: type(each).__name__,
)
def test_a_series_is_a_column(column):
    pairs = xd.task(lambda x, y: (int(str(x)), y)).map(x=column, y=[3, 4]).results()

    assert pairs == [(1, 3), (2, 4)]


def test_what_failed_upstream_says_what_failed():
    first = xd.task(lambda x: [][x], name="first").map([5])
    third = xd.task(lambda z: z, name="third").map(z=xd.task(lambda y: y, name="second").map(y=first))

    [failed] = third.failed()

    assert failed.state is State.UPSTREAM_FAILED
    assert "task first(x=5) failed in its task: IndexError" in str(failed.error)


@pytest.mark.parametrize("retry_on", ["ValueError", 5, [1], (ValueError, "x")])
def test_retry_on_is_checked_when_it_is_written(retry_on):
    with pytest.raises(xd.ConfigError, match="retry_on takes"):
        xd.task(int, retry_on=retry_on)


def test_retry_on_may_be_a_list():
    attempts = []

    @xd.task(retries=1, retry_on=[ValueError])
    def work():
        attempts.append(1)
        raise ValueError

    with pytest.raises(ValueError):
        work()

    assert len(attempts) == 2


@pytest.mark.parametrize("runner", ["dask", xd.LocalRunner, 4])
def test_a_runner_is_a_runner(runner):
    with pytest.raises(xd.ConfigError, match="runner is a runner such as"):
        xd.task(int).map([1], runner=runner)


class Source(xd.Task):
    name = "source"

    def run(self, key):
        return key


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda: Source().map(key=["a"]), r"xd\.task\(instance\.run\)"),
        (lambda: Source().with_options(retries=1), r"xd\.task\(instance\.run, retries"),
        (lambda: xd.task(Source()), r"xd\.task\(instance\.run"),
        (lambda: xd.task(Source), r"xd\.task\(Source\(\.\.\.\)\.run\)"),
        (lambda: xd.task(lambda x: x).map([1], retries=2), r"with_options\(retries"),
    ],
)
def test_the_error_says_what_to_write(write, words):
    with pytest.raises(xd.CompositionError, match=words):
        write()


def test_computing_with_a_described_call_points_to_the_stitch():
    with pytest.raises(xd.CompositionError, match="stitch_function"), xd.one_task("x"):
        xd.task(str)(xd.task(int)(1) + 1)


@pytest.mark.parametrize(
    "thing", [xd.task, xd.one_task, xd.combine, xd.CombinedTask], ids=lambda each: str(each)[:20]
)
def test_help_names_the_options(thing):
    text = thing.__doc__ if thing is not xd.combine else xd.CombinedTask.__doc__

    for option in xd.TaskOptions.__annotations__:
        assert f"``{option}``" in text


def test_payload_of_a_plain_task_stays_on_its_worker():
    """What leaves a worker process is small, or asked for; here, in this process, nothing leaves."""

    def zeros(size):
        return bytes(size)

    big = xd.task(zeros, name="big")

    assert len(big.map([20_000_000]).results()[0]) == 20_000_000
    with xd.LocalRunner(processes=1) as runner:
        [failed] = big.map([20_000_000], runner=runner).failed()
        [asked] = big.with_options(allow_large_result=True).map([20_000_000], runner=runner).results()
    assert "more than 16.0 MiB" in str(failed.error)
    assert len(asked) == 20_000_000
