"""The flags of every command that moves rows: how objects are read, which columns, and how the run is run and kept."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from crossdock.cli.flags import json_flag, options_flag, verbosity_flags
from crossdock.cli.help import Flag
from crossdock.cli.limiting import limits
from crossdock.cli.notifying import Whom, notify_flags
from crossdock.cli.run_flags import SELECTION, no_glob_flag, store_flags
from crossdock.cli.runners import Where, runner_flags
from crossdock.cli.selecting import bound_flags, glob_flags

__all__ = ["TableRun", "column_flags", "format_flags", "table_run_flags"]

_READ = "How objects are read"
_OBJECTS = "Which objects"
_HOW = "How"
_WHERE = "Where it runs"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRun:
    """What the flags said of the run, as the flows' own arguments; opens nothing."""

    arguments: dict[str, Any]
    where: Where
    whom: Whom
    json: bool
    quiet: bool


def format_flags(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--from``, ``--read-option`` and ``--bad-rows``: given on as ``from_format``, ``read_options`` and ``bad_rows``."""

    @functools.wraps(function)
    def command(*args: Any, read_option: dict[str, str], **others: Any) -> Any:
        return function(*args, read_options=read_option, **others)

    decorators: list[Callable[..., Any]] = [
        click.option(
            "--from",
            "from_format",
            cls=Flag,
            group=_READ,
            metavar="FORMAT",
            default="auto",
            show_default=True,
            help="csv, tsv, jsonl, parquet, arrow, orc, avro; auto: each object's name tells, else its content.",
        ),
        options_flag(
            "--read-option", group=_READ, help="An option of the format that is read, such as delimiter=;."
        ),
        click.option(
            "--bad-rows",
            cls=Flag,
            group=_READ,
            metavar="fail|skip|URL",
            default="fail",
            show_default=True,
            help="Rows that cannot be read or do not fit: fail their object, skip them, or keep them below URL as JSON lines.",
        ),
    ]
    return _decorated(command, decorators)


def column_flags(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--columns``, ``--type`` and ``--evolve``: given on as ``columns``, ``types`` and ``evolve``."""

    @functools.wraps(function)
    def command(*args: Any, columns: str | None, type: dict[str, str], **others: Any) -> Any:
        named = None if columns is None else [each.strip() for each in columns.split(",")]
        return function(*args, columns=named, types=type, **others)

    decorators: list[Callable[..., Any]] = [
        click.option(
            "--columns", cls=Flag, group=_READ, metavar="A,B,C", help="Only these columns, in this order."
        ),
        options_flag(
            "--type", group=_READ, help="A column's type, such as id=int64 or at=timestamp[us, tz=UTC]."
        ),
        click.option(
            "--evolve",
            cls=Flag,
            group=_READ,
            type=click.Choice(["never", "missing", "drop"]),
            default="missing",
            show_default=True,
            help="What of an object may differ from the columns of all: nothing; some may lack, and are null; others are left out.",
        ),
    ]
    return _decorated(command, decorators)


LIMITS = ("max_errors", "max_bytes", "deadline", "bandwidth")


def table_run_flags(
    *, objects: bool, strict: bool = True, within: tuple[str, ...] = LIMITS
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the flags of the run; the command is given one ``run`` instead of each, and ``dry_run``.

    Args:
        objects: Whether the source is objects, so that there is something to filter.
        strict: Whether the destination is objects, so that there are forms of the promise.
        within: Which limits there are, by the names of the flows' arguments.
    """
    decorators = _run_decorators(objects=objects, strict=strict, within=within)
    named = ("strict", "concurrency", "run_dir") if strict else ("concurrency", "run_dir")

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def command(
            *args: Any,
            source_option: dict[str, str],
            sink_option: dict[str, str],
            run_option: dict[str, str],
            where: Where,
            whom: Whom,
            within: dict[str, Any],
            json: bool,
            quiet: bool,
            **others: Any,
        ) -> Any:
            arguments: dict[str, Any] = {
                "source_options": source_option,
                "sink_options": sink_option,
                "run_options": run_option,
                **within,
            }
            arguments |= {name: others.pop(name) for name in named}
            if objects:
                arguments |= {name: others.pop(name) for name in SELECTION}
                arguments["glob"] = not others.pop("no_glob")
            run = TableRun(arguments=arguments, where=where, whom=whom, json=json, quiet=quiet)
            return function(*args, run=run, **others)

        return _decorated(command, decorators)

    return decorate


def _run_decorators(*, objects: bool, strict: bool, within: tuple[str, ...]) -> list[Callable[..., Any]]:
    """All of them, in the order of the help text."""
    selecting = [glob_flags(_OBJECTS), bound_flags(_OBJECTS), no_glob_flag(_OBJECTS)] if objects else []
    stricter = click.option(
        "--strict",
        cls=Flag,
        group=_HOW,
        is_flag=True,
        default=None,
        help="Refuse ends that would get a weaker form of the promise.",
    )
    return [
        store_flags,
        *selecting,
        click.option(
            "-n",
            "--dry-run",
            cls=Flag,
            group=_HOW,
            is_flag=True,
            help="Count what would be done, and do nothing.",
        ),
        *([stricter] if strict else []),
        click.option(
            "--concurrency",
            cls=Flag,
            group=_HOW,
            type=click.IntRange(1),
            metavar="N",
            help="Outputs at a time, in each process; each takes memory.",
        ),
        limits(*within),
        runner_flags,
        click.option(
            "--run-dir",
            cls=Flag,
            group=_WHERE,
            metavar="URL",
            help="Where to keep manifest, ledger and report; by default in the user's state directory.",
        ),
        options_flag(
            "--run-option", group=_WHERE, help="An option of the store of --run-dir, if that is a bucket."
        ),
        notify_flags,
        json_flag("stdout has one JSON object a line: phases, failures, at last the summary."),
        verbosity_flags,
    ]


def _decorated(function: Callable[..., Any], decorators: list[Callable[..., Any]]) -> Callable[..., Any]:
    for decorator in reversed(decorators):
        function = decorator(function)
    return function
