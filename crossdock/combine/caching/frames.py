"""Tables, frames and arrays in a cache: as Arrow's stream format, or as raw bytes with their type.

A frame that would not come back as it went in (mixed objects in a column, exotic types) is refused when it is written:
what is written is read again and compared.
"""

from __future__ import annotations

import base64
from typing import Any

from crossdock.combine.caching.fingerprint import fingerprint
from crossdock.errors import ConfigError

__all__ = ["decode_data", "encode_data"]

_HINT = "write it to a bucket yourself, as Parquet for example, and return its URL"


def encode_data(value: Any, place: str) -> Any:
    """A value of NumPy, Arrow, pandas or polars as something ``json.dumps`` takes.

    Raises:
        ConfigError: It is of another class, or does not survive the way there and back.
    """
    root = type(value).__module__.partition(".")[0]
    try:
        kept = {"numpy": _from_numpy, "pyarrow": _from_arrow, "pandas": _from_pandas, "polars": _from_polars}[
            root
        ](value)
        same = kept is not None and (
            fingerprint(_decoded(kept)) == fingerprint(value) or getattr(value, "shape", None) == (0, 0)
        )  # an empty frame has as many forms as ways to make one
    except _failures() as error:
        raise ConfigError(
            f"{place}, a {root} {type(value).__name__}, cannot be kept in a cache: {error}",
            operation="cache",
            hint=_HINT,
        ) from error
    if not same:
        why = "is of a kind that is not kept" if kept is None else "would not come back as it is"
        raise ConfigError(
            f"{place}, a {root} {type(value).__name__}, cannot be kept in a cache: it {why}",
            operation="cache",
            hint=_HINT,
        )
    return kept


def decode_data(text: dict[str, Any]) -> Any:
    """The value back.

    Raises:
        ValueError: It is not what ``encode_data`` writes.
    """
    try:
        return _decoded(text)
    except _failures() as error:
        raise ValueError(str(error)) from error


def _failures() -> tuple[type[Exception], ...]:
    """What these libraries raise for data they do not take."""
    import pyarrow as pa

    return (
        pa.ArrowException,
        TypeError,
        ValueError,
        KeyError,
        AttributeError,
        NotImplementedError,
        ImportError,
        ConfigError,
    )


def _decoded(text: dict[str, Any]) -> Any:
    kind = text["$"]
    if kind == "array":
        return _to_numpy(text)
    if kind == "schema":
        import pyarrow as pa

        return pa.ipc.read_schema(pa.py_buffer(_bytes_of(text["v"])))
    if kind == "arrow":
        table = _table_of(text["v"])
        return table if not text["batch"] else _one_batch(table)
    if kind == "pandas":
        return _to_pandas(text)
    return _to_polars(text)


def _bytes_of(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _text_of(data: Any) -> str:
    return base64.b64encode(data).decode()


def _from_numpy(value: Any) -> dict[str, Any] | None:
    import numpy as np

    if not isinstance(value, np.generic) and type(value) is not np.ndarray:
        return None
    array = np.asarray(value)
    if array.dtype.hasobject or array.dtype.names is not None or array.dtype.kind == "T":
        return None
    data = _text_of(np.ascontiguousarray(array).tobytes())
    return {
        "$": "array",
        "dtype": array.dtype.str,
        "shape": list(array.shape),
        "scalar": array is not value,
        "v": data,
    }


def _to_numpy(text: dict[str, Any]) -> Any:
    import numpy as np

    dtype = np.dtype(str(text["dtype"]))
    if dtype.hasobject:
        raise ValueError("an array of objects")
    array = np.frombuffer(_bytes_of(text["v"]), dtype).reshape([int(each) for each in text["shape"]])
    return array[()] if text["scalar"] else array.copy()


def _from_arrow(value: Any) -> dict[str, Any] | None:
    import pyarrow as pa

    if type(value) is pa.Schema:
        return {"$": "schema", "v": _text_of(value.serialize())}
    if type(value) not in (pa.Table, pa.RecordBatch):
        return None
    return {"$": "arrow", "batch": type(value) is pa.RecordBatch, "v": _stream_of(value)}


def _stream_of(table: Any) -> str:
    import pyarrow as pa

    into = pa.BufferOutputStream()
    with pa.ipc.new_stream(into, table.schema) as writer:
        writer.write(table)
    return _text_of(into.getvalue())


def _table_of(text: str) -> Any:
    """The table; checked, because nobody knows who wrote it."""
    import pyarrow as pa

    table = pa.ipc.open_stream(pa.py_buffer(_bytes_of(text))).read_all()
    table.validate(full=True)
    return table


def _one_batch(table: Any) -> Any:
    import pyarrow as pa

    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


def _from_pandas(value: Any) -> dict[str, Any] | None:
    import pandas as pd
    import pyarrow as pa

    if type(value) is pd.DataFrame and len({type(label) for label in value.columns}) < 2:
        return {"$": "pandas", "series": False, "v": _stream_of(pa.Table.from_pandas(value))}
    if type(value) is pd.Series:
        if value.name is not None and not isinstance(value.name, str):
            return None
        frame = value.to_frame("values")
        return {
            "$": "pandas",
            "series": True,
            "name": value.name,
            "v": _stream_of(pa.Table.from_pandas(frame)),
        }
    if isinstance(value, pd.Timestamp) and value is not pd.NaT:
        zone = str(value.tz) if value.tz is not None else None
        return {
            "$": "pandas",
            "series": None,
            "unit": value.unit,
            "zone": zone,
            "v": int(value.asm8.view("i8")),
        }
    return None


def _to_pandas(text: dict[str, Any]) -> Any:
    import pandas as pd

    if text["series"] is None:
        stamp = pd.Timestamp(int(text["v"]), unit=text["unit"]).as_unit(text["unit"])
        return stamp if text["zone"] is None else stamp.tz_localize("UTC").tz_convert(text["zone"])
    frame = _table_of(text["v"]).to_pandas()
    return frame["values"].rename(text["name"]) if text["series"] else frame


def _from_polars(value: Any) -> dict[str, Any] | None:
    import polars as pl

    if type(value) is pl.DataFrame:
        return {"$": "polars", "series": False, "v": _stream_of(value.to_arrow())}
    if type(value) is pl.Series:
        return {
            "$": "polars",
            "series": True,
            "name": value.name,
            "v": _stream_of(value.to_frame("values").to_arrow()),
        }
    return None


def _to_polars(text: dict[str, Any]) -> Any:
    import polars as pl

    frame = pl.DataFrame(_table_of(text["v"]))
    return frame.get_column("values").alias(text["name"]) if text["series"] else frame
