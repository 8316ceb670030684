"""Columns to partition by that the rows do not have yet: ``xd.hour("pickup")`` and its kin, as frozen values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crossdock.errors import ConfigError

__all__ = ["Derived", "Partitioner", "date", "day", "hour", "month", "partitioner_of", "year"]

_UNITS: dict[str, Callable[..., Any]] = {"year": pc.year, "month": pc.month, "day": pc.day, "hour": pc.hour}


@dataclass(frozen=True, slots=True, repr=False)
class Derived:
    """A part of a time, to partition by. Of a column with a time zone it is the zone's own; without one, as written.

    Attributes:
        unit: ``year``, ``month``, ``day`` (of the month), ``hour`` (of the day): whole numbers. ``date``: a date.
        column: A column of dates or timestamps.
    """

    unit: str
    column: str

    def __call__(self, batch: pa.RecordBatch) -> pa.Array[Any]:
        """One value a row; null where the column is."""
        values: Any = batch.column(self.column)
        kind = values.type
        if not (pa.types.is_timestamp(kind) or (pa.types.is_date(kind) and self.unit != "hour")):
            raise ConfigError(
                f"column {self.column!r} is {kind}, which has no {self.unit}",
                operation="partition",
                hint="give the column a time's type first: types={...} of xd.decode, or xd.cast",
            )
        if self.unit == "date":
            if pa.types.is_timestamp(kind) and kind.tz is not None:
                values = pc.local_timestamp(values)
            dates: pa.Array[Any] = pc.cast(values, pa.date32(), safe=False)
            return dates
        found: pa.Array[Any] = _UNITS[self.unit](values)
        return found

    def __repr__(self) -> str:
        return f"{self.unit}({self.column!r})"


def year(column: str) -> Derived:
    """The year of a time, for ``partition_by``."""
    return Derived("year", column)


def month(column: str) -> Derived:
    """The month of a time, 1 to 12, for ``partition_by``."""
    return Derived("month", column)


def day(column: str) -> Derived:
    """The day of the month of a time, 1 to 31, for ``partition_by``."""
    return Derived("day", column)


def hour(column: str) -> Derived:
    """The hour of the day of a time, 0 to 23, for ``partition_by``."""
    return Derived("hour", column)


def date(column: str) -> Derived:
    """The date of a time, for ``partition_by``."""
    return Derived("date", column)


@dataclass(frozen=True, slots=True)
class Partitioner:
    """What the rows are partitioned by, in the order of the key's segments: a column, or a function of a batch, under a name."""

    columns: tuple[tuple[str, Any], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the partition columns."""
        return tuple(name for name, _ in self.columns)

    def completed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows with the derived columns behind the others.

        Raises:
            ConfigError: A function gave something else than one value a row.
        """
        for name, of in self.columns:
            if isinstance(of, str):
                continue
            values = of(batch)
            if isinstance(values, pa.ChunkedArray):
                values = values.combine_chunks()
            if not isinstance(values, pa.Array) or len(values) != batch.num_rows:
                raise ConfigError(
                    f"the function for {name!r} gave {type(values).__name__}, not one value a row",
                    operation="partition",
                    hint="return a pyarrow array as long as the batch",
                )
            batch = batch.append_column(name, values)
        return batch

    def schema_of(self, schema: pa.Schema) -> pa.Schema:
        """The schema of ``completed``, told by a batch without rows.

        Raises:
            ConfigError: A column is missing, doubled, or all are partition columns.
        """
        if twice := sorted({name for name in schema.names if schema.names.count(name) > 1}):
            raise ConfigError(f"there are two columns {twice[0]!r}", operation="partition")
        for name, of in self.columns:
            needed = of.column if isinstance(of, Derived) else of
            if isinstance(needed, str) and needed not in schema.names:
                raise ConfigError(
                    f"there is no column {needed!r} to partition by",
                    operation="partition",
                    hint=f"columns: {', '.join(schema.names)}",
                )
            if not isinstance(of, str) and name in schema.names:
                raise ConfigError(
                    f"there is a column {name!r} already, so a derived one needs another name",
                    operation="partition",
                    hint=f'partition_by={{"{name}_of_...": {of!r}}}',
                )
        if not set(schema.names) - set(self.names):
            raise ConfigError(
                "every column is a partition column, so the objects would have none",
                operation="partition",
                hint="leave one column out of partition_by",
            )
        if self.columns:
            _demand_splittable(schema)
        empty = pa.RecordBatch.from_arrays(
            [pa.array([], each.type) for each in schema], schema=schema.remove_metadata()
        )
        return self.completed(empty).schema


def _demand_splittable(schema: pa.Schema) -> None:
    """Rows are taken out of batches by their positions, which pyarrow cannot do for every type.

    Raises:
        ConfigError: It cannot for a column's.
    """
    for each in schema:
        nothing: Any = pa.array([], each.type)
        try:
            nothing.take(pa.array([], pa.int64()))
        except pa.ArrowNotImplementedError as error:
            raise ConfigError(
                f"column {each.name!r} is {each.type}, of which pyarrow cannot take single rows",
                operation="partition",
                hint=f"cast it first, such as xd.cast({{{each.name!r}: 'string'}})",
            ) from error


def partitioner_of(given: str | Sequence[Any] | Mapping[str, Any]) -> Partitioner:
    """From what a user wrote: a name, names, ``Derived`` values, or a mapping of names to names or functions.

    Raises:
        ConfigError: It is none of these, or a name comes twice.
    """
    columns: list[tuple[Any, Any]] = []
    if isinstance(given, Mapping):
        columns = list(given.items())
    else:
        for each in [given] if isinstance(given, str | Derived) else given:
            columns.append((each.unit, each) if isinstance(each, Derived) else (each, each))
    known: list[Any] = []
    for name, of in columns:
        if not isinstance(name, str) or not name or not (isinstance(of, str) or callable(of)):
            raise ConfigError(
                f"partition_by cannot be {of!r}",
                operation="partition",
                hint='give column names, or {"hour": xd.hour("pickup")}',
            )
        if isinstance(of, str) and of != name:
            raise ConfigError(
                f"column {of!r} cannot be partitioned by under the name {name!r}",
                operation="partition",
                hint="rename it first: xd.rename({...})",
            )
        if name in known:
            raise ConfigError(f"partition_by names {name!r} twice", operation="partition")
        known.append(name)
    return Partitioner(tuple(columns))
