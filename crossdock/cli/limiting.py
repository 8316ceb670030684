"""The flags that end or slow a run: failures, bytes, time, bytes a second."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from crossdock.cli.help import Flag

__all__ = ["limit_flags", "limits"]

_NAMES = ("max_errors", "max_bytes", "deadline", "bandwidth")


def limit_flags(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags; the command is given what they said as ``within``, under the names of the flows' arguments."""
    return limits(*_NAMES)(function)


def limits(*wanted: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The same with some of them, by the names of the flows' arguments."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def command(*args: Any, **given: Any) -> Any:
            return function(*args, within={name: given.pop(name) for name in wanted}, **given)

        decorated: Callable[..., Any] = command
        for name, (names, options) in reversed([*zip(_NAMES, _FLAGS, strict=True)]):
            if name in wanted:
                decorated = click.option(*names, cls=Flag, group="Limits", **options)(decorated)
        return decorated

    return decorate


_FLAGS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (
        ("--max-errors",),
        {
            "type": click.IntRange(0),
            "metavar": "N",
            "help": "Stop when more than N objects failed; exit code 7, resumable, as after every limit.",
        },
    ),
    (("--max-bytes",), {"metavar": "SIZE", "help": "Stop after so many bytes copied, such as 10GiB."}),
    (
        ("--deadline",),
        {"metavar": "WHEN", "help": "Stop after this long (90m, 2h) or at this time (2026-01-31T06:00:00Z)."},
    ),
    (
        ("--bwlimit", "bandwidth"),
        {"metavar": "SIZE", "help": "Bytes a second at most, all workers together, such as 50MiB."},
    ),
)
