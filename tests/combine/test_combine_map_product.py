"""What ``map`` maps over: all combinations, lengths, single values of every kind, and iterators within the window."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import crossdock as xd
from crossdock.ports import ByteStream


@xd.task
def report(account, day, folder=""):
    return f"{folder}{account}/{day}"


@xd.task
def same(value):
    return value


def test_accounts_times_days_in_the_order_of_itertools():
    """PIN-5's example: a report for each account and each day."""
    accounts, days = ["a", "b", "c"], [1, 2]

    result = report.map(xd.product(account=accounts, day=days), folder="x/")

    assert [f"x/{a}/{d}" for a, d in itertools.product(accounts, days)] == result.results()
    assert result.known_total == 6
    assert dict(next(o for o in result if o.index == 4).inputs) == {
        "account": "'c'",
        "day": "1",
        "folder": "'x/'",
    }


@pytest.mark.parametrize("combined", [False, True])
def test_a_product_maps_any_kind_of_task(combined):
    if combined:
        task = xd.CombinedTask(report.bind(xd.param("account"), xd.param("day")), same)
    else:

        @xd.one_task
        def task(account, day):
            return same(report(account, day))

    assert task.map(xd.product(account=["a", "b"], day=(1, 2))).results() == ["a/1", "a/2", "b/1", "b/2"]


def test_three_axes_and_a_column_beside_them():
    task = xd.task(lambda a, b, c, d: (a, b, c, d))

    result = task.map(xd.product(a=[1, 2], c=iter("xy"), b=range(2)), d=range(100, 108)).results()

    expected = itertools.product([1, 2], "xy", range(2))
    assert [(a, b, c, 100 + n) for n, (a, c, b) in enumerate(expected)] == result


def test_two_products_go_side_by_side():
    task = xd.task(lambda a, b, c: (a, b, c))

    assert task.map(xd.product(a=[1], b=[3, 4]), xd.product(c=["x", "y"])).results() == [
        (1, 3, "x"),
        (1, 4, "y"),
    ]
    with pytest.raises(xd.MapLengthMismatch, match="a, b has 2, c has 3"):
        task.map(xd.product(a=[1], b=[3, 4]), c=[1, 2, 3])


@pytest.mark.parametrize(
    "axes", [{"account": [], "day": [1]}, {"account": [1], "day": []}, {"account": [1], "day": iter(())}]
)
def test_an_empty_axis_is_an_empty_map(axes):
    assert report.map(xd.product(**axes)).results() == []


def test_nothing_ends_an_endless_axis_but_an_empty_one():
    """Nothing can come of it, so it is not iterated for ever."""
    assert report.map(xd.product(account=itertools.count(), day=iter(()))).results() == []


def test_the_first_axis_is_taken_lazily_and_each_axis_once():
    """An endless first axis: only as much of it is taken as the window has room for."""
    taken, days_taken, stop = [], [], threading.Event()

    def accounts():
        for number in itertools.count():
            taken.append(number)
            yield number

    def days():
        for day in range(3):
            days_taken.append(day)
            yield day

    def ends(account, day):
        if account == 5:
            stop.set()
            raise ValueError("enough")

    result = xd.task(ends).map(
        xd.product(account=accounts(), day=days()), window=2, tolerate="none", runner=None
    )
    result.wait()

    assert stop.is_set()
    assert days_taken == [0, 1, 2]
    assert len(taken) <= 5 + 1 + 2


def test_flatten_and_unmapped_in_a_product():
    task = xd.task(lambda account, day, whole: (account, day, whole))

    result = task.map(xd.product(account=xd.flatten([["a"], [], ["b"]]), day=[1]), whole=xd.unmapped([7, 8]))

    assert result.results() == [("a", 1, [7, 8]), ("b", 1, [7, 8])]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (xd.product, "combines nothing"),
        (lambda: xd.product(account="text", day=[1]), "'account' in xd.product is a single value"),
        (lambda: report.map(xd.product(account=[1], day=[1]), day=[2]), "'day' .* given twice"),
        (lambda: report.map(xd.product(account=[1], day=[1]), [2]), "multiple values"),
        (lambda: report.map(xd.product(account=[1], nonsense=[1])), "cannot be mapped like this"),
        (lambda: report.map(account=xd.product(account=[1]), day=1), "give it by position"),
    ],
)
def test_products_without_a_meaning(make, words):
    with pytest.raises(xd.CompositionError, match=words):
        make()


