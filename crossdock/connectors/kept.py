"""What a process keeps open: clients by what they were made of, the last used ones."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["Kept"]

V = TypeVar("V")

_MOST = 64  # of one kind; a process that meets thousands of buckets would run out of descriptors


class Kept(Generic[V]):
    """At most ``most`` values; the one that was not asked for the longest is forgotten first. Thread-safe.

    Who holds a forgotten one goes on with it; its connections are closed with the last of them.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._held: OrderedDict[Hashable, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], V]) -> V:
        """The value kept for ``key``; made if there is none, by two threads at once perhaps, of which one is kept."""
        with self._lock:
            found = self._held.get(key)
            if found is not None:
                self._held.move_to_end(key)
                return found
        made = make()
        with self._lock:
            found = self._held.setdefault(key, made)
            while len(self._held) > self._most:
                self._held.popitem(last=False)
        return found

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._held.clear()

    def __len__(self) -> int:
        return len(self._held)
