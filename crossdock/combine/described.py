"""Descriptions: parameters still to come, the open place, and the checks that make two calls one task.

Everything here is decided before anything runs, on plain values. What cannot mean exactly one thing is a
``CompositionError`` that names the tasks and says what to write instead.
"""

from __future__ import annotations

import enum
import functools
import inspect
import itertools
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from crossdock.errors import CompositionError
from crossdock.tasks import Call, Task

__all__ = [
    "NOTHING",
    "OPEN",
    "Half",
    "Join",
    "Param",
    "join_calls",
    "name_of",
    "open_call",
    "param",
    "signature",
]


class _Mark(enum.Enum):
    """Singletons that stay themselves through pickling."""

    OPEN = "the open place"
    NOTHING = "nothing"

    def __repr__(self) -> str:
        return f"<{self.value}>"


OPEN: Final = _Mark.OPEN
NOTHING: Final = _Mark.NOTHING

_written = itertools.count()


@dataclass(frozen=True, slots=True, eq=False)
class Param:
    """A parameter of the combined task, standing where its value will be. Use ``param(...)`` to make one."""

    name: str
    default: Any = NOTHING
    order: int = field(default_factory=lambda: next(_written))

    def _not_a_value(self, action: str) -> NoReturn:
        raise CompositionError(
            f"param({self.name!r}) has no value while the block is described, so it cannot be {action}",
            hint="write the task as a function under @one_task(...): it is traced with real values",
        )

    def __getitem__(self, _: Any) -> NoReturn:
        self._not_a_value("indexed")

    def __iter__(self) -> NoReturn:
        self._not_a_value("iterated")

    def __add__(self, _: Any) -> NoReturn:
        self._not_a_value("added to")

    __radd__ = __add__
    __truediv__ = __rtruediv__ = __mod__ = __rmod__ = __add__

    def __format__(self, _: str) -> NoReturn:
        self._not_a_value("formatted")

    def __str__(self) -> NoReturn:  # noqa: PLE0307 - it never returns
        self._not_a_value("formatted")

    def __repr__(self) -> str:
        return f"param({self.name!r})"


def param(name: str, *, default: Any = NOTHING) -> Any:
    """A parameter of the combined task, written where its value shall go.

    The same name in both halves is one parameter. Positional order is the order of writing, required ones first.

    Args:
        name: What callers write: ``combined(name=...)``, ``combined.map(name=[...])``.
        default: Its value when the caller gives none; without it the parameter is required.

    Raises:
        CompositionError: The name is not a Python name.
    """
    if not name.isidentifier():
        raise CompositionError(f"param({name!r}) is not a name a caller could write as a keyword")
    return Param(name, default)


def name_of(task: Task) -> str:
    """What errors call a task."""
    return task.name or type(task).__name__


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """How a task may be called, and the forms of call already found good: tracing asks again for each call.

    ``signature`` is ``None`` for a builtin that does not say.
    """

    signature: inspect.Signature | None
    accepted: set[tuple[int, tuple[str, ...], bool]] = field(default_factory=set)


_run_shapes: weakref.WeakKeyDictionary[type, Shape] = weakref.WeakKeyDictionary()


def shape_of(task: Task) -> Shape:
    """A task's shape: its own if it keeps one, otherwise that of its class's ``run``."""
    own: Shape | None = getattr(task, "shape", None)
    if own is not None:
        return own
    kind = type(task)
    if kind.signature_of is not Task.signature_of:
        return Shape(read_signature(task.signature_of))
    if kind not in _run_shapes:
        _refuse_async(name_of(task), task.run)
        _run_shapes[kind] = Shape(read_signature(task.run))
    return _run_shapes[kind]


def signature(task: Task) -> inspect.Signature | None:
    """How a task may be called; ``None`` for a builtin that does not say."""
    return shape_of(task).signature


def read_signature(function: Callable[..., Any]) -> inspect.Signature | None:
    """``inspect.signature``, or ``None`` where a builtin has none."""
    try:
        return inspect.signature(function)
    except (ValueError, TypeError):
        return None


def innermost(function: Any) -> Any:
    """The function under partials and callable objects: the one that is async or a generator, or is not."""
    while isinstance(function, functools.partial):
        function = function.func
    if not inspect.isroutine(function) and not isinstance(function, type):
        return getattr(type(function), "__call__", function)  # noqa: B004 - its code is looked at, not called
    return function


def _refuse_async(name: str, function: Callable[..., Any]) -> None:
    inner = innermost(function)
    if inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner):
        raise CompositionError(
            f"task {name!r} is async; tasks are synchronous and run in threads",
            hint="wrap it in a plain function that calls asyncio.run(...)",
        )


