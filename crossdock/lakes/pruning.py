"""Which data files can hold rows that are asked for, told by what a lake's log says of their columns; nothing is opened for it.

What is known of a file becomes an expression that holds for all of its rows; pyarrow knows which files a condition then
leaves. Made here and not by a lake's library: where the log has bounds of some columns only, deltalake (1.6) states of the others
that they are less than null, and their rows are gone from every filtered read.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["Known", "survivors"]

_MILLISECOND = dt.timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What holds for all rows of a file.

    Attributes:
        constant: Columns of one value, perhaps null.
        bounds: Least and greatest value, nulls aside.
        no_nulls: Columns without any.
    """

    constant: Mapping[str, Any] = field(default_factory=dict)
    bounds: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    no_nulls: frozenset[str] = frozenset()


def survivors(known: Sequence[Known], schema: pa.Schema, condition: Any) -> list[int]:
    """The numbers of the files that may have rows for which the condition holds, in order."""
    if condition is None or not known:
        return list(range(len(known)))
    from pyarrow import dataset, fs  # loads pandas, 60 MiB that a sink does not need

    files = dataset.FileSystemDataset.from_paths(
        [str(number) for number in range(len(known))],
        schema=schema,
        format=dataset.ParquetFileFormat(),  # of which nothing is used: nothing is opened
        filesystem=fs.LocalFileSystem(),
        partitions=[_holds(each, schema) for each in known],
    )
    return [int(each.path) for each in files.get_fragments(filter=condition)]


def _holds(known: Known, schema: pa.Schema) -> pc.Expression:
    parts = []
    for name, value in known.constant.items():
        column = pc.field(name)
        parts.append(
            column.is_null() if value is None else column == pa.scalar(value, schema.field(name).type)
        )
    for name, (least, greatest) in known.bounds.items():
        kind = schema.field(name).type
        if not _is_bounded(kind):
            continue
        column, low, high = pc.field(name), pa.scalar(least, kind), pa.scalar(_rounded_up(greatest), kind)
        between = (column >= low) & (column <= high)
        parts.append(between if name in known.no_nulls else between | column.is_null())
    return functools.reduce(lambda one, other: one & other, parts) if parts else pc.scalar(True)


def _is_bounded(kind: pa.DataType) -> bool:
    """Floats are not: whether NaN counts is every writer's own affair."""
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_string(kind)
        or pa.types.is_date(kind)
        or pa.types.is_timestamp(kind)
    )


def _rounded_up(value: Any) -> Any:
    """Delta's writers cut moments to milliseconds, the greatest too."""
    if not isinstance(value, dt.datetime):
        return value
    try:
        return value + _MILLISECOND
    except OverflowError:
        return value
