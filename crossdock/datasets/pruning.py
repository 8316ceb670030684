"""Which objects can hold rows that are asked for, told by their partitions; nothing is opened for it.

pyarrow knows what a condition becomes where columns are constant: each object is handed to it with its partition's values as
what holds for all of its rows, and those for which the condition cannot hold are left out.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.fs

from crossdock.datasets.hive import as_values
from crossdock.datasets.listing import Fragment
from crossdock.errors import ConfigError

__all__ = ["condition_of", "needed", "pruned"]


def condition_of(where: Any, schema: pa.Schema) -> pc.Expression | None:
    """A condition as an expression: as given, or from a mapping of columns to a value, several, or ``None`` for null.

    Raises:
        ConfigError: It fits no column.
    """
    if where is None:
        return None
    condition = where
    if isinstance(where, Mapping):
        parts = [_equal(name, value, schema) for name, value in where.items()]
        condition = functools.reduce(lambda one, other: one & other, parts) if parts else pc.scalar(True)
    if not isinstance(condition, pc.Expression):
        raise ConfigError(
            f"a condition is a pyarrow expression or a mapping of columns to values, not {type(where).__name__}",
            operation="read",
            hint='where={"year": 2024, "month": [1, 2]}',
        )
    try:
        _empty(schema).filter(condition)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, TypeError) as error:
        raise ConfigError(
            f"the condition does not fit the columns: {str(error).partition(chr(10))[0]}",
            operation="read",
            hint=f"columns: {', '.join(f'{each.name}: {each.type}' for each in schema)}",
        ) from error
    return condition


def _equal(name: str, value: Any, schema: pa.Schema) -> pc.Expression:
    if name not in schema.names:
        raise ConfigError(
            f"there is no column {name!r}", operation="read", hint=f"columns: {', '.join(schema.names)}"
        )
    column, kind = pc.field(name), schema.field(name).type
    several = isinstance(value, list | tuple | set | frozenset)
    values = list(value) if several else [value]
    try:
        known = pa.array([each for each in values if each is not None], kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as error:
        raise ConfigError(f"{value!r} is no value of {name!r}, which is {kind}", operation="read") from error
    condition = column == known[0] if len(known) == 1 else column.isin(known)
    return condition | column.is_null() if None in values else condition


def _empty(schema: pa.Schema) -> pa.Table:
    return pa.Table.from_batches([], schema)


def needed(condition: pc.Expression | None, columns: Sequence[str], schema: pa.Schema) -> list[str]:
    """The columns asked for and those the condition looks at, in the schema's order."""
    wanted = set(columns)
    if condition is not None:
        # An expression does not tell its columns: one without which it cannot be bound is one of them.
        for name in schema.names:
            others = pa.schema([each for each in schema if each.name != name])
            try:
                _empty(others).filter(condition)
            except pa.ArrowInvalid:
                wanted.add(name)
    return [name for name in schema.names if name in wanted]


def pruned(fragments: Sequence[Fragment], condition: pc.Expression | None) -> list[Fragment]:
    """The fragments that may have rows for which the condition holds, in their order."""
    if condition is None or not fragments:
        return list(fragments)
    kinds = {each.name: each.type for each in fragments[0].schema}
    values = _typed(fragments, kinds)
    known = pyarrow.dataset.FileSystemDataset.from_paths(
        [str(number) for number in range(len(fragments))],
        schema=fragments[0].schema,
        format=pyarrow.dataset.ParquetFileFormat(),  # of which nothing is used: nothing is opened
        filesystem=pyarrow.fs.LocalFileSystem(),
        partitions=[_holds(fragment, values, kinds) for fragment in fragments],
    )
    return [fragments[int(each.path)] for each in known.get_fragments(filter=condition)]


def _typed(fragments: Sequence[Fragment], kinds: Mapping[str, pa.DataType]) -> dict[tuple[str, str], Any]:
    """Every text of every partition column as a scalar of its type."""
    texts: dict[str, dict[str, None]] = {}
    for fragment in fragments:
        for name, text in fragment.values:
            if text is not None and name in kinds:
                texts.setdefault(name, {})[text] = None
    return {
        (name, text): value
        for name, found in texts.items()
        for text, value in zip(found, as_values(found, kinds[name], name), strict=True)
    }


def _holds(
    fragment: Fragment, values: Mapping[tuple[str, str], Any], kinds: Mapping[str, pa.DataType]
) -> pc.Expression:
    """What is true of every row of an object."""
    parts = []
    for name, text in fragment.values:
        if name in kinds:
            column = pc.field(name)
            parts.append(column.is_null() if text is None else column == values[name, text])
    return functools.reduce(lambda one, other: one & other, parts) if parts else pc.scalar(True)
