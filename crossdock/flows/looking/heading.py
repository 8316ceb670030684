"""The first rows of a table and its columns, reading as little as its format allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from crossdock.batches import Batches
from crossdock.errors import ConfigError, CrossdockError, IntegrityError, Retry
from crossdock.flows.looking.places import DatabaseRows, DatasetRows, LakeRows, ObjectRows, Rows, table_at
from crossdock.formats import names
from crossdock.formats.incoming import Incoming
from crossdock.formats.shaping import limited

__all__ = ["ColumnInfo", "TableInfo", "describe", "head", "schema"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnInfo:
    """A column of a table.

    Attributes:
        name: Its name.
        type: Its type, in Arrow's words.
        nullable: Whether it may hold nulls.
        nulls: How many it holds, where that is known without reading it.
        partition: Whether it is told by the names of the objects.
    """

    name: str
    type: str
    nullable: bool
    nulls: int | None = None
    partition: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TableInfo:
    """What is known of a table without reading it.

    Attributes:
        url: Where it is, without secrets.
        schema: Its columns, as pyarrow knows them.
        columns: The same with what else is known of them.
        rows: How many it has, where that is written down.
        told_by: What says so: ``footer``, ``sample``, ``fragments``, ``database``, ``lake``.
    """

    url: str
    schema: pa.Schema
    columns: tuple[ColumnInfo, ...]
    rows: int | None
    told_by: str


def head(
    url: str,
    rows: int = 10,
    *,
    columns: Sequence[str] | None = None,
    table: str | None = None,
    query: str | None = None,
    format: str = "auto",
    read_options: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> pa.Table:
    r"""The first rows of an object, a dataset or a table of a database.

    Little is read: of Parquet the footer and the beginning of the columns, of text about 256 KiB, which tell the types too
    (so a column that is empty there is text); the rest of an object is not asked for. Memory: what is returned, and a batch.

    Args:
        url: An object; a prefix for a dataset; a database with ``#table``. See ``table_at``.
        rows: How many at most.
        columns: Only these, in this order.
        table: Of a database, instead of ``#table``.
        query: Of a database, instead of a table.
        format: Of objects whose names do not tell.
        read_options: Of the format, such as ``delimiter``; see ``xd.decode``.
        options: The connector's.

    Raises:
        ConfigError: An argument makes no sense, or there is no such column.
        NotFoundError: Nothing is there.
        IntegrityError: It is not of its format, or damaged.
        RowError: One of the first rows cannot be read.

    Example:
        >>> import crossdock as xd
        >>> _ = xd.sink("memory://looked-at/")(b"id,day\n1,2024-05-01\n2,\n", key="a.csv")
        >>> xd.head("memory://looked-at/a.csv", 1)["id"].to_pylist()
        [1]
    """
    if type(rows) is not int or rows < 0:
        raise ConfigError(f"rows is a number from 0, not {rows!r}", operation="head")
    chosen = (columns,) if isinstance(columns, str) else columns
    place = table_at(url, table=table, query=query, format=format, read_options=read_options, options=options)
    with _placed(place.url):
        batches: Batches = limited(place.batches(chosen, few=True), rows)
        return batches.read_all()


@contextmanager
def _placed(url: str) -> Iterator[None]:
    """Errors of a codec, which knows bytes only, say whose they are."""
    try:
        yield
    except CrossdockError as error:
        error.where = error.where or url
        raise


def schema(
    url: str,
    *,
    table: str | None = None,
    query: str | None = None,
    format: str = "auto",
    read_options: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> pa.Schema:
    """The columns of an object, a dataset or a table of a database: what ``xd.decode()``, ``xd.dataset`` and sources would give.

    Reads what ``describe`` does; arguments and errors are those of ``head``.
    """
    return describe(
        url, table=table, query=query, format=format, read_options=read_options, options=options
    ).schema


def describe(
    url: str,
    *,
    table: str | None = None,
    query: str | None = None,
    format: str = "auto",
    read_options: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> TableInfo:
    """The columns, and what else is written down: the number of rows and of nulls in a Parquet footer.

    Reads a footer, or of text the 4 MiB from which a decoder infers types; of a dataset its listing, or the states of its
    batches. Arguments and errors are those of ``head``.
    """
    place = table_at(url, table=table, query=query, format=format, read_options=read_options, options=options)
    with _placed(place.url):
        return _described(place)


def _described(place: Rows) -> TableInfo:
    if isinstance(place, DatabaseRows | LakeRows):
        by = "lake" if isinstance(place, LakeRows) else "database"
        return _told(place.url, place.schema(), by)
    if isinstance(place, DatasetRows):
        return _of_dataset(place)
    assert isinstance(place, ObjectRows)  # noqa: S101 - the third of three
    kind = place.kind
    if kind.format == "parquet" and kind.compression is None:
        return _of_footer(place)
    is_sampled = kind.format is None or kind.format in names.TEXT
    return _told(place.url, place.schema(), "sample" if is_sampled else "footer")


def _told(
    url: str,
    found: pa.Schema,
    told_by: str,
    *,
    rows: int | None = None,
    nulls: Mapping[str, int] | None = None,
    partitions: Sequence[str] = (),
) -> TableInfo:
    return TableInfo(
        url=url,
        schema=found,
        columns=tuple(
            ColumnInfo(
                name=each.name,
                type=str(each.type),
                nullable=each.nullable,
                nulls=(nulls or {}).get(each.name),
                partition=each.name in partitions,
            )
            for each in found
        ),
        rows=rows,
        told_by=told_by,
    )


def _of_dataset(place: DatasetRows) -> TableInfo:
    fragments = place.fragments
    counts = [each.rows for each in fragments]
    known = sum(each for each in counts if each is not None) if None not in counts else None
    partitions = [name for name, _ in fragments[0].values] if fragments else []
    return _told(place.url, place.schema(), "fragments", rows=known, partitions=partitions)


def _of_footer(place: ObjectRows) -> TableInfo:
    """One ranged request, two for a large footer; an object up to 1 MiB is read whole."""
    import pyarrow.parquet as pq

    from crossdock.formats.binary_read import as_arrow

    incoming = Incoming.of(place.stream())
    try:
        footer = pq.read_metadata(as_arrow(incoming.file()))
    except pa.ArrowInvalid as error:
        raise IntegrityError(
            f"this is not Parquet, or it is damaged: {str(error).partition(chr(10))[0]}",
            operation="schema",
            where=place.url,
            retry=Retry.NEVER,
        ) from error
    finally:
        incoming.close()
    found = footer.schema.to_arrow_schema().remove_metadata()
    return _told(place.url, found, "footer", rows=footer.num_rows, nulls=_nulls(footer))


def _nulls(footer: Any) -> dict[str, int]:
    """Nulls of each column that is no nested one, where every row group counted them."""
    counts: dict[str, int] = {}
    unknown = set()
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        for index in range(group.num_columns):
            column = group.column(index)
            name, found = column.path_in_schema, column.statistics
            if "." in name or found is None or not found.has_null_count:
                unknown.add(name)
            else:
                counts[name] = counts.get(name, 0) + found.null_count
    return {name: count for name, count in counts.items() if name not in unknown}
