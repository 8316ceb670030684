"""The stitch table, row by row, and its clashes."""

from __future__ import annotations

import pytest

import crossdock as xd


def make(value):
    return value


def take(data, extra="none", *rest, flag=False, **more):
    return data, extra, rest, flag, more


source = xd.task(make, name="source")
sink = xd.task(take, name="sink")
exact = xd.task(lambda data, extra="none", /, other=0: (data, extra, other), name="exact")


def run(value, stitch, *args, target=sink, **kwargs):
    return target_call(target, source.bind(value), args, kwargs, stitch)()


def target_call(target, first, args, kwargs, stitch):
    return xd.CombinedTask(first, target.bind(*args, **kwargs), stitch_function=stitch)


@pytest.mark.parametrize("value", [None, {"extra": 1}, ((1,), {"extra": 2}), [1, 2], "text", b"bytes"])
def test_without_stitch_the_whole_output_goes_into_the_open_place(value):
    combined = xd.CombinedTask(source.bind(value), sink)

    assert combined() == (value, "none", (), False, {})


@pytest.mark.parametrize("value", [None, 5, [1, {"a": 1}], (1, 2), ([1], {}, 3), "text", {1, 2}])
def test_a_plain_value_goes_into_the_open_place(value):
    assert run(0, lambda _: value) == (value, "none", (), False, {})


def test_a_subclass_of_dict_is_a_plain_value():
    class Row(dict):
        pass

    assert run(0, lambda _: Row(a=1))[0] == {"a": 1}


def test_into_fills_the_open_place_and_names_the_rest():
    assert run(2, lambda value: xd.into(value * 2, extra="e", flag=True)) == (4, "e", (), True, {})


def test_into_hands_over_a_dict_itself():
    assert run({"a": 1}, xd.into) == ({"a": 1}, "none", (), False, {})


def test_a_dict_is_splatted_as_keywords():
    assert run(1, lambda value: {"data": value, "flag": True, "odd": 3}) == (1, "none", (), True, {"odd": 3})


def test_a_dict_leaves_what_the_call_gave_after_the_open_place_where_it_was():
    """Nothing slides into the open place."""
    two = xd.task(lambda data, extra: (data, extra), name="two")
    with xd.one_task(stitch_function=lambda value: {"data": value}) as combined:
        two(source(1), "given")

    assert combined() == (1, "given")


@pytest.mark.parametrize("kind", [tuple, list])
def test_args_and_kwargs_from_the_open_place_on(kind):
    assert run(1, lambda value: (kind([value, "second"]), {"flag": True})) == (1, "second", (), True, {})


def test_args_begin_at_the_open_place_not_at_the_beginning():
    assert run(1, lambda value: ([value, 7], {}), "given") == ("given", 1, (7,), False, {})


def test_args_may_be_empty():
    assert run(1, lambda value: ((), {"data": value})) == (1, "none", (), False, {})


def test_args_from_an_open_place_written_by_name():
    with xd.one_task(stitch_function=lambda value: ([value, "next"], {"flag": True})) as combined:
        sink(data=source(1))

    assert combined() == (1, "next", (), True, {})


def test_a_stream_stays_a_stream():
    """A transform is a generator between the two; nothing is pulled before the second pulls."""
    order = []

    def produce():
        for number in range(3):
            order.append(f"made {number}")
            yield number

    def transform(stream):
        for number in stream:
            yield number * 10

    def consume(stream):
        return [(order.append(f"took {number}"), number)[1] for number in stream]

    combined = xd.CombinedTask(xd.task(produce), xd.task(consume), stitch_function=transform)

    assert combined() == [0, 10, 20]
    assert order == ["made 0", "took 0", "made 1", "took 10", "made 2", "took 20"]


def test_renaming_the_seconds_parameter_breaks_nothing():
    renamed = xd.task(lambda inputs, extra="none": (inputs, extra))

    assert run(1, lambda value: value + 1, target=renamed) == (2, "none")
    assert run(1, lambda value: (value + 1, {})[0], target=renamed) == (2, "none")
    assert run(1, lambda value: ([value, "x"], {}), target=renamed) == (1, "x")


def test_a_stitch_in_a_block_and_on_a_decorator():
    with xd.one_task(stitch_function=lambda value: value + 1) as block:
        sink(source(xd.param("value")))

    @xd.one_task(stitch_function=lambda value: value + 1)
    def traced(value):
        return sink(source(value))

    assert block(value=1) == traced(1) == (2, "none", (), False, {})


def test_a_stitch_may_supply_a_required_input_of_the_second():
    needs_two = xd.task(lambda data, name: (data, name), name="needs_two")

    assert run(1, lambda value: xd.into(value, name="n"), target=needs_two) == (1, "n")


def test_a_stitch_may_name_everything_of_a_keyword_only_second():
    only = xd.task(lambda *, data: data, name="only")

    assert run(1, lambda value: {"data": value}, target=only) == 1


@pytest.mark.parametrize(
    ("stitch", "args", "kwargs", "target", "words"),
    [
        (lambda v: {"data": v, "extra": 1}, (), {"extra": 2}, sink, "'extra' of task 'sink' is given both"),
        (lambda v: xd.into(v, flag=True), (), {"flag": False}, sink, "'flag' of task 'sink' is given both"),
        (lambda v: xd.into(v, data=1), (), {}, sink, "multiple values for argument 'data'"),
        (lambda v: ([v, 1], {}), (), {"extra": 2}, sink, "multiple values for argument 'extra'"),
        (lambda v: ([v], {"flag": 1}), (), {"flag": 2}, sink, "'flag' of task 'sink' is given both"),
        (lambda v: {"extra": v}, (), {}, sink, "missing a required argument: 'data'"),
        (lambda v: {"nonsense": v}, (), {}, exact, "'exact'"),
        (lambda v: {"data": v}, (), {}, exact, "'exact'"),
        (lambda v: {1: v}, (), {}, sink, "xd.into"),
        (lambda v: ([v, 1, 2, 3], {}), (), {}, exact, "too many positional arguments"),
    ],
)
def test_clashes_and_misfits_name_the_task_and_never_override(stitch, args, kwargs, target, words):
    with pytest.raises(xd.TaskFailed) as caught:
        run(0, stitch, *args, target=target, **kwargs)

    assert isinstance(caught.value.__cause__, xd.CompositionError)
    assert words in str(caught.value)
    assert caught.value.phase == "stitch"
    assert not caught.value.transient


def test_a_stitch_that_fills_what_follows_the_open_place_twice_is_refused():
    with xd.one_task(stitch_function=lambda value: ([value, "x"], {})) as combined:
        sink(source(1), "given")

    with pytest.raises(xd.TaskFailed, match="the call gives the next one too"):
        combined()
