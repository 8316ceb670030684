"""Arrow data in canonical form: types, names, nulls and values, however it is cut into chunks. Memory: 65,536 rows of a column."""

from __future__ import annotations

from typing import Any

from crossdock.combine.caching.fingerprint.arrays import one_nan
from crossdock.combine.caching.fingerprint.canonical import Canonical, class_name

__all__ = ["add_arrow_column", "add_field", "add_schema", "add_table"]

_SLAB_ROWS = 65_536


def add_table(out: Canonical, value: Any) -> None:
    """Write a table or a record batch: its schema, then column by column."""
    add_schema(out, class_name(type(value)).rpartition(":")[2], value.schema)
    out.add(value.num_rows)
    for number, field in enumerate(value.schema):
        with out.at(f"[{field.name!r}]"):
            add_arrow_column(out, "column", value.column(number))


def add_schema(out: Canonical, tag: str, schema: Any) -> None:
    """Write fields and metadata."""
    out.head(tag, len(schema))
    for field in schema:
        add_field(out, field)
    _add_metadata(out, schema.metadata)


def add_field(out: Canonical, field: Any) -> None:
    """Write one field: its name, type, nullability and metadata."""
    out.several("field", (field.name, str(field.type), field.nullable), 3)
    _add_metadata(out, field.metadata)


def _add_metadata(out: Canonical, metadata: Any) -> None:
    """All but pandas's, which tells the versions of libraries."""
    out.add({key: value for key, value in (metadata or {}).items() if key != b"pandas"})


def add_arrow_column(out: Canonical, tag: str, column: Any) -> None:
    """Write the type, the length and the values of a column or an array."""
    import pyarrow as pa

    if isinstance(column, pa.Array):
        column = pa.chunked_array([column])
    out.text(tag, f"{column.type} {len(column)}")
    for start in range(0, len(column), _SLAB_ROWS):
        slab = column.slice(start, _SLAB_ROWS).combine_chunks()
        for chunk in slab.chunks if isinstance(slab, pa.ChunkedArray) else (slab,):
            _add_chunk(out, chunk)


def _add_chunk(out: Canonical, array: Any) -> None:
    """One array: which values are null, then the values with nulls blanked."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    kinds, kind = pa.types, array.type
    if isinstance(array, pa.ExtensionArray):
        _add_chunk(out, array.storage)
        return
    if kinds.is_dictionary(kind):
        _add_chunk(out, array.dictionary_decode())
        return
    valid = np.asarray(pc.is_valid(array).to_numpy(zero_copy_only=False))
    whole = bool(valid.all())
    out.record("all" if whole else "valid", np.packbits(valid).tobytes() if not whole else b"")
    if kinds.is_null(kind):
        out.add(len(array))
    elif kinds.is_boolean(kind):
        out.record("bits", np.packbits(array.fill_null(False).to_numpy(zero_copy_only=False)))
    elif kinds.is_string_view(kind) or kinds.is_binary_view(kind):
        _add_bytes(
            out, array.cast(pa.large_string() if kinds.is_string_view(kind) else pa.large_binary()), whole
        )
    elif _is_bytes(kind):
        _add_bytes(out, array, whole)
    elif kinds.is_list(kind) or kinds.is_large_list(kind):
        out.record("lengths", _lengths(pc.list_value_length(array)))
        _add_chunk(out, array.flatten())
    elif kinds.is_struct(kind):
        for each, part in zip(kind, array.flatten(), strict=True):
            out.text("part", each.name)
            _add_chunk(out, part)
    elif kinds.is_primitive(kind) or kinds.is_decimal(kind) or kinds.is_fixed_size_binary(kind):
        out.record("values", _fixed(array, kind.bit_width // 8, valid, whole))
    else:  # maps, unions, run-end encoded: rare, and exact this way
        out.several("objects", array.to_pylist(), len(array))


def _is_bytes(kind: Any) -> bool:
    import pyarrow.types as kinds

    return bool(
        kinds.is_string(kind)
        or kinds.is_binary(kind)
        or kinds.is_large_string(kind)
        or kinds.is_large_binary(kind)
    )


def _lengths(lengths: Any) -> Any:
    import pyarrow as pa

    return lengths.fill_null(0).cast(pa.int64()).to_numpy(zero_copy_only=False)


def _add_bytes(out: Canonical, array: Any, whole: bool) -> None:
    """Text or bytes of any length: the lengths, then everything in a row."""
    import numpy as np
    import pyarrow.compute as pc

    out.record("lengths", _lengths(pc.binary_length(array)))
    if not whole:
        array = array.fill_null(b"" if "binary" in str(array.type) else "")
    _, offsets, data = array.buffers()
    width = np.int64 if str(array.type).startswith("large") else np.int32
    if not len(array) or data is None:
        out.record("text")
        return
    ends = np.frombuffer(offsets, width)[array.offset : array.offset + len(array) + 1]
    out.record("text", memoryview(data)[int(ends[0]) : int(ends[-1])])


def _fixed(array: Any, width: int, valid: Any, whole: bool) -> Any:
    """The bytes of values of one width, nulls as zeros."""
    import numpy as np
    import pyarrow as pa

    data = array.buffers()[1]
    if data is None or not len(array) or not width:
        return b""
    start = array.offset * width
    values = np.frombuffer(data, np.uint8)[start : start + len(array) * width].reshape(len(array), width)
    if not whole:
        values = np.where(valid[:, None], values, np.uint8(0))
    if pa.types.is_floating(array.type):
        return one_nan(np.ascontiguousarray(values).view(f"<f{width}"))
    return np.ascontiguousarray(values)
