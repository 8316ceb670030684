"""One digest a column, of its type, its values and its nulls, over rows in one order: equal only if the tables are."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def digests(table, by):
    """By column name. ``by`` names the columns that order the rows; no two rows share their values."""
    assert table.num_rows == table.group_by(by).aggregate([]).num_rows
    ordered = table.sort_by([(name, "ascending") for name in by])
    return {name: digest(ordered.column(name)) for name in sorted(ordered.column_names)}


def digest(column):
    """Over the text of each value: its presence, its length and its bytes, whatever the chunks are."""
    array = pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
    plain = array if pa.types.is_binary(array.type) else array.cast(pa.string())
    lengths = pc.fill_null(pc.binary_length(plain), -1)
    texts = pc.fill_null(plain, b"" if pa.types.is_binary(plain.type) else "")
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]
    made = hashlib.sha256(str(array.type).encode())
    made.update(lengths.to_numpy().tobytes())
    if len(texts) and offsets[-1] > offsets[0]:
        made.update(memoryview(texts.buffers()[2])[offsets[0] : offsets[-1]])
    return made.hexdigest()
