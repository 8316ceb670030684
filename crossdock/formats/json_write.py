"""Record batches to JSON lines, column by column: numbers, text and times by pyarrow, the rest value by value.

Times are ISO 8601, decimals texts (so that no reader rounds them), bytes base64, durations microseconds, maps objects. JSON has no NaN and no infinity: they become null.
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import json
import math
import uuid
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crossdock.batches import Batches
from crossdock.errors import RowError
from crossdock.formats.options import JsonWrite

__all__ = ["write_json_lines"]

_SLICE_ROWS = 16_384


def write_json_lines(batches: Batches, options: JsonWrite) -> Iterator[bytes]:  # noqa: ARG001 - as every writer
    """One object a line, every column in it, nulls too. Memory: 16,384 rows and their text."""
    names = [json.dumps(name, ensure_ascii=False) for name in batches.schema.names]
    for batch in batches:
        for start in range(0, batch.num_rows, _SLICE_ROWS):
            yield _lines(batch.slice(start, _SLICE_ROWS), names)


def _lines(batch: pa.RecordBatch, names: list[str]) -> bytes:
    pieces: list[Any] = []
    for number, (name, column) in enumerate(zip(names, batch.columns, strict=True)):
        lead = "{" if number == 0 else ","
        pieces += [pa.scalar(f"{lead}{name}:", pa.large_string()), _texts(column)]
    if not pieces:
        return b"{}\n" * batch.num_rows
    pieces += [pa.scalar("}", pa.large_string()), pa.scalar("", pa.large_string())]
    rows = pc.binary_join_element_wise(*pieces, null_handling="replace", null_replacement="null")
    return _joined(rows)


def _joined(rows: Any) -> bytes:
    """The rows with a newline behind each."""
    texts = pc.binary_join_element_wise(
        rows, pa.scalar("", pa.large_string()), pa.scalar("\n", pa.large_string())
    )
    _, offsets, data = texts.buffers()
    if data is None or not len(texts):
        return b""
    ends = pa.Array.from_buffers(pa.int64(), texts.offset + len(texts) + 1, [None, offsets])
    return memoryview(data)[ends[texts.offset].as_py() : ends[texts.offset + len(texts)].as_py()].tobytes()


def _texts(column: Any) -> Any:
    """Each value as JSON; null where it is null."""
    kind, types = column.type, pa.types
    if types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if types.is_integer(kind) or types.is_boolean(kind):
        return column.cast(pa.large_string())
    if types.is_floating(kind) and not types.is_float16(kind):
        finite = pc.if_else(pc.is_finite(column), column, pa.scalar(None, kind))
        return finite.cast(pa.large_string())
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return _quoted(column.cast(pa.large_string()))
    if types.is_null(kind):
        return column.cast(pa.large_string())
    if types.is_decimal(kind) or types.is_date(kind) or types.is_time(kind):
        return _quoted(column.cast(pa.large_string()))
    if types.is_duration(kind):
        return column.cast(pa.duration("us")).cast(pa.int64()).cast(pa.large_string())
    if types.is_timestamp(kind):
        return _quoted(pc.replace_substring(column.cast(pa.large_string()), " ", "T", max_replacements=1))
    values = [
        None if value is None else json.dumps(_plain(value), ensure_ascii=False) for value in _listed(column)
    ]
    return pa.array(values, pa.large_string())


def _listed(column: Any) -> list[Any]:
    """As Python values, maps as objects.

    Raises:
        RowError: A key stands twice in a map, or a moment is outside the years 1 to 9999.
    """
    try:
        values: list[Any] = column.to_pylist(maps_as_pydicts="strict")
    except (KeyError, ValueError, OverflowError) as error:
        raise RowError(
            f"a value of type {column.type} has no form in JSON: {error}",
            operation="encode",
            hint="put xd.transform(...) before it",
        ) from error
    return values


_SPECIAL = r'["\\\x00-\x1f]'


def _quoted(texts: Any) -> Any:
    """Texts in quotes; escaped one by one only if a slice needs it."""
    mark = pa.scalar('"', pa.large_string())
    if pc.any(pc.match_substring_regex(texts, _SPECIAL)).as_py():
        values = [
            None if text is None else json.dumps(text, ensure_ascii=False) for text in texts.to_pylist()
        ]
        return pa.array(values, pa.large_string())
    return pc.binary_join_element_wise(mark, texts, mark, pa.scalar("", pa.large_string()))


def _plain(value: Any) -> Any:
    """A value of a nested column as JSON knows it."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return value // dt.timedelta(microseconds=1)
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value
