"""PostgreSQL: its types, its statements, and how it is reached. Through ADBC, which reads and writes by binary COPY."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import adbc_driver_manager.dbapi
import adbc_driver_postgresql.dbapi  # type: ignore[import-untyped]
import pyarrow as pa

from crossdock.connectors.sql.arrow import Array, Field, Kind, pc
from crossdock.connectors.sql.casting import UTC_MICROS, demand, is_list, simplified, storage
from crossdock.connectors.sql.dialect import BATCHES_TABLE, Column, Dialect, There, Unrepresentable
from crossdock.connectors.sql.names import TableName, quoted
from crossdock.connectors.sql.options import PostgreSQLOptions
from crossdock.connectors.sql.postgresql_reading import (
    FIRST_DAY,
    FIRST_MICROS,
    NUMBER,
    exact,
    read_exactly,
)
from crossdock.connectors.sql.session import ADBCSession, Session
from crossdock.errors import UnsupportedError

__all__ = ["PostgreSQLDialect", "connect"]

_SIMPLE: dict[Kind, tuple[str, Kind]] = {
    pa.bool_(): ("boolean", pa.bool_()),
    pa.int8(): ("smallint", pa.int16()),
    pa.uint8(): ("smallint", pa.int16()),
    pa.int16(): ("smallint", pa.int16()),
    pa.uint16(): ("integer", pa.int32()),
    pa.int32(): ("integer", pa.int32()),
    pa.uint32(): ("bigint", pa.int64()),
    pa.int64(): ("bigint", pa.int64()),
    pa.uint64(): ("numeric(20, 0)", pa.decimal128(20, 0)),
    pa.float32(): ("real", pa.float32()),
    pa.float64(): ("double precision", pa.float64()),
    pa.string(): ("text", pa.string()),
    pa.binary(): ("bytea", pa.binary()),
    pa.date32(): ("date", pa.date32()),
    pa.time64("us"): ("time", pa.time64("us")),
    pa.timestamp("us"): ("timestamp", pa.timestamp("us")),
    UTC_MICROS: ("timestamptz", UTC_MICROS),
    pa.duration("us"): ("interval", pa.duration("us")),
    pa.month_day_nano_interval(): ("interval", pa.month_day_nano_interval()),
    pa.null(): ("text", pa.string()),
}
"""The column type, and what the driver is given for it."""

_IN_LISTS = frozenset(_SIMPLE) - {pa.uint64(), pa.null(), pa.duration("us"), pa.month_day_nano_interval()}
_BY_CAST = {"json", "jsonb", "uuid", "numeric", "inet", "cidr", "macaddr", "interval", "xml"}
"""Types that text becomes by an explicit cast, which refuses what does not fit; not those that would be cut to length."""


class PostgreSQLDialect(Dialect):
    """PostgreSQL 12 and later."""

    name = "postgresql"
    can_write = True
    can_nest = False
    folds_case = False
    max_name_bytes = 63
    stages_directly = True
    export_snapshot = "SELECT pg_catalog.pg_export_snapshot()"

    def select(self, session: Session, table: TableName, columns: Sequence[str] | None, where: str) -> str:
        """As text, what the driver has no exact type for."""
        schema = session.schema(super().select(session, table, columns, ""))
        wanted = ", ".join(
            quoted(each.name) if exact(each) else f"{quoted(each.name)}::text AS {quoted(each.name)}"
            for each in schema
        )
        return f"SELECT {wanted} FROM {table.sql}{where}"  # noqa: S608 - every name is quoted

    def opened(
        self, session: Session, sql: str, parameters: Sequence[Any] | None, *, table: TableName | None
    ) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """By COPY, a batch at a time; with parameters the driver holds the whole result."""
        del table
        if not parameters:
            self._demand_flat(session, sql)
        reader = session.read(sql, parameters)
        found = [(each.name, exact(each)) for each in reader.schema]
        unclear = [name for name, kind in found if kind is None]
        if unclear or (parameters and any(is_list(each.type) for each in reader.schema)):
            raise UnsupportedError(
                f"columns {', '.join(map(repr, unclear))} have types that Arrow has no values for"
                if unclear
                else "arrays are not read from a query with parameters",
                hint='cast them in the query: select "column"::text as "column"',
            )
        schema = pa.schema([kind.field(name) for name, kind in found if kind is not None])

        def batches() -> Iterator[pa.RecordBatch]:
            row = 0
            for batch in reader:
                yield read_exactly(batch, schema, row)
                row += batch.num_rows

        return schema, batches()

    def _demand_flat(self, session: Session, sql: str) -> None:
        """Refuse arrays of several dimensions, which the driver would flatten. Asked for only where there are arrays."""
        lists = [each.name for each in session.schema(sql) if is_list(each.type)]
        if not lists:
            return
        asked = ", ".join(f"bool_or(coalesce(array_ndims({quoted(each)}), 1) > 1)" for each in lists)
        found = session.rows(f"SELECT {asked} FROM ({sql}) AS given")[0]  # noqa: S608 - the user's own query
        deep = [name for name, is_deep in zip(lists, found, strict=True) if is_deep]
        if deep:
            raise UnsupportedError(
                f"columns {', '.join(map(repr, deep))} have arrays of several dimensions",
                hint='read them as JSON: select to_json("column") as "column"',
            )

    def tables(self, session: Session) -> list[TableName]:
        """Tables, views and foreign tables, but the server's own and our notes."""
        found = session.rows(
            "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c "  # noqa: S608
            "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema' "
            f"AND n.nspname NOT LIKE 'pg\\_%' AND c.relname <> '{BATCHES_TABLE}' ORDER BY 1, 2"
        )
        return [TableName(schema=schema, table=table) for schema, table in found]

    def column(self, field: Field) -> Column:
        """How a column is written."""
        if (field.metadata or {}).get(b"crossdock:type") == NUMBER[b"crossdock:type"]:
            return Column(
                name=field.name,
                ddl="numeric",
                staged=pa.string(),
                back=pa.string(),
                convert=lambda array: storage(array).cast(pa.string()),
                is_number=True,
            )
        ddl, staged = _type(simplified(field.type))
        if pa.types.is_large_string(field.type) or pa.types.is_large_binary(field.type):
            # Two GiB in one batch do not fit the offsets of the plain type.
            return Column(name=field.name, ddl=ddl, staged=field.type, back=staged, convert=lambda each: each)
        if isinstance(staged, pa.BaseExtensionType):
            return Column(name=field.name, ddl=ddl, staged=staged, back=staged, convert=lambda each: each)
        return Column(
            name=field.name,
            ddl=ddl,
            staged=staged,
            back=staged,
            convert=lambda array: array.cast(staged),
            is_null=pa.types.is_null(field.type),
        )

    def check(self, column: Column, array: Array, first_row: int) -> None:
        """Text with NUL, moments before the first, and parts of microseconds."""
        kind, name = array.type, column.name
        if pa.types.is_timestamp(kind):
            values = array.cast(pa.int64())
            _demand(
                array,
                pc.greater_equal(values, FIRST_MICROS),
                name,
                first_row,
                "is before PostgreSQL's first moment",
            )
        elif pa.types.is_date32(kind):
            values = array.cast(pa.int32())
            _demand(
                array,
                pc.greater_equal(values, FIRST_DAY),
                name,
                first_row,
                "is before PostgreSQL's first day",
            )
        elif pa.types.is_interval(kind):
            # Arrow does not count in intervals: each 16 bytes, the last 8 nanoseconds.
            nanos = pa.Array.from_buffers(
                pa.int64(), 2 * len(array), [None, array.buffers()[1]], offset=2 * array.offset
            )
            odd = pa.array([int(value or 0) % 1000 == 0 for value in nanos.to_pylist()[1::2]], pa.bool_())
            _demand(
                array, pc.if_else(array.is_valid(), odd, True), name, first_row, "has parts of a microsecond"
            )
        elif is_list(kind):
            self.check(column, array.flatten(), first_row)
        elif pa.types.is_large_string(kind) or pa.types.is_string(kind) or isinstance(kind, pa.JsonType):
            demand_no_nul(storage(array), name, first_row)

    def describe(self, session: Session, name: TableName) -> Mapping[str, There] | None:
        """From the catalogue, and from the driver what reading would give."""
        literal = name.sql.replace("'", "''")
        found = session.rows(
            "SELECT a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), t.typname::text, t.typtype::text, "  # noqa: S608
            "a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' "
            "FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid "
            f"WHERE a.attrelid = pg_catalog.to_regclass('{literal}') AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
        )
        if not found:
            return None
        read = {each.name: exact(each) for each in session.schema(f"SELECT * FROM {name.sql}")}  # noqa: S608
        there = {}
        for column, ddl, kind, category, required in found:
            known = read[column]
            there[column] = There(
                name=column,
                ddl=ddl,
                kind=pa.string() if known is None else known.kind,
                is_number=known is not None and known.is_number,
                takes_text=kind in _BY_CAST or category == "e" or known is None,
                required=required,
            )
        return there

    def key_text(self, key: str) -> str:
        """As PostgreSQL writes it, and reads it, whatever its type."""
        return f"{key}::text"

    def import_snapshot(self, snapshot: str) -> str:
        """https://www.postgresql.org/docs/current/sql-set-transaction.html."""
        return f"SET TRANSACTION SNAPSHOT {self.literal(snapshot)}"

    def begin_writing(self, session: Session, name: TableName, *, replaces: bool, creates: bool) -> None:
        """Of two that would make the table, one waits; a replacement lets nobody else write. Readers go on."""
        if creates:
            key = self.literal(f"crossdock {name.sql}")
            session.rows(f"SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext({key}))::text")
        elif replaces:
            session.execute(f"LOCK TABLE {name.sql} IN SHARE ROW EXCLUSIVE MODE")

    def create_batches(self, notes: TableName) -> Sequence[str]:
        """One at a time: two that create a table at once get an error even with IF NOT EXISTS."""
        lock = "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('crossdock_batches'))"
        return (lock, *super().create_batches(notes))

    def create_staging(self, staging: str, columns: Sequence[Column]) -> str:
        """Dropped at the end of the transaction, so that nothing outlives it behind a pool of connections either."""
        return f"{super().create_staging(staging, columns)} ON COMMIT DROP"

    def drop(self, name: TableName) -> Sequence[str]:
        """A worker that was stopped in the middle may hold it for ever."""
        return ("SET LOCAL lock_timeout = '15s'", *super().drop(name))

    def staged_name(self, staging: str) -> str:
        """In the schema of temporary tables, whatever the search path."""
        return f"pg_temp.{quoted(staging)}"

    def staged_ddl(self, column: Column) -> str:
        """Numbers of any length are staged as the text they are."""
        return "text" if column.is_number else column.ddl

    def value(self, column: Column, there: There | None) -> str:
        """With a cast where the table's type takes text by one only."""
        text = quoted(column.name)
        if column.is_null and there is not None:
            return f"{text}::{there.ddl}"
        if column.is_number:
            return f"{text}::numeric"
        if there is not None and there.takes_text and pa.types.is_string(column.back):
            return f"{text}::{there.ddl}"
        return text

    def differs(self, old: str, new: str, there: There | None, column: Column) -> str:
        """JSON has no equality: as text."""
        if (column.ddl if there is None else there.ddl) in ("json", "xml"):
            return f"{old}::text IS DISTINCT FROM {new}::text"
        return super().differs(old, new, there, column)


