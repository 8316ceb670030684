"""The flags of a plan's question: which objects, under which key, and what counts as different."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from crossdock.cli.help import Flag

__all__ = ["bound_flags", "glob_flags", "selection_flags"]

_WHAT = "What is copied"

_GLOBS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "--include",
        {
            "multiple": True,
            "metavar": "GLOB",
            "help": "Only keys that match; may be repeated. * stays within a segment, ** does not.",
        },
    ),
    (
        "--exclude",
        {
            "multiple": True,
            "metavar": "GLOB",
            "help": "Not keys that match; wins over --include, in whatever order they are given.",
        },
    ),
)

_BOUNDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("--min-size", {"metavar": "SIZE", "help": "Only objects of this size or more, such as 10K, 8MiB, 1GB."}),
    ("--max-size", {"metavar": "SIZE", "help": "Only objects of this size or less."}),
    (
        "--min-age",
        {
            "metavar": "AGE",
            "help": "Only objects last changed so long ago or longer (30m, 12h, 7d), or not after this date (UTC).",
        },
    ),
    (
        "--max-age",
        {"metavar": "AGE", "help": "Only objects last changed so long ago or less, or not before this date."},
    ),
)

_OTHERS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "--overwrite",
        {
            "type": click.Choice(["if-different", "always", "never"]),
            "default": "if-different",
            "show_default": True,
            "help": "What to do where the destination has an object already.",
        },
    ),
    (
        "--compare",
        {
            "type": click.Choice(["auto", "checksum", "size-mtime", "size"]),
            "default": "auto",
            "show_default": True,
            "help": "What counts as different. auto: digests where the listings have one in common, else size and time. "
            "checksum: digests alone, asked for or read where the listings have none.",
        },
    ),
    (
        "--rename",
        {
            "multiple": True,
            "metavar": "RULE",
            "help": "s/PATTERN/REPLACEMENT/ on each key below the source's prefix; may be repeated. Keys that come out "
            "equal are refused, all of them.",
        },
    ),
    (
        "--archived",
        {
            "type": click.Choice(["refuse", "try"]),
            "default": "refuse",
            "show_default": True,
            "help": "Objects that cannot be read before they are restored: a listing does not say if they have been.",
        },
    ),
    (
        "--no-glob",
        {
            "is_flag": True,
            "help": "Wildcards in the source's URL are part of the key.",
        },
    ),
)


def glob_flags(group: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--include`` and ``--exclude``."""
    return lambda function: _decorated(function, _GLOBS, group)


def bound_flags(group: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--min-size``, ``--max-size``, ``--min-age`` and ``--max-age``."""
    return lambda function: _decorated(function, _BOUNDS, group)


def selection_flags(function: Callable[..., Any]) -> Callable[..., Any]:
    """All of them; the command is given the arguments of ``xd.plan`` and ``xd.migrate``."""

    @functools.wraps(function)
    def command(*args: Any, no_glob: bool, **others: Any) -> Any:
        return function(*args, glob=not no_glob, **others)

    return _decorated(command, (*_GLOBS, *_BOUNDS, *_OTHERS), _WHAT)


def _decorated(
    function: Callable[..., Any], flags: tuple[tuple[str, dict[str, Any]], ...], group: str
) -> Callable[..., Any]:
    for name, options in reversed(flags):
        function = click.option(name, cls=Flag, group=group, **options)(function)
    return function