def check_function(name: str, function: Callable[..., Any]) -> None:
    """Refuse what cannot be a task.

    Raises:
        CompositionError: It is not callable, or it is async.
    """
    if not callable(function):
        raise CompositionError(f"{name!r} is not callable, so it cannot be a task")
    _refuse_async(name, function)


def check_call(task: Task, args: Sequence[Any], kwargs: Mapping[str, Any], *, whole: bool) -> None:
    """Refuse arguments that do not fit a task's signature, if it has one.

    Raises:
        CompositionError: Unknown keyword, too many arguments, or (``whole``) a required input is missing.
    """
    shape = shape_of(task)
    form = (len(args), tuple(kwargs), whole)
    if shape.signature is None or form in shape.accepted:
        return
    try:
        bind = shape.signature.bind if whole else shape.signature.bind_partial
        bind(*args, **kwargs)
    except TypeError as error:
        raise CompositionError(
            f"task {name_of(task)!r} cannot be called like this: {error}",
            hint=f"its signature is {name_of(task)}{shape.signature}",
        ) from None
    if len(shape.accepted) < 256:  # names from outside (a stitched dict) could be endless
        shape.accepted.add(form)


def check_described(task: Task, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Refuse a described call that could never run: wrong names, hidden descriptions, halves that are pairs."""
    check_call(task, args, kwargs, whole=False)
    for value in itertools.chain(args, kwargs.values()):
        if type(value) in (list, tuple, dict, set):
            for inner in _inside(value):
                if isinstance(inner, Call | Param):
                    what = f"the call of {name_of(inner.task)!r}" if isinstance(inner, Call) else repr(inner)
                    raise CompositionError(
                        f"{what} is hidden in a {type(value).__name__} given to task {name_of(task)!r}",
                        hint="write it as an argument of its own, and build the container in a stitch_function",
                    )


def _inside(container: Any) -> Iterator[Any]:
    # A described argument is written by hand, so it is short; a long container is data under the decorator form.
    for value in itertools.islice(container.values() if type(container) is dict else container, 100):
        if type(value) in (list, tuple, dict, set):
            yield from _inside(value)
        else:
            yield value


@dataclass(frozen=True, slots=True, eq=False)
class Half:
    """One half: a task and its arguments, some of them parameters or the open place."""

    task: Task
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def values(self) -> Iterator[Any]:
        """All arguments."""
        return itertools.chain(self.args, self.kwargs.values())

    def filled(self, values: Mapping[str, Any]) -> Half:
        """The same half with its parameters replaced by values."""

        def fill(given: Any) -> Any:
            return values[given.name] if type(given) is Param else given

        return Half(
            self.task, tuple(map(fill, self.args)), {name: fill(given) for name, given in self.kwargs.items()}
        )


@dataclass(frozen=True, slots=True, eq=False)
class Join:
    """Two calls that are one task: the first's output goes where ``second`` says ``OPEN``.

    ``second`` has no ``OPEN`` only if a stitch function names where everything goes.
    """

    first: Half
    second: Half
    params: tuple[Param, ...] = ()

    @property
    def name(self) -> str:
        """What the pair is called if nobody named it."""
        return f"{name_of(self.first.task)}_to_{name_of(self.second.task)}"

    def filled(self, values: Mapping[str, Any]) -> Join:
        """The same pair with real values instead of parameters."""
        return Join(self.first.filled(values), self.second.filled(values)) if self.params else self

    def signature(self) -> inspect.Signature:
        """The combined task's own signature: its parameters."""
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        return inspect.Signature(
            [
                inspect.Parameter(
                    each.name,
                    kind,
                    default=inspect.Parameter.empty if each.default is NOTHING else each.default,
                )
                for each in self.params
            ]
        )


def open_call(given: Any, role: str) -> Call:
    """A task or a bound call of it, as a call.

    Raises:
        CompositionError: It is neither.
    """
    if isinstance(given, Task):
        return Call(task=given)
    if isinstance(given, Call):
        return given
    raise CompositionError(
        f"the {role} half is {type(given).__name__}, not a task or a bound call of one",
        hint="make a function a task with xd.task(function)",
    )


def join_calls(
    first: Call, second: Call, *, stitched: bool, written: Any = None, checked: bool = False
) -> Join:
    """Check two calls and put them together.

    Args:
        first: Whose output crosses.
        second: Whose input it becomes.
        stitched: Whether a stitch function will say where the rest of the second's inputs come from.
        written: The task object that was combined, if not in a block: where the second's arguments show it (or
            ``first``) is the open place. Nowhere means: the first positional parameter that is not given.
        checked: Whether ``check_described`` saw both calls already.

    Raises:
        CompositionError: A half is itself a combined task or a generator function at the end, not exactly one place
            is open, or a required input is missing.
    """
    for call in (first, second):
        if getattr(call.task, "is_combined", False):
            raise CompositionError(
                f"{name_of(call.task)!r} is a combined task and cannot be a half of another",
                hint="combine exactly two tasks; map one combined task after the other for a longer way",
            )
        if getattr(call.task, "has_retries", False):
            raise CompositionError(
                f"task {name_of(call.task)!r} has retries of its own, but a pair has one retry scope",
                hint="give retries=... to the combined task and none to its halves",
            )
        if not checked:
            check_described(call.task, call.args, call.kwargs or {})
    if inspect.isgeneratorfunction(innermost(second.task.signature_of)):
        raise CompositionError(
            f"task {name_of(second.task)!r} is a generator, and nothing would pull it as the second half",
            hint=f"let {name_of(second.task)!r} consume its input and return something small",
        )
    second_half = _with_open_place(first, second, stitched=stitched, written=written)
    first_half = Half(first.task, first.args, first.kwargs or {})
    _check_inputs(first_half, second_half, stitched=stitched)
    return Join(first_half, second_half, _parameters(first_half, second_half))


def _with_open_place(first: Call, second: Call, *, stitched: bool, written: Any) -> Half:
    """The second half with ``OPEN`` where the first was written, or where it must go."""

    def opened(value: Any) -> Any:
        return OPEN if value is first or (written is not None and value is written) else value

    args = tuple(map(opened, second.args))
    kwargs = {name: opened(value) for name, value in (second.kwargs or {}).items()}
    half = Half(second.task, args, kwargs)
    opens = sum(value is OPEN for value in half.values)
    if opens > 1:
        raise CompositionError(
            f"the output of {name_of(first.task)!r} is written {opens} times in the call of {name_of(second.task)!r}",
            hint="write it once; a stitch_function can return xd.into(value, other=value)",
        )
    if opens == 1:
        return half
    return _first_free_place(first, half, stitched=stitched)


def _first_free_place(first: Call, half: Half, *, stitched: bool) -> Half:
    known = signature(half.task)
    if known is None:
        return Half(half.task, (*half.args, OPEN), half.kwargs)
    given = known.bind_partial(*half.args, **half.kwargs).arguments
    for index, (name, parameter) in enumerate(known.parameters.items()):
        if parameter.kind is parameter.VAR_POSITIONAL and index <= len(half.args):
            return Half(half.task, (*half.args, OPEN), half.kwargs)
        if name in given or parameter.kind not in (
            parameter.POSITIONAL_ONLY,
            parameter.POSITIONAL_OR_KEYWORD,
        ):
            continue
        if index == len(half.args):
            return Half(half.task, (*half.args, OPEN), half.kwargs)
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            return Half(half.task, half.args, {**half.kwargs, name: OPEN})
    if stitched:
        return half
    raise CompositionError(
        f"no open place: every positional input of {name_of(half.task)!r} is given, so the output of "
        f"{name_of(first.task)!r} has nowhere to go",
        hint="leave one input free, or write the first where it belongs: second(name=first(...))",
    )


def _check_inputs(first: Half, second: Half, *, stitched: bool) -> None:
    for half, whole in ((first, True), (second, not stitched)):
        try:
            check_call(half.task, half.args, half.kwargs, whole=whole)
        except CompositionError as error:
            partner = second if half is first else first
            error.cause += f" (combined with {name_of(partner.task)!r})"
            error.hint += '; give it in the call, or leave it to the caller with xd.param("name")'
            raise


def _parameters(first: Half, second: Half) -> tuple[Param, ...]:
    """The distinct parameters, required ones first, each group in the order of writing."""
    found: dict[str, Param] = {}
    for value in itertools.chain(first.values, second.values):
        if not isinstance(value, Param):
            continue
        known = found.setdefault(value.name, value)
        if known is value or value.default is NOTHING:
            continue
        if known.default is NOTHING:
            found[value.name] = Param(value.name, value.default, known.order)
        elif known.default is not value.default and known.default != value.default:
            raise CompositionError(
                f"param({value.name!r}) has two defaults, {known.default!r} and {value.default!r}, in "
                f"{name_of(first.task)!r} and {name_of(second.task)!r}",
                hint="give it one default, or two names",
            )
    return tuple(sorted(found.values(), key=lambda each: (each.default is not NOTHING, each.order)))
