"""SQLite: its types, its statements, and how a database is opened. Through ADBC.

A SQLite column holds any value, whatever it is declared as. What can be stored exactly is: dates and times as ISO text,
numbers with a precision as text, booleans as 0 and 1; the declared type says which, and ``sqlite_reading`` reads them back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import adbc_driver_sqlite.dbapi
import pyarrow as pa

from crossdock.connectors.sql.arrow import Array, Field, Kind, pc
from crossdock.connectors.sql.casting import (
    UTC_MICROS,
    Converted,
    demand,
    is_list,
    simplified,
    storage,
    text_of_uuids,
)
from crossdock.connectors.sql.dialect import BATCHES_TABLE, Column, Dialect, There, Unrepresentable
from crossdock.connectors.sql.names import TableName, quoted
from crossdock.connectors.sql.options import SQLiteOptions
from crossdock.connectors.sql.session import ADBCSession, Session
from crossdock.connectors.sql.sqlite_reading import declared, survey_and_read
from crossdock.errors import NotFoundError

__all__ = ["SQLiteDialect", "connect"]

_WHOLE = (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32())
_SIMPLE: dict[Kind, tuple[str, Kind, Kind]] = {
    **{kind: ("INTEGER", pa.int64(), pa.int64()) for kind in _WHOLE},
    pa.bool_(): ("BOOLEAN", pa.int64(), pa.bool_()),
    pa.float32(): ("REAL", pa.float64(), pa.float64()),
    pa.float64(): ("REAL", pa.float64(), pa.float64()),
    pa.string(): ("TEXT", pa.string(), pa.string()),
    pa.binary(): ("BLOB", pa.binary(), pa.binary()),
    pa.date32(): ("DATE", pa.string(), pa.date32()),
    pa.time64("us"): ("TIME", pa.string(), pa.time64("us")),
    pa.timestamp("us"): ("TIMESTAMP", pa.string(), pa.timestamp("us")),
    UTC_MICROS: ("TIMESTAMP WITH TIME ZONE", pa.string(), UTC_MICROS),
    pa.null(): ("TEXT", pa.string(), pa.string()),
}
"""Declared type, what is stored, what reading gives. BOOLEAN, DATE, TIME and TIMESTAMP leave such values as they are;
types whose values look like numbers have TEXT in their name, or SQLite would make inexact numbers of them:
https://www.sqlite.org/datatype3.html#determination_of_column_affinity"""

_YEARS = (pa.timestamp("us"), UTC_MICROS, pa.date32())


class SQLiteDialect(Dialect):
    """SQLite 3.24 and later."""

    name = "sqlite"
    can_write = True
    folds_case = True

    def __init__(self, options: SQLiteOptions) -> None:
        self.options = options

    def opened(
        self, session: Session, sql: str, parameters: Sequence[Any] | None, *, table: TableName | None
    ) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """The types first, then the rows; see ``sqlite_reading``."""
        kinds = self._declared(session, table) if table is not None else {}
        return survey_and_read(session, sql, parameters, kinds, as_declared=self.options.declared_types)

    def _declared(self, session: Session, table: TableName) -> dict[str, str]:
        where = "" if table.schema is None else f", {_text(table.schema)}"
        found = session.rows(f"SELECT name, type FROM pragma_table_xinfo({_text(table.table)}{where})")  # noqa: S608
        return {str(name): str(kind) for name, kind in found}

    def tables(self, session: Session) -> list[TableName]:
        """Tables and views of the main database, but SQLite's own and our notes."""
        found = session.rows(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') "  # noqa: S608
            f"AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name <> '{BATCHES_TABLE}' ORDER BY name"
        )
        return [TableName(table=name) for (name,) in found]

    def literal(self, value: Any) -> str:
        """Also blobs: a key is compared as it is stored."""
        return f"x'{value.hex()}'" if isinstance(value, bytes) else super().literal(value)

    def column(self, field: Field) -> Column:
        """How a column is written."""
        kind = simplified(field.type)
        ddl, staged, back, convert = _type(field.type, kind)
        return Column(
            name=field.name,
            ddl=ddl,
            staged=staged,
            back=back,
            convert=convert,
            is_null=pa.types.is_null(field.type),
        )

    def check(self, column: Column, array: Array, first_row: int) -> None:
        """NaN, which SQLite makes NULL of; dates with years that ISO text does not have."""
        if pa.types.is_floating(array.type):
            demand(
                array,
                pc.invert(pc.is_nan(array)),
                column=column.name,
                first_row=first_row,
                what="is not a number, and SQLite would store NULL",
            )
        elif column.back in _YEARS and len(array):
            # As text: a sign, or a fifth digit, shows before the first "-".
            demand(
                array,
                pc.match_substring_regex(array, r"^\d{4}-"),
                column=column.name,
                first_row=first_row,
                what="has a year that ISO text has not",
            )

    def describe(self, session: Session, name: TableName) -> Mapping[str, There] | None:
        """From the declarations."""
        where = "" if name.schema is None else f", {_text(name.schema)}"
        found = session.rows(
            'SELECT name, type, "notnull", dflt_value IS NULL, pk, hidden FROM '  # noqa: S608
            f"pragma_table_xinfo({_text(name.table)}{where})"
        )
        return {
            column: There(
                name=column,
                ddl=ddl,
                kind=declared(ddl, as_declared=True),
                required=bool(required and undefaulted and not key and not hidden),
            )
            for column, ddl, required, undefaulted, key, hidden in found
        } or None

    def begin_writing(self, session: Session, name: TableName, *, replaces: bool, creates: bool) -> None:
        """Waits for its turn: a transaction that reads first and writes then may find that it cannot."""
        del name, replaces, creates
        session.execute("BEGIN IMMEDIATE")

    def value(self, column: Column, there: There | None) -> str:
        """As it is staged: what fits has the same form in both."""
        del there
        return quoted(column.name)

    def differs(self, old: str, new: str, there: There | None, column: Column) -> str:
        """In SQLite's words; IS DISTINCT FROM is newer than many of them."""
        del there, column
        return f"{old} IS NOT {new}"


