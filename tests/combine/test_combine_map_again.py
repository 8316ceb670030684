"""Failed items are mapped again: ``task.map(result.failed())``, with the arguments and under the indices they had."""

from __future__ import annotations

import threading

import pandas as pd
import pyarrow as pa
import pytest

import crossdock as xd
from crossdock.model import Outcome, State

WAIT_S = 60


@xd.task
def same(value):
    return value


@pytest.fixture(scope="module")
def dask_runner():
    with xd.DaskRunner(n_workers=1, threads=2, shard_size=5, window=2) as runner:
        yield runner


class Flaky:
    """Fails for some, once."""

    def __init__(self, *bad):
        self.bad = set(bad)
        self.calls = []

    def __call__(self, key, folder="", day=0):
        self.calls.append((key, folder, day))
        if key in self.bad:
            raise OSError(f"no {key}")
        return f"{folder}{key}/{day}"


def test_failed_items_run_again_with_their_arguments_and_indices():
    flaky = Flaky("b", "d")
    task = xd.task(flaky, name="flaky")
    result = task.map(key=iter("abcde"), folder="v1/", day=iter(range(5)))
    failed = result.failed()
    flaky.bad, flaky.calls = set(), []

    again = task.map(failed)

    assert again.results() == ["v1/b/1", "v1/d/3"]
    assert sorted(flaky.calls) == [("b", "v1/", 1), ("d", "v1/", 3)]
    assert [outcome.index for outcome in again.in_order()] == [1, 3]
    assert again.known_total == 2
    assert isinstance(failed, list)
    assert all(isinstance(outcome, Outcome) for outcome in failed)
    assert task.map(again.failed()).results() == []


def test_failures_of_failures_keep_their_indices():
    flaky = Flaky("b", "d", "e")
    task = xd.task(flaky)
    first = task.map(key=list("abcde"))
    first.wait()
    flaky.bad = {"d"}
    second = task.map(first.failed()).wait()
    flaky.bad = set()
    third = task.map(second.failed())

    assert sorted(outcome.index for outcome in second) == [1, 3, 4]
    assert [outcome.index for outcome in third] == [3]
    assert third.results()[0] == "d/0"


def test_some_of_them_and_a_changed_constant():
    flaky = Flaky("b", "d")
    task = xd.task(flaky)
    failed = task.map(key=list("abcde"), folder="v1/").failed()
    flaky.bad = set()

    again = task.map(failed.where(lambda outcome: outcome.inputs["key"] == "'d'"), folder="v2/")

    assert {outcome.index: outcome.value for outcome in again} == {3: "v2/d/0"}


def test_by_name_failed_items_are_a_list_of_outcomes():
    failed = xd.task(Flaky("b")).map(key=["a", "b"]).failed()

    assert xd.task(lambda outcome: outcome.index).map(outcome=failed).results() == [1]


def test_failed_items_of_a_product_and_of_a_pair():
    flaky = Flaky("b")
    pair = xd.CombinedTask(xd.task(flaky).bind(xd.param("key"), day=xd.param("day")), same)
    result = pair.map(xd.product(key=["a", "b"], day=[1, 2])).wait()
    flaky.bad = set()

    again = pair.map(result.failed())

    assert {outcome.index: outcome.value for outcome in again} == {2: "b/1", 3: "b/2"}


def test_cancelled_items_can_be_mapped_again_taken_or_not():
    began, go_on = threading.Event(), threading.Event()

    def held(key, day):
        began.set()
        assert go_on.wait(WAIT_S)
        return key, day

    task = xd.task(held)
    result = task.map(key=iter(range(20)), day=range(20), window=1)
    assert began.wait(WAIT_S)
    result.cancel()
    go_on.set()
    failed = result.failed()

    assert len(failed) == 19
    assert [(n, n) for n in range(1, 20)] == task.map(failed).results()
    assert [(n, n) for n in range(1, 20)] == task.map(failed).results(), "and once more"


def test_upstream_failed_items_stay_so():
    ones = xd.task(Flaky("b")).map(key=["a", "b"])
    twos = same.map(value=ones)

    again = same.map(twos.failed())

    assert again.wait().counts == {State.UPSTREAM_FAILED: 1}
    assert [outcome.index for outcome in again] == [1]


@pytest.mark.parametrize(
    "large",
    [b"x" * (2 << 20), "x" * (2 << 20), pa.table({"a": list(range(200_000))}), pd.Series(range(200_000))],
    ids=lambda value: type(value).__name__,
)
def test_a_large_argument_is_not_kept_and_says_so(large):
    def fails(value):
        raise ValueError("no")

    task = xd.task(fails)
    [outcome] = task.map(task.map(value=iter([large])).failed())

    assert outcome.state is State.FAILED
    assert "too large to be kept" in str(outcome.error)
    assert isinstance(outcome.error.__cause__, xd.ConfigError)


@pytest.mark.parametrize("kwargs", [{"day": [1, 2]}, {"key": "x"}])
def test_nothing_is_mapped_beside_failed_items(kwargs):
    task = xd.task(Flaky("b"))
    failed = task.map(key=["a", "b"]).failed()
    with pytest.raises(xd.CompositionError):
        task.map(failed, **kwargs)


def test_failed_items_run_again_elsewhere(dask_runner):
    failed = same.map(value=[1]).failed()
    assert same.map(failed, runner=dask_runner).results() == []
    flaky = xd.task(Flaky(3)).map(key=range(5)).failed()

    assert xd.task(Flaky()).map(flaky, runner=dask_runner).results() == ["3/0"]
