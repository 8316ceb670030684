"""A table or a query read in slices: half-open ranges of a column, which together are all of it.

Where the database can share a snapshot between connections (PostgreSQL), all slices of one ``held`` block see one state, whoever
reads them. Elsewhere each slice is one transaction and sees the state of its own moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from crossdock.batches import Batches
from crossdock.connectors.sql.database import Database
from crossdock.connectors.sql.dialect import Dialect
from crossdock.connectors.sql.errors import translated
from crossdock.connectors.sql.names import TableName, quoted
from crossdock.connectors.sql.ranges import KeyRange, cuts_of_whole_numbers, ranges_between
from crossdock.connectors.sql.session import Session
from crossdock.errors import ConfigError, PreconditionError, Retry, StorageError, UnsupportedError

__all__ = ["Bounds", "Selection", "cut", "held", "opened", "schema_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is read: a table, or some of its columns, or what a query gives. Small and picklable."""

    table: TableName | None = None
    query: str | None = None
    columns: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if (self.table is None) == (self.query is None):
            raise ConfigError("give a table or a query, one of the two", operation="export")
        if self.columns is not None and (self.query is not None or not self.columns):
            raise ConfigError("columns go with a table, and name at least one", operation="export")

    @property
    def plain_query(self) -> str:
        """The query without what ends it, so that it can stand inside another; on lines of its own, for it may end with a comment."""
        return f"{str(self.query).strip().rstrip(';').rstrip()}\n"

    def relation(self) -> str:
        """As it stands behind FROM."""
        what = self.table.sql if self.table is not None else f"({self.plain_query})"
        return f"{what} AS given"

    def __str__(self) -> str:
        return str(self.table) if self.table is not None else "the query"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """One slice: ``[start, end)`` of a column, as plain values; everything, without a column. Exactly one of a cut has the nulls."""

    by: str | None = None
    start: Any = None
    end: Any = None
    has_nulls: bool = True

    def where(self, dialect: Dialect) -> str:
        """As a condition, with a blank before it; empty for everything."""
        return "" if self.by is None else self._range().where(dialect.literal)

    def _range(self) -> KeyRange:
        table = TableName(table="given")
        return KeyRange(
            table=table, by=self.by or "", start=self.start, end=self.end, has_nulls=self.has_nulls
        )

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"by": self.by, "start": self.start, "end": self.end, "has_nulls": self.has_nulls}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Bounds:
        """The other way round."""
        return cls(**given)

    def __str__(self) -> str:
        if self.by is None:
            return "all rows"
        bounds = f"[{'' if self.start is None else self.start}, {'' if self.end is None else self.end})"
        return f"{self.by} {bounds}{' and nulls' if self.has_nulls else ''}"


def cut(
    database: Database, selection: Selection, *, by: str | None, parts: int, snapshot: str | None = None
) -> list[Bounds]:
    """Cut what is selected into at most ``parts`` slices; every row is in exactly one. Two or three queries.

    Whole numbers are cut by width, for which an index on the column makes it quick; any other type by count, for which the
    database sorts the column once. The first slice has no lower bound and the rows without a key, the last no upper bound.

    Raises:
        ConfigError: Parts and no column to cut by, or a column that is none.
        UnsupportedError: The column's values cannot be written down.
    """
    if parts < 1:
        raise ConfigError(f"slices are at least 1, not {parts}", operation="export", where=database.url)
    if by is None:
        if parts > 1:
            raise ConfigError(
                "several slices need a column to cut by",
                operation="export",
                where=database.url,
                hint="name one that is indexed and never changes, such as the primary key",
            )
        return [Bounds()]
    if parts == 1:
        return [Bounds(by=by)]
    with _reading(database, selection, snapshot) as session:
        cuts = _cuts(session, database.dialect, selection.relation(), by, parts)
    unfit = [each for each in cuts if not isinstance(each, int | float | str)]
    if unfit:
        raise UnsupportedError(
            f"the column {by!r} has values of {type(unfit[0]).__name__}, by which slices cannot be told",
            operation="export",
            hint="cut by another column",
        )
    ranges = ranges_between(TableName(table="given"), by, cuts)
    return [Bounds(by=by, start=each.start, end=each.end, has_nulls=each.has_nulls) for each in ranges]