def _type(original: Kind, kind: Kind) -> tuple[str, Kind, Kind, Converted]:
    if kind in _SIMPLE:
        ddl, staged, back = _SIMPLE[kind]
        if pa.types.is_string(staged) and not pa.types.is_string(kind) and not pa.types.is_null(kind):
            # First to the one unit, exactly, so that the text is always of the same form.
            return ddl, staged, back, lambda array: array.cast(kind).cast(staged)
        if pa.types.is_large_string(original) or pa.types.is_large_binary(original):
            return ddl, original, back, lambda array: array
        return ddl, staged, back, lambda array: array.cast(kind).cast(staged)
    if kind == pa.uint64():
        number = pa.decimal128(20, 0)
        return "TEXT_DECIMAL(20, 0)", pa.string(), number, lambda array: array.cast(number).cast(pa.string())
    if pa.types.is_decimal(kind):
        ddl = f"TEXT_DECIMAL({kind.precision}, {kind.scale})"
        return ddl, pa.string(), kind, lambda array: array.cast(kind).cast(pa.string())
    if isinstance(kind, pa.JsonType):
        return "TEXT_JSON", pa.string(), pa.json_(), lambda array: storage(array).cast(pa.string())
    if isinstance(kind, pa.UuidType):
        return "TEXT_UUID", pa.string(), pa.uuid(), text_of_uuids
    if is_list(kind) or pa.types.is_struct(kind):
        raise Unrepresentable("no nested types")
    raise Unrepresentable("no type for it")


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


class SQLiteSession(ADBCSession):
    """A connection whose transactions begin when we say so: while rows are staged, nobody has to wait for us."""

    _begun = False

    def execute(self, sql: str) -> int:
        """Run a statement; notes whether it begins a transaction."""
        found = super().execute(sql)
        self._begun = self._begun or sql.startswith("BEGIN")
        return found

    def commit(self) -> None:
        """Make it so."""
        self._end("COMMIT")

    def rollback(self) -> None:
        """As if nothing had happened."""
        self._end("ROLLBACK")

    def _end(self, how: str) -> None:
        self._end_reading()
        if self._begun:
            super().execute(how)
            self._begun = False


def connect(path: str, options: SQLiteOptions, *, to_write: bool) -> SQLiteSession:
    """Open a database file.

    Raises:
        NotFoundError: It is to be read and is not there: SQLite would make an empty one.
    """
    memory = path == ":memory:"
    if not memory and not to_write and not Path(path).is_file():
        raise NotFoundError("there is no such file")
    uri = path if memory else f"file:{quote(str(Path(path).absolute()))}?mode={'rwc' if to_write else 'ro'}"
    connection = adbc_driver_sqlite.dbapi.connect(uri, autocommit=True)
    session = SQLiteSession(connection, {"adbc.sqlite.query.batch_rows": str(options.batch_rows)})
    session.rows(f"PRAGMA busy_timeout = {options.busy_timeout_s * 1000}")
    if not to_write:
        session.execute("BEGIN")  # one state for everything that is asked
    return session
