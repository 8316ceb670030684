"""Random signatures, random calling forms: the same result as plain nested calls, or a composition error.

Never a wrong binding: every function here hands back what each of its parameters got.
"""

from __future__ import annotations

import inspect
import itertools

import cloudpickle
from hypothesis import assume, given, settings, strategies as st

import crossdock as xd

POSITIONAL_ONLY, EITHER, KEYWORD_ONLY = "positional only", "either", "keyword only"


def make(name, parameters, var_args, var_kwargs):
    """A function of that signature which returns its bindings; parameters are ``(name, kind, has default)``."""
    written, before = [], None
    for parameter, kind, has_default in parameters:
        if before == POSITIONAL_ONLY and kind != POSITIONAL_ONLY:
            written.append("/")
        if kind == KEYWORD_ONLY and before != KEYWORD_ONLY:
            written.append("*rest" if var_args else "*")
        written.append(f"{parameter}='default of {parameter}'" if has_default else parameter)
        before = kind
    if before == POSITIONAL_ONLY:
        written.append("/")
    if var_args and before != KEYWORD_ONLY:
        written.append("*rest")
    if var_kwargs:
        written.append("**more")
    scope = {}
    exec(f"def {name}({', '.join(written)}): return ({name!r}, dict(locals()))", scope)  # noqa: S102 - that is the test
    return scope[name]


@st.composite
def signatures(draw, prefix):
    count = draw(st.integers(0, 4))
    kinds = sorted(
        draw(
            st.lists(st.sampled_from([POSITIONAL_ONLY, EITHER, KEYWORD_ONLY]), min_size=count, max_size=count)
        ),
        key=[POSITIONAL_ONLY, EITHER, KEYWORD_ONLY].index,
    )
    parameters, defaulted = [], False
    for index, kind in enumerate(kinds):
        has_default = draw(st.booleans()) or (defaulted and kind != KEYWORD_ONLY)
        defaulted = defaulted or (has_default and kind != KEYWORD_ONLY)
        parameters.append((f"{prefix}{index}", kind, has_default))
    return parameters, draw(st.booleans()), draw(st.booleans())


@st.composite
def calls(draw, function, prefix):
    """Arguments for a function, often fitting, sometimes not: ``(args, kwargs)`` of distinct values."""
    values = (f"{prefix} value {number}" for number in itertools.count())
    args, kwargs, by_position = [], {}, True
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            if by_position:
                args += [next(values) for _ in range(draw(st.integers(0, 2)))]
            by_position = False
        elif parameter.kind is parameter.VAR_KEYWORD:
            kwargs |= {f"{prefix}_extra{n}": next(values) for n in range(draw(st.integers(0, 2)))}
        else:
            given_at_all = draw(st.integers(0, 9)) > (5 if parameter.default is not parameter.empty else 0)
            if not given_at_all:
                by_position = False
            elif parameter.kind is parameter.KEYWORD_ONLY or not by_position or draw(st.booleans()):
                by_position = False
                kwargs[name] = next(values)
            else:
                args.append(next(values))
    if draw(st.integers(0, 19)) == 0:
        kwargs["unknown"] = next(values)
    return args, kwargs


def opened(args, kwargs, place, value):
    """The same arguments with ``value`` in one place."""
    if isinstance(place, int):
        return [*args[:place], value, *args[place + 1 :]], kwargs
    return args, {**kwargs, place: value}


def outcome(call):
    """What a call gives: its value, or which kind of refusal."""
    try:
        return call()
    except xd.CompositionError:
        return "refused"
    except xd.TaskFailed as error:
        return "refused" if isinstance(error.__cause__, xd.CompositionError) else error
    except TypeError:
        return "type error"


def as_expected(expected, *called):
    """What may come out: the plain call's result, or for what Python itself refuses a composition error.

    ``inspect`` (before Python 3.13) refuses one call that Python takes: the name of a positional-only parameter with a
    default, given by keyword into ``**more``. Refusing is within the rule.
    """
    if expected == "type error":
        return ["refused"]
    odd = any(
        parameter.kind is parameter.POSITIONAL_ONLY and name in kwargs
        for function, kwargs in called
        for name, parameter in inspect.signature(function).parameters.items()
    )
    return [expected, "refused"] if odd else [expected]


@st.composite
def pairs(draw):
    first = make("first", *draw(signatures("a")))
    second = make("second", *draw(signatures("b")))
    first_call, second_call = draw(calls(first, "first")), draw(calls(second, "second"))
    places = [*range(len(second_call[0])), *second_call[1]]
    assume(places)
    return first, second, first_call, second_call, draw(st.sampled_from(places))


EXAMPLES = settings(max_examples=400, deadline=None)


