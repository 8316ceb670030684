"""Which columns a stream has: what was found, what was asked for, and how the one becomes the other. By name, never by place."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from crossdock.errors import ConfigError
from crossdock.formats.bad_rows import BadRow, BadRows

__all__ = [
    "Evolve",
    "Fitting",
    "as_schema",
    "as_type",
    "demand_unique",
    "fitted",
    "resolve",
    "settled",
    "told",
]

Evolve = Literal["never", "missing", "add", "drop"]


def as_type(kind: Any) -> pa.DataType:
    """A pyarrow type, or its name (``int64``, ``timestamp[us, tz=UTC]``, ``decimal128(10, 2)``).

    Raises:
        ConfigError: There is no such type.
    """
    if isinstance(kind, pa.DataType):
        return kind
    text = str(kind).strip()
    arrow: Any = pa  # whose stubs know literals only
    try:
        if text.startswith("decimal"):
            name, _, rest = text.partition("(")
            precision, scale = (int(each) for each in rest.rstrip(")").split(","))
            make = pa.decimal256 if name.strip() == "decimal256" else pa.decimal128
            return make(precision, scale)
        if text.startswith("timestamp[") and "," in text:
            unit, _, zone = text[len("timestamp[") : -1].partition(",")
            known: pa.DataType = arrow.timestamp(unit.strip(), tz=zone.strip().removeprefix("tz="))
        else:
            known = arrow.type_for_alias(text)
    except (ValueError, pa.ArrowException) as error:
        raise ConfigError(
            f"there is no column type {text!r}", operation="decode", hint="give a pyarrow type, or its name"
        ) from error
    return known


def as_schema(given: Any) -> pa.Schema:
    """A pyarrow schema, or a mapping of names to types."""
    if isinstance(given, pa.Schema):
        return given
    if isinstance(given, Mapping):
        return pa.schema([(name, as_type(kind)) for name, kind in given.items()])
    raise ConfigError(
        f"a schema is a pyarrow.Schema or a mapping of names to types, not {type(given).__name__}",
        operation="decode",
    )


def settled(found: pa.Schema) -> pa.Schema:
    """An inferred schema made fit to be kept: a column without a value is text, and times have microseconds."""
    return pa.schema([field.with_type(_settled(field.type)) for field in found])


def _settled(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_timestamp(kind) and kind.unit == "s":
        return pa.timestamp("us", tz=kind.tz)
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_settled(field.type)) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(_settled(kind.value_type))
    return kind


def told(schema: pa.Schema) -> Any:
    """The schema's metadata, for another of its kind."""
    return schema.metadata


def demand_unique(names: Iterable[str], *, where: str) -> None:
    """Columns are told by their names.

    Raises:
        ConfigError: Two have the same.
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ConfigError(
                f"there are two columns {name!r}",
                operation="decode",
                where=where,
                hint="give column_names, or another schema, so that every column has a name of its own",
            )
        seen.add(name)


def resolve(found: pa.Schema, wanted: pa.Schema | None, evolve: Evolve, *, where: str = "") -> pa.Schema:
    """The schema of the stream, from what an object has and what was asked for.

    Args:
        found: The object's columns.
        wanted: The schema asked for; without one the object's own is taken.
        evolve: ``never``: both have the same columns, in any order. ``missing``: those the object lacks are null. ``drop``: and
            those nobody asked for are left out. ``add``: and those are added behind the others.
        where: The object, for the error.

    Raises:
        ConfigError: Columns are missing or unknown, and ``evolve`` does not allow it.
    """
    demand_unique(found.names, where=where)
    if wanted is None:
        return found
    demand_unique(wanted.names, where=where)
    missing = [name for name in wanted.names if name not in found.names]
    extra = [name for name in found.names if name not in wanted.names]
    if missing and evolve == "never":
        raise ConfigError(
            f"columns of the schema are missing: {', '.join(missing)}",
            operation="decode",
            where=where,
            hint="evolve='missing' makes them null",
        )
    if extra and evolve in ("never", "missing"):
        raise ConfigError(
            f"there are columns that the schema does not have: {', '.join(extra)}",
            operation="decode",
            where=where,
            hint="evolve='add' takes them, evolve='drop' leaves them out",
        )
    required = [name for name in missing if not wanted.field(name).nullable]
    if required:
        raise ConfigError(
            f"columns that may not be null are missing: {', '.join(required)}",
            operation="decode",
            where=where,
        )
    added = [found.field(name) for name in extra] if evolve == "add" else []
    return pa.schema([*wanted, *added], metadata=told(wanted))


def fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table in the schema, all of it or none.

    Raises:
        pyarrow.ArrowInvalid: A value does not fit.
    """
    if table.schema == schema:
        return table
    try:
        return table.select(schema.names).cast(schema)
    except ValueError as error:  # null where none may be
        raise pa.ArrowInvalid(str(error)) from error


