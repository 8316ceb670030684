"""What differs from database to database, as one object of pure functions: types, names and statements.

``Dialect`` is SQL as all of them speak it; a database's own class says the rest. Nothing here holds a connection: methods
that ask are given a ``Session``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from crossdock.connectors.sql.arrow import Array, Field, Kind
from crossdock.connectors.sql.casting import Converted
from crossdock.connectors.sql.names import TableName, quoted
from crossdock.connectors.sql.session import Session
from crossdock.errors import UnsupportedError

__all__ = ["BATCHES_TABLE", "Column", "Dialect", "There", "Unrepresentable"]

BATCHES_TABLE = "crossdock_batches"
"""Where an append with a ``batch_id`` notes that it was done; beside the table that was written."""


class Unrepresentable(Exception):  # noqa: N818 - an answer, not yet an error: the caller names the column
    """The database has no type for this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """How one column of the stream is written.

    Attributes:
        name: As in the stream.
        ddl: The SQL type of a new column.
        staged: What the driver is given.
        back: What reading the column gives.
        convert: From the stream's array to ``staged``; raises an Arrow error for values that do not fit.
        is_number: It is text that holds a number of any length.
        is_null: It has no type, for it has no values.
    """

    name: str
    ddl: str
    staged: Kind
    back: Kind
    convert: Converted
    is_number: bool = False
    is_null: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class There:
    """A column of a table that exists."""

    name: str
    ddl: str
    kind: Kind
    is_number: bool = False
    takes_text: bool = False  # text becomes its values by an explicit cast
    required: bool = False


