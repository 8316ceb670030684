"""The stitch table: what a stitch function's result means for the second task's call. Pure functions.

====================================  ==========================================================================
stitch function returns               meaning
====================================  ==========================================================================
nothing given                         the first's whole output goes into the open place; never taken apart
any plain value, a stream included    into the open place
``into(main, name=...)``              main into the open place, the rest by name
exactly a ``dict``                    splatted as keywords
exactly ``(tuple or list, dict)``     args from the open place on, then keywords
====================================  ==========================================================================

What the call already gives is never overridden: giving it twice is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from crossdock.combine.described import OPEN, check_call, name_of, signature
from crossdock.combine.join import Half
from crossdock.errors import CompositionError

__all__ = ["Into", "arguments", "into", "place"]

Arguments = tuple[Sequence[Any], Mapping[str, Any]]


class Into:
    """A main value for the open place and others by name; made by ``into``."""

    __slots__ = ("main", "others")

    def __init__(self, main: Any, others: dict[str, Any]) -> None:
        self.main = main
        self.others = others

    def __repr__(self) -> str:
        return f"into(..., {', '.join(self.others)})"


def into(main: Any, /, **others: Any) -> Into:
    """What a stitch function returns to fill the open place and name further inputs of the second task.

    Args:
        main: Goes into the open place; its parameter's name need not be known.
        **others: Other inputs of the second task, by name.
    """
    return Into(main, others)


def place(half: Half, value: Any) -> Arguments:
    """Put a value into the open place, as it is.

    Raises:
        CompositionError: The half has no open place (a stitch function was to name everything).
    """
    for index, given in enumerate(half.args):
        if given is OPEN:
            return (*half.args[:index], value, *half.args[index + 1 :]), half.kwargs
    for name, given in half.kwargs.items():
        if given is OPEN:
            return half.args, {**half.kwargs, name: value}
    raise CompositionError(
        f"task {name_of(half.task)!r} has no open place for a plain value",
        hint="let the stitch_function return a dict of its inputs",
    )


def arguments(half: Half, stitched: Any) -> Arguments:
    """The second task's arguments, by the stitch table.

    Args:
        half: The second task's call, with its open place.
        stitched: What the stitch function returned.

    Raises:
        CompositionError: A name is given both by the stitch and by the call, is unknown, or an input is missing.
    """
    if isinstance(stitched, Into):
        args, kwargs = place(half, stitched.main)
        return _checked(half, args, _merged(half, kwargs, stitched.others))
    if type(stitched) is dict:
        return _by_name(half, stitched)
    if (
        type(stitched) is tuple
        and len(stitched) == 2
        and type(stitched[0]) in (tuple, list)
        and type(stitched[1]) is dict
    ):
        return _from_open_place(half, stitched[0], stitched[1])
    return place(half, stitched)


def _merged(half: Half, given: Mapping[str, Any], added: Mapping[Any, Any]) -> dict[str, Any]:
    """Keywords of the call and of the stitch together; a clash is an error."""
    odd = [name for name in added if not isinstance(name, str)]
    if odd:
        raise CompositionError(
            f"the stitch function's dict for task {name_of(half.task)!r} has the key {odd[0]!r}, which is no name",
            hint="return xd.into(value) to hand over the dict itself",
        )
    fixed = set(given) | _positional_names(half)
    clash = sorted(fixed & set(added))
    if clash:
        raise CompositionError(
            f"{', '.join(map(repr, clash))} of task {name_of(half.task)!r} is given both by the stitch function and by "
            "the call",
            hint="give it in one of the two places",
        )
    return {**given, **added}


def _positional_names(half: Half) -> set[str]:
    """Names of the parameters that the call fills by position, the open place left out."""
    known = signature(half.task)
    if known is None:
        return set()
    names = [
        name
        for name, parameter in known.parameters.items()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    return {name for name, given in zip(names, half.args, strict=False) if given is not OPEN}


def _by_name(half: Half, splat: Mapping[str, Any]) -> Arguments:
    """A dict: keywords only; the open place stays empty unless one of them names it."""
    kwargs = {name: value for name, value in half.kwargs.items() if value is not OPEN}
    if OPEN not in half.args:
        return _checked(half, half.args, _merged(half, kwargs, splat))
    index = half.args.index(OPEN)
    # What the call gave by position after the open place would slide into it: it keeps its place by name.
    after = _named(half, index + 1, half.args[index + 1 :])
    return _checked(half, half.args[:index], _merged(half, {**kwargs, **after}, splat))


def _named(half: Half, start: int, values: Sequence[Any]) -> dict[str, Any]:
    """Positional arguments from ``start`` on, by name."""
    if not values:
        return {}
    known = signature(half.task)
    parameters = list(known.parameters.values()) if known else []
    chosen = parameters[start : start + len(values)]
    if len(chosen) < len(values) or any(each.kind is not each.POSITIONAL_OR_KEYWORD for each in chosen):
        raise CompositionError(
            f"task {name_of(half.task)!r} takes what follows the open place by position only, so a stitch function "
            "cannot leave the open place empty",
            hint="return the value itself, or xd.into(value, name=...)",
        )
    return {each.name: value for each, value in zip(chosen, values, strict=True)}


def _from_open_place(half: Half, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arguments:
    """``(args, kwargs)``: positions from the open place on, then keywords."""
    if not args:
        return _by_name(half, kwargs)
    if OPEN in half.args:
        index = half.args.index(OPEN)
        if half.args[index + 1 :] and len(args) > 1:
            raise CompositionError(
                f"the stitch function gives {len(args)} positions from the open place of task {name_of(half.task)!r} "
                "on, and the call gives the next one too",
                hint="give it in one of the two places",
            )
        filled = (*half.args[:index], *args, *half.args[index + 1 :])
        # Positions the stitch filled beyond the open place may clash with names of the call: bind says so.
        return _checked(half, filled, _merged(Half(half.task, filled, {}), half.kwargs, kwargs))
    opened = next((name for name, value in half.kwargs.items() if value is OPEN), None)
    rest = {name: value for name, value in half.kwargs.items() if value is not OPEN}
    known = signature(half.task)
    if opened is None or (known is None and len(args) > 1):
        raise CompositionError(
            f"task {name_of(half.task)!r} has no position to start from", hint="return a dict of its inputs"
        )
    if len(args) == 1:
        named = {opened: args[0]}
    else:
        start = list(known.parameters).index(opened) if known and opened in known.parameters else -1
        if start < 0:
            raise CompositionError(f"{opened!r} of task {name_of(half.task)!r} has no position to start from")
        named = _named(half, start, args)
    return _checked(half, half.args, _merged(half, _merged(half, rest, named), kwargs))


def _checked(half: Half, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arguments:
    try:
        check_call(half.task, args, kwargs, whole=True)
    except CompositionError as error:
        error.cause = f"after the stitch function, {error.cause}"
        raise
    return args, kwargs
