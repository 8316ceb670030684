"""``crossdock runs``: what was run before, how it stands, and going on with it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from crossdock.cli.asking import Asking, yes_flag
from crossdock.cli.commands import resume_command
from crossdock.cli.deletions import show_run
from crossdock.cli.ending import address, carry_out, interrupted
from crossdock.cli.flags import json_flag, options_flag, verbosity_flags
from crossdock.cli.help import Flag, GroupedCommand, examples
from crossdock.cli.limiting import limit_flags
from crossdock.cli.notifying import Whom, notify_flags
from crossdock.cli.output import json_line, line, visible
from crossdock.cli.progress import duration
from crossdock.cli.runners import Where, runner_flags

if TYPE_CHECKING:
    from crossdock.flows import RunOverview

__all__ = ["RUN_OPTION", "runs", "runs_resume"]

RUN_OPTION = "An option of the store that holds the run's directory, if that is a bucket."


@click.group()
def runs() -> None:
    """Look at runs, and go on with those that did not end.

    RUN is an id from `crossdock runs ls`, or the URL of a run's directory.
    """


@runs.command(
    name="ls",
    cls=GroupedCommand,
    epilog=examples("crossdock runs ls", "crossdock runs ls s3://ops/runs/ --json"),
)
@click.argument("url", required=False)
@options_flag("--run-option", help=RUN_OPTION)
@json_flag("One JSON object a line: what each run was asked, and its state.")
@verbosity_flags
def runs_ls(url: str | None, *, run_option: dict[str, str], json: bool, quiet: bool) -> None:
    """List the runs below URL, oldest first, with their age, state and numbers; by default your own.

    A run whose driver died while it was at work is shown as killed: it can be resumed.
    """
    from crossdock.flows import overview

    now = datetime.now(UTC)
    for each in overview(url, run_option):
        if json:
            json_line(each.to_dict())
        else:
            line(_run_line(each, now))
    del quiet  # it is only for progress and verdicts; accepted everywhere, so that scripts need not know


def _run_line(each: RunOverview, now: datetime) -> str:
    asked = each.document["asked"]
    ends = [
        visible(f"{asked[end]['store']}/{asked.get(key) or asked[end]['prefix']}")
        for end, key in (("source", "one"), ("sink", "exact"))  # one object has a key at either end
    ]
    age = duration(each.age(now).total_seconds())
    return (
        f"{visible(each.name)}  {age:>12} ago  {each.state:<11}  {_numbers(each):>24}  {ends[0]} -> {ends[1]}"
    )


def _numbers(each: RunOverview) -> str:
    if each.planned is None:
        return "no plan"
    if not each.counts:
        return f"{each.planned:,} objects"
    done = each.counts["copied"] + each.counts["skipped"]
    failed = f", {each.counts['failed']:,} failed" if each.counts["failed"] else ""
    return f"{done:,} of {each.planned:,}{failed}"


@runs.command(
    name="show",
    cls=GroupedCommand,
    epilog=examples(
        "crossdock runs show 20261120T101500-4f2a1b", "crossdock runs show s3://ops/runs/nightly/ --json"
    ),
)
@click.argument("run")
@options_flag("--run-option", help=RUN_OPTION)
@json_flag("One JSON object a line: each failure, at last the summary.")
@verbosity_flags
def runs_show(run: str, *, run_option: dict[str, str], json: bool, quiet: bool) -> None:
    """Show how a run stands, derived anew from its manifest and ledger.

    Ends with 0 whatever the run's own exit code was; --json has that as exit_code.
    """
    from crossdock.flows import build_report, open_run

    report = build_report(open_run(run, run_option))
    show_run(report, json=json, quiet=quiet, resume=resume_command(address(report)), again=carry_out(report))


@runs.command(
    name="resume",
    cls=GroupedCommand,
    epilog=examples(
        "crossdock runs resume 20261120T101500-4f2a1b",
        "crossdock runs resume s3://ops/runs/nightly/ --workers 4 --source-option secret=env:MY_SECRET",
    ),
)
@click.argument("run")
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
@yes_flag
@notify_flags
@json_flag("stdout has one JSON object a line: phases, failures, at last the summary.")
@verbosity_flags
@click.pass_context
def runs_resume(
    ctx: click.Context,
    run: str,
    *,
    where: Where,
    whom: Whom,
    source_option: dict[str, str],
    sink_option: dict[str, str],
    run_option: dict[str, str],
    concurrency: int | None,
    within: dict[str, Any],
    yes: bool,
    json: bool,
    quiet: bool,
) -> None:
    """Go on with a run: what is pending, and failures that another attempt may mend.

    Nothing is listed again, and nothing that arrived is sent again, whether it was recorded or not. A run of `sync --delete` or `mv`
    goes on with its deletions too, as safely as the command itself; what a sync would delete is shown, and asked about, first.
    """
    import crossdock as xd

    began = datetime.now(UTC)
    notify = whom.notifiers()
    asking = Asking(quiet=quiet, json=json, ask=not yes, show_nothing=False)
    try:
        with where.open() as runner, asking:
            report = xd.resume(
                run,
                runner=runner,
                concurrency=concurrency,
                **within,
                source_options=source_option,
                sink_options=sink_option,
                run_options=run_option,
                notify=notify,
                confirm=asking.confirm,
                observer=asking.observer,
            )
    except KeyboardInterrupt:
        ended = interrupted(run, options=run_option, since=began)
        if ended is None or ended.state != "interrupted":  # what was interrupted are the deletions
            raise
        report = ended
    resume = resume_command(
        run,
        where=where.as_flags(),
        source_options=source_option,
        sink_options=sink_option,
        others=whom.as_words(),
    )
    ctx.exit(show_run(report, json=json, quiet=quiet, resume=resume))
