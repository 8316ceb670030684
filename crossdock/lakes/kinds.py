"""Which type a lake keeps a column in, and which goes into which unchanged. Pure.

Both lakes have fewer types than Arrow: what holds the same values is taken instead (``uint8`` becomes ``int16``), anything else
is refused by the column's name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pyarrow as pa

from crossdock.connectors.sql.arrow import Array, Kind, pc

__all__ = ["Array", "Kind", "Kinds", "Unrepresentable", "delta_kinds", "fits", "iceberg_kinds", "plain"]


class Unrepresentable(Exception):  # noqa: N818 - an answer, not yet an error: the caller names the column
    """The lake has no type for this."""


Kinds: TypeAlias = Callable[[Kind], Kind]
"""The type that a lake keeps a type in; raises ``Unrepresentable``."""

_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_BYTES = (
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
    pa.types.is_fixed_size_binary,
)
_LISTS = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)
_WIDER = {
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0),
    pa.float16(): pa.float32(),
    pa.date64(): pa.date32(),
    pa.null(): pa.string(),  # no values, so any type will do
}
_DIGITS = {8: 3, 16: 5, 32: 10, 64: 19}
_SAME = frozenset(
    {pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.bool_(), pa.date32()}
)


def delta_kinds(kind: Kind) -> Kind:
    """Delta's: no times of day, no uuid."""
    return _kept(kind, delta_kinds)


def iceberg_kinds(kind: Kind) -> Kind:
    """Iceberg's: times of day; no whole number smaller than 32 bits."""
    if pa.types.is_time(kind):
        return pa.time64("us")
    if kind in (pa.int8(), pa.int16(), pa.uint8(), pa.uint16()):
        return pa.int32()
    return _kept(kind, iceberg_kinds)


def _kept(kind: Kind, again: Kinds) -> Kind:
    if kind in _SAME:
        return kind
    if kind in _WIDER:
        return _WIDER[kind]
    if any(is_one(kind) for is_one in _TEXT) or isinstance(kind, pa.UuidType | pa.JsonType):
        return pa.string()
    if any(is_one(kind) for is_one in _BYTES):
        return pa.binary()
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us") if kind.tz is None else pa.timestamp("us", "UTC")
    if pa.types.is_decimal(kind):
        if kind.precision > 38 or kind.scale < 0:
            raise Unrepresentable("decimals have at most 38 digits, and no negative scale")
        return pa.decimal128(kind.precision, kind.scale)
    if pa.types.is_dictionary(kind):
        return again(kind.value_type)
    return _nested(kind, again)


def _nested(kind: Kind, again: Kinds) -> Kind:
    if any(is_one(kind) for is_one in _LISTS):
        return pa.list_(again(kind.value_type))
    if pa.types.is_struct(kind):
        if kind.num_fields == 0:
            raise Unrepresentable("a struct without fields")
        return pa.struct([pa.field(each.name, again(each.type)) for each in kind])
    if pa.types.is_map(kind):
        return pa.map_(again(kind.key_type), again(kind.item_type))
    raise Unrepresentable("there is no such type")


def plain(kind: Kind) -> Callable[[Array], Array]:
    """What turns an array of a type into one that ``cast`` understands; shown on an empty array.

    Raises:
        Unrepresentable: Nothing does.
    """
    if isinstance(kind, pa.UuidType):
        return _text_of_uuids
    if isinstance(kind, pa.BaseExtensionType):
        return lambda array: array.storage if isinstance(array, pa.ExtensionArray) else array
    if pa.types.is_dictionary(kind):
        return lambda array: pc.cast(array, kind.value_type)
    return lambda array: array


def _text_of_uuids(array: Array) -> Array:
    from crossdock.connectors.sql.casting import text_of_uuids

    return text_of_uuids(array)


def fits(one: Kind, other: Kind) -> bool:
    """Whether every value of one kept type goes into the other unchanged, or is refused loudly when it comes."""
    if one == other:
        return True
    whole = pa.types.is_integer(one) or (pa.types.is_decimal(one) and one.scale == 0)
    if pa.types.is_integer(other):
        return bool(whole)  # beyond its range: a RowError
    if pa.types.is_decimal(other):
        if pa.types.is_integer(one):  # Arrow casts it only where every value of the type has room
            return bool(other.precision - other.scale >= _DIGITS[one.bit_width])
        return bool(pa.types.is_decimal(one) and one.scale <= other.scale)
    if pa.types.is_float64(other):
        return bool(pa.types.is_float32(one) or (pa.types.is_integer(one) and one.bit_width <= 32))
    if pa.types.is_list(one) and pa.types.is_list(other):
        return fits(one.value_type, other.value_type)
    if pa.types.is_map(one) and pa.types.is_map(other):
        return fits(one.key_type, other.key_type) and fits(one.item_type, other.item_type)
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        names = [each.name for each in one]
        return names == [each.name for each in other] and all(
            fits(one.field(name).type, other.field(name).type) for name in names
        )
    return False
