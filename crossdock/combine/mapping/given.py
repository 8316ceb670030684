"""What the arguments of ``map`` may be: single values, columns, and several parameters given at once.

Text, bytes, mappings, paths, tables, frames and byte streams are single values; so is whatever is ``unmapped``. Every
other iterable is a column. Cells are made when they are asked for, never before.
"""

from __future__ import annotations

import itertools
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any

from crossdock.errors import CompositionError
from crossdock.model import Outcome
from crossdock.ports import ByteStream

__all__ = [
    "Bundle",
    "OutcomesInOrder",
    "Product",
    "Unkept",
    "Unmapped",
    "UpstreamFailure",
    "cells",
    "flatten",
    "is_column",
    "known_length",
    "may_wait",
    "product",
    "unmapped",
]


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

    Raises:
        CompositionError: ``values`` is nothing that can be iterated, or a text.
    """
    if not isinstance(values, Iterable | OutcomesInOrder) or isinstance(values, str | bytes):
        raise CompositionError(
            f"flatten takes an iterable of iterables, not a {type(values).__name__}",
            hint="flatten([[1, 2], [3]]) is three items",
        )
    return Flattened(values)


class OutcomesInOrder(ABC):
    """What a map's result is to another map: outcomes, in input order, each as soon as it is known."""

    @abstractmethod
    def in_order(self) -> Iterator[Outcome]:
        """Outcomes in input order; waits for each."""

    @property
    @abstractmethod
    def known_total(self) -> int | None:
        """How many outcomes there will be, if that is known already. Does not wait."""


class UpstreamFailure:
    """Stands in a row where a value would be, had the item it comes from not failed."""

    __slots__ = ("outcome",)

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


class Unkept:
    """Stands in a row that is mapped again where a value was too large to be kept; says so."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


# -- columns ----------------------------------------------------------------------------------------------------------


def is_column(value: Any) -> bool:
    """Whether ``map`` iterates a value rather than giving it to every item."""
    if isinstance(value, Flattened | OutcomesInOrder):
        return True
    scalar = isinstance(value, Unmapped | str | bytes | bytearray | memoryview | Mapping | os.PathLike)
    if scalar:
        return False
    if hasattr(value, "__arrow_c_stream__") or hasattr(value, "__dataframe__"):
        return _is_series(value)  # a table or a frame is one value; one column of it is a column
    return isinstance(value, Iterable) and not isinstance(value, ByteStream)


def _is_series(value: Any) -> bool:
    """Whether it is one-dimensional: a pandas or polars ``Series``, an Arrow chunked array."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return len(shape) == 1
    return (
        hasattr(value, "chunks") and hasattr(value, "combine_chunks") and not hasattr(value, "column_names")
    )


def known_length(value: Any) -> int | None:
    """How many cells a column has, if it says so without being iterated."""
    if isinstance(value, OutcomesInOrder):
        return value.known_total
    return len(value) if isinstance(value, Sized) else None


def may_wait(value: Any) -> bool:
    """Whether a column's next cell may take a while: another map's result, a generator; not a collection."""
    return isinstance(value, OutcomesInOrder) or not isinstance(value, Sized)


def cells(task: str, name: str, column: Any) -> Iterator[Any]:
    """A column's values in order, or ``UpstreamFailure``, each when it is asked for.

    Raises:
        CompositionError: ``flatten`` meets something without elements.
    """
    if isinstance(column, OutcomesInOrder):
        for outcome in column.in_order():
            yield outcome.value if outcome.ok else UpstreamFailure(outcome)
    elif isinstance(column, Flattened):
        for inner in cells(task, name, column.value):
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
        yield from column


# -- several parameters at once ---------------------------------------------------------------------------------------


class Bundle(ABC):
    """Several parameters in one argument of ``map``, by position: a ``product``, or the failed items of a map."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The parameters, in the order of a row's cells."""

    @property
    @abstractmethod
    def total(self) -> int | None:
        """How many rows, if known."""

    @property
    @abstractmethod
    def may_wait(self) -> bool:
        """Whether the next row may take a while."""

    @abstractmethod
    def rows(self, task: str) -> Iterator[tuple[Any, ...]]:
        """The rows, in order, each when it is asked for."""


class Product(Bundle):
    """All combinations of several columns; made by ``product``."""

    def __init__(self, axes: Mapping[str, Any]) -> None:
        if not axes:
            raise CompositionError(
                "xd.product() combines nothing",
                hint='name the parameters: xd.product(account=["a"], day=days)',
            )
        for name, value in axes.items():
            if not is_column(value):
                raise CompositionError(
                    f"{name!r} in xd.product is a single value ({type(value).__name__}), with nothing to combine",
                    hint="give it to map beside the product: task.map(xd.product(...), name=value)",
                )
        self._axes = dict(axes)

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters, as written."""
        return tuple(self._axes)

    @property
    def total(self) -> int | None:
        """The product of the lengths, if all are known."""
        lengths = [known_length(column) for column in self._axes.values()]
        return None if None in lengths else math.prod(length or 0 for length in lengths)

    @property
    def may_wait(self) -> bool:
        """Whether any column may."""
        return any(may_wait(column) for column in self._axes.values())

    def rows(self, task: str) -> Iterator[tuple[Any, ...]]:
        """All combinations, the last name moving fastest; every column is iterated once."""
        first, *others = (cells(task, name, column) for name, column in self._axes.items())
        inner = [_Remembered(each) for each in others]
        for cell in first:
            if all(each.whole for each in inner):  # from the second round on
                rests: Iterable[tuple[Any, ...]] = itertools.product(*(each.seen for each in inner))
            else:
                rests = _combinations(inner)
            for rest in rests:
                yield (cell, *rest)
            if any(each.whole and not each.seen for each in inner):
                return  # one is empty: there are no combinations, however long the first is

    def __repr__(self) -> str:
        return f"product({', '.join(self._axes)})"


class _Remembered:
    """Cells that are iterated again and again: pulled the first time, from memory afterwards."""

    def __init__(self, source: Iterator[Any]) -> None:
        self._source = source
        self.seen: list[Any] = []
        self.whole = False

    def __iter__(self) -> Iterator[Any]:
        if self.whole:
            yield from self.seen
            return
        for cell in self._source:
            self.seen.append(cell)
            yield cell
        self.whole = True


def _combinations(axes: Sequence[_Remembered]) -> Iterator[tuple[Any, ...]]:
    if not axes:
        yield ()
        return
    for cell in axes[0]:
        for rest in _combinations(axes[1:]):
            yield (cell, *rest)


def product(**columns: Any) -> Product:
    """Map over all combinations of several parameters, in the order of ``itertools.product``: the last moves fastest.

    Give it to ``map`` by position: ``task.map(xd.product(account=accounts, day=days), folder="x")``. Columns beside it
    are iterated side by side with the combinations.

    Every column is iterated once, lazily. The first may be endless, a generator, or another map's result; of the others
    each cell is kept in memory until the map ends. Failed items of a map's result become ``upstream_failed``, once for
    every combination they stand in.

    Args:
        **columns: Iterables by parameter name: lists, ranges, generators, results of other maps, ``flatten``.

    Raises:
        CompositionError: One of them is a single value.

    Example:
        >>> import crossdock as xd
        >>> report = xd.task(lambda account, day: f"{account}/{day}")
        >>> report.map(xd.product(account=["a", "b"], day=[1, 2])).results()
        ['a/1', 'a/2', 'b/1', 'b/2']
    """
    return Product(columns)
