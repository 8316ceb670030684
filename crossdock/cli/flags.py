"""What several commands share: ``KEY=VALUE`` options, verbosity and logging."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from crossdock.cli.help import Flag

__all__ = ["json_flag", "options_flag", "set_up_logging", "typed", "verbosity_flags"]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

VERBOSE = "crossdock.verbose"  # where the context keeps what -v said, for the one place that prints errors
TYPED = "crossdock.typed"  # and the words of the command line


def typed(ctx: click.Context) -> list[str]:
    """The words after ``crossdock`` as they were typed."""
    return list(ctx.meta.get(TYPED, ()))


def _as_mapping(ctx: click.Context, param: click.Parameter, pairs: tuple[str, ...]) -> dict[str, str]:
    """``KEY=VALUE`` texts by key; a value may hold ``=`` and may be empty. Given twice is a mistake, not a last word."""
    given: dict[str, str] = {}
    for pair in pairs:
        key, sep, value = pair.partition("=")
        if not sep or not key:
            example = "endpoint_url=http://127.0.0.1:9000"
            raise click.BadParameter(f"{pair!r} is not KEY=VALUE, such as {example}", ctx, param)
        if key in given:
            raise click.BadParameter(f"{key!r} is given twice", ctx, param)
        given[key] = value
    return given


def options_flag(*names: str, help: str, group: str = "Stores") -> Callable[[Decorated], Decorated]:
    """A flag that collects ``KEY=VALUE`` into a dict."""
    return click.option(
        *names,
        cls=Flag,
        group=group,
        multiple=True,
        metavar="K=V",
        help=help,
        callback=_as_mapping,
    )


def json_flag(help: str) -> Callable[[Decorated], Decorated]:
    """``--json``."""
    return click.option("--json", cls=Flag, group="Output", is_flag=True, help=help)


def verbosity_flags(function: Decorated) -> Decorated:
    """``-q`` and ``-v``; the command is given neither: they set up logging, and ``quiet`` is in the context."""
    function = click.option(
        "-v",
        "--verbose",
        cls=Flag,
        group="Output",
        count=True,
        expose_value=False,
        callback=_note_verbosity,
        help="Log what is done to stderr; twice for more. Unexpected errors show their traceback.",
    )(function)
    return click.option(
        "-q",
        "--quiet",
        cls=Flag,
        group="Output",
        is_flag=True,
        help="No progress on stderr, no verdict unless something is wrong.",
    )(function)


def _note_verbosity(ctx: click.Context, _: click.Parameter, count: int) -> None:
    ctx.meta[VERBOSE] = count
    set_up_logging(count)


class _StderrHandler(logging.Handler):
    """Writes to whatever ``sys.stderr`` is now: a live display puts itself there to keep lines and bars apart.

    Judges by the record's own name, because libraries (distributed) set the levels of their loggers when they are imported.
    """

    def __init__(self, *, ours: int, theirs: int) -> None:
        super().__init__()
        self._ours, self._theirs = ours, theirs

    def emit(self, record: logging.LogRecord) -> None:
        is_ours = record.name.partition(".")[0] == "crossdock"
        if record.levelno >= (self._ours if is_ours else self._theirs):
            sys.stderr.write(self.format(record) + "\n")


def set_up_logging(verbose: int) -> None:
    """Send log lines to stderr: ours from warnings on, from steps on with ``-v``, all with ``-vv``; libraries' two steps less."""
    ours = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    theirs = (logging.CRITICAL, logging.WARNING, logging.INFO)[min(verbose, 2)]
    handler = _StderrHandler(ours=ours, theirs=theirs)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    for before in [handler for handler in root.handlers if isinstance(handler, _StderrHandler)]:
        root.removeHandler(before)
    root.addHandler(handler)
    root.setLevel(min(ours, theirs))
