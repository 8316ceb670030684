"""``crossdock runs report|export|rm|compact``: the record of a run as a page or a table, made smaller, or removed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from crossdock.cli.ending import address, carry_out
from crossdock.cli.flags import json_flag, options_flag, verbosity_flags
from crossdock.cli.help import Flag, GroupedCommand, examples
from crossdock.cli.output import json_line, line, visible
from crossdock.cli.runs import RUN_OPTION
from crossdock.cli.verdict import NOTHING, next_step, verdict

if TYPE_CHECKING:
    from crossdock.flows import Report

__all__ = ["runs_compact", "runs_export", "runs_report", "runs_rm"]


@click.command(
    name="report",
    cls=GroupedCommand,
    epilog=examples(
        "crossdock runs report 20261120T101500-4f2a1b",
        "crossdock runs report 20261120T101500-4f2a1b --format html --to report.html",
        "crossdock runs report s3://ops/runs/nightly/ --format json | jq .levels",
    ),
)
@click.argument("run")
@click.option(
    "--format",
    "form",
    cls=Flag,
    group="Output",
    type=click.Choice(["text", "html", "json"]),
    default="text",
    show_default=True,
    help="html is one page that loads nothing from anywhere.",
)
@click.option(
    "--to", cls=Flag, group="Output", metavar="FILE|URL", help="Where to write it; stdout by default."
)
@options_flag("--option", help="An option of the store behind --to.")
@options_flag("--run-option", help=RUN_OPTION)
@verbosity_flags
def runs_report(
    run: str,
    *,
    form: str,
    to: str | None,
    option: dict[str, str],
    run_option: dict[str, str],
    quiet: bool,
) -> None:
    """Write the report of a run, derived anew from its manifest and ledger.

    Ends with 0 whatever the run's own exit code was.
    """
    from crossdock.flows import build_report, file_sink, open_run

    text = _text(build_report(open_run(run, run_option)), form)
    if to is None:
        line(text)
    else:
        receipt = file_sink(to, option)(f"{text}\n".encode("utf-8", "backslashreplace"), key="")
        if not quiet:
            sys.stderr.write(f"{visible(receipt.destination)}: {receipt.size:,} bytes\n")


def _text(report: Report, form: str) -> str:
    if form == "html":
        return report.to_html().rstrip("\n")
    if form == "json":
        from json import dumps

        return dumps(report.to_dict(), indent=2, default=str)
    resume = f"crossdock runs resume {address(report)}"
    return verdict(
        report, next_command=next_step(report, resume=resume, again=carry_out(report)), done=NOTHING
    )


@click.command(
    name="export",
    cls=GroupedCommand,
    epilog=examples(
        "crossdock runs export 20261120T101500-4f2a1b --to ends.parquet",
        "crossdock runs export 20261120T101500-4f2a1b --to - --format jsonl | jq 'select(.state == \"failed\")'",
        "crossdock runs export s3://ops/runs/nightly/ --to s3://ops/exports/nightly.csv",
    ),
)
@click.argument("run")
@click.option(
    "--to",
    cls=Flag,
    group="Output",
    metavar="FILE|URL",
    required=True,
    help="The file; it appears whole or not at all. - is stdout.",
)
@click.option(
    "--format",
    "form",
    cls=Flag,
    group="Output",
    type=click.Choice(["parquet", "csv", "jsonl"]),
    help="By default what the file's name ends with.",
)
@options_flag("--option", help="An option of the store behind --to.")
@options_flag("--run-option", help=RUN_OPTION)
@verbosity_flags
def runs_export(
    run: str,
    *,
    to: str,
    form: str | None,
    option: dict[str, str],
    run_option: dict[str, str],
    quiet: bool,
) -> None:
    """Write what became of every object: key, destination, state, level, digests, reason and more, a row each.

    In the order of the manifest, while it is read: memory does not grow with the run.
    """
    from crossdock.flows import export_run, exported, format_of, open_run

    if to == "-":
        chosen = format_of("stdout", form)
        for piece in exported(open_run(run, run_option), chosen):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    written = export_run(run, to, format=form, options=option, run_options=run_option)
    if not quiet:
        sys.stderr.write(f"{visible(written.url)}: {written.rows:,} objects, {written.size:,} bytes\n")


@click.command(
    name="rm",
    cls=GroupedCommand,
    epilog=examples(
        "crossdock runs rm 20261120T101500-4f2a1b",
        "crossdock runs rm s3://ops/runs/nightly/ --sink-option secret=env:MY_SECRET",
    ),
)
@click.argument("run", nargs=-1, required=True)
@click.option(
    "--force",
    cls=Flag,
    group="What is removed",
    is_flag=True,
    help="Also a run with open uploads, or of which that cannot be found out.",
)
@options_flag(
    "--sink-option", help="An option of the destination that the run did not keep: secrets are not kept."
)
@options_flag("--run-option", help=RUN_OPTION)
@json_flag("One JSON object a line: each run that was removed.")
@verbosity_flags
def runs_rm(
    run: tuple[str, ...],
    *,
    force: bool,
    sink_option: dict[str, str],
    run_option: dict[str, str],
    json: bool,
    quiet: bool,
) -> None:
    """Remove the record of runs: manifest, ledger and reports. What they moved is not touched.

    Refused (exit code 8) while a driver works on the run, and while uploads of it are open: only its ledger knows that they
    are its own. Several are removed one after another, up to the first that is refused.
    """
    from crossdock.flows import remove_run

    for each in run:
        removed = remove_run(each, force=force, sink_options=sink_option, run_options=run_option)
        if json:
            json_line({"run": removed.url, "objects": removed.objects, "foreign": list(removed.foreign)})
        elif not quiet:
            line(f"removed  {visible(removed.url)}  {removed.objects:,} objects")
        if removed.foreign:
            names = ", ".join(map(visible, removed.foreign))
            sys.stderr.write(f"{visible(removed.url)} has what is no run's, and keeps it: {names}\n")


@click.command(
    name="compact", cls=GroupedCommand, epilog=examples("crossdock runs compact s3://ops/runs/nightly/")
)
@click.argument("run")
@options_flag("--run-option", help=RUN_OPTION)
@json_flag("One JSON object: segments merged, segments written, records in them.")
@verbosity_flags
def runs_compact(run: str, *, run_option: dict[str, str], json: bool, quiet: bool) -> None:
    """Merge the many small files of a run's ledger into few. What it says stays the same.

    The end of a run does it by itself where there are many. Killed at any instant the ledger is whole.
    """
    from crossdock.flows import compact

    done = compact(run, run_options=run_option)
    if json:
        json_line({"merged": done.merged, "written": done.written, "records": done.records})
    elif not quiet:
        line(f"{done.merged:,} segments became {done.written:,}, with {done.records:,} records")
