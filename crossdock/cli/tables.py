"""``crossdock head`` and ``crossdock schema``: a look at a table where it is, reading little of it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from crossdock.cli.flags import json_flag, options_flag, verbosity_flags
from crossdock.cli.grid import FORMATS, print_grid, print_table, stream
from crossdock.cli.help import Flag, GroupedCommand, examples
from crossdock.cli.output import json_line, visible

if TYPE_CHECKING:
    from crossdock.flows.looking import TableInfo

__all__ = ["head", "schema", "table_flags"]


def table_flags(function: Any) -> Any:
    """What says which table of a URL is meant, and how its objects are read."""
    for flag in (
        options_flag(
            "--option", help="An option of the store or database, such as endpoint_url, key, profile."
        ),
        options_flag(
            "--read-option",
            group="What is read",
            help="An option of the format that is read, such as delimiter=;.",
        ),
        click.option(
            "--from",
            "from_format",
            cls=Flag,
            group="What is read",
            metavar="FORMAT",
            default="auto",
            show_default=True,
            help="csv, tsv, jsonl, parquet, arrow, arrow_stream, orc or avro, also with a compression, such as csv.gz; by default what the "
            "object's name ends with.",
        ),
        click.option(
            "--query",
            cls=Flag,
            group="What is read",
            metavar="SQL",
            help="Of a database: the rows of this statement, which the database runs.",
        ),
        click.option(
            "--table",
            cls=Flag,
            group="What is read",
            metavar="NAME",
            help="Of a database: this table, as #NAME behind the URL does.",
        ),
    ):
        function = flag(function)
    return function


@click.command(
    cls=GroupedCommand,
    epilog=examples(
        "crossdock head s3://landing/2024/orders.csv",
        "crossdock head -n 3 --columns id,amount gs://lake/trips/",
        "crossdock head --format json postgresql://host/shop#orders",
        "crossdock head --format csv --query 'select * from orders order by id' sqlite:///data/shop.db",
    ),
)
@click.argument("url")
@click.option(
    "-n",
    "--rows",
    cls=Flag,
    group="What is read",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    metavar="N",
    help="How many rows, at most.",
)
@click.option(
    "--columns",
    cls=Flag,
    group="What is read",
    metavar="A,B",
    help="Only these columns, in this order; of Parquet and ORC no others are fetched.",
)
@table_flags
@click.option(
    "--format",
    "form",
    cls=Flag,
    group="Output",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="table cuts long values; json is one object a line, csv has a header.",
)
@verbosity_flags
def head(
    url: str,
    *,
    rows: int,
    columns: str | None,
    table: str | None,
    query: str | None,
    from_format: str,
    read_option: dict[str, str],
    option: dict[str, str],
    form: str,
    quiet: bool,
) -> None:
    """Show the first rows of an object, of a dataset (a prefix) or of a database's table.

    Little is read: of Parquet the footer and the beginning of the columns, of text about 256 KiB, which tell the types too.
    """
    import crossdock as xd

    found = xd.head(
        url,
        rows,
        columns=columns.split(",") if columns is not None else None,
        table=table,
        query=query,
        format=from_format,
        read_options=read_option,
        options=option,
    )
    if form == "table":
        print_table(found)
    else:
        stream(found, form)
    del quiet  # nothing is said; accepted everywhere, so that scripts need not know


@click.command(
    cls=GroupedCommand,
    epilog=examples(
        "crossdock schema s3://landing/2024/orders.parquet",
        "crossdock schema gs://lake/trips/",
        "crossdock schema --json postgresql://host/shop#orders | jq .type",
    ),
)
@click.argument("url")
@table_flags
@json_flag("One JSON object a column, at last one for the whole.")
@verbosity_flags
def schema(
    url: str,
    *,
    table: str | None,
    query: str | None,
    from_format: str,
    read_option: dict[str, str],
    option: dict[str, str],
    json: bool,
    quiet: bool,
) -> None:
    """Show the columns of an object, of a dataset (a prefix) or of a database's table: names, types, nulls.

    Of Parquet, Arrow and ORC the footer is read; of text the 4 MiB from which a decoder infers types; of a dataset its listing. How
    many rows and nulls there are is shown where it is written down.
    """
    from crossdock.flows.looking import describe

    found = describe(
        url, table=table, query=query, format=from_format, read_options=read_option, options=option
    )
    if json:
        _as_json(found)
        return
    print_grid(
        ["column", "type", "nulls"],
        [
            [visible(each.name) for each in found.columns],
            [each.type for each in found.columns],
            [_nulls(each.nullable, each.nulls, partition=each.partition) for each in found.columns],
        ],
        right=[False, False, False],
    )
    if not quiet:
        sys.stderr.write(f"{len(found.columns)} columns, {_rows(found)}; {_TOLD_BY[found.told_by]}\n")


_TOLD_BY = {
    "footer": "told by its footer",
    "sample": "inferred from its beginning",
    "fragments": "told by its objects",
    "database": "told by the database",
    "lake": "told by the lake's metadata",
}


def _rows(found: TableInfo) -> str:
    return f"{found.rows:,} rows" if found.rows is not None else "rows not counted"


def _nulls(nullable: bool, count: int | None, *, partition: bool) -> str:
    unknown = "possible" if nullable else "none"
    said = unknown if count is None else f"{count:,}"
    return f"{said} (partition)" if partition else said


def _as_json(found: TableInfo) -> None:
    for each in found.columns:
        json_line(
            {
                "type": "column",
                "name": each.name,
                "column_type": each.type,
                "nullable": each.nullable,
                "nulls": each.nulls,
                "partition": each.partition,
            }
        )
    json_line(
        {
            "type": "summary",
            "url": found.url,
            "columns": len(found.columns),
            "rows": found.rows,
            "told_by": found.told_by,
        }
    )
