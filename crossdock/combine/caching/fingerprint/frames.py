"""pandas and polars frames in canonical form: labels, types and values in row order."""

from __future__ import annotations

from typing import Any

from crossdock.combine.caching.fingerprint.arrays import add_values
from crossdock.combine.caching.fingerprint.arrow import add_arrow_column
from crossdock.combine.caching.fingerprint.canonical import Canonical

__all__ = ["add_frame", "add_index", "add_polars", "add_polars_series", "add_series"]


def add_frame(out: Canonical, value: Any) -> None:
    """Write a frame: labels, attributes, then column by column."""
    out.text("pandas frame", str(value.shape))
    add_index(out, value.columns)
    add_index(out, value.index)
    out.add(value.attrs)
    for number, label in enumerate(value.columns):
        with out.at(f"[{label!r}]"):
            _add_pandas_values(out, value.iloc[:, number])


def add_series(out: Canonical, value: Any) -> None:
    """Write a series: name, labels, attributes, values."""
    out.record("pandas series")
    out.add(value.name)
    add_index(out, value.index)
    out.add(value.attrs)
    _add_pandas_values(out, value)


def add_index(out: Canonical, index: Any) -> None:
    """Write labels; those of a range by its ends."""
    import pandas as pd

    with out.at(".index"):
        out.text("pandas index", type(index).__name__)
        out.add(list(index.names))
        if isinstance(index, pd.RangeIndex):
            out.add((index.start, index.stop, index.step))
        elif isinstance(index, pd.MultiIndex):
            for number in range(index.nlevels):
                _add_pandas_values(out, index.get_level_values(number))
        else:
            _add_pandas_values(out, index)


def _add_pandas_values(out: Canonical, column: Any) -> None:
    """The values of a column or an index, under the name of their dtype."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    dtype = column.dtype
    out.text("dtype", str(dtype))
    if isinstance(dtype, np.dtype):
        if dtype.hasobject and pd.api.types.infer_dtype(column, skipna=False) == "string":
            add_arrow_column(out, "strings", pa.array(column.to_numpy(), pa.large_string()))
        else:
            add_values(out, column.to_numpy())
    elif isinstance(dtype, pd.CategoricalDtype):
        values = column.array
        out.add(bool(values.ordered))
        _add_pandas_values(out, values.categories)
        add_values(out, np.asarray(values.codes, np.int64))
    elif isinstance(dtype, pd.DatetimeTZDtype):
        add_values(out, column.array.asi8)
    elif isinstance(dtype, pd.StringDtype):
        add_arrow_column(out, "strings", pa.array(column.array, from_pandas=True).cast(pa.large_string()))
    elif isinstance(dtype, pd.ArrowDtype):
        add_arrow_column(out, "column", pa.chunked_array(pa.array(column.array)))
    else:  # nullable numbers, periods, intervals, sparse, and those of other packages
        values = column.to_numpy(dtype=object)
        out.several("objects", values.tolist(), len(values))


def add_polars(out: Canonical, value: Any) -> None:
    """Write a frame column by column."""
    out.text("polars frame", str(value.shape))
    for name in value.columns:
        with out.at(f"[{name!r}]"):
            add_polars_series(out, value.get_column(name))


def add_polars_series(out: Canonical, value: Any) -> None:
    """Write a series: name, type, values."""
    out.text("polars series", f"{value.name} {value.dtype}")
    if str(value.dtype) == "Object":
        out.refuse(value, "holds Python objects")
    add_arrow_column(out, "column", value.to_arrow())
