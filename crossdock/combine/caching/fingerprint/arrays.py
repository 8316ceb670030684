"""NumPy arrays in canonical form: type, shape and values in row order, wherever they lie. Memory: some MiB."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from crossdock.combine.caching.fingerprint.canonical import Canonical

__all__ = ["add_array", "add_values", "one_nan"]

_SLAB_BYTES = 4 * 1024 * 1024


def add_array(out: Canonical, value: Any) -> None:
    """Write an array; of a structured one each field, because there is padding between them."""
    out.text("numpy array", f"{value.dtype.str if value.dtype.names is None else ''} {value.shape}")
    if value.dtype.names is None:
        add_values(out, value)
        return
    out.add(value.dtype.names)  # a structured array has padding between its fields
    for name in value.dtype.names:
        with out.at(f"[{name!r}]"):
            add_array(out, value[name])


def add_values(out: Canonical, array: Any) -> None:
    """All values in row order; objects one by one, everything else as bytes."""
    import numpy as np

    if array.dtype.hasobject or array.dtype.kind == "T":
        out.several("objects", array.ravel().tolist(), array.size)
        return
    if array.dtype.kind in "fc" and array.dtype.itemsize > (16 if array.dtype.kind == "c" else 8):
        out.several("long doubles", map(str, array.ravel()), array.size)  # their bytes have padding
        return
    out.head("values", array.nbytes)
    for slab in _slabs(array):
        out.pour(one_nan(np.ascontiguousarray(slab)).reshape(-1).view(np.uint8))


def _slabs(array: Any) -> Iterator[Any]:
    """An array in pieces of some MiB, in row order; a piece of a large row is cut again."""
    if array.nbytes <= _SLAB_BYTES:
        if array.nbytes:
            yield array.reshape(1) if array.ndim == 0 else array
        return
    rows = max(1, _SLAB_BYTES * len(array) // array.nbytes)
    for start in range(0, len(array), rows):
        piece = array[start : start + rows]
        if piece.nbytes > _SLAB_BYTES and len(piece) == 1:
            yield from _slabs(piece[0])
        else:
            yield piece


def one_nan(array: Any) -> Any:
    """The same floats with every not-a-number the same; anything else as it is."""
    import numpy as np

    if array.dtype.kind == "c":
        half = np.dtype(f"{array.dtype.byteorder}f{array.dtype.itemsize // 2}")
        return one_nan(array.reshape(-1).view(half))
    if array.dtype.kind != "f":
        return array
    wrong = np.isnan(array)
    return np.where(wrong, np.array(np.nan, array.dtype), array).astype(array.dtype) if wrong.any() else array
