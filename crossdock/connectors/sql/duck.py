"""DuckDB: its types, its statements, and how a database is opened. Through its own Arrow interface."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from crossdock.connectors.sql.arrow import Array, Field, Kind, pc
from crossdock.connectors.sql.casting import UTC_MICROS, Converted, demand, is_list, simplified
from crossdock.connectors.sql.dialect import BATCHES_TABLE, Column, Dialect, There, Unrepresentable
from crossdock.connectors.sql.duck_whole import WHOLE, as_decimal, is_huge
from crossdock.connectors.sql.names import TableName, quoted
from crossdock.connectors.sql.options import DuckDBOptions
from crossdock.connectors.sql.session import Session
from crossdock.errors import NotFoundError, UnsupportedError

__all__ = ["DuckDBDialect", "DuckDBSession", "connect"]

_SIMPLE: dict[Kind, tuple[str, Kind]] = {
    pa.bool_(): ("BOOLEAN", pa.bool_()),
    pa.int8(): ("TINYINT", pa.int8()),
    pa.int16(): ("SMALLINT", pa.int16()),
    pa.int32(): ("INTEGER", pa.int32()),
    pa.int64(): ("BIGINT", pa.int64()),
    pa.uint8(): ("UTINYINT", pa.uint8()),
    pa.uint16(): ("USMALLINT", pa.uint16()),
    pa.uint32(): ("UINTEGER", pa.uint32()),
    pa.uint64(): ("UBIGINT", pa.uint64()),
    pa.float32(): ("FLOAT", pa.float32()),
    pa.float64(): ("DOUBLE", pa.float64()),
    pa.string(): ("VARCHAR", pa.string()),
    pa.binary(): ("BLOB", pa.binary()),
    pa.date32(): ("DATE", pa.date32()),
    pa.time64("us"): ("TIME", pa.time64("us")),
    pa.timestamp("us"): ("TIMESTAMP", pa.timestamp("us")),
    UTC_MICROS: ("TIMESTAMPTZ", UTC_MICROS),
    pa.duration("us"): ("INTERVAL", pa.month_day_nano_interval()),
    pa.month_day_nano_interval(): ("INTERVAL", pa.month_day_nano_interval()),
    pa.null(): ("VARCHAR", pa.string()),
}
"""The column type, and what reading it gives."""

_INFINITY = 2**63 - 1

_attaching = threading.Lock()
"""Connections of one process share a file; one that opens it while the last one lets go of it is refused."""


class DuckDBDialect(Dialect):
    """DuckDB 1.4 and later: nested types as they are."""

    name = "duckdb"
    can_write = True
    can_nest = True
    folds_case = True

    def select(self, session: Session, table: TableName, columns: Sequence[str] | None, where: str) -> str:
        """As text, what Arrow has no values for."""
        plain = super().select(session, table, columns, "")
        wanted = ", ".join(
            f"{quoted(each.name)}::VARCHAR AS {quoted(each.name)}"
            if _is_opaque(each.type)
            else quoted(each.name)
            for each in session.schema(plain)
        )
        return f"SELECT {wanted} FROM {table.sql}{where}"  # noqa: S608 - every name is quoted

    def opened(
        self, session: Session, sql: str, parameters: Sequence[Any] | None, *, table: TableName | None
    ) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """As DuckDB hands it over, in batches; strings for enums, decimals for whole numbers of 128 bits."""
        del table
        reader = session.read(sql, parameters)
        unclear = [each.name for each in reader.schema if _is_opaque(each.type) and not is_huge(each.type)]
        if unclear:
            raise UnsupportedError(
                f"columns {', '.join(map(repr, unclear))} have types that Arrow has no values for",
                hint='cast them in the query: select "column"::varchar as "column"',
            )
        schema = pa.schema(
            [
                pa.field(each.name, WHOLE if is_huge(each.type) else _read_as(each.type))
                for each in reader.schema
            ]
        )

        def batches() -> Iterator[pa.RecordBatch]:
            row = 0
            for batch in reader:
                arrays = [
                    _exactly(array, field, row) for array, field in zip(batch.columns, schema, strict=True)
                ]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)
                row += batch.num_rows

        return schema, batches()

    def tables(self, session: Session) -> list[TableName]:
        """Tables and views of this database, but our notes."""
        found = session.rows(
            "SELECT table_schema, table_name FROM information_schema.tables "  # noqa: S608
            f"WHERE table_catalog = current_database() AND table_name <> '{BATCHES_TABLE}' ORDER BY 1, 2"
        )
        return [TableName(schema=schema, table=table) for schema, table in found]

    def column(self, field: Field) -> Column:
        """How a column is written."""
        kind = simplified(field.type)
        ddl, back = _type(kind)
        target = pa.string() if pa.types.is_null(kind) else kind
        convert: Converted = lambda array: array if array.type == target else array.cast(target)  # noqa: E731
        return Column(
            name=field.name,
            ddl=ddl,
            staged=target,
            back=back,
            convert=convert,
            is_null=pa.types.is_null(field.type),
        )

    def check(self, column: Column, array: Array, first_row: int) -> None:
        """The two moments that DuckDB takes for infinities."""
        if pa.types.is_timestamp(array.type):
            values = array.cast(pa.int64())
            demand(
                array,
                pc.and_(pc.greater(values, -_INFINITY), pc.less(values, _INFINITY)),
                column=column.name,
                first_row=first_row,
                what="would be infinity in DuckDB",
            )

    def describe(self, session: Session, name: TableName) -> Mapping[str, There] | None:
        """From the catalogue, and what reading would give."""
        schema = "current_schema()" if name.schema is None else self.literal(name.schema)
        found = session.rows(
            "SELECT column_name, data_type, is_nullable, column_default IS NULL FROM duckdb_columns() "  # noqa: S608
            f"WHERE database_name = current_database() AND schema_name = {schema} AND table_name = {self.literal(name.table)} "
            "ORDER BY column_index"
        )
        if not found:
            return None
        read = session.schema(f"SELECT * FROM {name.sql}")  # noqa: S608
        return {
            column: There(
                name=column,
                ddl=ddl,
                kind=_read_as(read.field(column).type),
                takes_text=ddl in ("UUID", "JSON") or ddl.startswith("ENUM("),
                required=not nullable and undefaulted,
            )
            for column, ddl, nullable, undefaulted in found
        }

    def key_text(self, key: str) -> str:
        """As DuckDB writes it, and reads it."""
        return f"CAST({key} AS VARCHAR)"

    def begin_writing(self, session: Session, name: TableName, *, replaces: bool, creates: bool) -> None:
        """A new transaction: the one in which rows were staged sees the table as it was when it began."""
        del name, replaces, creates
        session.commit()

    def value(self, column: Column, there: There | None) -> str:
        """Cast to the table's type, where it is another; DuckDB's casts refuse what does not fit."""
        text = quoted(column.name)
        return text if there is None or there.ddl == column.ddl else f"CAST({text} AS {there.ddl})"


def _is_opaque(kind: Kind) -> bool:
    if isinstance(kind, pa.OpaqueType):
        return True
    return any(_is_opaque(kind.field(number).type) for number in range(kind.num_fields))


def _read_as(kind: Kind) -> Kind:
    """Enums are text; the rest is as it is, lists under the name of items that Arrow gives them."""
    if pa.types.is_dictionary(kind):
        return kind.value_type
    if pa.types.is_null(kind):
        return pa.string()
    return _items(kind)


def _items(kind: Kind) -> Kind:
    if isinstance(kind, pa.Bool8Type):
        return pa.bool_()
    if pa.types.is_map(kind):
        return pa.map_(_items(kind.key_type), _items(kind.item_type))
    if pa.types.is_list(kind):
        return pa.list_(_items(kind.value_type))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_items(kind.value_type), kind.list_size)
    if pa.types.is_struct(kind):
        return pa.struct([each.with_type(_items(each.type)) for each in kind])
    return kind


def _exactly(array: Array, field: Field, first_row: int) -> Array:
    if is_huge(array.type):
        return as_decimal(array, column=field.name, first_row=first_row)
    if array.type != field.type:
        array = array.cast(field.type)
    if pa.types.is_timestamp(field.type):
        values = array.cast(pa.int64())
        demand(
            array,
            pc.and_(pc.greater(values, -_INFINITY), pc.less(values, _INFINITY)),
            column=field.name,
            first_row=first_row,
            what="is infinity, which Arrow has no value for",
        )
    elif pa.types.is_time(field.type):
        demand(
            array,
            pc.less(
                array.cast(pa.int64()), 86_400_000_000 if field.type.unit == "us" else 86_400_000_000_000
            ),
            column=field.name,
            first_row=first_row,
            what="is 24:00, a time that Arrow has no value for",
        )
    return array


def _type(kind: Kind) -> tuple[str, Kind]:
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    if isinstance(kind, pa.JsonType):
        return "JSON", pa.json_()
    if isinstance(kind, pa.UuidType):
        return "UUID", kind
    if pa.types.is_decimal128(kind) and 0 <= kind.scale <= kind.precision:
        return f"DECIMAL({kind.precision}, {kind.scale})", kind
    if is_list(kind):
        ddl, back = _type(_nested(kind.value_type))
        return f"{ddl}[]", pa.list_(back)
    if pa.types.is_map(kind):
        (keys, key), (values, value) = _type(_nested(kind.key_type)), _type(_nested(kind.item_type))
        return f"MAP({keys}, {values})", pa.map_(key, value)
    if pa.types.is_struct(kind) and kind.num_fields:
        inner = [(each.name, *_type(_nested(each.type))) for each in kind]
        ddl = ", ".join(f"{quoted(name)} {part}" for name, part, _ in inner)
        return f"STRUCT({ddl})", pa.struct([(name, back) for name, _, back in inner])
    raise Unrepresentable("no type for it")


def _nested(kind: Kind) -> Kind:
    if pa.types.is_duration(kind) or pa.types.is_null(kind) or isinstance(kind, pa.BaseExtensionType):
        raise Unrepresentable(f"{kind} inside another type")
    return kind


class DuckDBSession:
    """A connection of DuckDB's own; see ``session.Session``."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, batch_rows: int) -> None:
        self._connection = connection
        self._batch_rows = batch_rows
        self._begun = False
        self._closed = False

    def _begin(self) -> duckdb.DuckDBPyConnection:
        if not self._begun:
            self._connection.execute("BEGIN TRANSACTION")
            self._begun = True
        return self._connection

    def execute(self, sql: str) -> int:
        """Run a statement; the number of rows it changed."""
        found = self._begin().execute(sql).fetchall()
        return int(found[0][0]) if found and isinstance(found[0][0], int) else -1

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """A small result, whole."""
        relation: Any = self._begin().sql(sql)  # None for what gives no rows
        # As Arrow: as Python values, moments with a zone would need a package that nobody else needs.
        columns = [] if relation is None else [each.to_pylist() for each in relation.to_arrow_table().columns]
        return list(zip(*columns, strict=True))

    def schema(self, sql: str) -> pa.Schema:
        """What a query would give."""
        empty = self._begin().sql(f"SELECT * FROM ({sql}) LIMIT 0")  # noqa: S608 - the user's own
        schema: pa.Schema = empty.to_arrow_reader(1).schema
        return schema

    def read(self, sql: str, parameters: Sequence[Any] | None = None) -> pa.RecordBatchReader:
        """A query's result as it comes."""
        relation: Any = self._begin().sql(sql, params=list(parameters) if parameters else None)
        if relation is None:
            raise UnsupportedError("the statement gives no rows", hint="give a SELECT")
        reader: pa.RecordBatchReader = relation.to_arrow_reader(self._batch_rows)
        return reader

    def ingest(self, table: str, reader: pa.RecordBatchReader, *, into: TableName | None = None) -> int:
        """DuckDB pulls the reader itself."""
        connection = self._begin()
        place = f"temp.{quoted(table)}" if into is None else into.sql
        connection.register("crossdock_incoming", reader)
        try:
            return self.execute(f"INSERT INTO {place} SELECT * FROM crossdock_incoming")  # noqa: S608
        finally:
            connection.unregister("crossdock_incoming")

    def commit(self) -> None:
        """Make it so."""
        if self._begun:
            self._begun = False
            self._connection.commit()

    def rollback(self) -> None:
        """As if nothing had happened."""
        if self._begun:
            self._begun = False
            self._connection.rollback()

    def close(self) -> None:
        """Roll back and let go."""
        if not self._closed:
            self._closed = True
            with _attaching:
                self._connection.close()


def connect(path: str, options: DuckDBOptions, *, to_write: bool) -> DuckDBSession:
    """Open a database file.

    Raises:
        NotFoundError: It is to be read and is not there.
    """
    if path != ":memory:" and not to_write and not Path(path).is_file():
        raise NotFoundError("there is no such file")
    with _attaching:
        connection = duckdb.connect(path)
    connection.execute("SET TimeZone = 'UTC'")
    # Types that Arrow has not are then marked as such, instead of arriving as something similar.
    connection.execute("SET arrow_lossless_conversion = true")
    if options.memory_limit_bytes is not None:
        connection.execute(f"SET memory_limit = '{options.memory_limit_bytes}B'")
    return DuckDBSession(connection, options.batch_rows)
