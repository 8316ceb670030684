"""How ``ingest`` and ``export`` are driven and end on screen: a report also after Ctrl-C, and what to type next."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from crossdock.cli.commands import redacted, resume_command, without_dry_run
from crossdock.cli.ending import address, interrupted, show
from crossdock.cli.flags import typed
from crossdock.cli.progress import progress
from crossdock.cli.table_flags import TableRun

if TYPE_CHECKING:
    from crossdock.flows import Report

__all__ = ["driven", "end"]


def driven(flow: Callable[..., Report], src: str, dst: str, run: TableRun, what: dict[str, Any]) -> Report:
    """Run a flow, and end with a report also if interrupted.

    Raises:
        KeyboardInterrupt: Before anything was planned.
    """
    began = datetime.now(UTC)
    notify = run.whom.notifiers()
    try:
        with run.where.open() as runner, progress(quiet=run.quiet, json=run.json) as observer:
            return flow(src, dst, runner=runner, notify=notify, observer=observer, **run.arguments, **what)
    except KeyboardInterrupt:
        report = interrupted(run.arguments["run_dir"], since=began, options=run.arguments["run_options"])
        if report is None:
            raise
        return report


def end(ctx: click.Context, report: Report, run: TableRun, *, dry_run: bool) -> None:
    """Show how it ended, and leave with the exit code."""
    words = typed(ctx)
    resume = resume_command(
        address(report),
        where=run.where.as_flags(),
        source_options=run.arguments["source_options"],
        sink_options=run.arguments["sink_options"],
        others=run.whom.as_words(),
    )
    again = redacted(without_dry_run(words) if dry_run else words)
    show(report, json=run.json, quiet=run.quiet, resume=resume, again=again)
    ctx.exit(report.exit_code)
