"""``crossdock sync``: make a destination hold what a source holds, and with ``--delete`` nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from crossdock.cli.asking import Asking, yes_flag
from crossdock.cli.commands import redacted, without_dry_run
from crossdock.cli.deletions import show_both
from crossdock.cli.ending import interrupted, show
from crossdock.cli.flags import typed
from crossdock.cli.help import Flag, GroupedCommand, examples
from crossdock.cli.run_flags import Run, run_flags
from crossdock.cli.runners import Where
from crossdock.cli.verdict import UNSEEN, is_unseen

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
@yes_flag
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
    Interrupted, killed or stopped by a limit: `crossdock runs resume` goes on, with the deletions too.
    """
    import crossdock as xd

    notify = run.notify
    began = datetime.now(UTC)
    asking = Asking(quiet=quiet, json=json, ask=not yes and not dry_run)
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
        if (
            copies is None or copies.state != "interrupted"
        ):  # nothing was planned yet, or it was the deletions
            raise
        show(copies, json=json, quiet=quiet, resume=run.resume(copies, where), again=redacted(typed(ctx)))
        ctx.exit(copies.exit_code)
    words = redacted(without_dry_run(typed(ctx)) if dry_run else typed(ctx))
    done = UNSEEN if is_unseen(report.copies) else "done: the destination holds what the source holds, proven"
    resume = run.resume(report.copies, where)
    show_both(report, json=json, quiet=quiet, resume=resume, again=words, done=done, repeats=True)
    ctx.exit(report.exit_code)
