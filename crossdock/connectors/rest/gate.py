"""How fast and how many at a time one host is asked by this process, whatever the number of sources and threads.

Every request takes a turn; turns are spaced by the rate. A host that asks for patience (Retry-After) is left alone by all.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from crossdock.connectors.kept import Kept
from crossdock.errors import CrossdockError
from crossdock.pausing import pause

__all__ = ["Gate", "gate_for"]


class Gate:
    """Turns of one host. Thread-safe.

    Args:
        clock: Seconds that only go forward.
        sleep: Waits; ``False`` if the work is being stopped.
    """

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], object] = pause
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._free = threading.Condition()
        self._in_flight = 0
        self._next = 0.0

    @contextmanager
    def turn(self, rate_per_s: float | None, most: int) -> Iterator[None]:
        """Wait for a turn, hold a place until the block ends.

        Sources with other bounds may share the host: each keeps its own, counting the requests of all.

        Raises:
            CrossdockError: The work was stopped meanwhile.
        """
        with self._free:
            while self._in_flight >= most:
                self._free.wait()
            self._in_flight += 1
            now = self._clock()
            begin = max(now, self._next)
            if rate_per_s is not None:
                self._next = begin + 1 / rate_per_s
        try:
            if begin > now and self._sleep(begin - now) is False:
                raise CrossdockError("the run was stopped while it waited for its turn", operation="read")
            yield
        finally:
            with self._free:
                self._in_flight -= 1
                self._free.notify()

    def rest(self, seconds: float) -> None:
        """Nobody begins a request for so long."""
        with self._free:
            self._next = max(self._next, self._clock() + seconds)


_gates: Kept[Gate] = Kept()


def gate_for(host: str) -> Gate:
    """The process's gate of a host."""
    return _gates.get((os.getpid(), host), Gate)
