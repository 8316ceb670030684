"""``crossdock cp``: move what is below one URL to another."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from crossdock.cli.commands import redacted, resume_command, without_dry_run
from crossdock.cli.ending import address, interrupted, show
from crossdock.cli.flags import json_flag, options_flag, typed, verbosity_flags
from crossdock.cli.help import Flag, GroupedCommand, examples
from crossdock.cli.limiting import limit_flags
from crossdock.cli.lists import list_flags
from crossdock.cli.notifying import Whom, notify_flags
from crossdock.cli.output import json_line
from crossdock.cli.plan_screen import row_line
from crossdock.cli.progress import progress
from crossdock.cli.runners import Where, runner_flags
from crossdock.cli.selecting import selection_flags

if TYPE_CHECKING:
    from crossdock.flows import Report

__all__ = ["cp"]


@click.command(
    cls=GroupedCommand,
    epilog=examples(
        "crossdock cp s3://landing/2024/ gs://archive/2024/",
        "crossdock cp s3://landing/ gs://archive/ --include '**.csv' --exclude 'tmp/**' --dry-run",
        "crossdock cp ./exports/ s3://landing/ --sink-option profile=work --workers 4",
        "crossdock cp --plan s3://runs/move-1 --workers 4",
        "crossdock cp s3://landing/ gs://archive/ --json > outcomes.jsonl",
        "crossdock cp s3://landing/ gs://archive/ --notify slack=env:SLACK_WEBHOOK --notify-on failure",
    ),
)
@click.argument("src", required=False)
@click.argument("dst", required=False)
@click.option(
    "--plan",
    cls=Flag,
    group="What is copied",
    metavar="URL",
    help="Carry out the plan that `crossdock plan --out URL` wrote, exactly; SRC and DST may be left out.",
)
@options_flag("--source-option", help="An option of the source, such as endpoint_url, key, profile.")
@options_flag(
    "--sink-option", help="An option of the destination, or of the transfer, such as part_size_bytes."
)
@selection_flags
@list_flags
@click.option(
    "-n",
    "--dry-run",
    cls=Flag,
    group="How",
    is_flag=True,
    help="Say what would be done, and do nothing. With --json one line for each object.",
)
@click.option(
    "--verify",
    cls=Flag,
    group="How",
    type=click.Choice(["auto", "v0", "v1", "v2", "v3"], case_sensitive=False),
    help="Level of verification to go for; by default the highest that costs no extra request, or two at most for an "
    "object in parts. v1 asks nothing only to prove the source, v2 whatever it takes, v3 reads back.",
)
@click.option(
    "--require",
    cls=Flag,
    group="How",
    type=click.Choice(["v0", "v1", "v2", "v3"], case_sensitive=False),
    help="Level below which a copy is a failure; goes for that level, too. Not written if it can be known by then.",
)
@click.option(
    "--strict",
    cls=Flag,
    group="How",
    is_flag=True,
    default=None,
    help="Refuse ends and objects that would get a weaker form of the promise: no conditional writes, reads that cannot "
    "be pinned to a version, no digest checked.",
)
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
@click.option(
    "--run-dir",
    cls=Flag,
    group="Where it runs",
    metavar="URL",
    help="Where to keep manifest, ledger and report; by default in the user's state directory.",
)
@options_flag(
    "--run-option", group="Where it runs", help="An option of the store of --run-dir, if that is a bucket."
)
@notify_flags
@json_flag("stdout has one JSON object a line: phases, failures, at last the summary.")
@verbosity_flags
@click.pass_context
def cp(
    ctx: click.Context,
    /,
    src: str | None,
    dst: str | None,
    *,
    plan: str | None,
    where: Where,
    whom: Whom,
    source_option: dict[str, str],
    sink_option: dict[str, str],
    run_option: dict[str, str],
    dry_run: bool,
    quiet: bool,
    json: bool,
    run_dir: str | None,
    verify: str | None,
    require: str | None,
    strict: bool | None,
    concurrency: int | None,
    within: dict[str, Any],
    **what: Any,
) -> None:
    """Copy the objects below SRC to DST, prove each, and leave a record that can be resumed.

    A source that is a prefix copies its contents; the key below the prefix is kept. What is at the destination already, unchanged, is not
    sent again. Interrupted, killed or failed: the same command goes on from there.
    """
    if plan is None and (src is None or dst is None):
        raise click.UsageError("cp takes SRC and DST, or --plan URL")
    if plan is not None and "/" not in plan:
        plan = f"./{plan}"  # a directory here, never the id of a run
    what |= {"source_options": source_option, "sink_options": sink_option, "strict": strict}
    again = redacted(typed(ctx))
    resume = ""
    notify = whom.notifiers()  # for a dry run too: it says what would go wrong
    if dry_run and plan is None:
        report = _plan(src or "", dst or "", what, quiet=quiet, json=json)
        again = redacted(without_dry_run(typed(ctx)))
    else:
        what |= {"verify": verify, "require": require}
        what |= {"concurrency": concurrency, "run_dir": run_dir, "run_options": run_option} | within
        what |= {"notify": notify, "plan": plan, "dry_run": dry_run}
        report = _migrate(src, dst, what, where, quiet=quiet, json=json)
        if dry_run and plan is not None:
            again = redacted(without_dry_run(typed(ctx)))
            _show_rows(plan, run_option if json else None)
        resume = resume_command(
            address(report),
            where=where.as_flags(),
            source_options=source_option,
            sink_options=sink_option,
            others=whom.as_words(),
        )
    show(report, json=json, quiet=quiet, resume=resume, again=again)
    ctx.exit(report.exit_code)


def _migrate(
    src: str | None, dst: str | None, what: dict[str, Any], where: Where, *, quiet: bool, json: bool
) -> Report:
    """Run, and end with a report also if interrupted."""
    import crossdock as xd

    began = datetime.now(UTC)
    try:
        with where.open() as runner, progress(quiet=quiet, json=json) as observer:
            return xd.migrate(src, dst, runner=runner, observer=observer, **what)
    except KeyboardInterrupt:
        report = interrupted(what["plan"] or what["run_dir"], since=began, options=what["run_options"])
        if report is None or report.state == "planned":  # nothing was planned yet, or the plan is as it was
            raise
        return report


def _show_rows(plan: str, options: dict[str, str] | None) -> None:
    """With ``--json`` (else ``options`` is ``None``) a line for each object of a plan that was written."""
    from crossdock.flows.runs.directory import RunDirectory, run_files

    if options is not None:
        for row in RunDirectory(run_files(plan, options)).manifest.all_rows():
            json_line(row_line(row))


def _plan(src: str, dst: str, what: dict[str, Any], *, quiet: bool, json: bool) -> Report:
    """Plan only; with ``json`` a line for each object."""
    import crossdock as xd

    with progress(quiet=quiet, json=json) as observer:
        plan = xd.plan(src, dst, observer=observer, **what)
    try:
        if json:
            for row in plan:
                json_line(row_line(row))
        return plan.report()
    finally:
        plan.close()
