"""``crossdock export``: a table or a query of a database to files."""

from __future__ import annotations

from typing import Any

import click

from crossdock.cli.flags import options_flag
from crossdock.cli.help import Flag, GroupedCommand, examples
from crossdock.cli.table_ends import driven, end
from crossdock.cli.table_flags import TableRun, table_run_flags

__all__ = ["export"]

_ROWS = "Which rows"
_FILES = "Into which files"


@click.command(
    cls=GroupedCommand,
    epilog=examples(
        "crossdock export postgresql://etl@db/shop s3://lake/orders/ --table orders --slices 16 --by id",
        "crossdock export postgresql://etl@db/shop s3://lake/2024.csv.gz --query \"select * from orders where day >= '2024-01-01'\"",
        "crossdock export sqlite://films.db ./films.parquet --table films --columns id,title",
    ),
)
@click.argument("database")
@click.argument("dst")
@click.option("--table", cls=Flag, group=_ROWS, metavar="NAME", help="table or schema.table.")
@click.option(
    "--query", cls=Flag, group=_ROWS, metavar="SQL", help="A statement instead; it is kept with the run."
)
@click.option("--columns", cls=Flag, group=_ROWS, metavar="A,B,C", help="Of a table, only these.")
@click.option(
    "--slices",
    cls=Flag,
    group=_ROWS,
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Cut the rows into at most so many files, read side by side.",
)
@click.option(
    "--by",
    cls=Flag,
    group=_ROWS,
    metavar="COLUMN",
    help="The column to cut by: one that is indexed and never changes, such as the primary key.",
)
@click.option(
    "--to",
    cls=Flag,
    group=_FILES,
    metavar="FORMAT",
    help="parquet, csv, tsv, jsonl, arrow, orc, avro; csv.gz names a compression, too. By default what DST ends with, else parquet.",
)
@click.option(
    "--compression",
    cls=Flag,
    group=_FILES,
    metavar="NAME",
    help="Of text, round it; of the others, inside; none for none.",
)
@options_flag(
    "--write-option", group=_FILES, help="An option of the format that is written, such as level=9."
)
@click.option(
    "--overwrite",
    cls=Flag,
    group=_FILES,
    is_flag=True,
    help="Replace an export that is there; it is refused otherwise.",
)
@click.option(
    "--dataset",
    cls=Flag,
    group=_FILES,
    metavar="NAME",
    help="Make the files one batch of a dataset: who reads it by xd.dataset sees all of them at one moment, or none.",
)
@table_run_flags(objects=False, within=("max_errors", "deadline", "bandwidth"))
@click.pass_context
def export(
    ctx: click.Context,
    /,
    database: str,
    dst: str,
    *,
    run: TableRun,
    dry_run: bool,
    columns: str | None,
    compression: str | None,
    write_option: dict[str, str],
    **what: Any,
) -> None:
    """Write a table or a query of DATABASE to DST: one file, or with --slices several, each of them whole or not there.

    Interrupted, killed or failed, the same command goes on with the slices that are left.
    """
    import crossdock as xd

    if compression is not None:
        what["compression"] = None if compression == "none" else compression
    named = None if columns is None else [each.strip() for each in columns.split(",")]
    what["dataset"] = what["dataset"] or False
    what |= {"columns": named, "write_options": write_option, "dry_run": dry_run}
    report = driven(xd.export, database, dst, run, what)
    end(ctx, report, run, dry_run=dry_run)
