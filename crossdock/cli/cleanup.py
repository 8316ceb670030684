"""``crossdock cleanup``: what crashes left open or staged, and its removal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from crossdock.cli.flags import json_flag, options_flag, verbosity_flags
from crossdock.cli.help import Flag, GroupedCommand, examples
from crossdock.cli.output import json_line, line, visible

if TYPE_CHECKING:
    from crossdock.flows import CleanupReport, Leftover

__all__ = ["cleanup"]


@click.command(
    cls=GroupedCommand,
    epilog=examples(
        "crossdock cleanup 20261120T101500-4f2a1b -n",
        "crossdock cleanup s3://ops/runs/nightly/ --sink-option secret=env:MY_SECRET",
        "crossdock cleanup --all",
        "crossdock cleanup s3://landing/2024/",
        "crossdock cleanup s3://landing/2024/ --older-than 7d --json",
        "crossdock cleanup postgresql://etl@db/shop --older-than 7d --option password=env:SHOP_PASSWORD",
    ),
)
@click.argument("place", metavar="[RUN|URL]", required=False)
@click.option(
    "--all",
    "all_runs",
    cls=Flag,
    group="What is removed",
    is_flag=True,
    help="Every run in your state directory; those that a driver works on are left alone and named.",
)
@click.option(
    "--older-than",
    cls=Flag,
    group="What is removed",
    metavar="AGE",
    help="Remove whatever is open below URL and was begun so long ago or longer, such as 12h or 7d, whoever left it.",
)
@click.option(
    "-n",
    "--dry-run",
    cls=Flag,
    group="What is removed",
    is_flag=True,
    help="Say what would be removed, and remove nothing.",
)
@options_flag("--option", help="An option of the store behind URL, such as endpoint_url, key, profile.")
@options_flag(
    "--sink-option", help="An option of RUN's destination on top of what the run kept: secrets are not kept."
)
@options_flag("--run-option", help="An option of the store that holds RUN's directory, if that is a bucket.")
@json_flag("One JSON object a line: each upload found and what became of it, at last the summary.")
@verbosity_flags
@click.pass_context
def cleanup(
    ctx: click.Context,
    /,
    place: str | None,
    *,
    all_runs: bool,
    older_than: str | None,
    dry_run: bool,
    option: dict[str, str],
    sink_option: dict[str, str],
    run_option: dict[str, str],
    json: bool,
    quiet: bool,
) -> None:
    """Remove what crashes left open: uploads in parts, temporary files and objects, rows that were staged and not published.

    RUN is an id from `crossdock runs ls` or the URL of a run's directory: what that run announced and left open is removed at its
    destination and in its directory, and nothing of anybody else. While a driver works on the run this is refused (exit code 8).

    URL is a destination: what is open below it is listed, whoever left it, and with --older-than what is older is removed. Objects
    that can be seen are never touched. Of a database it is the staging tables of `ingest`.
    """
    import crossdock as xd

    report = xd.cleanup(
        place,
        all_runs=all_runs,
        older_than=older_than,
        dry_run=dry_run,
        options=option,
        sink_options=sink_option,
        run_options=run_option,
    )
    for left in report.leftovers:
        if json:
            json_line({"type": "upload", **left.to_dict()})
        else:
            line(_line(left))
    for run in report.untouched:
        if json:
            json_line({"type": "run", "run": run.run, "live": run.live, "reason": run.reason})
        else:
            line(f"{'left alone' if run.live else 'failed':<16}  {visible(run.run)}: {visible(run.reason)}")
    if json:
        json_line({"type": "summary", **report.to_dict()})
    if not quiet or report.exit_code:
        sys.stderr.write(f"{_verdict(report)}\n")
    ctx.exit(report.exit_code)


def _line(left: Leftover) -> str:
    begun = f"{left.begun:%Y-%m-%dT%H:%M:%SZ}" if left.begun else "-"
    reason = f"  ({visible(left.reason)})" if left.reason else ""
    return f"{left.fate.value:<16}  {begun:>20}  {visible(f'{left.store}/{left.key}')}{reason}"


def _verdict(report: CleanupReport) -> str:
    """One line, whose numbers add up to what was found."""
    removed = "would be removed" if report.dry_run else "removed"
    text = f"{len(report.leftovers):,} open = {len(report.removed):,} {removed} + {len(report.kept):,} kept"
    text += f" + {len(report.failed):,} failed"
    if report.untouched:
        text += f"; {len(report.untouched):,} runs were left as they are"
    return text
