"""What PostgreSQL's ADBC driver hands over, as the values that are in the table.

The driver gives numbers as text with their precision beside it, has no names for many types, lets dates before the year
-4713 and infinities run over silently, and flattens arrays of several dimensions. All of that is undone or refused here.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from crossdock.connectors.sql.arrow import Array, Field, Kind, pc
from crossdock.connectors.sql.casting import cast, demand, storage

__all__ = ["NUMBER", "Exact", "exact", "read_exactly"]

NUMBER = {b"crossdock:type": b"numeric"}
"""Marks text that is a number of any length: what ``numeric`` without a precision can hold, no Arrow type can."""

_BLURRED = {"money", "oid", "xid", "cid", "xid8", "timetz", "_money", "_oid", "_xid", "_cid", "_timetz"}
"""Types whose values the driver gives in a type that means something else."""

FIRST_MICROS = -210_866_803_200_000_000
"""4714-11-24 BC, the first moment there is: https://www.postgresql.org/docs/current/datatype-datetime.html"""
FIRST_DAY = -2_440_588
DAY_MICROS = 86_400_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """What a column shall become."""

    kind: Kind
    is_number: bool = False

    def field(self, name: str) -> Field:
        """The column in the schema that is handed out."""
        return pa.field(name, self.kind, metadata=NUMBER if self.is_number else None)


def exact(field: Field) -> Exact | None:
    """What a column of the driver's becomes; ``None`` if nothing that it gives is exact."""
    about = field.metadata or {}
    if about.get(b"POSTGRESQL:type", b"").decode() in _BLURRED:
        return None
    if _is_numeric(field.type):
        kind = _decimal(int(about.get(b"POSTGRESQL:typmod", b"-1")))
        return Exact(kind=pa.string(), is_number=True) if kind is None else Exact(kind=kind)
    if pa.types.is_list(field.type):
        inner = field.type.value_type
        if _is_numeric(inner):
            return Exact(kind=pa.list_(pa.string()))
        return None if _has_extension(inner) else Exact(kind=field.type)
    if isinstance(field.type, pa.OpaqueType) or (
        pa.types.is_struct(field.type) and _has_extension(field.type)
    ):
        return None
    return Exact(kind=field.type)


def _is_numeric(kind: Kind) -> bool:
    return isinstance(kind, pa.OpaqueType) and kind.type_name == "numeric"


def _has_extension(kind: Kind) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        return True
    return any(_has_extension(kind.field(number).type) for number in range(kind.num_fields))


def _decimal(typmod: int) -> Kind | None:
    """The type of ``numeric(precision, scale)``: 16 bits each, the scale's low 11 in two's complement, plus 4."""
    if typmod < 4:
        return None
    precision, scale = (typmod - 4) >> 16, (((typmod - 4) & 0x7FF) ^ 1024) - 1024
    if not 0 <= scale <= precision <= 76:
        return None
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)


def read_exactly(batch: pa.RecordBatch, schema: pa.Schema, first_row: int) -> pa.RecordBatch:
    """One batch of the driver's with the values that are in the table.

    Raises:
        RowError: A value (``NaN`` in a number, an infinite date, ``24:00``) has no place in Arrow.
    """
    arrays = [_column(array, field, first_row) for array, field in zip(batch.columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _column(array: Array, field: Field, first_row: int) -> Array:
    kind, name = field.type, field.name
    if pa.types.is_timestamp(kind):
        values = array.cast(pa.int64())
        _demand_from(values, FIRST_MICROS, array, name, first_row)
    elif pa.types.is_date32(kind):
        _demand_from(array.cast(pa.int32()), FIRST_DAY, array, name, first_row)
    elif pa.types.is_time(kind):
        _demand_below(array.cast(pa.int64()), DAY_MICROS, array, name, first_row)
    elif pa.types.is_decimal(kind):
        return cast(
            storage(array),
            lambda each: each.cast(kind),
            column=name,
            first_row=first_row,
            what=f"a {kind}",
        )
    elif pa.types.is_list(kind) and _is_numeric(array.type.value_type):
        return pa.ListArray.from_arrays(array.offsets, storage(array.values), mask=array.is_null())
    elif isinstance(array.type, pa.OpaqueType):
        return storage(array)
    return array


def _demand_from(values: Array, least: int, array: Array, name: str, first_row: int) -> None:
    found = pc.min(values).as_py()
    if found is not None and found < least:
        demand(
            array,
            pc.greater_equal(values, least),
            column=name,
            first_row=first_row,
            what="is infinity, or another date that Arrow has no value for",
        )


def _demand_below(values: Array, end: int, array: Array, name: str, first_row: int) -> None:
    found = pc.max(values).as_py()
    if found is not None and found >= end:
        demand(
            array,
            pc.less(values, end),
            column=name,
            first_row=first_row,
            what="is 24:00, a time that Arrow has no value for",
        )
