"""One connection to a database, as the few verbs that reading and writing need.

``ADBCSession`` is a connection of any ADBC driver. Every session is in a transaction from its first statement to
``commit`` or ``rollback``; closing rolls back. One thread at a time. Errors are the drivers' own: ``errors.translated``
stands round every use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from crossdock.connectors.sql.names import TableName

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ADBCSession", "Session"]


class Session(Protocol):
    """A connection in a transaction."""

    def execute(self, sql: str) -> int:
        """Run a statement; the number of rows it changed, -1 if it changes none."""

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """A small result, whole."""

    def schema(self, sql: str) -> pa.Schema:
        """What a query would give, without running it to its end."""

    def read(self, sql: str, parameters: Sequence[Any] | None = None) -> pa.RecordBatchReader:
        """A query's result as it comes. One at a time."""

    def ingest(self, table: str, reader: pa.RecordBatchReader, *, into: TableName | None = None) -> int:
        """Pull everything into a temporary table that is there, by the fastest way in; the number of rows, -1 if unknown.

        Args:
            table: The temporary table.
            reader: The rows.
            into: Another table instead, which is there and is not temporary.
        """

    def commit(self) -> None:
        """Make it so."""

    def rollback(self) -> None:
        """As if nothing had happened since the last ``commit``."""

    def close(self) -> None:
        """Roll back and let go. Twice is fine."""


class ADBCSession:
    """A connection of an ADBC driver.

    Args:
        connection: Of ``adbc_driver_manager.dbapi``, autocommit off where the database has transactions.
        statement_options: Options of every reading statement, by the driver's names.
    """

    def __init__(self, connection: Any, statement_options: Mapping[str, str] | None = None) -> None:
        self._connection = connection
        self._options = dict(statement_options or {})
        self._reading: Any = None

    def execute(self, sql: str) -> int:
        """Run a statement; the number of rows it changed."""
        with self._connection.cursor() as cursor:
            # dbapi's execute() asks for a result set and so never learns how many rows changed.
            cursor.adbc_statement.set_sql_query(sql)
            return int(cursor.adbc_statement.execute_update())

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """A small result, whole."""
        with self._connection.cursor() as cursor:
            cursor.execute(sql)
            return [tuple(row) for row in cursor.fetchall()]

    def schema(self, sql: str) -> pa.Schema:
        """What a query would give."""
        with self._connection.cursor() as cursor:
            found: pa.Schema = cursor.adbc_execute_schema(sql)
            return found

    def read(self, sql: str, parameters: Sequence[Any] | None = None) -> pa.RecordBatchReader:
        """A query's result as it comes; the reader of an earlier one is at its end."""
        self._end_reading()
        cursor = self._connection.cursor(adbc_stmt_kwargs=self._options)
        self._reading = cursor
        if parameters:
            cursor.execute(sql, parameters=tuple(parameters))
        else:
            cursor.execute(sql)
        reader: pa.RecordBatchReader = cursor.fetch_record_batch()
        return reader

    def ingest(self, table: str, reader: pa.RecordBatchReader, *, into: TableName | None = None) -> int:
        """COPY in PostgreSQL, prepared inserts in SQLite."""
        with self._connection.cursor() as cursor:
            if into is None:
                return int(cursor.adbc_ingest(table, reader, mode="append", temporary=True))
            schema = {} if into.schema is None else {"db_schema_name": into.schema}
            return int(cursor.adbc_ingest(into.table, reader, mode="append", **schema))

    def commit(self) -> None:
        """Make it so."""
        self._end_reading()
        self._connection.commit()

    def rollback(self) -> None:
        """As if nothing had happened."""
        self._end_reading()
        self._connection.rollback()

    def close(self) -> None:
        """Roll back and let go; an open result set first, or the driver refuses."""
        self._end_reading()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _end_reading(self) -> None:
        cursor, self._reading = self._reading, None
        if cursor is not None:
            cursor.close()
