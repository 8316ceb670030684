"""Which columns of a stream go into which columns of a table, decided before the first row is pulled; then each batch made so.

By name, never by position. Nothing is rounded, cut or guessed: what does not fit is an error that names column and row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crossdock.batches import Batches
from crossdock.connectors.sql.casting import cast, demand
from crossdock.datasets.derived import Partitioner
from crossdock.errors import ConfigError, UnsupportedError
from crossdock.events import BytesMoved, emit
from crossdock.lakes.kinds import Array, Kind, Kinds, Unrepresentable, fits, plain

__all__ = ["Column", "Columns", "converted", "planned"]

_PARTITIONABLE = (
    pa.types.is_integer,
    pa.types.is_string,
    pa.types.is_date,
    pa.types.is_boolean,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """How one column of the stream becomes one of the table."""

    name: str
    kind: Kind
    convert: Callable[[Array], Array]
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What is written.

    Attributes:
        columns: Of the stream, derived ones behind the others; those that ``evolve`` drops are not among them.
        table: All columns of the table as it will be.
        added: Those that it does not have yet.
        partition_by: Its partition columns.
        partitioner: Makes those that the stream does not have.
        is_new: There is no such table, or it gets these columns instead of its own.
    """

    columns: tuple[Column, ...]
    table: pa.Schema
    added: tuple[str, ...]
    partition_by: tuple[str, ...]
    partitioner: Partitioner
    is_new: bool

    @property
    def given(self) -> pa.Schema:
        """The converted stream's columns, in its order."""
        return pa.schema([pa.field(each.name, each.kind) for each in self.columns])


def planned(
    stream: pa.Schema,
    there: pa.Schema | None,
    *,
    lake: str,
    kinds: Kinds,
    partitioner: Partitioner,
    partitioned_by: Sequence[str],
    evolve: str,
    folds_case: bool,
) -> Columns:
    """What becomes of each column.

    Args:
        stream: The stream's columns.
        there: The table's; without it the table is made of the stream's.
        lake: Its name, for errors.
        kinds: The lake's types.
        partitioner: What the caller wants the rows partitioned by.
        partitioned_by: What the table is partitioned by.
        evolve: As for ``xd.decode``: ``never``, ``missing``, ``add``, ``drop``.
        folds_case: Names that differ in case only are the same for the lake.

    Raises:
        ConfigError: Names are double, missing or unknown, or a type does not go into the table's.
        UnsupportedError: The lake has no type for a column.
    """
    if not stream.names:
        raise ConfigError("the stream has no columns", operation="write")
    _demand_unique(stream.names, folds_case=folds_case)
    whole = partitioner.schema_of(stream.remove_metadata())
    found = _typed(whole, lake, kinds)
    by = _agreed(partitioner.names, partitioned_by, is_new=there is None)
    if absent := [name for name in by if name not in found]:
        raise ConfigError(
            f"the table is partitioned by {', '.join(map(repr, absent))}, which the stream has not",
            operation="write",
            hint="give partition_by, if they are derived from other columns",
        )
    if there is None:
        table = pa.schema([pa.field(name, kind) for name, kind in found.items()])
        added: tuple[str, ...] = ()
    else:
        table, added = _evolved(found, there, whole, evolve)
    _demand_unique(table.names, folds_case=folds_case)
    _demand_partitionable(table, by)
    columns = tuple(
        Column(
            name=name,
            kind=table.field(name).type,
            convert=_conversion(whole.field(name).type, table.field(name).type),
            required=not table.field(name).nullable,
        )
        for name in found
        if name in table.names
    )
    return Columns(
        columns=columns,
        table=table,
        added=added,
        partition_by=by,
        partitioner=partitioner,
        is_new=there is None,
    )


def _demand_unique(names: Sequence[str], *, folds_case: bool) -> None:
    seen: set[str] = set()
    for name in names:
        if not name or "\0" in name:
            raise ConfigError(f"{name!r} cannot be a column's name", operation="write", hint="rename it")
        folded = name.lower() if folds_case else name
        if folded in seen:
            raise ConfigError(
                f"two columns are called {name!r}" + (" but for upper and lower case" if folds_case else ""),
                operation="write",
                hint="rename one",
            )
        seen.add(folded)


