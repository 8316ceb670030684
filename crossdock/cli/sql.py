"""``crossdock sql``: one query over objects, datasets and tables of databases, wherever they are."""

from __future__ import annotations

import re
import sys
from typing import Any

import click

from crossdock.cli.flags import options_flag, verbosity_flags
from crossdock.cli.grid import FORMATS, print_table, stream
from crossdock.cli.help import Flag, GroupedCommand, examples
from crossdock.cli.output import visible

__all__ = ["sql", "tables_of"]

_SHOWN_ROWS = 100

_NAMED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.+)", re.DOTALL)


def tables_of(words: tuple[str, ...]) -> dict[str, str]:
    """URLs by the names that the statement knows them by.

    ``NAME=URL`` says its name; a URL alone is called by its last segment, up to the first dot, and the first of them ``t`` too.

    Raises:
        click.BadParameter: A name is given twice, or there is none.
    """
    found: dict[str, str] = {}
    first: str | None = None
    for word in words:
        named = _NAMED.fullmatch(word)
        if named is not None:
            name, url = named[1], named[2]
        else:
            url, name = word, _last(word)
            first = first or url
            if not name and len(words) > 1:
                raise click.BadParameter(f"{word!r} has no name that SQL can use: write NAME={word}")
            if not name:
                continue  # the only one is t
        if name in found:
            raise click.BadParameter(f"two tables are called {name!r}: write NAME={url}")
        found[name] = url
    if first is not None:
        found.setdefault("t", first)
    return found


def _last(url: str) -> str:
    """The name of a URL's table: ``orders`` of ``s3://landing/orders.csv.gz`` and of ``postgresql://host/shop#public.orders``."""
    place, sep, table = url.partition("#")
    last = table.rpartition(".")[2] if sep else place.rstrip("/").rpartition("/")[2].partition(".")[0]
    return last if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", last) else ""


def _by_table(
    given: dict[str, str], tables: dict[str, str], sep: str, flag: str
) -> dict[str, dict[str, str]]:
    """Options of each table: those for all, and over them those that name it."""
    shared = {key: value for key, value in given.items() if sep not in key}
    made = {name: dict(shared) for name in tables}
    for key, value in given.items():
        name, found, option = key.partition(sep)
        if not found:
            continue
        if name not in tables:
            raise click.BadParameter(f"{flag} {key}: there is no table {name!r}")
        made[name][option] = value
    return made


def _formats(given: tuple[str, ...], tables: dict[str, str]) -> dict[str, str]:
    made: dict[str, str] = {}
    for word in given:
        name, sep, format_ = word.partition("=")
        if sep and name not in tables:
            raise click.BadParameter(f"--from {word}: there is no table {name!r}")
        made |= {name: format_} if sep else dict.fromkeys(tables, word)
    return made


@click.command(
    cls=GroupedCommand,
    epilog=examples(
        "crossdock sql 'select day, sum(amount) from t group by day' s3://landing/orders.csv",
        "crossdock sql 'select * from trips where month = 5' gs://lake/trips/ --out may.parquet",
        "crossdock sql 'select * from o join c using (id)' o=s3://lake/orders/ c=postgresql://host/shop#customers",
        "crossdock sql 'from t' s3://a/x.csv --option endpoint_url=http://127.0.0.1:9000 --format json | jq .",
    ),
)
@click.argument("statement")
@click.argument("tables", nargs=-1, metavar="[URL | NAME=URL]...")
@options_flag("--option", help="An option of the tables' stores; of one table's, NAME.K=V.")
@options_flag("--out-option", help="An option of the store behind --out.")
@click.option(
    "--from",
    "from_format",
    cls=Flag,
    group="What is read",
    multiple=True,
    metavar="FORMAT",
    help="Of objects whose names do not tell: csv, jsonl, parquet and so on; of one table, NAME=FORMAT.",
)
@options_flag(
    "--read-option",
    group="What is read",
    help="An option of the format that is read, such as delimiter=;; of one table's, NAME.K=V.",
)
@click.option(
    "--memory",
    cls=Flag,
    group="What is read",
    metavar="SIZE",
    help="How much memory the query may take before it uses a temporary directory; by default 80 % of the machine's.",
)
@click.option(
    "-n",
    "--rows",
    cls=Flag,
    group="Output",
    type=click.IntRange(0),
    metavar="N",
    help=f"At most so many rows; by default {_SHOWN_ROWS} of a table on the screen, otherwise all.",
)
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
@click.option(
    "-o",
    "--out",
    cls=Flag,
    group="Output",
    metavar="FILE|URL",
    help="Write the rows there instead: an object whose name tells the format, or a database's table with #NAME. All of them or none.",
)
@click.option(
    "--out-format",
    cls=Flag,
    group="Output",
    metavar="FORMAT",
    help="The format of --out, where its name does not tell.",
)
@click.option(
    "--out-mode",
    cls=Flag,
    group="Output",
    type=click.Choice(["append", "replace"]),
    help="Of a database's table; append by default.",
)
@verbosity_flags
def sql(
    statement: str,
    *,
    tables: tuple[str, ...],
    option: dict[str, str],
    out_option: dict[str, str],
    from_format: tuple[str, ...],
    read_option: dict[str, str],
    memory: str | None,
    rows: int | None,
    form: str,
    out: str | None,
    out_format: str | None,
    out_mode: str | None,
    quiet: bool,
) -> None:
    """Ask tables with one SQL query (needs crossdock[duckdb]): URL is the table named by its last segment, the first is t too.

    The statement reads these tables and nothing else: DuckDB's access to files, networks and extensions is off, and its
    configuration locked. Only what the query needs is read of each.
    """
    import crossdock as xd

    urls = tables_of(tables)
    place = _output(out, out_format, out_mode, out_option)
    batches: Any = xd.query(
        statement,
        urls,
        options=_by_table(option, urls, ".", "--option"),
        formats=_formats(from_format, urls),
        read_options=_by_table(read_option, urls, ".", "--read-option"),
        memory_limit=memory,
    )
    with batches:
        if place is not None:
            limited = batches if rows is None else xd.limit(rows)(batches)
            receipt = place.write(limited)
            if not quiet:
                said = f"{visible(receipt.destination)}: {limited.rows:,} rows"
                sys.stderr.write(f"{said}, {receipt.size:,} bytes\n")
        elif form != "table":
            stream(batches if rows is None else xd.limit(rows)(batches), form)
        else:
            _show(batches, _SHOWN_ROWS if rows is None else rows, quiet=quiet or rows is not None)


def _output(url: str | None, format_: str | None, mode: str | None, options: dict[str, str]) -> Any:
    if url is None:
        if format_ or mode or options:
            raise click.UsageError("--out-format, --out-mode and --out-option go with --out")
        return None
    from crossdock.flows.looking.writing import Output

    return Output(url, format=format_, mode=mode, options=options)


def _show(batches: Any, rows: int, *, quiet: bool) -> None:
    """The first rows, and a word if there are more: a table has to be held to be laid out."""
    import crossdock as xd

    found = xd.limit(rows + 1)(batches).read_all()
    print_table(found.slice(0, rows))
    if found.num_rows > rows and not quiet:
        sys.stderr.write(
            f"the first {rows} rows; --rows says how many, --out and --format json or csv have all\n"
        )
