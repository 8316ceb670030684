"""Arrays, tables and frames in canonical form: NumPy, Arrow, pandas and polars.

By content, not by layout: how a table is cut into chunks, whether an array is a view or in which order it lies in memory
does not matter; types, names, nulls and row order do. Not-a-number is one value. What is under a null is not looked at.
Memory: about four MiB, or 65,536 rows of one column.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from crossdock.combine.caching.fingerprint.arrays import add_array, add_values
from crossdock.combine.caching.fingerprint.arrow import add_arrow_column, add_field, add_schema, add_table
from crossdock.combine.caching.fingerprint.canonical import Canonical, class_name
from crossdock.combine.caching.fingerprint.frames import (
    add_frame,
    add_index,
    add_polars,
    add_polars_series,
    add_series,
)

__all__ = ["add_data"]


def add_data(out: Canonical, value: Any) -> None:
    """Write a value of one of the four libraries.

    Raises:
        ConfigError: It is of a class that has no canonical form here, or holds objects that have none.
    """
    kind = type(value)
    write = _writers(kind.__module__.partition(".")[0]).get(kind)
    if write is not None:
        write(out, value)
        return
    import numpy as np

    if isinstance(value, np.generic):
        out.text("numpy scalar", value.dtype.str)
        add_values(out, np.asarray(value))
    elif isinstance(value, np.dtype):
        out.text("numpy dtype", str(value))
    elif isinstance(value, np.ufunc):
        out.text("numpy function", value.__name__)
    elif hasattr(value, "__wrapped__") or isinstance(
        value, type
    ):  # numpy's own functions in Python, scalar classes
        out.text("function", class_name(value))
    else:
        _add_other(out, value)


def _add_other(out: Canonical, value: Any) -> None:
    root = type(value).__module__.partition(".")[0]
    if root == "pyarrow":
        import pyarrow as pa

        if isinstance(value, pa.Array):
            add_arrow_column(out, "arrow array", pa.chunked_array([value]))
            return
        if isinstance(value, pa.DataType):
            out.text("arrow type", str(value))
            return
        if isinstance(value, pa.Scalar):
            out.text("arrow scalar", str(value.type))
            out.add(value.as_py())
            return
    if root == "pandas":
        import pandas as pd

        if isinstance(value, pd.Index):
            add_index(out, value)
            return
        if isinstance(value, pd.api.extensions.ExtensionDtype):
            out.text("pandas dtype", str(value))
            return
    hint = "collect() it first" if type(value).__name__ == "LazyFrame" else ""
    out.refuse(value, hint=hint)


@functools.cache
def _writers(root: str) -> dict[type, Callable[[Canonical, Any], None]]:
    """What to do with which class of a library that is loaded already: its values are here."""
    if root == "numpy":
        import numpy as np

        return {np.ndarray: add_array}
    if root == "pyarrow":
        import pyarrow as pa

        return {
            pa.Table: add_table,
            pa.RecordBatch: add_table,
            pa.ChunkedArray: lambda out, value: add_arrow_column(out, "arrow array", value),
            pa.Schema: lambda out, value: add_schema(out, "arrow schema", value),
            pa.Field: add_field,
        }
    if root == "pandas":
        import pandas as pd

        return {
            pd.DataFrame: add_frame,
            pd.Series: add_series,
            pd.Timestamp: lambda out, value: out.text(
                "pandas time", f"{value.asm8.view('i8')} {value.unit} {value.tz}"
            ),
            pd.Timedelta: lambda out, value: out.text("pandas span", f"{value.asm8.view('i8')} {value.unit}"),
            pd.Period: lambda out, value: out.text("pandas period", f"{value.ordinal} {value.freqstr}"),
            pd.Interval: lambda out, value: out.several(
                "pandas interval", (value.left, value.right, value.closed), 3
            ),
            type(pd.NA): lambda out, _: out.record("pandas NA"),
            type(pd.NaT): lambda out, _: out.record("pandas NaT"),
        }
    import polars as pl

    return {pl.DataFrame: add_polars, pl.Series: add_polars_series}