def _typed(schema: pa.Schema, lake: str, kinds: Kinds) -> dict[str, Kind]:
    kept, refused = {}, []
    for field in schema:
        try:
            kept[field.name] = kinds(field.type)
            nothing = pa.nulls(0, field.type)
            pc.cast(plain(field.type)(nothing), kept[field.name])
        except (Unrepresentable, pa.ArrowNotImplementedError, pa.ArrowInvalid) as why:
            refused.append(f"{field.name!r} ({field.type}: {str(why).partition(chr(10))[0]})")
    if refused:
        raise UnsupportedError(
            f"{lake} cannot hold columns {', '.join(refused)}",
            operation="write",
            hint="cast them, or turn them into text, before the sink",
        )
    return kept


def _agreed(wanted: Sequence[str], there: Sequence[str], *, is_new: bool) -> tuple[str, ...]:
    if is_new or not wanted:
        return tuple(wanted or there)
    if tuple(wanted) != tuple(there):
        raise ConfigError(
            f"the table is partitioned by {', '.join(there) or 'nothing'}, not by {', '.join(wanted)}",
            operation="write",
            hint="leave partition_by out, or write another table",
        )
    return tuple(there)


def _evolved(
    found: dict[str, Kind], there: pa.Schema, stream: pa.Schema, evolve: str
) -> tuple[pa.Schema, tuple[str, ...]]:
    """The table's columns and those added to them.

    Raises:
        ConfigError: They do not go together.
    """
    extra = [name for name in found if name not in there.names]
    missing = [name for name in there.names if name not in found]
    if extra and evolve in ("never", "missing"):
        raise ConfigError(
            f"the table has no column {', '.join(map(repr, extra))}",
            operation="write",
            hint="evolve='add' adds it, evolve='drop' leaves it out; mode='replace' makes the table anew",
        )
    needed = [name for name in missing if not there.field(name).nullable]
    if needed or (missing and evolve == "never"):
        raise ConfigError(
            f"the stream has no column {', '.join(map(repr, needed or missing))}"
            + (", which must not be null" if needed else ""),
            operation="write",
            hint="" if needed else "evolve='missing' makes it null",
        )
    unfit = [
        f"{name!r} ({stream.field(name).type} does not go into {there.field(name).type} exactly)"
        for name, kind in found.items()
        if name in there.names
        and not pa.types.is_null(stream.field(name).type)
        and not fits(kind, there.field(name).type)
    ]
    if unfit:
        raise ConfigError(
            f"columns {', '.join(unfit)}",
            operation="write",
            hint="cast them before the sink, or use mode='replace'",
        )
    if evolve != "add" or not extra:
        return there, ()
    return pa.schema([*there, *(pa.field(name, found[name]) for name in extra)]), tuple(extra)


def _demand_partitionable(table: pa.Schema, by: Sequence[str]) -> None:
    for name in by:
        kind = table.field(name).type
        if not any(is_one(kind) for is_one in _PARTITIONABLE):
            raise UnsupportedError(
                f"column {name!r} is {kind}, and tables are partitioned by whole numbers, text, dates and booleans",
                operation="write",
                hint=f"derive one: partition_by=[xd.date({name!r})]",
            )
    if len(by) == len(table.names):
        raise ConfigError("every column is a partition column", operation="write", hint="leave one out")


def _conversion(given: Kind, kept: Kind) -> Callable[[Array], Array]:
    """One array into its type in the table, exactly; an Arrow error otherwise."""
    ready = plain(given)

    def convert(array: Array) -> Array:
        made: Array = pc.cast(ready(array), kept)
        return made

    return convert


def converted(rows: Batches, plan: Columns) -> Batches:
    """The stream in the table's types, each value checked.

    Raises:
        RowError: While it is read: a value does not fit; with row and column.
    """
    schema = plan.given

    def each_batch() -> Iterator[pa.RecordBatch]:
        first_row = 0
        for batch in rows:
            complete = plan.partitioner.completed(batch)
            arrays = [_column(complete.column(each.name), each, first_row) for each in plan.columns]
            emit(BytesMoved(bytes=batch.nbytes))
            first_row += batch.num_rows
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    return Batches(schema, each_batch(), close=rows.close)


def _column(array: Any, column: Column, first_row: int) -> Array:
    made = cast(array, column.convert, column=column.name, first_row=first_row, what=f"a {column.kind}")
    if column.required and made.null_count:
        valid: Array = pc.is_valid(made)
        demand(made, valid, column=column.name, first_row=first_row, what="must not be null in this table")
    return made
