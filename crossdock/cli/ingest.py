"""``crossdock ingest``: objects below a URL into a table of a database."""

from __future__ import annotations

from typing import Any

import click

from crossdock.cli.help import Flag, GroupedCommand, examples
from crossdock.cli.table_ends import driven, end
from crossdock.cli.table_flags import TableRun, column_flags, format_flags, table_run_flags

__all__ = ["ingest"]

_GROUP = "Into which table"


@click.command(
    cls=GroupedCommand,
    epilog=examples(
        "crossdock ingest s3://landing/orders/ postgresql://etl@db/shop --table orders --sink-option password=env:SHOP_PASSWORD",
        "crossdock ingest 's3://landing/**.csv.gz' postgresql://etl@db/shop --table sales.orders --mode upsert --key id",
        "crossdock ingest ./exports/ sqlite://films.db --table films --mode replace --type year=int16",
        "crossdock ingest gs://lake/trips/ postgresql://etl@db/taxi --table trips --workers 4 --run-dir s3://ops/runs/trips",
    ),
)
@click.argument("src")
@click.argument("database")
@click.option(
    "--table",
    cls=Flag,
    group=_GROUP,
    metavar="NAME",
    required=True,
    help="table or schema.table; made if it is not there.",
)
@click.option(
    "--mode",
    cls=Flag,
    group=_GROUP,
    type=click.Choice(["append", "replace", "upsert"]),
    default="append",
    show_default=True,
    help="append: each version of an object is loaded once; replace all rows; upsert: rows with a new key, and those that differ.",
)
@click.option(
    "--key",
    cls=Flag,
    group=_GROUP,
    metavar="A,B",
    help="Columns that make a row one of a kind; a new table gets it as primary key.",
)
@click.option(
    "--again", cls=Flag, group=_GROUP, is_flag=True, help="With append: load also what was loaded before."
)
@click.option(
    "--unit-size",
    cls=Flag,
    group=_GROUP,
    metavar="SIZE",
    help="About how many bytes of objects are one transaction; 64MiB unless said.",
)
@format_flags
@column_flags
@table_run_flags(objects=True, strict=False, within=("max_errors", "max_bytes", "deadline"))
@click.pass_context
def ingest(
    ctx: click.Context,
    /,
    src: str,
    database: str,
    *,
    run: TableRun,
    dry_run: bool,
    key: str | None,
    **what: Any,
) -> None:
    """Load the objects below SRC into a table of DATABASE; all rows become visible at one moment, or none.

    Interrupted, killed or failed, the same command goes on; run again it changes nothing. What a run staged and will not go on
    with is removed by crossdock cleanup.
    """
    import crossdock as xd

    columns = () if key is None else tuple(each.strip() for each in key.split(","))
    report = driven(xd.ingest, src, database, run, {**what, "key": columns, "dry_run": dry_run})
    end(ctx, report, run, dry_run=dry_run)
