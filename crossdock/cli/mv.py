"""``crossdock mv``: copy, prove, and only then delete the source."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from crossdock.cli.commands import redacted, without_dry_run
from crossdock.cli.deletions import show_both
from crossdock.cli.ending import interrupted, show
from crossdock.cli.flags import typed
from crossdock.cli.help import GroupedCommand, examples
from crossdock.cli.progress import progress
from crossdock.cli.run_flags import Run, run_flags
from crossdock.cli.runners import Where

__all__ = ["mv"]


@click.command(
    cls=GroupedCommand,
    epilog=examples(
        "crossdock mv s3://landing/2024/ gs://archive/2024/",
        "crossdock mv s3://landing/a.bin s3://landing/b.bin",
        "crossdock mv s3://landing/ gs://archive/ --require v2 --include '**.parquet'",
    ),
)
@click.argument("src")
@click.argument("dst")
@run_flags(levels=("v1", "v2", "v3"), require="v1")
@click.pass_context
def mv(
    ctx: click.Context,
    /,
    src: str,
    dst: str,
    *,
    run: Run,
    where: Where,
    dry_run: bool,
    quiet: bool,
    json: bool,
) -> None:
    """Move the objects below SRC to DST: copy, prove each, then delete it at SRC.

    An object is deleted only in the version that was read, and only if the destination provably holds it, at least to the level of
    --require. What changed meanwhile, and what failed, stays at SRC. Interrupted, killed or stopped by a
    limit: `crossdock runs resume` goes on from there, or the same command does.
    """
    import crossdock as xd

    notify = run.notify
    began = datetime.now(UTC)
    try:
        with where.open() as runner, progress(quiet=quiet, json=json) as observer:
            report = xd.move(
                src, dst, runner=runner, notify=notify, dry_run=dry_run, observer=observer, **run.arguments
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
    done = "done: every object is at the destination, proven, and gone from the source"
    resume = run.resume(report.copies, where)
    show_both(report, json=json, quiet=quiet, resume=resume, again=words, done=done, repeats=False)
    ctx.exit(report.exit_code)
