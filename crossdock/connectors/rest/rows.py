"""Records as Arrow: a schema that is given, or found in the first records and then enforced. Nothing is dropped unasked."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from crossdock.connectors.rest.pages import Record
from crossdock.errors import RowError

__all__ = ["batches_of"]

_BATCH_ROWS = 8_192
_SAMPLE_ROWS = 8_192


def batches_of(
    pages: Iterable[list[Record]], schema: pa.Schema | None, where: str
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Pages as batches of some thousand rows.

    Without a schema the first 8,192 records are read here and now to find one: columns are the union of their names, in
    order of appearance; one without a value is text. A record that does not fit the schema afterwards is an error, as is a name it does not have.

    Raises:
        RowError: The sample has a column of several types.
    """
    source = iter(pages)
    if schema is not None:
        return schema, _batches(source, schema, where)
    sample: list[list[Record]] = []
    for page in source:
        sample.append(page)
        if sum(map(len, sample)) >= _SAMPLE_ROWS:
            break
    records = [*itertools.chain.from_iterable(sample)]
    found = pa.schema(
        [(name, _type_of(records, name, where)) for name in dict.fromkeys(itertools.chain(*records))]
    )
    return found, _batches(itertools.chain(sample, source), found, where)


def _type_of(records: list[Record], name: str, where: str) -> pa.DataType:
    try:
        found = pa.array([record.get(name) for record in records]).type
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise RowError(
            f"the column {name!r} has values of several types: {error}",
            operation="read",
            where=where,
            hint="give schema=, and mend the values with records and a function of your own",
        ) from error
    return pa.string() if pa.types.is_null(found) else found


def _batches(pages: Iterator[list[Record]], schema: pa.Schema, where: str) -> Iterator[pa.RecordBatch]:
    held: list[Record] = []
    done = 0
    for page in pages:
        held += page
        while len(held) >= _BATCH_ROWS:
            yield _batch(held[:_BATCH_ROWS], schema, done, where)
            held, done = held[_BATCH_ROWS:], done + _BATCH_ROWS
    if held:
        yield _batch(held, schema, done, where)


def _batch(records: list[Record], schema: pa.Schema, before: int, where: str) -> pa.RecordBatch:
    names = {*schema.names}
    for index, record in enumerate(records):
        if not names.issuperset(record):
            extra = sorted(set(record) - names)
            raise RowError(
                f"record {before + index} has {', '.join(map(repr, extra))}, which the schema has not",
                operation="read",
                where=where,
                hint="give schema= with all columns; it was found in the first records, unless it was given",
            )
    columns = [_column(records, column, before, where) for column in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _column(records: list[Record], column: pa.Field[Any], before: int, where: str) -> pa.Array[Any]:
    values = [record.get(column.name) for record in records]
    try:
        return _exact(values, column)
    except (
        pa.ArrowInvalid,
        pa.ArrowTypeError,
        pa.ArrowNotImplementedError,
        OverflowError,
        ValueError,
    ) as error:
        for index, value in enumerate(values):
            try:
                _exact([value], column)
            except (
                pa.ArrowInvalid,
                pa.ArrowTypeError,
                pa.ArrowNotImplementedError,
                OverflowError,
                ValueError,
            ):
                raise _misfit(before + index, column, type(value).__name__, error, where) from error
        raise _misfit(before, column, "value", error, where) from error


def _misfit(row: int, column: pa.Field[Any], kind: str, error: Exception, where: str) -> RowError:
    return RowError(
        f"record {row} has in {column.name!r} a {kind} that is no {column.type}: {error}",
        operation="read",
        where=where,
        hint="give schema= with the type it should have",
    )


def _exact(values: list[Any], column: pa.Field[Any]) -> pa.Array[Any]:
    """Values of a column's type, none bent: pyarrow would drop members that a struct has not, and take any truth for 1."""
    for value in values:
        _fits(value, column.type)
    if not column.nullable and any(value is None for value in values):
        raise ValueError("it is null")
    texts = pa.types.is_temporal(column.type) or pa.types.is_decimal(column.type)
    if texts and all(value is None or isinstance(value, str) for value in values):
        made: pa.Array[Any] = pa.array(values, pa.string()).cast(column.type)
        return made
    typed: pa.Array[Any] = pa.array(values, column.type)
    return typed


def _fits(value: Any, wanted: pa.DataType) -> None:
    if isinstance(value, bool) and not pa.types.is_boolean(wanted):
        raise ValueError("a truth value")
    if isinstance(value, dict) and pa.types.is_struct(wanted):
        known = {wanted.field(index).name: wanted.field(index).type for index in range(wanted.num_fields)}
        if extra := sorted(set(value) - set(known)):
            raise ValueError(f"the struct has no {', '.join(map(repr, extra))}")
        for name, each in value.items():
            _fits(each, known[name])
    elif isinstance(value, list) and (pa.types.is_list(wanted) or pa.types.is_large_list(wanted)):
        for each in value:
            _fits(each, wanted.value_type)
