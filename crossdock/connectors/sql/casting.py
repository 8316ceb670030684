"""Values from one Arrow type into another, exactly or not at all, and which row is to blame.

Everything here is about one array of one column. Nothing is rounded, cut or replaced: what does not fit is a
``RowError`` with the row's number (from 1, over the whole stream) and the column's name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import pyarrow as pa

from crossdock.connectors.sql.arrow import Array, Kind, pc
from crossdock.errors import RowError

__all__ = [
    "Converted",
    "cast",
    "demand",
    "simplified",
    "storage",
    "text_of_uuids",
    "times_of_text",
    "uuids_of_text",
]

UTC_MICROS = pa.timestamp("us", "UTC")
MICROS = pa.timestamp("us")

Converted = Callable[[Array], Array]


def storage(array: Array) -> Array:
    """The values under an extension type; of any other array itself."""
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def cast(array: Array, convert: Converted, *, column: str, first_row: int, what: str) -> Array:
    """Convert one array, or say which of its rows will not go.

    Args:
        array: Of one batch.
        convert: Raises an Arrow error where a value does not fit.
        column: The column's name, for the message.
        first_row: Rows of the stream before this batch.
        what: What the values should have become, in words.

    Raises:
        RowError: A value does not fit.
    """
    try:
        return convert(array)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        row = _first_unfit(array, convert)
        _refuse(column, first_row + row, f"{_shown(array, row)} is not {what} exactly", error)


def demand(array: Array, fits: Array | None, *, column: str, first_row: int, what: str) -> None:
    """Refuse the first row for which ``fits`` is false; nulls fit.

    Raises:
        RowError: There is one.
    """
    if fits is None or pc.all(fits).as_py() in (True, None):
        return
    row = pc.index(pc.fill_null(fits, True), pa.scalar(False)).as_py()
    _refuse(column, first_row + row, f"{_shown(array, row)} {what}", None)


def _refuse(column: str, row: int, cause: str, error: Exception | None) -> NoReturn:
    raise RowError(f"row {row + 1}, column {column!r}: {cause}") from error


def _first_unfit(array: Array, convert: Converted) -> int:
    """By halving: a conversion that fails for a slice fails for one half of it."""
    start, length = 0, len(array)
    while length > 1:
        half = length // 2
        try:
            convert(array.slice(start, half))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError):
            length = half
        else:
            start, length = start + half, length - half
    return start


def _shown(array: Array, row: int) -> str:
    """A value for a message, short; Python has no value for many dates."""
    try:
        text = repr(array[row].as_py())
    except (ValueError, OverflowError):
        text = "a value"
    return text if len(text) <= 60 else f"{text[:60]}..."


_SAME_AS = {
    pa.string_view(): pa.string(),
    pa.large_string(): pa.string(),
    pa.binary_view(): pa.binary(),
    pa.large_binary(): pa.binary(),
    pa.time32("s"): pa.time64("us"),
    pa.time32("ms"): pa.time64("us"),
    pa.time64("ns"): pa.time64("us"),
    pa.date64(): pa.date32(),
    pa.float16(): pa.float32(),
}


def simplified(kind: Kind) -> Kind:
    """The one type that stands for all that hold the same values: microseconds, plain strings, UTC, no dictionaries."""
    kind = _SAME_AS.get(kind, kind)
    if pa.types.is_dictionary(kind):
        return simplified(kind.value_type)
    if pa.types.is_timestamp(kind):
        return MICROS if kind.tz is None else UTC_MICROS
    if pa.types.is_duration(kind):
        return pa.duration("us")
    if pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    if pa.types.is_decimal32(kind) or pa.types.is_decimal64(kind):
        return pa.decimal128(kind.precision, kind.scale)
    if pa.types.is_decimal256(kind) and kind.precision <= 38:
        return pa.decimal128(kind.precision, kind.scale)
    if is_list(kind):
        return pa.list_(simplified(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([each.with_type(simplified(each.type)) for each in kind])
    return kind


def is_list(kind: Kind) -> bool:
    """Whether it is any of Arrow's lists."""
    return bool(
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or pa.types.is_list_view(kind)
        or pa.types.is_large_list_view(kind)
    )


def times_of_text(array: Array) -> Array:
    """``HH:MM:SS[.ffffff]`` as times: Arrow reads it only as the end of a timestamp."""
    dated = pc.binary_join_element_wise(pa.scalar("1970-01-01"), array, " ")
    return dated.cast(MICROS).cast(pa.time64("us"))


def text_of_uuids(array: Array) -> Array:
    """``8-4-4-4-12`` of each; Arrow has no such cast."""
    from uuid import UUID

    values = storage(array).to_pylist()
    return pa.array([None if value is None else str(UUID(bytes=value)) for value in values], pa.string())


def uuids_of_text(array: Array) -> Array:
    """And back."""
    from uuid import UUID

    values = [None if value is None else UUID(value).bytes for value in array.to_pylist()]
    return pa.ExtensionArray.from_storage(pa.uuid(), pa.array(values, pa.binary(16)))