@EXAMPLES
@given(pairs(), st.sampled_from(["block", "decorator", "bound", "pickled"]))
def test_every_form_binds_as_the_plain_nested_call(pair, form):
    first, second, (first_args, first_kwargs), (second_args, second_kwargs), place = pair
    one, two = xd.task(first), xd.task(second)

    def plain():
        args, kwargs = opened(second_args, second_kwargs, place, first(*first_args, **first_kwargs))
        return second(*args, **kwargs)

    def nested():
        args, kwargs = opened(second_args, second_kwargs, place, one(*first_args, **first_kwargs))
        return two(*args, **kwargs)

    def combined():
        if form == "decorator":
            return xd.one_task(nested)()
        if form == "bound":
            bound = one.bind(*first_args, **first_kwargs)
            args, kwargs = opened(second_args, second_kwargs, place, bound)
            return xd.CombinedTask(bound, two.bind(*args, **kwargs))()
        with xd.one_task("block") as task:
            nested()
        return (cloudpickle.loads(cloudpickle.dumps(task)) if form == "pickled" else task)()

    expected = outcome(plain)

    assert outcome(combined) in as_expected(expected, (first, first_kwargs), (second, second_kwargs))


@EXAMPLES
@given(pairs(), st.lists(st.booleans(), min_size=20, max_size=20), st.integers(0, 5))
def test_parameters_bind_as_if_their_values_had_been_written(pair, choices, by_position):
    """Any of the values may come later, through ``param``, by position or by name."""
    first, second, first_call, second_call, place = pair
    one, two = xd.task(first), xd.task(second)
    later, chosen = {}, list(choices)

    def maybe_later(value):
        if not chosen.pop():
            return value
        name = f"p{len(later)}"
        later[name] = value
        return xd.param(name)

    def plain():
        args, kwargs = opened(*second_call, place, first(*first_call[0], **first_call[1]))
        return second(*args, **kwargs)

    def combined():
        first_args, first_kwargs = (
            [maybe_later(value) for value in first_call[0]],
            {name: maybe_later(value) for name, value in first_call[1].items()},
        )
        second_args = [value if place == n else maybe_later(value) for n, value in enumerate(second_call[0])]
        second_kwargs = {
            name: value if place == name else maybe_later(value) for name, value in second_call[1].items()
        }
        with xd.one_task("later") as task:
            args, kwargs = opened(second_args, second_kwargs, place, one(*first_args, **first_kwargs))
            two(*args, **kwargs)
        names = list(later)
        return task(*[later[n] for n in names[:by_position]], **{n: later[n] for n in names[by_position:]})

    expected = outcome(plain)

    assert outcome(combined) in as_expected(expected, (first, first_call[1]), (second, second_call[1]))


@EXAMPLES
@given(pairs())
def test_an_open_place_that_is_not_written_is_the_first_free_one(pair):
    """``second.combine(first, **others)`` and ``CombinedTask(first, second)``: never a place that is given."""
    first, second, (first_args, first_kwargs), (_, second_kwargs), _ = pair
    bound = xd.task(first).bind(*first_args, **first_kwargs)
    value = outcome(lambda: first(*first_args, **first_kwargs))

    def combined():
        return xd.CombinedTask(bound, xd.task(second).bind(**second_kwargs))()

    result = outcome(combined)

    if result == "refused":
        return
    bindings = result[1]
    took = [name for name, got in bindings.items() if got == value or (name == "rest" and got == (value,))]
    assert len(took) == 1
    free = [
        name
        for name, parameter in inspect.signature(second).parameters.items()
        if name not in second_kwargs
        and parameter.kind
        in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD, parameter.VAR_POSITIONAL)
    ]
    assert took[0] == free[0]
    assert all(
        value in [*bindings.values(), *bindings.get("more", {}).values()] for value in second_kwargs.values()
    )


@EXAMPLES
@given(pairs(), st.data())
def test_what_a_stitch_gives_never_overrides_and_never_gets_lost(pair, data):
    """``into(main, **others)``, a dict, and ``(args, kwargs)``: the call they mean, or a refusal."""
    first, second, (first_args, first_kwargs), (second_args, second_kwargs), place = pair
    names = [*inspect.signature(second).parameters, "unknown"]
    others = {
        name: f"stitched {name}"
        for name in data.draw(st.lists(st.sampled_from(names), max_size=2, unique=True))
    }
    kind = data.draw(st.sampled_from(["into", "dict", "args"]))
    stitches = {
        "into": lambda _: xd.into("main", **others),
        "dict": lambda _: dict(others),
        "args": lambda _: (["main"], dict(others)),
    }

    def combined():
        bound = xd.task(first).bind(*first_args, **first_kwargs)
        args, kwargs = opened(second_args, second_kwargs, place, bound)
        two = xd.task(second).bind(*args, **kwargs)
        return xd.CombinedTask(bound, two, stitch_function=stitches[kind])()

    result = outcome(combined)

    if result == "refused":
        return
    bindings, more = result[1], result[1].get("more", {})
    by_name = {
        name: bindings[name]
        for name, parameter in inspect.signature(second).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    named = {**more, **by_name}
    assert others.items() <= named.items()
    assert {name: value for name, value in second_kwargs.items() if name != place}.items() <= named.items()
    flat = [*bindings.values(), *bindings.get("rest", ()), *more.values()]
    assert all(value in flat for number, value in enumerate(second_args) if number != place)
    if kind != "dict":
        assert flat.count("main") == 1
