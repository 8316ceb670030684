"""Descriptions: parameters still to come, how tasks may be called, and the checks of one described call.

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
    "Param",
    "Shape",
    "check_call",
    "check_described",
    "check_function",
    "check_stitch",
    "innermost",
    "name_of",
    "param",
    "read_signature",
    "settled",
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


def check_stitch(function: Any) -> None:
    """Refuse what cannot be a stitch function; ``None`` is none.

    Raises:
        CompositionError: It is not callable, or it is async.
    """
    if function is not None:
        if not callable(function):
            raise CompositionError(f"stitch_function is a function of the first's output, not {function!r}")
        _refuse_async("stitch_function", function)


def settled(name: str, value: Any) -> Any:
    """What a task returned, unless it is a coroutine: then the function is async after all.

    Raises:
        CompositionError: It is a coroutine.
    """
    if inspect.iscoroutine(value):
        value.close()
        raise CompositionError(
            f"task {name!r} returned a coroutine; tasks are synchronous",
            hint="wrap it in a plain function that calls asyncio.run(...)",
        )
    return value


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
