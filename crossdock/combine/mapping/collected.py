"""The outcomes of a map as they come: written by its driver, read by anybody, in any order, as often as one likes."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

from crossdock.model import Outcome, State

__all__ = ["Collected"]

_LOOK_S = 1.0  # a Ctrl-C that came in the instant before the wait is not noticed in it


class Collected:
    """Outcomes of one map, each once. Thread-safe.

    Attributes:
        ended: Whether all are there.
        error: What ended the map as a whole, if something did.

    Args:
        indices: The items' indices in input order; 0, 1, 2, ... by default.
    """

    def __init__(self, indices: Sequence[int] | None) -> None:
        self._indices = indices
        self._changed = threading.Condition()
        self.arrived: list[Outcome] = []
        self.by_index: dict[int, Outcome] = {}
        self.ended = False
        self.error: BaseException | None = None

    def add(self, outcome: Outcome) -> None:
        """One item ended."""
        with self._changed:
            self.arrived.append(outcome)
            self.by_index[outcome.index] = outcome
            self._changed.notify_all()

    def end(self) -> None:
        """All items ended, or there will be no more."""
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def wait_for(self, ready: Callable[[], bool]) -> None:
        """Wait until ``ready``, or the end."""
        with self._changed:
            while not self.ended and not ready():
                self._changed.wait(_LOOK_S)

    @property
    def counts(self) -> dict[State, int]:
        """How many items ended in which state, so far."""
        with self._changed:
            return dict(Counter(outcome.state for outcome in self.arrived))

    def as_they_come(
        self, waiting: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> Iterator[Outcome]:
        """In completion order, each as soon as it is known.

        Args:
            waiting: Entered around every wait.
        """
        position = 0
        while True:
            with waiting():
                self.wait_for(lambda at=position: len(self.arrived) > at)  # type: ignore[misc]
            until = len(self.arrived)
            if until == position:
                return
            yield from self.arrived[position:until]
            position = until

    def in_order(
        self, waiting: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> Iterator[Outcome]:
        """In input order, each as soon as it and all before it are known.

        Args:
            waiting: Entered around every wait.
        """
        position = 0
        while self._indices is None or position < len(self._indices):
            index = position if self._indices is None else self._indices[position]
            with waiting():
                self.wait_for(lambda at=index: at in self.by_index)  # type: ignore[misc]
            outcome = self.by_index.get(index)
            if outcome is None:
                return
            yield outcome
            position += 1

    def sorted(self) -> list[Outcome]:
        """All there are, in input order."""
        return [self.by_index[index] for index in sorted(self.by_index)]
