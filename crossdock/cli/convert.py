"""``crossdock convert``: what is below one URL to another, in another format."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from crossdock.cli.commands import redacted, resume_command, without_dry_run
from crossdock.cli.ending import address, interrupted, show
from crossdock.cli.flags import options_flag, typed
from crossdock.cli.help import Flag, GroupedCommand, examples
from crossdock.cli.progress import progress
from crossdock.cli.table_flags import TableRun, column_flags, format_flags, table_run_flags

if TYPE_CHECKING:
    from crossdock.flows import Report

__all__ = ["convert"]

_WHAT = "What becomes of it"


@click.command(
    cls=GroupedCommand,
    epilog=examples(
        "crossdock convert s3://landing/2024/ gs://lake/2024/ --to parquet --target-size 128MB",
        "crossdock convert ./exports/ ./tables/ --from csv --read-option delimiter=; --to parquet",
        "crossdock convert s3://events/ gs://lake/events/ --to parquet --target-size 256MB --workers 4 --run-dir s3://ops/runs/events",
        "crossdock convert s3://landing/ gs://lake/ --to csv.gz --columns id,name --bad-rows s3://landing-bad/",
    ),
)
@click.argument("src")
@click.argument("dst")
@click.option(
    "--to",
    cls=Flag,
    group=_WHAT,
    metavar="FORMAT",
    default="parquet",
    show_default=True,
    help="parquet, csv, tsv, jsonl, arrow, orc, avro; csv.gz names a compression, too.",
)
@click.option(
    "--target-size",
    cls=Flag,
    group=_WHAT,
    metavar="SIZE",
    help="Put objects that are neighbours below one prefix together until they have about so many bytes, such as 128MB. "
    "Without it each object becomes one.",
)
@click.option(
    "--partition-by",
    cls=Flag,
    group=_WHAT,
    metavar="A,month(B)",
    help="Write a dataset, partitioned by these: columns, or year, month, day, hour or date of one. All of an output, or nothing.",
)
@click.option(
    "--compression",
    cls=Flag,
    group=_WHAT,
    metavar="NAME",
    help="Of text, round it; of the others, inside. Parquet and ORC have zstd unless said; none for none.",
)
@options_flag("--write-option", group=_WHAT, help="An option of the format that is written, such as level=9.")
@format_flags
@column_flags
@click.option(
    "--overwrite",
    cls=Flag,
    group=_WHAT,
    type=click.Choice(["if-different", "always", "never"]),
    default="if-different",
    show_default=True,
    help="What to do where an output is there: if-different keeps one that was made of the same objects in the same way.",
)
@table_run_flags(objects=True)
@click.pass_context
def convert(
    ctx: click.Context,
    /,
    src: str,
    dst: str,
    *,
    run: TableRun,
    dry_run: bool,
    compression: str | None,
    partition_by: str | None,
    write_option: dict[str, str],
    **what: Any,
) -> None:
    """Read the objects below SRC as tables, and write them below DST in another format; with --target-size many small ones as one.

    Each output appears whole or not at all. The same command again writes only what changed; interrupted, killed or failed, it goes on.
    """
    if compression is not None:
        what["compression"] = None if compression == "none" else compression
    if partition_by is not None:
        what["partition_by"] = [each.strip() for each in partition_by.split(",")]
    what |= {"write_options": write_option, "dry_run": dry_run}
    report = _converted(src, dst, what, run)
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


def _converted(src: str, dst: str, what: dict[str, Any], run: TableRun) -> Report:
    """Run, and end with a report also if interrupted."""
    import crossdock as xd

    began = datetime.now(UTC)
    notify = run.whom.notifiers()
    try:
        with run.where.open() as runner, progress(quiet=run.quiet, json=run.json) as observer:
            return xd.convert(
                src, dst, runner=runner, notify=notify, observer=observer, **run.arguments, **what
            )
    except KeyboardInterrupt:
        report = interrupted(run.arguments["run_dir"], since=began, options=run.arguments["run_options"])
        if report is None:  # nothing was planned yet
            raise
        return report
