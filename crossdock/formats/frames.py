"""A function of one's own on each batch, as Arrow, pandas or polars has it; what comes back has one schema."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from crossdock.batches import Batches
from crossdock.errors import ConfigError, RowError
from crossdock.formats.bad_rows import BadRows
from crossdock.formats.schemas import Fitting, as_schema, settled
from crossdock.formats.shaping import derived

__all__ = ["transformed"]


def transformed(batches: Batches, function: Callable[[Any], Any], frame: str, given: Any) -> Batches:
    """The results, in the schema given, or in that of the first result with rows."""
    results = _results(batches, function, _TO_FRAME[frame])
    if given is not None:
        schema, ahead = as_schema(given), list[pa.Table]()
    else:
        schema, ahead = _told(results, batches)
    fitting = Fitting(schema, BadRows("fail", name=batches.name, what="transform"))

    def rows() -> Iterator[pa.RecordBatch]:
        for table in itertools.chain(ahead, results):
            for batch in _fit(table, schema, fitting):
                if batch.num_rows:
                    yield batch

    return derived(batches, schema, rows())


def _results(
    batches: Batches, function: Callable[[Any], Any], to_frame: Callable[[pa.RecordBatch], Any]
) -> Iterator[pa.Table]:
    for batch in batches:
        made = function(to_frame(batch))
        if made is None:
            raise ConfigError(
                f"{getattr(function, '__qualname__', function)!s} returned nothing",
                operation="transform",
                hint="return the rows; to drop them all, return an empty frame",
            )
        yield _table(made)


def _table(made: Any) -> pa.Table:
    if type(made).__module__.partition(".")[0] == "pandas" and hasattr(made, "reset_index"):
        made = made.reset_index(drop=all(name is None for name in made.index.names))
        return pa.Table.from_pandas(made, preserve_index=False).replace_schema_metadata(None)
    return Batches.of(made).read_all()


def _told(results: Iterator[pa.Table], batches: Batches) -> tuple[pa.Schema, list[pa.Table]]:
    """The schema, and the result that told it. A result without rows tells types badly: it is asked only if all are such."""
    empty: pa.Table | None = None
    for table in results:
        if table.num_rows:
            return settled(table.schema), [table]
        empty = table
    return (settled(empty.schema) if empty is not None else batches.schema), []


def _fit(table: pa.Table, schema: pa.Schema, fitting: Fitting) -> Iterator[pa.RecordBatch]:
    if not table.num_rows:
        return
    missing = [name for name in schema.names if name not in table.schema.names]
    extra = [name for name in table.schema.names if name not in schema.names]
    if missing or extra:
        text = ", ".join([*(f"lacks {name}" for name in missing), *(f"has also {name}" for name in extra)])
        raise ConfigError(
            f"a later result has other columns than the schema: it {text}",
            operation="transform",
            hint="return the same columns for every batch",
        )
    try:
        for batch in table.to_batches():
            yield fitting(batch)
    except RowError as error:
        error.hint = "give transform(..., schema=...) if the first result's types were not the right ones"
        raise


def _to_pandas(batch: pa.RecordBatch) -> Any:
    """Integers and booleans with nulls in pandas's nullable types: as floats they would be rounded."""
    import pandas as pd

    nullable = {
        pa.int8(): pd.Int8Dtype(),
        pa.int16(): pd.Int16Dtype(),
        pa.int32(): pd.Int32Dtype(),
        pa.int64(): pd.Int64Dtype(),
        pa.uint8(): pd.UInt8Dtype(),
        pa.uint16(): pd.UInt16Dtype(),
        pa.uint32(): pd.UInt32Dtype(),
        pa.uint64(): pd.UInt64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
    }
    with_nulls = {column.type for column in batch.columns if column.null_count}
    return batch.to_pandas(types_mapper=lambda kind: nullable.get(kind) if kind in with_nulls else None)


def _to_polars(batch: pa.RecordBatch) -> Any:
    import polars as pl

    return pl.from_arrow(batch)


_TO_FRAME: dict[str, Callable[[pa.RecordBatch], Any]] = {
    "arrow": lambda batch: batch,
    "pandas": _to_pandas,
    "polars": _to_polars,
}