# -- single values ---------------------------------------------------------------------------------------------------


def streams():
    source, sink = xd.MemorySource("map-scalars"), xd.MemorySink("map-scalars")
    sink(b"payload", key="k")
    stream = source("k")
    assert isinstance(stream, ByteStream)
    return stream


@pytest.mark.parametrize(
    "scalar",
    [
        "text",
        b"bytes",
        bytearray(b"bytes"),
        memoryview(b"bytes"),
        {"a": 1, "b": 2},
        Path("a/b"),
        PurePosixPath("a/b"),
        pd.DataFrame({"a": [1, 2]}),
        pl.DataFrame({"a": [1, 2]}),
        pa.table({"a": [1, 2]}),
        pa.record_batch({"a": [1, 2]}),
        pa.RecordBatchReader.from_batches(pa.schema([("a", pa.int64())]), []),
        streams(),
        5,
        None,
    ],
    ids=lambda value: type(value).__name__,
)
def test_single_values_are_not_iterated(scalar):
    pairs = xd.task(lambda item, other: (item, other)).map(item=[1, 2], other=scalar).results()

    assert [item for item, _ in pairs] == [1, 2]
    assert all(other is scalar for _, other in pairs)


@pytest.mark.parametrize(
    "column",
    [
        [1, 2],
        (1, 2),
        range(1, 3),
        iter([1, 2]),
        {1: "a", 2: "b"}.keys(),
        np.array([1, 2]),
        {1, 2},
        (n for n in (1, 2)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_collections_and_iterators_are_columns(column):
    assert same.map(value=column).results() == [1, 2]


def test_text_in_a_list_is_an_item():
    assert same.map(value=["ab", "cd"]).results() == ["ab", "cd"]


# -- the window ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("threads", "window"), [(1, 1), (2, 2), (2, 5), (4, 8)])
def test_an_iterator_never_runs_ahead_of_the_window(threads, window):
    """At every moment: what was taken and has not ended is at most the window. Hooks run before the next is taken."""
    lock, ended, ahead = threading.Lock(), [0], []

    def numbers():
        for number in range(300):
            with lock:
                ahead.append(number + 1 - ended[0])
            yield number

    def count(_):
        with lock:
            ended[0] += 1

    counted = xd.task(lambda value: value, on_completion=count)
    result = counted.map(value=numbers(), runner=xd.LocalRunner(threads, window=window))

    assert list(range(300)) == result.results()
    assert max(ahead) <= window


def test_an_iterator_stands_still_as_long_as_the_window_is_full():
    taken, release, full = [], threading.Event(), threading.Semaphore(0)

    def numbers():
        for number in itertools.count():
            taken.append(number)
            yield number

    def held(value):
        full.release()
        assert release.wait(60)
        if value == 20:
            raise ValueError("enough")
        return value

    result = xd.task(held).map(value=numbers(), window=3, tolerate="none")
    for _ in range(3):
        assert full.acquire(timeout=60)
    at_most = len(taken)
    release.set()
    result.wait()

    assert at_most == 3


def test_an_error_of_an_iterator_comes_after_what_had_begun():
    def listing():
        yield 1
        yield 2
        raise xd.DeniedError("page 2", operation="list")

    result = same.map(value=listing())
    outcomes = iter(result)

    assert sorted([next(outcomes).value, next(outcomes).value]) == [1, 2]
    with pytest.raises(xd.DeniedError, match="page 2"):
        next(outcomes)
    with pytest.raises(xd.DeniedError):
        same.map(value=result).results()
