"""What a flow takes: its signature as a list of parameters, with types, defaults and the words of its docstring. Pure."""

from __future__ import annotations

import difflib
import inspect
import re
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from crossdock.errors import ConfigError
from crossdock.flows.named.values import is_readable, read_value, type_text

__all__ = ["REQUIRED", "Parameter", "demand_known", "parameters_of", "values_of"]

REQUIRED: Final = inspect.Parameter.empty
"""The default of a parameter that has none."""

_KINDS = (
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a flow.

    Attributes:
        name: As in the function.
        kind: Its type.
        default: ``REQUIRED``, or what it is if not given.
        help: What the docstring says of it.
    """

    name: str
    kind: Any
    default: Any = REQUIRED
    help: str = ""

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is REQUIRED

    @property
    def type(self) -> str:
        """Its type for a person."""
        return type_text(self.kind) if is_readable(self.kind) else f"{type_text(self.kind)} (in Python only)"

    def read(self, text: str) -> Any:
        """The value that a text stands for.

        Raises:
            ConfigError: It stands for none, or no text can.
        """
        if not is_readable(self.kind):
            raise ConfigError(
                f"parameter {self.name!r} is a {type_text(self.kind)}, which no text stands for",
                operation="run",
                hint="call the flow from Python",
            )
        try:
            return read_value(text, self.kind)
        except ValueError as error:
            raise ConfigError(f"parameter {self.name!r}: {error}", operation="run") from None


def parameters_of(name: str, function: Callable[..., Any]) -> tuple[Parameter, ...]:
    """The parameters of a function or task in their order. Without an annotation the default's type is taken, else text.

    Raises:
        ConfigError: It takes arguments without names, or its annotations cannot be read.
    """
    plain = inspect.unwrap(function)
    told = _told_of(inspect.getdoc(plain) or "") if inspect.isroutine(plain) else {}
    found = []
    for each, kind in _signature(name, function, plain):
        if each.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise ConfigError(f"parameter {each.name!r} is by position only", operation="run", where=name)
        if each.kind in _KINDS:
            help_ = told.get(each.name, "")
            found.append(Parameter(name=each.name, kind=kind, default=each.default, help=help_))
    return tuple(found)


def _signature(
    name: str, function: Callable[..., Any], plain: Callable[..., Any]
) -> list[tuple[inspect.Parameter, Any]]:
    """Each parameter with its type; of a task made of two others, those that were left open."""
    try:
        kinds = typing.get_type_hints(plain, include_extras=True) if inspect.isroutine(plain) else {}
        signature = getattr(function, "cached_signature", None) or inspect.signature(plain)
    except (NameError, TypeError, ValueError) as error:
        raise ConfigError(
            f"its parameters cannot be told: {error}",
            operation="run",
            where=name,
            hint="annotate them with int, float, bool, str, date, list or dict",
        ) from error
    return [
        (each, kinds.get(each.name, str if each.default in (REQUIRED, None) else type(each.default)))
        for each in signature.parameters.values()
    ]


def demand_known(flow: str, parameters: Sequence[Parameter], names: Iterable[str]) -> None:
    """Refuse names that are none of the parameters'.

    Raises:
        ConfigError: One is unknown; the nearest and all others are named.
    """
    known = [each.name for each in parameters]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise ConfigError(
                f"it has no parameter {name!r}",
                operation="run",
                where=flow,
                hint=(f"did you mean {near[0]!r}? " if near else "")
                + (f"its parameters: {', '.join(known)}" if known else "it takes none"),
            )


def values_of(parameters: Sequence[Parameter], texts: Mapping[str, str]) -> dict[str, Any]:
    """The values that texts stand for, by parameter; all of them are known.

    Raises:
        ConfigError: A text stands for nothing.
    """
    known = {each.name: each for each in parameters}
    return {name: known[name].read(text) for name, text in texts.items()}


_ENTRY = re.compile(r"^(?P<indent> *)\*{0,2}(?P<name>\w+)(?: \([^)]*\))?: (?P<text>.+)$")


def _told_of(docstring: str) -> dict[str, str]:
    """The section ``Args:`` of a docstring in Google's form: text by name, on one line."""
    _, found, rest = f"\n{docstring}".partition("\nArgs:\n")
    told: dict[str, str] = {}
    last, depth = "", None
    for line in rest.splitlines() if found else ():
        if line.strip() and not line.startswith(" "):
            break
        entry = _ENTRY.match(line)
        if entry is not None and depth in (None, len(entry["indent"])):
            depth, last = len(entry["indent"]), entry["name"]
            told[last] = entry["text"].strip()
        elif last and line.strip():
            told[last] += f" {line.strip()}"
    return told
