"""What ``map`` maps over: which arguments are iterated, and row by row what each item gets.

Lazy throughout: a row is made when a runner has room for it. Text, bytes, mappings, paths, tables and frames are
values, not columns; so is whatever is wrapped in ``unmapped``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import Any

from crossdock.errors import CompositionError, MapLengthMismatch
from crossdock.model import Outcome
from crossdock.ports import ByteStream

__all__ = ["Columns", "OutcomesInOrder", "UpstreamFailure", "flatten", "unmapped"]

_END = object()


class _Wrapped:
    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Unmapped(_Wrapped):
    """A value every item gets whole; made by ``unmapped``."""


class Flattened(_Wrapped):
    """Iterables to be taken apart one level; made by ``flatten``."""


def unmapped(value: Any) -> Any:
    """Give a value to every item whole, even if it could be iterated."""
    return Unmapped(value)


def flatten(values: Any) -> Any:
    """Map over the elements of the elements: one level, lazily, in order.

    ``values`` may be another map's result: each of its values is taken apart as it arrives, and an item of it that
    failed becomes one ``upstream_failed`` item here.
    """
    return Flattened(values)


class OutcomesInOrder:
    """What a map's result is to another map: outcomes, in input order, each as soon as it is known."""

    def in_order(self) -> Iterator[Outcome]:
        """Outcomes in input order; waits for each."""
        raise NotImplementedError


class UpstreamFailure:
    """Stands in a row where a value would be, had the item it comes from not failed."""

    __slots__ = ("outcome",)

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


def is_column(value: Any) -> bool:
    """Whether ``map`` iterates a value rather than giving it to every item."""
    if isinstance(value, Flattened | OutcomesInOrder):
        return True
    scalar = isinstance(value, Unmapped | str | bytes | bytearray | memoryview | Mapping | os.PathLike)
    if scalar or hasattr(value, "__arrow_c_stream__") or hasattr(value, "__dataframe__"):
        return False
    return isinstance(value, Iterable) and not isinstance(value, ByteStream)


class Columns:
    """The mapped arguments of one map, iterated once.

    Attributes:
        names: The mapped parameters.
        constants: The other parameters and their values.
        total: The number of rows if it is known beforehand.

    Raises:
        MapLengthMismatch: Two arguments of known length differ.
        CompositionError: Nothing is mapped.
    """

    def __init__(self, task: str, arguments: Mapping[str, Any]) -> None:
        self._task = task
        columns = {name: value for name, value in arguments.items() if is_column(value)}
        if not columns:
            raise CompositionError(
                f"map of {task!r} has nothing to map over: every argument is a single value",
                hint="give at least one list, tuple or iterator; text, dicts, paths and frames are single values",
            )
        self.names = tuple(columns)
        self.constants = {
            name: value.value if isinstance(value, Unmapped) else value
            for name, value in arguments.items()
            if name not in columns
        }
        known = {name: len(value) for name, value in columns.items() if _has_known_length(value)}
        if len(set(known.values())) > 1:
            lengths = ", ".join(f"{name} has {length}" for name, length in known.items())
            raise self._mismatch(lengths)
        self.total = next(iter(known.values()), None)
        self._columns = columns

    def _mismatch(self, lengths: str) -> MapLengthMismatch:
        return MapLengthMismatch(
            f"mapped arguments of {self._task!r} differ in length: {lengths}",
            hint="give a value that every item shares as xd.unmapped(value)",
        )

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """One tuple per item, values or ``UpstreamFailure``, in the order of ``names``.

        Raises:
            MapLengthMismatch: One argument ended before another; every row before that was yielded.
        """
        iterators = [_cells(self._task, name, value) for name, value in self._columns.items()]
        count = 0
        while True:
            row = tuple(next(iterator, _END) for iterator in iterators)
            ended = [name for name, cell in zip(self.names, row, strict=True) if cell is _END]
            if len(ended) == len(row):
                return
            if ended:
                raise self._mismatch(f"{', '.join(ended)} ended after {count}, others go on")
            yield row
            count += 1


def _has_known_length(value: Any) -> bool:
    return isinstance(value, Sized) and not isinstance(value, OutcomesInOrder)


def _cells(task: str, name: str, value: Any) -> Iterator[Any]:
    if isinstance(value, OutcomesInOrder):
        for outcome in value.in_order():
            yield outcome.value if outcome.ok else UpstreamFailure(outcome)
    elif isinstance(value, Flattened):
        outer = value.value
        for inner in _cells(task, name, outer):
            if isinstance(inner, UpstreamFailure):
                yield inner
            elif is_column(inner):
                yield from inner
            else:
                raise CompositionError(
                    f"flatten of {name!r} in the map of {task!r} meets a {type(inner).__name__}, which has no elements",
                    hint="flatten takes one level apart: give it an iterable of iterables",
                )
    else:
        yield from value
