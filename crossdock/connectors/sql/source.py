"""Rows of a database as a task: ``source("table")`` or ``source(query="select ...")`` gives ``Batches``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from crossdock.batches import Batches
from crossdock.connectors.sql.database import Database
from crossdock.connectors.sql.errors import translated
from crossdock.connectors.sql.names import TableName, is_staging, quoted
from crossdock.connectors.sql.ranges import KeyRange, cuts_of_whole_numbers, ranges_between
from crossdock.connectors.sql.session import Session
from crossdock.errors import ConfigError, CrossdockError, NotFoundError
from crossdock.options import public_options
from crossdock.tasks import Task

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["TableSource"]


class TableSource(Task):
    """The tables of one database. A picklable recipe: each call opens a connection of its own."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.name = f"{type(self).__name__}({self.url})"

    @property
    def url(self) -> str:
        """The database, without secrets."""
        return self.database.url

    def run(
        self,
        table: str | TableName | KeyRange | None = None,
        *,
        query: str | None = None,
        parameters: Sequence[Any] | None = None,
        columns: Sequence[str] | None = None,
    ) -> Batches:
        """Start to read. One connection, in one transaction that sees one state of the database.

        Batches come as the database gives them; one is in memory at a time, but see ``parameters``. No order, unless the
        query has one. The connection is open until the batches end, fail or are closed. Values are those of the
        database or an error: what Arrow has no type for is read as text from a table, and refused in a query.

        Args:
            table: ``table``, ``schema.table``, or a range of ``split``. Quoted by us: a name is a name.
            query: A statement instead of a table, given to the database as it is.
            parameters: For the query's ``$1`` (PostgreSQL) or ``?``. PostgreSQL's driver then holds the whole result.
            columns: Of a table, those to read.

        Raises:
            ConfigError: Neither or both of table and query, or the statement is wrong.
            NotFoundError: There is no such table or database.
            UnsupportedError: A type has no exact form.
        """
        _demand_one(table, query, parameters, columns)
        label = str(table) if table is not None else None
        session = self.database.open()
        try:
            with translated("read", self.url, label):
                sql, name = self._statement(session, table, query, columns)
                schema, batches = self.database.dialect.opened(session, sql, parameters, table=name)
        except BaseException:
            session.close()
            raise
        return Batches(schema, self._pulled(batches, label), close=session.close)

    def _statement(
        self,
        session: Session,
        table: str | TableName | KeyRange | None,
        query: str | None,
        columns: Sequence[str] | None,
    ) -> tuple[str, TableName | None]:
        if table is None:
            return str(query).strip().rstrip(";"), None
        dialect = self.database.dialect
        name = self.database.named(table.table if isinstance(table, KeyRange) else table)
        where = table.where(dialect.literal) if isinstance(table, KeyRange) else ""
        return dialect.select(session, name, columns, where), name

    def _pulled(self, batches: Iterator[pa.RecordBatch], label: str | None) -> Iterator[pa.RecordBatch]:
        while True:
            with translated("read", self.url, label):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def list(self) -> Iterator[str]:
        """Tables and views, by names fit for calling the source; one query.

        Raises:
            UnsupportedError: The database is not known well enough.
        """
        with self.database.session("list") as session:
            found = self.database.dialect.tables(session)
        schema = getattr(self.database.options, "schema", None)
        return iter(
            [str(each) for each in found if schema in (None, each.schema) and not is_staging(each.table)]
        )

    def split(self, table: str | TableName, *, by: str, parts: int) -> Sequence[KeyRange]:
        """Cut a table into ranges of a column, to be read one by one: ``task.map(part=source.split(...))``.

        Every row is in exactly one range: the first has no lower bound and the rows without a key, the last no upper
        bound, so that rows which come later have a place too. There are fewer ranges where there are fewer keys.
        Whole numbers are cut by width, for which the database needs an index on the column to be quick; any other type
        by count, for which it sorts the column once. The ranges are read in transactions of their own: a row whose
        key changes meanwhile may be read twice or not at all.

        Args:
            table: The table.
            by: A column; best one that is indexed and never changes.
            parts: How many.

        Raises:
            ConfigError: ``parts`` is not positive.
            NotFoundError: There is no such table.
        """
        if parts < 1:
            raise ConfigError(f"parts is at least 1, not {parts}", operation="split", where=self.url)
        name, dialect, key = self.database.named(table), self.database.dialect, quoted(by)
        with self.database.session("split", str(name)) as session:
            some = session.rows(f"SELECT {key} FROM {name.sql} WHERE {key} IS NOT NULL LIMIT 1")  # noqa: S608
            if some and type(some[0][0]) is int:
                found = session.rows(f"SELECT min({key}), max({key}) FROM {name.sql}")[0]  # noqa: S608
                if type(found[0]) is type(found[1]) is int:  # a column of SQLite may hold others too
                    return ranges_between(name, by, cuts_of_whole_numbers(found[0], found[1], parts))
            counted = (
                f"SELECT {key} AS k, ntile({parts}) OVER (ORDER BY {key}) AS part "  # noqa: S608
                f"FROM {name.sql} WHERE {key} IS NOT NULL"
            )
            # Where the part changes; not min(k), which bytea and uuid have not.
            changes = f"SELECT k, part, lag(part) OVER (ORDER BY k) AS last FROM ({counted}) AS counted"  # noqa: S608
            cuts = session.rows(
                f"SELECT {dialect.key_text('k')} FROM (SELECT DISTINCT k FROM ({changes}) AS changes "  # noqa: S608
                "WHERE last <> part) AS cuts ORDER BY k"
            )
        return ranges_between(name, by, list(dict.fromkeys(value for (value,) in cuts)))

    def schema(self, table: str | TableName | None = None, *, query: str | None = None) -> pa.Schema:
        """The schema that ``run`` would give, without reading rows; SQLite may have to look at them."""
        with self.run(table, query=query) as batches:
            return batches.schema

    def has(self, table: str | TableName) -> bool:
        """Whether there is such a table."""
        try:
            self.schema(table)
        except NotFoundError:
            return False
        return True

    def __crossdock_fingerprint__(self) -> Any:
        """Which database this is, for the hash of a piece of work: place and options, no secret."""
        return self.url, public_options(self.database.options)

    @property
    def preflight_place(self) -> str:
        """Equal for what one question answers."""
        return self.database.endpoint

    def preflight(self) -> None:
        """Prove here that the database can be reached; runners ask on each worker before work starts."""
        self.database.check()

    def __repr__(self) -> str:
        return self.name


def _demand_one(
    table: Any, query: str | None, parameters: Sequence[Any] | None, columns: Sequence[str] | None
) -> None:
    problem: CrossdockError | None = None
    if (table is None) == (query is None):
        problem = ConfigError("give a table or a query, one of the two", operation="read")
    elif query is None and parameters is not None:
        problem = ConfigError("parameters go with a query", operation="read")
    elif query is not None and columns is not None:
        problem = ConfigError("columns go with a table; a query names its own", operation="read")
    elif columns is not None and not columns:
        problem = ConfigError("columns names none", operation="read")
    if problem is not None:
        raise problem
