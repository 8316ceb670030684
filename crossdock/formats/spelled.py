"""Types that the text parsers do not know: read as the text they were written as, then made what they are. Exactly, or an error."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute

__all__ = ["from_base64", "from_micros", "from_text", "is_bytes", "is_spelled"]

_types: Any = pa.types
_compute: Any = pyarrow.compute


def is_bytes(kind: Any) -> bool:
    """Whether its values are bytes, whatever their length."""
    return bool(
        _types.is_binary(kind)
        or _types.is_large_binary(kind)
        or _types.is_fixed_size_binary(kind)
        or _types.is_binary_view(kind)
    )


def is_spelled(kind: Any) -> bool:
    """Whether ``from_text`` makes its values."""
    return bool(
        _types.is_time(kind)
        or _types.is_decimal256(kind)
        or _types.is_string_view(kind)
        or (_types.is_dictionary(kind) and _is_text(kind.value_type))
        or isinstance(kind, pa.UuidType | pa.JsonType)
    )


def _is_text(kind: Any) -> bool:
    return bool(_types.is_string(kind) or _types.is_large_string(kind))


def from_text(column: Any, kind: Any) -> Any:
    """A column of texts as a column of this type.

    Raises:
        pyarrow.ArrowInvalid: A text is no such value.
    """
    if _types.is_time(kind):
        # There is no cast from text to a time, but one to a moment: one of the first day.
        moments = _compute.binary_join_element_wise(pa.scalar("1970-01-01T"), column, pa.scalar(""))
        return moments.cast(pa.timestamp(kind.unit)).cast(kind)
    if isinstance(kind, pa.UuidType):
        return _extended(kind, [_uuid(each) for each in column.to_pylist()])
    if isinstance(kind, pa.JsonType):
        return _extended(kind, column.cast(kind.storage_type).to_pylist())
    return column.cast(kind)


def _uuid(text: str | None) -> bytes | None:
    try:
        return None if text is None else uuid.UUID(text).bytes
    except ValueError as error:
        raise pa.ArrowInvalid(f"{text!r} is no UUID") from error


def _extended(kind: Any, values: Sequence[Any]) -> Any:
    return pa.chunked_array([pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))])


def from_base64(column: Any, kind: Any) -> Any:
    """A column of texts as bytes.

    Raises:
        pyarrow.ArrowInvalid: A text is no base64, or its bytes are too many or few.
    """
    try:
        values = [
            None if text is None else base64.b64decode(text, validate=True) for text in column.to_pylist()
        ]
        return pa.chunked_array([pa.array(values, kind)])
    except ValueError as error:
        raise pa.ArrowInvalid(f"bytes are written in base64: {error}") from error


def from_micros(column: Any, kind: Any) -> Any:
    """A column of whole numbers as durations: microseconds, as they are written.

    Raises:
        pyarrow.ArrowInvalid: The type is coarser, and a number does not fit.
    """
    return column.cast(pa.duration("us")).cast(kind)