class Fitting:
    """Batches of one schema made to fit another, by name: missing columns null, types cast without loss. One stream."""

    def __init__(self, schema: pa.Schema, bad: BadRows) -> None:
        self.schema = schema
        self._bad = bad
        self._rows = 0

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch in the schema; rows that do not fit go where bad rows go."""
        start = self._rows
        self._rows += batch.num_rows
        if batch.schema.equals(self.schema):
            return batch
        wrong: dict[int, tuple[str, str]] = {}
        columns = [self._fitted(batch, field, wrong) for field in self.schema]
        for index in sorted(wrong):
            reason, name = wrong[index]
            text = _row_text(batch, index)
            self._bad.take(BadRow(number=start + index + 1, raw=text, reason=reason, column=name))
        if not wrong:
            return pa.RecordBatch.from_arrays(columns, schema=self.schema)
        kept = pa.array([index for index in range(batch.num_rows) if index not in wrong], pa.int64())
        return pa.RecordBatch.from_arrays([each.take(kept) for each in columns], schema=self.schema)

    def _fitted(
        self, batch: pa.RecordBatch, field: pa.Field[Any], wrong: dict[int, tuple[str, str]]
    ) -> pa.Array[Any]:
        """The column in its type; rows that do not fit are noted, and null in it."""
        if field.name not in batch.schema.names:
            nothing: pa.Array[Any] = pa.nulls(batch.num_rows, field.type)
            return nothing
        column = batch.column(field.name)
        try:
            return _cast(column, field)
        except pa.ArrowNotImplementedError as error:
            raise ConfigError(
                f"column {field.name!r} is {column.type} and cannot become {field.type}", operation="cast"
            ) from error
        except pa.ArrowInvalid:
            unfit = dict(_unfit(column, field, 0))
        for index, reason in unfit.items():
            wrong.setdefault(index, (reason, field.name))
        mask = pa.array([index in unfit for index in range(len(column))], pa.bool_())
        return _cast(pc.if_else(mask, pa.scalar(None, column.type), column), field.with_nullable(True))


def _cast(column: pa.Array[Any], field: pa.Field[Any]) -> pa.Array[Any]:
    """Without loss, or an error."""
    if not field.nullable and column.null_count:
        raise pa.ArrowInvalid("null in a column that may not be null")
    return column if column.type == field.type else column.cast(field.type)


def _unfit(column: pa.Array[Any], field: pa.Field[Any], start: int) -> Iterable[tuple[int, str]]:
    """The rows that do not fit, in order, found by halving: a cast tells that something is wrong, not where."""
    try:
        _cast(column, field)
    except pa.ArrowInvalid as error:
        if len(column) == 1:
            yield start, str(error).partition("\n")[0]
            return
        half = len(column) // 2
        yield from _unfit(column.slice(0, half), field, start)
        yield from _unfit(column.slice(half), field, start + half)


def _row_text(batch: pa.RecordBatch, index: int) -> str:
    return json.dumps(batch.slice(index, 1).to_pylist()[0], default=str, ensure_ascii=False)
