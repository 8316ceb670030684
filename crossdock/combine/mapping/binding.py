"""Arguments of ``map`` to the parameters of the task: what stands for what, before anything runs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from crossdock.combine.mapping.again import FailedItems
from crossdock.combine.mapping.columns import Columns, OfBundle
from crossdock.combine.mapping.given import Bundle, Unmapped, is_column
from crossdock.combine.settings import TaskOptions
from crossdock.errors import CompositionError

__all__ = ["columns_of"]


def columns_of(
    name: str, known: inspect.Signature | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Columns:
    """The mapped arguments of the task ``name``.

    Raises:
        CompositionError: They do not fit the task's parameters, or nothing is mapped.
        MapLengthMismatch: Arguments of known length differ.
    """
    bundles = [given for given in args if isinstance(given, Bundle)]
    single = tuple(given for given in args if not isinstance(given, Bundle))
    again = [each for each in bundles if isinstance(each, FailedItems)]
    by_name = _by_name(name, bundles, kwargs)
    if again:
        _check_again(name, again[0], bundles, single, kwargs)
        constants = {each: Unmapped(value) for each, value in again[0].kept.constants.items()}
        by_name = {**constants, **by_name}
    indices = [outcome.index for outcome in again[0]] if again else None
    return Columns(name, _named(name, known, single, by_name), indices=indices)


def _by_name(name: str, bundles: list[Bundle], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords and what bundles bring, which must not clash."""
    arguments = dict(kwargs)
    for bundle in bundles:
        for each in bundle.names:
            if each in arguments:
                raise CompositionError(
                    f"{each!r} in the map of {name!r} is given twice",
                    hint="a product names it already"
                    if not isinstance(bundle, FailedItems)
                    else "failed items bring their mapped arguments along; only what was one value for all can be replaced",
                )
            arguments[each] = OfBundle(bundle)
    for each, value in kwargs.items():
        if isinstance(value, Bundle) and not isinstance(
            value, FailedItems
        ):  # those are a list of outcomes as well
            raise CompositionError(
                f"a product is given as {each!r} in the map of {name!r}, but it names its parameters itself",
                hint="give it by position: task.map(xd.product(...), ...)",
            )
    return arguments


def _check_again(
    name: str,
    failed: FailedItems,
    bundles: list[Bundle],
    single: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> None:
    """Failed items bring all their arguments; single values may replace those that all items shared."""
    columns = [each for each, value in kwargs.items() if is_column(value)]
    if len(bundles) > 1 or single or columns:
        raise CompositionError(
            f"failed items are mapped again by {name!r} with the arguments they had; nothing can be mapped beside them",
            hint="give only single values by name, such as folder='v2/' or xd.unmapped([...])",
        )
    if len(failed) != len({outcome.index for outcome in failed}):
        raise CompositionError(
            f"failed items of several maps are mapped again by {name!r}; map each map's own"
        )


def _strange(known: inspect.Signature, kwargs: Mapping[str, Any]) -> str | None:
    """A name that is no parameter: ``bind`` would rather speak of the one that it leaves missing."""
    kinds = {parameter.kind for parameter in known.parameters.values()}
    if inspect.Parameter.VAR_KEYWORD in kinds:
        return None
    return next((each for each in kwargs if each not in known.parameters), None)


def _named(
    name: str, known: inspect.Signature | None, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Arguments by parameter name."""
    if known is None:
        if args:
            raise CompositionError(f"{name!r} does not say its parameters: map it by name")
        return kwargs
    try:
        arguments = known.bind(*args, **kwargs).arguments
    except TypeError as error:
        option = next((each for each in kwargs if each in TaskOptions.__annotations__), None)
        hint = f"its signature is {name}{known}"
        if option is not None:
            hint += f"; task options are given with task.with_options({option}=...).map(...)"
        strange = _strange(known, kwargs)
        cause = f"{name!r} has no parameter {strange!r}" if strange else f"{error}"
        raise CompositionError(f"{name!r} cannot be mapped like this: {cause}", hint=hint) from None
    for each in arguments:
        if known.parameters[each].kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            raise CompositionError(
                f"{name!r} cannot be mapped over its open-ended {each!r}; map named parameters"
            )
    return arguments
