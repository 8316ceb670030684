"""How many units that take much memory are under way in this process at a time; small ones go on beside them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from crossdock.errors import CrossdockError

__all__ = ["Permits", "heavy"]

_LOOK_S = 0.2  # at the sign to stop, while waiting


class Permits:
    """So many at a time, over all threads. Whoever asks with a smaller number waits longer: each sees its own limit."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._taken = 0

    @contextmanager
    def taken(self, limit: int, stop: threading.Event) -> Iterator[None]:
        """Wait for a turn, and have it for the length of a block.

        Raises:
            CrossdockError: ``stop`` was set meanwhile; there was no turn.
        """
        with self._free:
            while self._taken >= limit:
                if stop.is_set():
                    raise CrossdockError("the run was stopped", operation="wait")
                self._free.wait(_LOOK_S)
            self._taken += 1
        try:
            yield
        finally:
            with self._free:
                self._taken -= 1
                self._free.notify_all()


heavy = Permits()
"""Of this process."""
