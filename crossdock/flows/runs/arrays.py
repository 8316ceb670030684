"""Python values as Arrow arrays, by their buffers, and back.

``pyarrow.array`` and everything above it imports pandas where that is installed, and so does reading a time: a second of CPU and 50 MiB for a program
that only writes a ledger. The types here are those of the run's files. Pure; memory is that of the values.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate, chain
from typing import Any

import pyarrow as pa

__all__ = ["array_of", "values_of"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NUMBERS = {pa.int8(): "b", pa.int32(): "i", pa.int64(): "q", pa.float64(): "d"}


def array_of(values: Sequence[Any], kind: Any) -> pa.Array[Any]:
    """One column; ``None`` is null.

    Raises:
        TypeError: There is no way for this type here.
        OverflowError: A number is too large for it, or the texts of one column pass 2 GiB.
    """
    held = [value is not None for value in values]
    if not any(held):
        nothing: pa.Array[Any] = pa.nulls(len(values), kind)
        return nothing
    validity = None if all(held) else _bits(held)
    buffers, children = _buffers(values, kind)
    return pa.Array.from_buffers(kind, len(values), [validity, *buffers], children=children)


def values_of(column: pa.ChunkedArray[Any]) -> list[Any]:
    """The values of a column as Python has them; times in UTC."""
    if pa.types.is_timestamp(column.type) and column.type.unit == "us":
        since = column.cast(pa.int64()).to_pylist()
        return [None if value is None else _EPOCH + value * _MICROSECOND for value in since]
    return column.to_pylist()


def _buffers(values: Sequence[Any], kind: Any) -> tuple[list[pa.Buffer], list[pa.Array[Any]]]:
    code = _NUMBERS.get(kind)
    if code is not None:
        return [pa.py_buffer(array(code, [value or 0 for value in values]))], []
    if pa.types.is_boolean(kind):
        return [_bits(values)], []
    if pa.types.is_string(kind):
        return _pieces([b"" if value is None else value.encode() for value in values]), []
    if pa.types.is_binary(kind):
        return _pieces([value or b"" for value in values]), []
    if pa.types.is_timestamp(kind) and kind.unit == "us":
        since = [0 if value is None else (value - _EPOCH) // _MICROSECOND for value in values]
        return [pa.py_buffer(array("q", since))], []
    if pa.types.is_list(kind):
        lists = [value or () for value in values]
        return [_offsets(lists, len)], [array_of([*chain.from_iterable(lists)], kind.value_type)]
    raise TypeError(f"no way to write a column of {kind}")


def _pieces(pieces: Sequence[bytes]) -> list[pa.Buffer]:
    return [_offsets(pieces, len), pa.py_buffer(b"".join(pieces))]


def _offsets(pieces: Sequence[Any], size: Callable[[Any], int]) -> pa.Buffer:
    return pa.py_buffer(array("i", accumulate(map(size, pieces), initial=0)))


def _bits(flags: Sequence[Any]) -> pa.Buffer:
    """The first flag is the lowest bit of the first byte."""
    packed = bytearray(-(-len(flags) // 8))
    for index, flag in enumerate(flags):
        if flag:
            packed[index >> 3] |= 1 << (index & 7)
    return pa.py_buffer(bytes(packed))
