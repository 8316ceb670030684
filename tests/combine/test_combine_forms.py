"""Every way to write a combined task means the same, and what has no meaning says what to write instead."""

from __future__ import annotations

import functools
import gc
import inspect
import pickle
import threading
import warnings

import pytest

import crossdock as xd
from crossdock.combine import NeverRunWarning


@xd.task
def first(config="default"):
    return f"payload({config})"


@xd.task
def second(data, parameter="unset"):
    return data, parameter


@xd.task
def needs_key(key):
    return f"payload({key})"


@xd.task
def keyword_only(*, data, other=0):
    return data, other


@xd.one_task(name="decorated", retries=2)
def decorated(key: str, parameter: str = "p") -> tuple[str, str]:
    """Move one."""
    return second(needs_key(key), parameter=parameter)


# -- forms ----------------------------------------------------------------------------------------------------------


def test_a_task_is_a_function_called_anywhere():
    assert second(first(config="x"), parameter="y") == ("payload(x)", "y")


def test_context_manager_with_a_parameter():
    with xd.one_task("n") as combined:
        second(needs_key(xd.param("key")))

    assert combined(key="a") == ("payload(a)", "unset")
    assert combined("b") == ("payload(b)", "unset")
    assert combined.name == "n"


def test_a_bare_task_is_its_call_without_arguments():
    with xd.one_task() as combined:
        second(first)

    assert combined() == ("payload(default)", "unset")
    assert combined.name == "first_to_second"
    assert str(inspect.signature(combined)) == "()"


def test_nested_call_with_settings_of_both():
    with xd.one_task() as combined:
        second(first(config="x"), parameter="y")

    assert combined() == ("payload(x)", "y")


def test_the_first_may_be_written_by_name():
    with xd.one_task() as combined:
        keyword_only(other=5, data=first("z"))

    assert combined() == ("payload(z)", 5)


def test_combine_method_with_a_stitch_function():
    combined = second.combine(needs_key.bind("k"), stitch_function=str.upper, parameter="y")

    assert combined() == ("PAYLOAD(K)", "y")


@pytest.mark.parametrize("make", [xd.CombinedTask, xd.combine], ids=["class", "function"])
def test_combined_task_takes_tasks_or_bound_calls(make):
    assert make(first, second)() == ("payload(default)", "unset")
    assert make(first.bind("x"), second.bind(parameter="y"))() == ("payload(x)", "y")
    assert make(first, second, stitch_function=len)() == (16, "unset")


def test_the_open_place_is_the_first_positional_parameter_not_given():
    three = xd.task(lambda a, b, c=0: (a, b, c))

    assert xd.CombinedTask(first, three.bind("given"))()[:2] == ("given", "payload(default)")
    assert xd.CombinedTask(first, three.bind(a="given"))()[:2] == ("given", "payload(default)")
    assert xd.CombinedTask(first, three.bind(b="given"))() == ("payload(default)", "given", 0)


def test_the_open_place_can_be_written_in_a_bound_call():
    pair = xd.task(lambda a=1, b=2: (a, b))

    assert xd.CombinedTask(first, pair.bind(b=first))() == (1, "payload(default)")


def test_combine_takes_parameters_too():
    combined = xd.CombinedTask(
        needs_key.bind(xd.param("key")), second.bind(parameter=xd.param("p", default="d"))
    )

    assert combined(key="a") == ("payload(a)", "d")
    assert combined("a", "b") == ("payload(a)", "b")


def test_one_parameter_may_stand_in_both_halves():
    with xd.one_task() as combined:
        second(needs_key(xd.param("key")), parameter=xd.param("key"))

    assert combined(key="a") == ("payload(a)", "a")


def test_parameters_are_positional_in_the_order_of_writing_required_first():
    with xd.one_task() as combined:
        xd.task(lambda x, data, y: (x, data, y))(
            xd.param("x", default=0), needs_key(xd.param("key")), xd.param("y")
        )

    assert list(inspect.signature(combined).parameters) == ["key", "y", "x"]
    assert combined("k", "y") == (0, "payload(k)", "y")


