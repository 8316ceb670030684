"""How many payload bytes one process may hold: a counting semaphore in bytes, first come first served.

Every part or small object takes its size before it is read and gives it back when the destination has acknowledged
it, so memory stays below ``max_in_flight_bytes`` plus a constant, whatever the sizes and counts.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

__all__ = ["Budget", "process_budget", "share_one_heap"]

_M_ARENA_MAX = -8  # glibc's malloc.h


class Budget:
    """A bound on bytes in flight, fair: whoever asked first is served first, so a large piece is never starved."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self._free = total_bytes
        self._condition = threading.Condition()
        self._queue: deque[object] = deque()

    def acquire(self, size: int) -> int:
        """Wait until ``size`` bytes are free and take them; returns what was taken.

        A piece larger than the whole budget takes all of it: it moves alone.
        """
        wanted = min(size, self.total_bytes)
        ticket = object()
        with self._condition:
            self._queue.append(ticket)
            try:
                self._condition.wait_for(lambda: self._queue[0] is ticket and self._free >= wanted)
                self._free -= wanted
            finally:
                self._queue.remove(ticket)
                self._condition.notify_all()
        return wanted

    def release(self, taken: int) -> None:
        """Give back what ``acquire`` returned."""
        with self._condition:
            self._free += taken
            self._condition.notify_all()

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Hold ``size`` bytes for the length of the block."""
        taken = self.acquire(size)
        try:
            yield
        finally:
            self.release(taken)


@lru_cache(maxsize=16)
def process_budget(max_in_flight_bytes: int) -> Budget:
    """The one budget of this process for that bound, shared by all its sinks."""
    share_one_heap()
    return Budget(max_in_flight_bytes)


@lru_cache(maxsize=1)
def share_one_heap() -> None:
    """Keep freed payload where every thread can have it again; of use before the threads begin to allocate.

    glibc gives threads heaps of their own, and what one has freed another cannot take: dozens of threads that each move
    parts of 8 MiB now and then held 110 MiB more than the budget says, at the same speed. Left alone if the environment decides.
    """
    if sys.platform == "linux" and "MALLOC_ARENA_MAX" not in os.environ:
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
        if mallopt is not None:
            mallopt(_M_ARENA_MAX, 1)