def _type(kind: Kind) -> tuple[str, Kind]:
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    if isinstance(kind, pa.JsonType):
        return "json", pa.json_()
    if isinstance(kind, pa.UuidType):
        return "uuid", kind
    if pa.types.is_decimal(kind):
        if 0 <= kind.scale <= kind.precision:
            return f"numeric({kind.precision}, {kind.scale})", kind
        raise Unrepresentable("a scale that is negative or above the precision")
    if is_list(kind):
        if kind.value_type in _IN_LISTS:
            ddl, staged = _SIMPLE[kind.value_type]
            return f"{ddl}[]", pa.list_(staged)
        raise Unrepresentable(f"an array of {kind.value_type}")
    raise Unrepresentable("no type for it")


def _demand(array: Array, fits: Array, name: str, first_row: int, what: str) -> None:
    demand(array, fits, column=name, first_row=first_row, what=what)


def demand_no_nul(array: Array, name: str, first_row: int) -> None:
    """Refuse text with NUL. Looks at the bytes of the whole array first, which costs almost nothing.

    Raises:
        RowError: There is one.
    """
    data = array.buffers()[2]
    if data is None or re.search(b"\0", memoryview(data)) is None:
        return
    demand(
        array,
        pc.invert(pc.match_substring(array, "\0")),
        column=name,
        first_row=first_row,
        what="has a NUL, which this database cannot store in text",
    )


def connect(url: str, options: PostgreSQLOptions, *, to_write: bool) -> ADBCSession:
    """Open a connection. The password goes to libpq and nowhere else.

    One read, with whatever has to be asked before it, sees one state of the database.
    """
    given: dict[str, Any] = {
        "user": options.user,
        "password": options.password.reveal() if options.password is not None else None,
        "sslmode": options.sslmode,
        "connect_timeout": options.connect_timeout_s,
        "application_name": "crossdock",
    }
    told = "&".join(
        f"{name}={quote(str(value), safe='')}" for name, value in given.items() if value is not None
    )
    uri = f"{url}{'&' if '?' in url else '?'}{told}"
    connection = (
        adbc_driver_postgresql.dbapi.connect(uri, autocommit=False)
        if options.driver is None
        else adbc_driver_manager.dbapi.connect(
            driver=options.driver, db_kwargs={"uri": uri}, autocommit=False
        )
    )
    session = ADBCSession(
        connection, {"adbc.postgresql.batch_size_hint_bytes": str(options.batch_size_bytes)}
    )
    if not to_write:
        session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    return session
