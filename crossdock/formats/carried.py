"""What a format can carry of a column: as it is, in another type that holds the same values, or not at all.

One table a format, applied before its writer sees a row: what cannot be carried is refused by the column's name before a row is
pulled, a value that has no form by its row. So no writer has to know what another library does with types it half knows.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute

from crossdock.batches import Batches
from crossdock.errors import ConfigError, RowError
from crossdock.formats.schemas import told

__all__ = ["carried"]

_arrow: Any = pa
_types: Any = pa.types
_compute: Any = pyarrow.compute  # none of which the stubs know well

Kind = Any
"""A data type, whatever it may be asked for: pyarrow's stubs do not know what a type has once it was found to be a list."""

_Bounds = tuple[dt.datetime, dt.datetime]

_YEARS: _Bounds = (dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999_999))  # noqa: DTZ001 - as below
"""What four digits of a year can say, and what Python's own datetimes can."""

_NANOS: _Bounds = (dt.datetime(1677, 9, 22), dt.datetime(2262, 4, 11))  # noqa: DTZ001 - bounds of a type without a zone
"""What 64 bits of nanoseconds can say, to the day."""


class _No(Exception):  # noqa: N818 - an answer
    """There is no such column in this format."""


def carried(batches: Batches, format_: str) -> Batches:
    """The same rows in types that the format has, without loss. One batch at a time.

    Raises:
        ConfigError: Two columns have one name, or a type has no form in this format. No row was read.
        RowError: While rows are pulled: a value has no form; with row and column.
    """
    name, kind_of, bounds = _FORMATS[format_]
    fields = []
    seen: set[str] = set()
    for field in batches.schema:
        if field.name in seen:
            raise ConfigError(
                f"there are two columns {field.name!r}",
                operation="encode",
                hint="give each a name of its own: xd.rename(...), or as in the query",
            )
        seen.add(field.name)
        try:
            fields.append(field.with_type(kind_of(field.type)))
        except _No:
            raise ConfigError(
                f"column {field.name!r} is {field.type}, which {name} cannot hold",
                operation="encode",
                hint="put xd.cast(...) or xd.transform(...) before it, or leave it out with xd.select(...)",
            ) from None
    schema = pa.schema(fields, metadata=told(batches.schema))
    timed = [number for number, each in enumerate(schema) if _is_bound(each.type, bounds)]
    if not timed and schema.equals(batches.schema, check_metadata=True):
        return batches
    made = Batches(schema, _made(batches, schema, timed, bounds), close=batches.close)
    made.name = batches.name
    return made


def _made(
    batches: Batches, schema: pa.Schema, timed: list[int], bounds: _Bounds | None
) -> Iterator[pa.RecordBatch]:
    first_row = 1
    for batch in batches:
        columns = []
        for number, (array, field) in enumerate(zip(batch.columns, schema, strict=True)):
            made = array if array.type == field.type else _converted(array, field, first_row)
            if number in timed and bounds is not None:
                _demand_within(made, field.name, bounds, first_row)
            columns.append(made)
        first_row += batch.num_rows
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _converted(array: Any, field: pa.Field[Any], first_row: int) -> Any:
    try:
        return _as(array, field.type)
    except pa.ArrowInvalid:
        for row in range(len(array)):
            try:
                _as(array.slice(row, 1), field.type)
            except pa.ArrowInvalid as error:
                reason = str(error).partition("\n")[0]
                raise _unfit(first_row + row, field.name, reason) from error
        raise


def _as(array: Any, kind: Kind) -> Any:
    """In another type that holds the same values."""
    if _types.is_dictionary(array.type):
        array = array.dictionary_decode()
    elif _types.is_run_end_encoded(array.type):
        array = _compute.run_end_decode(array)
    if isinstance(array.type, pa.UuidType):
        array = pa.array([None if each is None else str(each) for each in array.to_pylist()], pa.string())
    elif isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    return array if array.type == kind else array.cast(kind)


def _is_bound(kind: Kind, bounds: _Bounds | None) -> bool:
    if bounds is None:
        return False
    return bool(_types.is_timestamp(kind) or (_types.is_date(kind) and bounds == _YEARS))


def _demand_within(array: Any, name: str, bounds: _Bounds, first_row: int) -> None:
    """Refuse the first moment that lies outside; compared as whole numbers of the column's own unit."""
    unit = "us" if not _types.is_timestamp(array.type) else array.type.unit
    low, high = (_counted(each, unit) for each in bounds)
    if _types.is_timestamp(array.type):
        numbers = (
            array.cast(_arrow.timestamp(unit)).cast(pa.int64()) if array.type.tz else array.cast(pa.int64())
        )
    elif _types.is_date32(array.type):
        numbers = array.cast(pa.int32()).cast(pa.int64())
        low, high = low // 86_400_000_000, high // 86_400_000_000
    else:
        numbers = array.cast(pa.int64())
        low, high = low // 1_000, high // 1_000
    fits = _compute.and_(
        _compute.greater_equal(numbers, max(low, -(2**63))),
        _compute.less_equal(numbers, min(high, 2**63 - 1)),
    )
    if _compute.all(fits).as_py() is False:
        row = _compute.index(_compute.fill_null(fits, True), pa.scalar(False)).as_py()
        years = f"the years {bounds[0].year} to {bounds[1].year}"
        raise _unfit(first_row + row, name, f"a moment outside {years} has no form here")


