"""Showing what is going to be deleted, and asking before it is: ``sync``, and whoever goes on with one."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

import click

from crossdock.cli.help import Flag
from crossdock.cli.output import visible
from crossdock.cli.progress import progress
from crossdock.events import Event, Observer, ignore
from crossdock.options import format_size

if TYPE_CHECKING:
    from crossdock.flows import SyncPlan

__all__ = ["Asking", "yes_flag"]

yes_flag = click.option(
    "-y",
    "--yes",
    cls=Flag,
    group="What is deleted",
    is_flag=True,
    help="Do not ask; without a terminal nobody is asked.",
)


class Asking:
    """Shows a plan of deletions, asks if there is somebody to ask, and keeps the live display out of the way meanwhile.

    Args:
        quiet: Whether the plan is left out.
        json: Whether stdout is for programs.
        ask: Whether anybody is asked at all.
        show_nothing: Whether a plan is shown that deletes nothing.
    """

    def __init__(self, *, quiet: bool, json: bool, ask: bool, show_nothing: bool = True) -> None:
        self._quiet = quiet
        self._json = json
        self._ask = ask
        self._show_nothing = show_nothing
        self._shown: Observer = ignore
        self._displays = ExitStack()

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._displays.close()

    def observer(self, event: Event, /) -> None:
        """Pass on to whatever display there is now."""
        self._shown(event)

    def confirm(self, plan: SyncPlan) -> bool:
        """Whether to go on."""
        self._displays.close()
        try:
            if not self._quiet and (plan.delete or self._show_nothing):
                sys.stderr.write(f"{_plan_text(plan)}\n")
            if not plan.delete or not self._ask or not (sys.stdin.isatty() and sys.stderr.isatty()):
                return True
            return click.confirm(f"delete {plan.delete:,} objects of {visible(plan.sink)}?", err=True)
        finally:
            self._begin()

    def _begin(self) -> None:
        self._shown = self._displays.enter_context(progress(quiet=self._quiet, json=self._json))


def _plan_text(plan: SyncPlan) -> str:
    """What is going to happen, before it does. Pure."""
    text = f"plan: {plan.new:,} new, {plan.both:,} at both ends to compare, {plan.delete:,} only at the destination"
    if not plan.delete:
        return text
    lines = [f"{text} to delete ({format_size(plan.delete_bytes)})"]
    lines += [f"  delete {visible(key)}" for key in plan.examples]
    if plan.delete > len(plan.examples):
        lines.append(f"  and {plan.delete - len(plan.examples):,} more")
    return "\n".join(lines)
