"""The flags of every command that begins a run: which objects, how they are proven, where the run is kept."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from crossdock.cli.commands import resume_command
from crossdock.cli.ending import address
from crossdock.cli.flags import json_flag, options_flag, verbosity_flags
from crossdock.cli.help import Flag
from crossdock.cli.limiting import limit_flags
from crossdock.cli.notifying import Whom, notify_flags
from crossdock.cli.runners import Where, runner_flags
from crossdock.cli.selecting import bound_flags, glob_flags

if TYPE_CHECKING:
    from crossdock.flows import Report
    from crossdock.notifications.notifier import Notifier

__all__ = ["SELECTION", "Run", "no_glob_flag", "run_flags", "store_flags"]

SELECTION = ("include", "exclude", "min_size", "max_size", "min_age", "max_age")
"""Which objects are taken, as all flows call it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What the flags said, as the flows' own arguments; opens nothing."""

    arguments: dict[str, Any]
    whom: Whom

    @property
    def notify(self) -> list[Notifier]:
        """Who is told of the end; each leads somewhere."""
        return self.whom.notifiers()

    @property
    def directory(self) -> str | None:
        """Where the run is kept, if that was said."""
        given: str | None = self.arguments["run_dir"]
        return given

    @property
    def directory_options(self) -> dict[str, str]:
        """The options of the store it is kept in."""
        given: dict[str, str] = self.arguments["run_options"]
        return given

    def resume(self, report: Report, where: Where) -> str:
        """The command that goes on with the run this became."""
        return resume_command(
            address(report),
            where=where.as_flags(),
            source_options=self.arguments["source_options"],
            sink_options=self.arguments["sink_options"],
            others=self.whom.as_words(),
        )


def store_flags(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--source-option`` and ``--sink-option``."""
    for name, of in (("--sink-option", "the destination"), ("--source-option", "the source")):
        function = options_flag(name, help=f"An option of {of}, such as endpoint_url, key, profile.")(
            function
        )
    return function


def no_glob_flag(group: str) -> Callable[..., Any]:
    """``--no-glob``."""
    text = "Wildcards in the source's URL are part of the key."
    return click.option("--no-glob", cls=Flag, group=group, is_flag=True, help=text)


def run_flags(
    *, levels: tuple[str, ...], require: str | None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the flags; the command is given one ``run`` and ``where`` instead of each.

    Args:
        levels: What ``--require`` may be.
        require: What it is by default.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def command(
            *args: Any,
            source_option: dict[str, str],
            sink_option: dict[str, str],
            run_option: dict[str, str],
            whom: Whom,
            within: dict[str, Any],
            **others: Any,
        ) -> Any:
            named = (
                *SELECTION,
                "overwrite",
                "compare",
                "verify",
                "require",
                "strict",
                "concurrency",
                "run_dir",
            )
            arguments = {name: others.pop(name) for name in named}
            arguments["glob"] = not others.pop("no_glob")
            arguments |= {
                "source_options": source_option,
                "sink_options": sink_option,
                "run_options": run_option,
                **within,
            }
            return function(*args, run=Run(arguments=arguments, whom=whom), **others)

        decorated: Callable[..., Any] = command
        for decorator in reversed(_decorators(levels, require)):
            decorated = decorator(decorated)
        return decorated

    return decorate


def _decorators(levels: tuple[str, ...], require: str | None) -> list[Callable[..., Any]]:
    """All of them, in the order of the help text."""

    def how(*names: str, **options: Any) -> Callable[..., Any]:
        return click.option(*names, cls=Flag, group="How", **options)

    return [
        store_flags,
        glob_flags("What is copied"),
        bound_flags("What is copied"),
        click.option(
            "--overwrite",
            cls=Flag,
            group="What is copied",
            type=click.Choice(["if-different", "always", "never"]),
            default="if-different",
            show_default=True,
            help="What to do where the destination has an object already.",
        ),
        click.option(
            "--compare",
            cls=Flag,
            group="What is copied",
            type=click.Choice(["auto", "checksum", "size-mtime", "size"]),
            default="auto",
            show_default=True,
            help="What counts as different, as for cp.",
        ),
        no_glob_flag("What is copied"),
        how(
            "-n",
            "--dry-run",
            is_flag=True,
            help="Say what would be done, and do nothing.",
        ),
        how(
            "--verify",
            type=click.Choice(["auto", "v0", "v1", "v2", "v3"], case_sensitive=False),
            help="Level of verification to go for; by default the highest that costs no extra request.",
        ),
        how(
            "--require",
            type=click.Choice(levels, case_sensitive=False),
            default=require,
            show_default=require is not None,
            help="Level below which a copy is a failure; goes for that level, too.",
        ),
        how(
            "--strict",
            is_flag=True,
            default=None,
            help="Refuse ends and objects that would get a weaker form of the promise.",
        ),
        how("--concurrency", type=click.IntRange(1), metavar="N", help="Objects at a time, in each process."),
        limit_flags,
        runner_flags,
        click.option(
            "--run-dir",
            cls=Flag,
            group="Where it runs",
            metavar="URL",
            help="Where to keep manifest, ledger and report; by default in the user's state directory.",
        ),
        options_flag(
            "--run-option",
            group="Where it runs",
            help="An option of the store of --run-dir, if that is a bucket.",
        ),
        notify_flags,
        json_flag("stdout has one JSON object a line: phases, failures, at last the summary."),
        verbosity_flags,
    ]
