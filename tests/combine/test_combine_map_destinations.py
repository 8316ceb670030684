"""Two items with one destination: the second never starts."""

from __future__ import annotations

from collections import Counter

import pytest

import crossdock as xd
from crossdock.combine.mapping.destinations import Destinations
from crossdock.model import State


@xd.task
def same(value):
    return value


def copies(name):
    source, sink = xd.MemorySource(f"{name}-src"), xd.MemorySink(f"{name}-dst", prefix="in/")
    fill = xd.MemorySink(f"{name}-src")
    for key in ("a", "b", "c"):
        fill(key.encode(), key=key)
    return source, sink


def stored(sink, key):
    return b"".join(xd.MemorySource(sink.store.url.removeprefix("memory://"))(f"in/{key}"))


@pytest.mark.parametrize("form", ["block", "decorated", "stitched"])
def test_the_second_item_of_a_destination_never_starts(form):
    source, sink = copies(f"twice-{form}")
    if form == "block":
        with xd.one_task("copy") as copy:
            sink(source(xd.param("key")), key=xd.param("to"))
    elif form == "decorated":

        @xd.one_task
        def copy(key, to):
            return sink(source(key), key=to)
    else:
        with xd.one_task("copy", stitch_function=lambda stream: stream) as copy:
            sink(source(xd.param("key")), key=xd.param("to"))

    result = copy.map(key=["a", "b", "c"], to=["x", "x", "y"])

    assert [outcome.state for outcome in result.in_order()] == [State.DONE, State.FAILED, State.DONE]
    [refused] = result.failed()
    assert isinstance(refused.error.__cause__, xd.ConfigError)
    assert "items 0 and 1 both go there" in str(refused.error)
    assert f"memory://twice-{form}-dst/in/x" in str(refused.error)
    assert (0, "copy", result.run_id) == (refused.attempts, refused.task, refused.run_id)
    assert stored(sink, "x") == b"a"


def test_the_source_names_the_destination_unless_told_otherwise():
    source, sink = copies("named")
    with xd.one_task("copy") as copy:
        sink(source(xd.param("key")))

    assert copy.map(key=["a", "b", "a"]).wait().counts == {State.DONE: 2, State.FAILED: 1}


def test_a_failed_item_is_no_duplicate_of_itself_and_a_refused_one_stays_refused():
    source, sink = copies("again")
    with xd.one_task("copy") as copy:
        sink(source(xd.param("key")), key=xd.param("to"))
    result = copy.map(key=["missing", "b", "c"], to=["x", "y", "y"])
    assert [outcome.state for outcome in result.in_order()] == [State.FAILED, State.DONE, State.FAILED]
    xd.MemorySink("again-src")(b"late", key="missing")

    again = copy.map(result.failed())

    assert [(outcome.index, outcome.state) for outcome in again.in_order()] == [
        (0, State.DONE),
        (2, State.FAILED),
    ]
    assert "items 1 and 2" in str(again.failed()[0].error)
    assert stored(sink, "x") == b"late"
    assert stored(sink, "y") == b"b"


def test_equal_keys_in_two_stores_are_two_destinations():
    source, _ = copies("stores")
    sinks = {"one": xd.MemorySink("stores-1"), "two": xd.MemorySink("stores-2")}

    @xd.one_task
    def copy(key, to):
        return sinks[to](source(key))

    result = copy.map(xd.product(key=["a", "b"], to=["one", "two"]))

    assert result.wait().counts == {State.DONE: 4}


def test_duplicates_are_the_data_s_fault_not_the_system_s():
    source, sink = copies("data")
    with xd.one_task("copy") as copy:
        sink(source(xd.param("key")))

    assert copy.map(key=["a", "a", "b", "c"], tolerate="data").wait().counts == {
        State.DONE: 3,
        State.FAILED: 1,
    }


def test_a_task_that_fails_while_asked_fails_when_it_runs():
    source, sink = copies("asked")

    @xd.one_task
    def copy(keys):
        return sink(source(keys["key"]))

    result = copy.map(keys=[{"key": "a"}, {}, {"key": "b"}])

    assert [outcome.state for outcome in result.in_order()] == [State.DONE, State.FAILED, State.DONE]
    assert isinstance(result.failed()[0].error.__cause__, KeyError)


def test_who_cannot_say_is_asked_once():
    asked = Counter()

    def ask(values):
        asked["times"] += 1

    destinations = Destinations(ask)

    assert [destinations.refusal(index, {}) for index in range(2)] == [None, None]
    assert asked["times"] == 1


def test_pairs_that_are_no_copies_are_left_alone():
    traced = []

    @xd.one_task
    def pair(value):
        traced.append(value)
        return same(same(value))

    assert pair.map(value=[1, 1, 1]).results() == [1, 1, 1]
    assert len(traced) == 4, "each item once, and the first one more, to ask"