def _cuts(session: Session, dialect: Dialect, relation: str, by: str, parts: int) -> Sequence[Any]:
    key = f"given.{quoted(by)}"  # alone, SQLite takes the name of no column for a text
    some = session.rows(f"SELECT {key} FROM {relation} WHERE {key} IS NOT NULL LIMIT 1")  # noqa: S608 - quoted, or the user's
    if some and type(some[0][0]) is int:
        found = session.rows(f"SELECT min({key}), max({key}) FROM {relation}")[0]  # noqa: S608
        if type(found[0]) is type(found[1]) is int:  # a column of SQLite may hold others too
            return cuts_of_whole_numbers(found[0], found[1], parts)
    counted = (
        f"SELECT {key} AS k, ntile({parts}) OVER (ORDER BY {key}) AS part "  # noqa: S608
        f"FROM {relation} WHERE {key} IS NOT NULL"
    )
    # Where the part changes; not min(k), which bytea and uuid have not.
    changes = f"SELECT k, part, lag(part) OVER (ORDER BY k) AS last FROM ({counted}) AS counted"  # noqa: S608
    cuts = session.rows(
        f"SELECT {dialect.key_text('k')} FROM (SELECT DISTINCT k FROM ({changes}) AS changes "  # noqa: S608
        "WHERE last <> part) AS cuts ORDER BY k"
    )
    return list(dict.fromkeys(value for (value,) in cuts))


def opened(
    database: Database, selection: Selection, bounds: Bounds, *, snapshot: str | None = None
) -> Batches:
    """Start to read one slice: one connection, one transaction; see ``TableSource.run``.

    Args:
        database: Where.
        selection: What.
        bounds: Which of its rows.
        snapshot: Of a ``held`` block that is still open; without one, the state of now.

    Raises:
        PreconditionError: The snapshot is gone, with the connection that held it.
        NotFoundError: There is no such table.
        UnsupportedError: A type has no exact form.
    """
    session = database.open()
    try:
        with translated("export", database.url, str(selection)):
            _look_through(session, database, snapshot)
            schema, batches = _statement(session, database.dialect, selection, bounds)
    except BaseException:
        session.close()
        raise
    return Batches(schema, _pulled(batches, database, selection), close=session.close)


def _statement(
    session: Session, dialect: Dialect, selection: Selection, bounds: Bounds
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    where = bounds.where(dialect)
    if selection.table is not None:
        columns = None if selection.columns is None else list(selection.columns)
        sql = dialect.select(session, selection.table, columns, where)
        return dialect.opened(session, sql, None, table=selection.table)
    sql = f"SELECT * FROM {selection.relation()}{where}" if where else selection.plain_query  # noqa: S608 - the user's own
    return dialect.opened(session, sql, None, table=None)


def _pulled(
    batches: Iterator[pa.RecordBatch], database: Database, selection: Selection
) -> Iterator[pa.RecordBatch]:
    while True:
        with translated("export", database.url, str(selection)):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def schema_of(database: Database, selection: Selection, *, snapshot: str | None = None) -> pa.Schema:
    """The columns that every slice has; no rows are read, but SQLite may have to look at them."""
    with opened(database, selection, Bounds(), snapshot=snapshot) as batches:
        return batches.schema


@contextmanager
def held(database: Database) -> Iterator[str | None]:
    """Hold one state of the database for the length of a block, for all connections that are given its name.

    One connection and one transaction stay open meanwhile, which keeps the server from cleaning up behind it.

    Yields:
        The snapshot's name; ``None`` where the database cannot share one.
    """
    exporting = database.dialect.export_snapshot
    if exporting is None:
        yield None
        return
    with database.session("export") as session:
        yield str(session.rows(exporting)[0][0])


@contextmanager
def _reading(database: Database, selection: Selection, snapshot: str | None) -> Iterator[Session]:
    with database.session("export", str(selection)) as session:
        _look_through(session, database, snapshot)
        yield session


def _look_through(session: Session, database: Database, snapshot: str | None) -> None:
    if snapshot is None:
        return
    try:
        with translated("export", database.url):
            session.execute(database.dialect.import_snapshot(snapshot))
    except StorageError as error:
        if "snapshot" not in str(error):
            raise
        raise PreconditionError(
            "the state of the database that is exported is gone, with the connection that held it",
            operation="export",
            where=database.url,
            hint="resume the run: what is left is then of one later state",
            retry=Retry.NEVER,
        ) from error