def _counted(moment: dt.datetime, unit: str) -> int:
    micros = (moment - dt.datetime(1970, 1, 1)) // dt.timedelta(microseconds=1)  # noqa: DTZ001
    scale = {"s": 1_000_000, "ms": 1_000, "us": 1}
    return micros * 1_000 if unit == "ns" else micros // scale[unit]


def _unfit(row: int, column: str, reason: str) -> RowError:
    return RowError(
        f"row {row}, column {column!r}: {reason}",
        operation="encode",
        hint="filter such rows out, or put xd.transform(...) before it",
    )


def _plain(kind: Kind) -> Kind:
    """Without what is only a way to lay values out in memory; the two extension types as what they are stored as."""
    if _types.is_dictionary(kind) or _types.is_run_end_encoded(kind):
        return _plain(kind.value_type)
    if isinstance(kind, pa.UuidType):
        return pa.string()
    if isinstance(kind, pa.JsonType):
        return kind.storage_type
    if isinstance(kind, pa.BaseExtensionType):
        raise _No
    if _types.is_string_view(kind):
        return pa.large_string()
    if _types.is_binary_view(kind):
        return pa.large_binary()
    return kind


def _any_of(kind: Kind, tests: Iterable[Callable[[Kind], bool]]) -> bool:
    return any(test(kind) for test in tests)


_BYTES = (_types.is_binary, _types.is_large_binary, _types.is_fixed_size_binary)


def _in_csv(kind: Kind) -> Kind:
    plain = _plain(kind)
    if _types.is_nested(plain) or _any_of(plain, (*_BYTES, _types.is_duration, _types.is_interval)):
        raise _No
    return pa.float32() if _types.is_float16(plain) else plain


def _in_json(kind: Kind) -> Kind:
    plain = _plain(kind)
    if _holds(plain, lambda each: _types.is_interval(each) or _types.is_union(each)):
        raise _No
    if _holds(plain, lambda each: _types.is_map(each) and not _types.is_string(each.key_type)):
        raise _No
    if _types.is_duration(plain):
        return pa.duration("us")
    return pa.float32() if _types.is_float16(plain) else plain


def _in_orc(kind: Kind) -> Kind:
    if isinstance(kind, pa.BaseExtensionType):
        raise _No
    plain = _plain(kind)
    if _types.is_null(plain):
        return pa.string()
    if plain in _WIDER:
        return _WIDER[plain]
    if _types.is_date64(plain):
        return pa.date32()
    if _holds(plain, _is_not_in_orc):
        raise _No
    return plain


_WIDER = {pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64()}


def _is_not_in_orc(kind: Kind) -> bool:
    return (
        _any_of(kind, (_types.is_time, _types.is_duration, _types.is_interval, _types.is_float16))
        or _any_of(kind, (_types.is_null, _types.is_dictionary, _types.is_union, _types.is_date64))
        or _any_of(kind, (_types.is_string_view, _types.is_binary_view, _types.is_unsigned_integer))
        or (_types.is_decimal(kind) and kind.precision > 38)
        or isinstance(kind, pa.BaseExtensionType)
    )


def _holds(kind: Kind, test: Callable[[Kind], bool]) -> bool:
    """Whether it holds of the type, or of one inside it."""
    if test(kind):
        return True
    return any(_holds(kind.field(number).type, test) for number in range(kind.num_fields))


def _in_parquet(kind: Kind) -> Kind:
    if _types.is_run_end_encoded(kind):
        return kind.value_type
    if _holds(kind, lambda each: _types.is_interval(each) or _types.is_union(each)):
        raise _No
    return kind


def _in_avro(kind: Kind) -> Kind:
    if isinstance(kind, pa.BaseExtensionType):
        raise _No
    plain = _plain(kind)
    if _types.is_null(plain):
        return pa.string()
    if _types.is_time(plain):
        return pa.time64("us")
    if _types.is_fixed_size_list(plain):
        plain = pa.list_(plain.value_field)
    if _holds(plain, _is_not_in_avro):
        raise _No
    return plain


def _is_not_in_avro(kind: Kind) -> bool:
    return (
        _any_of(
            kind, (_types.is_duration, _types.is_interval, _types.is_null, _types.is_union, _types.is_uint64)
        )
        or _any_of(kind, (_types.is_fixed_size_list, _types.is_string_view, _types.is_binary_view))
        or (_types.is_timestamp(kind) and kind.unit == "ns")
        or (_types.is_time(kind) and kind.unit == "ns")
        or (_types.is_map(kind) and not _types.is_string(kind.key_type))
        or isinstance(kind, pa.BaseExtensionType)
    )


def _as_it_is(kind: Kind) -> Kind:
    return kind


def _in_arrow_file(kind: Kind) -> Kind:
    """A file knows one dictionary only, and batches may have different ones."""
    return kind.value_type if _types.is_dictionary(kind) else kind


_FORMATS: dict[str, tuple[str, Callable[[Kind], Kind], _Bounds | None]] = {
    "csv": ("a CSV", _in_csv, _YEARS),
    "tsv": ("a TSV", _in_csv, _YEARS),
    "jsonl": ("JSON", _in_json, _YEARS),
    "parquet": ("Parquet", _in_parquet, None),
    "arrow": ("an Arrow file", _in_arrow_file, None),
    "arrow_stream": ("an Arrow stream", _as_it_is, None),
    "orc": ("ORC", _in_orc, _NANOS),
    "avro": ("Avro", _in_avro, _YEARS),
}
"""How an error calls it, the type a column gets, and where its moments end."""
