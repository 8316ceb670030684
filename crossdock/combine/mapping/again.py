"""Failed items that can be mapped again: ``task.map(result.failed())``.

Arguments of failed items are kept for that, of all others they are not. An argument that is known to be larger than
1 MiB (bytes, arrays, tables, frames) is not kept: mapped again, its item fails and says so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, SupportsIndex

from crossdock.combine.mapping.columns import Row
from crossdock.combine.mapping.destinations import Destinations
from crossdock.combine.mapping.given import Bundle, Unkept
from crossdock.model import MIB, Outcome
from crossdock.options import format_size

__all__ = ["KEEP_BYTES", "FailedItems", "KeptRows"]

KEEP_BYTES = 1 * MIB


class KeptRows:
    """The mapped values of failed items, by index. Thread-safe.

    Attributes:
        names: The mapped parameters.
        constants: The values every item got.
        destinations: Who writes where, so that an item mapped again is no duplicate of itself, and still one of others.
    """

    def __init__(
        self, names: tuple[str, ...], constants: Mapping[str, Any], destinations: Destinations | None
    ) -> None:
        self.names = names
        self.constants = constants
        self.destinations = destinations
        self._lock = threading.Lock()
        self._rows: dict[int, tuple[Any, ...]] = {}
        self._rest: Iterator[Row] = iter(())

    def keep(self, row: Row) -> None:
        """Keep one row, without what is too large."""
        with self._lock:
            self._keep(row)

    def _keep(self, row: Row) -> None:
        self._rows[row[0]] = tuple(_small_or_unkept(cell) for cell in row[1])

    def keep_rest(self, rest: Iterator[Row]) -> None:
        """Remember where the rows come from that were never taken: they are, when they are asked for."""
        self._rest = rest

    def row(self, index: int) -> tuple[Any, ...]:
        """The mapped values of one failed item; may wait for rows that were never taken."""
        with self._lock:
            while index not in self._rows:
                row = next(self._rest, None)
                if row is None:
                    return tuple(Unkept("its arguments are not known") for _ in self.names)
                self._keep(row)
            return self._rows[index]


def _small_or_unkept(value: Any) -> Any:
    size = _known_bytes(value)
    if size <= KEEP_BYTES:
        return value
    return Unkept(f"its argument, a {type(value).__name__} of {format_size(size)}, was too large to be kept")


def _known_bytes(value: Any) -> int:
    """What a value holds, if it is of a kind that says so; 0 otherwise."""
    if isinstance(value, str | bytes | bytearray):
        return len(value)
    size = getattr(value, "nbytes", 0)  # arrays, Arrow tables and batches, memoryviews, series
    if isinstance(size, int):
        return size
    return 0


class FailedItems(list[Outcome], Bundle):
    """The outcomes of failed items, in input order: a list, which ``map`` also takes by position.

    ``task.map(result.failed())`` runs exactly these items again, with the arguments they had and under the index they
    had. A single value given beside it replaces the original one for all: ``task.map(result.failed(), folder="v2/")``.
    """

    def __init__(self, outcomes: list[Outcome], kept: KeptRows) -> None:
        super().__init__(outcomes)
        self.kept = kept

    def where(self, predicate: Callable[[Outcome], bool]) -> FailedItems:
        """Some of them: ``result.failed().where(lambda outcome: outcome.error.transient)``."""
        return FailedItems([outcome for outcome in self if predicate(outcome)], self.kept)

    @property
    def names(self) -> tuple[str, ...]:
        """The mapped parameters."""
        return self.kept.names

    @property
    def total(self) -> int:
        """How many there are."""
        return len(self)

    @property
    def may_wait(self) -> bool:
        """What was never taken from its iterator may still have to be."""
        return True

    def rows(self, task: str) -> Iterator[tuple[Any, ...]]:  # noqa: ARG002 - the bundle's form
        """The mapped values of each."""
        for outcome in list(self):
            yield self.kept.row(outcome.index)

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        return list, (list(self),)  # elsewhere they are outcomes; what they were made of stays here
