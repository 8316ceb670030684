"""A bound on payload bytes per second, kept by waiting before a piece is read.

One clock for a process: each piece is given the moment at which its bytes fit the rate, first come first served, and waits
for it. A run's bound is divided evenly among its worker processes (``crossdock.sharing``), so that together they keep it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import lru_cache

from crossdock.errors import CrossdockError
from crossdock.pausing import pause
from crossdock.sharing import peers

__all__ = ["Bandwidth", "process_bandwidth"]

_LONGEST_S = 1.0  # the share may change while a piece waits


class Bandwidth:
    """Bytes per second of a whole run. Thread-safe; holds nothing but a moment.

    After a pause nothing is caught up: the rate is a bound, not an average to be reached. A piece goes at once if the ones
    before it are paid for, so over any time the bound is exceeded by one piece for each process at most.

    Args:
        bytes_per_s: For all processes together; ``None`` for no bound.
        clock: Seconds, growing.
        wait: Waits for so many seconds; ``False`` if what wants to send is being stopped.
    """

    def __init__(
        self,
        bytes_per_s: int | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] = pause,
    ) -> None:
        self.bytes_per_s = bytes_per_s
        self._clock = clock
        self._wait = wait
        self._turn = threading.Lock()
        self._owed = 0.0  # bytes that went and are not paid for yet
        self._paid_at = clock()

    def take(self, size: int) -> None:
        """Wait until ``size`` bytes may go.

        Raises:
            CrossdockError: The run was stopped meanwhile: nothing goes any more.
        """
        if self.bytes_per_s is None or size <= 0:
            return
        with self._turn:  # who waits here is first; the others wait for it in the order of the lock
            while (left_s := self._pay()) > 0:
                if not self._wait(min(left_s, _LONGEST_S)):
                    raise CrossdockError(
                        "the run was stopped while it waited for its bandwidth", operation="write"
                    )
            self._owed += size

    def _pay(self) -> float:
        """Seconds until everything that went is paid for, at the share of now."""
        share = (self.bytes_per_s or 0) / peers()
        now = self._clock()
        self._owed = max(0.0, self._owed - (now - self._paid_at) * share)
        self._paid_at = now
        return self._owed / share if self._owed >= 1 else 0.0  # less than a byte is only arithmetic


@lru_cache(maxsize=16)
def process_bandwidth(bytes_per_s: int | None) -> Bandwidth:
    """The one clock of this process for that bound, shared by all its sinks."""
    return Bandwidth(bytes_per_s)
