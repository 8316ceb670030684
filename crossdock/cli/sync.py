"""``crossdock sync``: make a destination hold what a source holds, and with ``--delete`` nothing else."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import click

from crossdock.cli.commands import redacted, without_dry_run
from crossdock.cli.deletions import show_both
from crossdock.cli.ending import interrupted, show
from crossdock.cli.flags import typed
from crossdock.cli.help import Flag, GroupedCommand, examples
from crossdock.cli.output import visible
from crossdock.cli.progress import progress
from crossdock.cli.run_flags import Run, run_flags
from crossdock.cli.runners import Where
from crossdock.events import Event, Observer, ignore
from crossdock.options import format_size

if TYPE_CHECKING:
    from crossdock.flows import SyncPlan

__all__ = ["sync"]

_GROUP = "What is deleted"


@click.command(
    cls=GroupedCommand,
    epilog=examples(
        "crossdock sync s3://landing/2024/ gs://archive/2024/",
        "crossdock sync s3://landing/ gs://archive/ --delete --dry-run",
        "crossdock sync s3://landing/ gs://archive/ --delete --max-delete 5% --yes",
        "crossdock sync ./site/ s3://www/ --delete --backup-dir s3://www-old/2024-11-20/",
    ),
)
@click.argument("src")
@click.argument("dst")
@click.option(
    "--delete",
    cls=Flag,
    group=_GROUP,
    is_flag=True,
    help="Delete what is only at the destination, after everything was copied.",
)
@click.option(
    "--delete-excluded",
    cls=Flag,
    group=_GROUP,
    is_flag=True,
    help="Delete at the destination also what the filters leave out.",
)
@click.option(
    "--max-delete",
    cls=Flag,
    group=_GROUP,
    metavar="N|P%",
    help="Do nothing at all if more would be deleted: so many, or such a share of the destination. By default 1,000 and "
    "25%, whichever is less, but 10 always.",
)
@click.option(
    "--backup-dir",
    cls=Flag,
    group=_GROUP,
    metavar="URL",
    help="Copy what is deleted below this URL first; it takes the options of the destination.",
)
@click.option(
    "-y",
    "--yes",
    cls=Flag,
    group=_GROUP,
    is_flag=True,
    help="Do not ask; without a terminal nobody is asked.",
)
@run_flags(levels=("v0", "v1", "v2", "v3"), require=None)
@click.pass_context
def sync(
    ctx: click.Context,
    /,
    src: str,
    dst: str,
    *,
    run: Run,
    where: Where,
    yes: bool,
    dry_run: bool,
    quiet: bool,
    json: bool,
    **deleting: Any,
) -> None:
    """Copy what differs from SRC to DST; with --delete remove from DST what SRC does not have.

    Nothing is deleted if a listing fails, if SRC is empty, if more would go than --max-delete allows, or if a copy failed. Each object is
    deleted only in the version that was listed, and only if it is still missing at SRC. Exit code 8: refused, and nothing was done.
    """
    import crossdock as xd

    notify = run.notify
    began = datetime.now(UTC)
    asking = _Asking(quiet=quiet, json=json, ask=not yes and not dry_run)
    try:
        with where.open() as runner, asking:
            report = xd.sync(
                src,
                dst,
                runner=runner,
                notify=notify,
                dry_run=dry_run,
                confirm=asking.confirm,
                observer=asking.observer,
                **run.arguments,
                **deleting,
            )
    except KeyboardInterrupt:
        copies = interrupted(run.directory, since=began, options=run.directory_options)
        if copies is None:  # nothing was planned yet, or what was interrupted are the deletions
            raise
        words = redacted(typed(ctx))
        show(copies, json=json, quiet=quiet, resume=words, again=words)
        ctx.exit(copies.exit_code)
    words = redacted(without_dry_run(typed(ctx)) if dry_run else typed(ctx))
    done = "done: the destination holds what the source holds, proven"
    show_both(report, json=json, quiet=quiet, again=words, done=done, repeats=True)
    ctx.exit(report.exit_code)


class _Asking:
    """Shows the plan, asks if there is somebody to ask, and keeps the live display out of the way meanwhile."""

    def __init__(self, *, quiet: bool, json: bool, ask: bool) -> None:
        self._quiet = quiet
        self._json = json
        self._ask = ask
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
            if not self._quiet:
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