def test_decorator_traces_each_call_with_real_values():
    assert decorated("a") == ("payload(a)", "p")
    assert decorated(key="v1/" + "b", parameter="q") == ("payload(v1/b)", "q")


def test_decorator_keeps_signature_and_documentation():
    assert inspect.signature(decorated) == inspect.signature(decorated.function)
    assert decorated.__doc__ == "Move one."
    assert decorated.__name__ == "decorated"


def test_decorator_may_branch_on_real_values():
    @xd.one_task
    def branching(key):
        return second(needs_key(f"{key}!") if key.startswith("a") else first(key))

    assert branching("a")[0] == "payload(a!)"
    assert branching("b")[0] == "payload(b)"


def test_decorator_works_on_methods():
    class Mover:
        prefix = "p/"

        @xd.one_task(name="move")
        def move(self, key):
            return second(needs_key(self.prefix + key))

    assert Mover().move("a")[0] == "payload(p/a)"


class Doubler(xd.Task):
    name = "doubler"

    def run(self, value, *, times=2):
        return value * times


class Callable:
    def __call__(self, key):
        return f"called({key})"

    def method(self, key):
        return f"method({key})"


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (functools.partial(lambda key, suffix: key + suffix, suffix="!"), "k!"),
        (Callable(), "called(k)"),
        (Callable().method, "method(k)"),
        (str.upper, "K"),
        (len, 1),
    ],
    ids=["partial", "callable object", "bound method", "method of a builtin", "builtin"],
)
def test_anything_callable_can_be_a_half(function, expected):
    with xd.one_task() as combined:
        second(xd.task(function)(xd.param("key")))

    assert combined(key="k")[0] == expected


def test_a_class_with_run_is_a_task():
    combined = xd.CombinedTask(first.bind("x"), Doubler().bind(times=3))

    assert combined() == "payload(x)" * 3


def test_halves_may_call_other_tasks_freely():
    helper = xd.task(lambda x: x + 1)
    outer = xd.task(lambda x: helper(helper(x)))
    with xd.one_task() as combined:
        outer(helper(xd.param("x")))

    assert combined(x=1) == 4


@pytest.mark.parametrize("combined", [decorated, second.combine(needs_key.bind(xd.param("key")))])
def test_combined_tasks_are_picklable(combined):
    copy = pickle.loads(pickle.dumps(combined))  # noqa: S301 - our own

    assert copy(key="a")[0] == "payload(a)"


# -- composition errors: each names the tasks and says what to write -------------------------------------------------


def compose(write, **options):
    with xd.one_task("pair", **options):
        write()


third = xd.task(lambda value: value, name="third")
already = xd.CombinedTask(first, second, name="already")


async def _async(key):
    return key


async def _async_generator():
    yield 1


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda: None, ["pair", "0 task calls", "exactly two"]),
        (first, ["pair", "1 task calls", "'first'"]),
        (lambda: third(second(first())), ["3 task calls", "'first'", "'second'", "'third'"]),
        (lambda: (first(), second("data")), ["no open place", "'first'", "'second'", "second(first(...))"]),
        (lambda: [second(call, call) for call in [first()]], ["'first'", "2 times", "'second'"]),
        (lambda: second(already()), ["'already'", "cannot be a half"]),
        (lambda: second(already), ["'already'", "cannot be a half"]),
        (lambda: second(first(), nonsense=1), ["'second'", "nonsense"]),
        (lambda: second(first(1, 2, 3)), ["'first'", "too many"]),
        (lambda: second(needs_key()), ["'needs_key'", "'key'", "param"]),
        (lambda: xd.task(lambda a, b: (a, b), name="two")(first()), ["'two'", "'b'"]),
        (lambda: second([first()]), ["'first'", "list", "'second'"]),
        (lambda: second(first())["x"], ["'second'", "indexed", "stitch_function"]),
        (lambda: second(first()["x"]), ["'first'", "indexed", "stitch_function"]),
        (lambda: second(f"{first()}"), ["'first'", "formatted", "stitch_function"]),
        (lambda: second(list(first())), ["'first'", "iterated", "stitch_function"]),
        (lambda: second(needs_key(f"{xd.param('key')}")), ["'key'", "formatted", "@one_task"]),
        (lambda: second(needs_key([xd.param("key")])), ["'key'", "list", "'needs_key'"]),
        (lambda: compose(lambda: second(first)), ["pair", "inside another"]),
        (lambda: already.map(x=[1]), ["'already'", "map"]),
        (
            lambda: second(needs_key(xd.param("k", default=1)), parameter=xd.param("k", default=2)),
            ["'k'", "two defaults"],
        ),
        (
            lambda: second(xd.task(first.function, name="stubborn", retries=2)()),
            ["'stubborn'", "retries", "one scope"],
        ),
        (lambda: xd.task(lambda data: (yield data), name="lazy")(first()), ["'lazy'", "generator"]),
    ],
)
def test_what_has_no_meaning_is_refused_when_it_is_written(write, words):
    with pytest.raises(xd.CompositionError) as caught:
        compose(write)

    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("function", [_async, _async_generator, functools.partial(_async, "k")])
