"""The items of a run on their way to who runs them: numbered, in order, and no more of them taken than asked for."""

from __future__ import annotations

import operator
import threading
import time
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Generic, Protocol, TypeVar, runtime_checkable

__all__ = ["Feed", "Paced"]

T = TypeVar("T")

_PATIENCE_S = 0.05  # how long items are collected before the first is used


@runtime_checkable
class Paced(Protocol):
    """Items that may be long in coming and can be called off, such as those of a map. Others are just iterated."""

    @property
    def stopped(self) -> bool:
        """Whether nothing more shall begin; what runs goes on to its end."""

    def listen(self, wake: Callable[[], None]) -> None:
        """Who is told, on any thread, that an item may be ready or that it is time to stop."""

    def stop(self) -> None:
        """Make it ``stopped``; from any thread."""

    def ready(self) -> bool:
        """Whether the next item (or the end) is there; if not, it is on its way."""


class Feed(Generic[T]):
    """Numbers items and lets the first of them be looked at before they are used. Belongs to the thread that iterates.

    An error of the input comes where it happened: after the items before it. Holds no item that was taken.
    """

    def __init__(self, items: Iterable[T]) -> None:
        total = operator.length_hint(items, -1)
        self.total = total if total >= 0 else None
        self._paced = items if isinstance(items, Paced) else None
        self._rest = enumerate(items)
        self._head: deque[tuple[int, T]] = deque()
        self._error: Exception | None = None
        self._news = threading.Event()
        self._wake: Callable[[], None] | None = None
        if self._paced is not None:
            self._paced.listen(self._woken)

    def _woken(self) -> None:
        self._news.set()
        if self._wake is not None:
            self._wake()

    def listen(self, wake: Callable[[], None]) -> None:
        """Who is told, on any thread, that ``ready`` or ``stopped`` may have changed."""
        self._wake = wake

    @property
    def stopped(self) -> bool:
        """Whether nothing more shall begin."""
        return self._paced is not None and self._paced.stopped

    def call_off(self) -> None:
        """Nothing more shall begin, if the items can be called off; from any thread."""
        if self._paced is not None:
            self._paced.stop()

    def ready(self, patience_s: float = 0.0) -> bool:
        """Whether ``next`` answers at once, or as good as; waits for that as long as it is told to."""
        return bool(self._head) or self._error is not None or self._is_next_there(patience_s)

    def _is_next_there(self, patience_s: float) -> bool:
        if self._paced is None:
            return True
        until = time.monotonic() + patience_s
        while True:
            self._news.clear()
            if self._paced.ready():
                return True
            left = until - time.monotonic()
            if left <= 0 or not self._news.wait(left):
                return False

    def look(self, most: int) -> list[tuple[int, T]]:
        """Up to ``most`` of the first items; fewer if they come slowly. Waits for one."""
        until = time.monotonic() + _PATIENCE_S if self._head else float("inf")
        while len(self._head) < most and (left := until - time.monotonic()) > 0:
            if self._head and not self._is_next_there(left):
                break
            try:
                self._head.append(next(self._rest))
            except StopIteration:
                break
            except Exception as error:
                self._error = error
                break
            until = min(until, time.monotonic() + _PATIENCE_S)
        return list(self._head)

    def drop(self, numbers: Container[int]) -> None:
        """Do not give out these of the items that were looked at."""
        self._head = deque(each for each in self._head if each[0] not in numbers)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to run, once it was looked at."""
        return not self._head and self._error is None

    def __iter__(self) -> Iterator[tuple[int, T]]:
        """Itself: items are taken once."""
        return self

    def __next__(self) -> tuple[int, T]:
        """The next item and its number."""
        if self._head:
            return self._head.popleft()
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return next(self._rest)
