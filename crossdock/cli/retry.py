"""``crossdock retry``: failures of a run tried again, also those that a resume leaves alone."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from crossdock.cli.commands import resume_command
from crossdock.cli.deletions import show_run
from crossdock.cli.ending import interrupted
from crossdock.cli.flags import json_flag, options_flag, verbosity_flags
from crossdock.cli.help import Flag, GroupedCommand, examples
from crossdock.cli.limiting import limit_flags
from crossdock.cli.notifying import Whom, notify_flags
from crossdock.cli.output import json_line
from crossdock.cli.progress import progress
from crossdock.cli.runners import Where, runner_flags
from crossdock.cli.runs import RUN_OPTION

if TYPE_CHECKING:
    from crossdock.flows import Report

__all__ = ["retry"]


@click.command(
    cls=GroupedCommand,
    epilog=examples(
        "crossdock retry 20261120T101500-4f2a1b",
        "crossdock retry 20261120T101500-4f2a1b --where reason=denied",
        "crossdock retry s3://ops/runs/nightly/ --where reason='destination changed' --where 'key=2024/**'",
    ),
)
@click.argument("run")
@click.option(
    "--where",
    "conditions",
    cls=Flag,
    group="What is tried",
    multiple=True,
    metavar="NAME=VALUE",
    help="reason=CLASS as the report names it, or key=GLOB over the source's whole key; of the same name any, of both both.",
)
@options_flag(
    "--source-option", help="An option of the source on top of what the run kept: secrets are not kept."
)
@options_flag("--sink-option", help="The same for the destination.")
@options_flag("--run-option", help=RUN_OPTION)
@click.option(
    "--concurrency",
    cls=Flag,
    group="How",
    type=click.IntRange(1),
    metavar="N",
    help="Objects at a time, in each process.",
)
@limit_flags
@runner_flags
@notify_flags
@json_flag("stdout has one JSON object a line: failures, at last the summary.")
@verbosity_flags
@click.pass_context
def retry(
    ctx: click.Context,
    run: str,
    *,
    conditions: tuple[str, ...],
    where: Where,
    whom: Whom,
    source_option: dict[str, str],
    sink_option: dict[str, str],
    run_option: dict[str, str],
    concurrency: int | None,
    within: dict[str, Any],
    json: bool,
    quiet: bool,
) -> None:
    """Try the failures of a run again: all, or those that match, also those that a resume leaves alone.

    The run's manifest stays as it is: an object that was replaced at the source since it was listed fails again. What is pending
    stays pending: `crossdock runs resume` goes on with that. With nothing to try it says so and ends with 0.
    """
    import crossdock as xd

    began = datetime.now(UTC)
    notify = whom.notifiers()
    try:
        with where.open() as runner, progress(quiet=quiet, json=json) as observer:
            report = xd.retry(
                run,
                where=conditions,
                runner=runner,
                concurrency=concurrency,
                **within,
                source_options=source_option,
                sink_options=sink_option,
                run_options=run_option,
                notify=notify,
                observer=observer,
            )
    except KeyboardInterrupt:
        ended = interrupted(run, options=run_option, since=began)
        if ended is None:
            raise
        report = ended
    if report.retried == 0:
        if json:
            json_line({"type": "summary", **report.to_dict(), "exit_code": 0})
        sys.stderr.write(f"{_nothing(report, conditions)}\n")
        return
    resume = resume_command(
        run,
        where=where.as_flags(),
        source_options=source_option,
        sink_options=sink_option,
        others=whom.as_words(),
    )
    ctx.exit(show_run(report, json=json, quiet=quiet, resume=resume))


def _nothing(report: Report, conditions: tuple[str, ...]) -> str:
    """Why there was nothing to try, in one sentence, and what else there is."""
    counts = report.counts
    if not counts.failed:
        text = "nothing to try again: no object failed"
    elif conditions:
        text = f"nothing to try again: none of {counts.failed:,} failures matches {' '.join(conditions)}"
    else:
        text = f"nothing to try again: the plan refused all {counts.failed:,} objects that failed; a new run can exclude them"
    return f"{text}; {counts.pending:,} objects are pending: resume the run" if counts.pending else text