def test_async_functions_are_refused(function):
    with pytest.raises(xd.CompositionError, match="async"):
        xd.task(function)


def test_async_run_is_refused():
    class Asynchronous(xd.Task):
        async def run(self):
            return 1

    with pytest.raises(xd.CompositionError, match="async"):
        xd.CombinedTask(Asynchronous(), second)


def test_no_free_place_is_refused():
    with pytest.raises(xd.CompositionError, match=r"no open place.*'second'.*'first'"):
        xd.CombinedTask(first, second.bind("data", parameter="p"))


def test_plain_functions_are_refused_as_halves():
    with pytest.raises(xd.CompositionError, match=r"xd\.task\(function\)"):
        xd.CombinedTask(len, second)


def test_unknown_arguments_of_the_combined_task_run_nothing():
    ran = []
    combined = xd.CombinedTask(xd.task(ran.append).bind(xd.param("key")), second)

    for call in (lambda: combined(nonsense=1), combined, lambda: combined(1, 2)):
        with pytest.raises(xd.CompositionError, match="cannot be called like this"):
            call()
    assert ran == []


def test_a_traced_function_returns_its_second_call_or_nothing():
    @xd.one_task
    def odd(key):
        second(needs_key(key))
        return "something else"

    with pytest.raises(xd.CompositionError, match=r"'odd' returns str"):
        odd("k")


def test_a_call_described_elsewhere_is_refused():
    stray = first.bind()

    with pytest.raises(xd.CompositionError, match="outside the block"):
        compose(lambda: second(stray))


def test_recording_is_bound_to_the_opening_thread():
    """Another thread runs tasks as usual while a block is open here."""
    seen = []
    with xd.one_task() as combined:
        thread = threading.Thread(target=lambda: seen.append(first("thread")))
        thread.start()
        thread.join()
        second(first)
    combined()

    assert seen == ["payload(thread)"]


def test_a_failed_block_leaves_nothing_open():
    with pytest.raises(ZeroDivisionError):
        compose(lambda: 1 / 0)
    with pytest.raises(xd.CompositionError):
        compose(first)

    assert first("x") == "payload(x)"


def test_a_block_cannot_run_before_it_is_closed():
    with xd.one_task("early") as combined:
        second(first)
        with pytest.raises(xd.CompositionError, match="cannot be a half"):
            combined()
    combined()


def test_a_block_that_is_never_run_warns_with_its_place():
    with pytest.warns(NeverRunWarning, match=r"'idle' was described and never run") as caught:
        compose_idle()

    assert caught[0].filename == __file__


def compose_idle():
    with xd.one_task("idle"):
        second(first)
    gc.collect()


def test_a_block_that_was_run_or_mapped_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with xd.one_task() as combined:
            second(first)
        combined()
        del combined
        with xd.one_task() as mapped:
            second(needs_key(xd.param("key")))
        mapped.map(key=["a"]).results()
        del mapped
        gc.collect()


def test_wrong_options_are_refused_at_once():
    for options in (
        {"retries": -1},
        {"retries": 1.5},
        {"retry_delay": []},
        {"backoff": 0},
        {"retry_delay": "2"},
    ):
        with pytest.raises(xd.ConfigError):
            xd.one_task("n", **options)
