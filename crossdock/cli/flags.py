"""What several commands share: ``KEY=VALUE`` options, verbosity and logging."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from crossdock.cli.help import Flag

__all__ = ["KEY_VALUE", "json_flag", "options_flag", "set_up_logging", "verbosity_flags"]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

VERBOSE = "crossdock.verbose"  # where the root context keeps what -v said, for the one place that prints errors


class _KeyValue(click.ParamType):
    """``KEY=VALUE``; the value may hold ``=`` and may be empty."""

    name = "K=V"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Split at the first ``=``."""
        if isinstance(value, tuple):
            return value
        key, sep, text = str(value).partition("=")
        if not sep or not key:
            self.fail(f"{value!r} is not KEY=VALUE, such as endpoint_url=http://127.0.0.1:9000", param, ctx)
        return key, text


KEY_VALUE = _KeyValue()


def _as_mapping(ctx: click.Context, param: click.Parameter, pairs: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Options by name; one that is given twice is a mistake, not a last word."""
    given: dict[str, str] = {}
    for key, value in pairs:
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
        type=KEY_VALUE,
        multiple=True,
        metavar="K=V",
        help=help,
        callback=_as_mapping,
    )


def json_flag(help: str) -> Callable[[Decorated], Decorated]:
    """``--json``."""
    return click.option("--json", "as_json", cls=Flag, group="Output", is_flag=True, help=help)


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
    """Writes to whatever ``sys.stderr`` is now: a live display puts itself there to keep lines and bars apart."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(self.format(record) + "\n")


def set_up_logging(verbose: int) -> None:
    """Send our log lines to stderr: warnings always, steps with ``-v``, requests with ``-vv``; of libraries warnings with ``-v``."""
    ours = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    theirs = (logging.CRITICAL, logging.WARNING, logging.INFO)[min(verbose, 2)]
    handler = _StderrHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    for before in [handler for handler in root.handlers if isinstance(handler, _StderrHandler)]:
        root.removeHandler(before)
    root.addHandler(handler)
    root.setLevel(theirs)
    logging.getLogger("crossdock").setLevel(ours)
