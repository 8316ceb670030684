"""Select, rename, cast, filter and limit on record batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from crossdock.batches import Batches
from crossdock.errors import ConfigError
from crossdock.formats.bad_rows import BadRows, OnBadRow
from crossdock.formats.schemas import Fitting, as_schema, told

__all__ = ["as_cast", "derived", "filtered", "limited", "renamed", "selected"]


def derived(
    before: Batches,
    schema: pa.Schema,
    batches: Iterator[pa.RecordBatch],
    close: Callable[[], None] | None = None,
) -> Batches:
    """What a step makes of the batches before it: their name stays, and closing closes them."""
    made = Batches(schema, batches, close=close or before.close)
    made.name = before.name
    return made


def _demand(schema: pa.Schema, names: Any, operation: str) -> None:
    missing = [name for name in names if name not in schema.names]
    if missing:
        raise ConfigError(
            f"there is no column {', '.join(map(repr, missing))}",
            operation=operation,
            hint=f"columns: {', '.join(schema.names)}",
        )


def selected(batches: Batches, columns: tuple[str, ...]) -> Batches:
    """Only these columns."""
    _demand(batches.schema, columns, "select")
    schema = pa.schema([batches.schema.field(name) for name in columns], metadata=told(batches.schema))
    return batches.map(lambda batch: batch.select(list(columns)), schema)


def renamed(batches: Batches, names: Mapping[str, str]) -> Batches:
    """Other names."""
    _demand(batches.schema, names, "rename")
    fresh = [names.get(name, name) for name in batches.schema.names]
    twice = sorted({name for name in fresh if fresh.count(name) > 1})
    if twice:
        raise ConfigError(f"two columns would be named {', '.join(twice)}", operation="rename")
    fields = [field.with_name(name) for field, name in zip(batches.schema, fresh, strict=True)]
    schema = pa.schema(fields, metadata=told(batches.schema))
    return batches.map(lambda batch: pa.RecordBatch.from_arrays(batch.columns, schema=schema), schema)


def as_cast(batches: Batches, given: Any, policy: OnBadRow) -> Batches:
    """Other types."""
    wanted = as_schema(given)
    if not isinstance(given, pa.Schema):
        _demand(batches.schema, wanted.names, "cast")
        kinds = {field.name: field.type for field in wanted}
        wanted = pa.schema(
            [field.with_type(kinds.get(field.name, field.type)) for field in batches.schema],
            metadata=told(batches.schema),
        )
    bad = BadRows(policy, name=batches.name, what="cast")
    fitting = Fitting(wanted, bad)

    def rows() -> Iterator[pa.RecordBatch]:
        yield from map(fitting, batches)
        bad.end()

    def close() -> None:
        bad.close()
        batches.close()

    return derived(batches, wanted, rows(), close)


def filtered(batches: Batches, condition: Any) -> Batches:
    """Rows for which a condition holds."""
    is_function = callable(condition) and not isinstance(condition, pa.compute.Expression)

    def keep(batch: pa.RecordBatch) -> pa.RecordBatch:
        try:
            return batch.filter(condition(batch) if is_function else condition)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, TypeError) as error:
            if is_function and isinstance(error, TypeError) and not isinstance(error, pa.ArrowTypeError):
                raise
            raise ConfigError(
                f"the condition does not fit the rows: {str(error).partition(chr(10))[0]}",
                operation="filter",
                hint=f"columns: {', '.join(f'{each.name}: {each.type}' for each in batches.schema)}",
            ) from error

    return batches.map(keep)


def limited(batches: Batches, rows: int) -> Batches:
    """The first rows; the source is closed with the last of them."""

    def first() -> Iterator[pa.RecordBatch]:
        left = rows
        while left:
            batch = next(batches, None)
            if batch is None:
                return
            taken = batch.slice(0, left)
            left -= taken.num_rows
            if not left:
                batches.close()
            yield taken

    if not rows:
        batches.close()
    return derived(batches, batches.schema, first())
