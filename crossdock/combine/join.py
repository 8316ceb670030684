"""Two described calls become one: which place is open, what is still missing, which parameters the pair has.

Decided on plain values before anything runs. What cannot mean exactly one thing is a ``CompositionError`` that names
the tasks and says what to write instead.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from crossdock.combine.described import (
    NOTHING,
    OPEN,
    Param,
    check_call,
    check_described,
    innermost,
    name_of,
    signature,
)
from crossdock.combine.settings import DEFAULTS, Settings
from crossdock.errors import CompositionError
from crossdock.tasks import Call, Task

__all__ = ["Half", "Join", "join_calls", "open_call"]


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
        hint="make a function a task with xd.task(function); a task called outside a block runs at once, so give its "
        "inputs with .bind(...)",
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
        own: Settings = getattr(call.task, "settings", DEFAULTS)
        said = own.said() if own is not DEFAULTS else ()  # asked for each traced call: mostly by identity
        if said:
            raise CompositionError(
                f"task {name_of(call.task)!r} has {' and '.join(said)} of its own, but a pair has one scope for both halves",
                hint=f"give {said[0]}=... to the combined task and none to its halves",
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