class Dialect:
    """SQL as every database speaks it: enough to read any of them."""

    name: ClassVar[str] = "sql"
    can_write: ClassVar[bool] = False
    can_nest: ClassVar[bool] = False
    folds_case: ClassVar[bool] = True
    """Whether two columns may not differ in case only."""
    max_name_bytes: ClassVar[int | None] = None
    export_snapshot: ClassVar[str | None] = None
    """The query that names a state of the database, for other connections to see; ``None`` where there is no such thing."""
    stages_directly: ClassVar[bool] = False
    """Whether several may write to a load's staging table at once; otherwise rows wait where nobody is kept from writing."""

    # -- reading

    def select(self, session: Session, table: TableName, columns: Sequence[str] | None, where: str) -> str:
        """The statement that reads a table, so that its types arrive exactly; it may have to ask for them."""
        del session
        wanted = "*" if columns is None else ", ".join(map(quoted, columns))
        return f"SELECT {wanted} FROM {table.sql}{where}"  # noqa: S608 - every name is quoted

    def opened(
        self, session: Session, sql: str, parameters: Sequence[Any] | None, *, table: TableName | None
    ) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """Start a statement: its schema as crossdock means it, and its batches."""
        del table
        reader = session.read(sql, parameters)
        return reader.schema, reader

    def tables(self, session: Session) -> list[TableName]:
        """Tables and views that can be read, in order.

        Raises:
            UnsupportedError: The driver is not known well enough.
        """
        del session
        raise UnsupportedError(
            "this database cannot be listed here", hint="name the table, or give query=..."
        )

    def literal(self, value: Any) -> str:
        """A key of ``split`` as it stands in a statement, exactly."""
        if isinstance(value, bool):
            raise UnsupportedError("a key to split by has more than two values")
        if isinstance(value, int):
            return str(value)
        if isinstance(value, float):
            return repr(value)
        if isinstance(value, bytes):
            raise UnsupportedError("bytes cannot be split by here", hint="split by another column")
        return "'" + str(value).replace("'", "''") + "'"

    def key_text(self, key: str) -> str:
        """A key in a form that ``literal`` gives back exactly."""
        return key

    def import_snapshot(self, snapshot: str) -> str:
        """The statement, first in its transaction, after which that state is seen."""
        raise UnsupportedError(f"{self.name} shares no snapshots, and {snapshot!r} is none")

    # -- writing

    def column(self, field: Field) -> Column:
        """How a column is written.

        Raises:
            Unrepresentable: There is no type for it that gives the same values back.
        """
        raise NotImplementedError

    def check(self, column: Column, array: Array, first_row: int) -> None:
        """Refuse values that the driver would bend silently. ``array`` is staged.

        Raises:
            RowError: There is one.
        """

    def describe(self, session: Session, name: TableName) -> Mapping[str, There] | None:
        """The columns of a table, in order; ``None`` if there is no such table."""
        raise NotImplementedError

    def begin_writing(self, session: Session, name: TableName, *, replaces: bool, creates: bool) -> None:
        """The rows are staged: from here on nobody else changes the table before our commit, and what is seen is how it is now.

        Args:
            session: With the staged rows.
            name: The table.
            replaces: All of its rows will go.
            creates: It was not there when it was looked at first.
        """

    def create_staging(self, staging: str, columns: Sequence[Column]) -> str:
        """A table of this connection only: gone with it, whatever happens."""
        return f"CREATE TEMPORARY TABLE {quoted(staging)} ({self.definitions(columns)})"

    def drop(self, name: TableName) -> Sequence[str]:
        """Statements that remove a table of ours, if it is there."""
        return (f"DROP TABLE IF EXISTS {name.sql}",)

    def staged_name(self, staging: str) -> str:
        """How statements name it, so that no other table of this name can be meant."""
        return f"temp.{quoted(staging)}"

    def staged_ddl(self, column: Column) -> str:
        """The type of a staged column."""
        return column.ddl

    def definitions(self, columns: Sequence[Column]) -> str:
        """Columns with their types."""
        return ", ".join(f"{quoted(each.name)} {self.staged_ddl(each)}" for each in columns)

    def create(self, name: TableName, columns: Sequence[Column], key: Sequence[str]) -> str:
        """The table itself, with its key."""
        defined = [f"{quoted(each.name)} {each.ddl}" for each in columns]
        if key:
            defined.append(f"PRIMARY KEY ({', '.join(map(quoted, key))})")
        return f"CREATE TABLE {name.sql} ({', '.join(defined)})"

    def value(self, column: Column, there: There | None) -> str:
        """A staged column as it goes into the table."""
        del there
        return quoted(column.name)

    def insert(
        self,
        name: TableName,
        columns: Sequence[Column],
        there: Mapping[str, There],
        source: str,
        order: Sequence[str],
    ) -> str:
        """Everything staged, in the order of ``order``."""
        names = ", ".join(quoted(each.name) for each in columns)
        values = ", ".join(self.value(each, there.get(each.name)) for each in columns)
        # WHERE: without one, SQLite takes ON CONFLICT for the condition of a join.
        text = f"INSERT INTO {name.sql} ({names}) SELECT {values} FROM {source} WHERE 1 = 1"  # noqa: S608
        if order:
            text += f" ORDER BY {', '.join(map(quoted, order))}"
        return text

    def upsert(
        self,
        name: TableName,
        columns: Sequence[Column],
        there: Mapping[str, There],
        source: str,
        key: Sequence[str],
    ) -> str:
        """The same, replacing rows with an equal key, but only those that differ."""
        text = self.insert(name, columns, there, source, key)
        others = [each for each in columns if each.name not in key]
        text += f" ON CONFLICT ({', '.join(map(quoted, key))}) DO "
        if not others:
            return text + "NOTHING"
        changes = ", ".join(f"{quoted(each.name)} = excluded.{quoted(each.name)}" for each in others)
        differing = " OR ".join(
            self.differs(
                f"{quoted(name.table)}.{quoted(each.name)}",
                f"excluded.{quoted(each.name)}",
                there.get(each.name),
                each,
            )
            for each in others
        )
        return f"{text}UPDATE SET {changes} WHERE {differing}"

    def differs(self, old: str, new: str, there: There | None, column: Column) -> str:
        """Whether two values differ, nulls being equal."""
        del there, column
        return f"{old} IS DISTINCT FROM {new}"

    def doubled(self, source: str, key: Sequence[str]) -> str:
        """One key that occurs twice in what is staged, or is null."""
        names = ", ".join(map(quoted, key))
        nulls = " OR ".join(f"{quoted(each)} IS NULL" for each in key)
        return (
            f"SELECT {names}, count(*) FROM {source} GROUP BY {names} "  # noqa: S608
            f"HAVING count(*) > 1 OR {nulls} LIMIT 1"
        )

    def create_batches(self, notes: TableName) -> Sequence[str]:
        """Statements that make sure of the table of the batches that were appended."""
        columns = "target VARCHAR(200) NOT NULL, batch_id VARCHAR(200) NOT NULL, row_count BIGINT NOT NULL"
        return (f"CREATE TABLE IF NOT EXISTS {notes.sql} ({columns}, PRIMARY KEY (target, batch_id))",)
