"""What one item moves, and when it last moved: counted from the events of its own context."""

from __future__ import annotations

import threading
import time

from crossdock.events import BytesMoved, BytesRead, Event, Observer, ignore

__all__ = ["Meter"]


class Meter:
    """An observer that counts bytes, objects and rows of one execution and passes every event on. Thread-safe."""

    __slots__ = ("_forward", "_lock", "moved_bytes", "objects", "read_bytes", "rows", "touched")

    def __init__(self) -> None:
        self._forward: Observer = ignore
        self._lock = threading.Lock()
        self.moved_bytes = 0
        self.read_bytes = 0
        self.objects = 0
        self.rows = 0
        self.touched = time.monotonic()

    def __call__(self, event: Event, /) -> None:
        """Count, then pass on."""
        if isinstance(event, BytesMoved | BytesRead):
            with self._lock:
                if isinstance(event, BytesMoved):
                    self.moved_bytes += event.bytes
                else:
                    self.read_bytes += event.bytes
                self.touched = time.monotonic()
        self._forward(event)

    def forward_to(self, observer: Observer) -> None:
        """Who hears of the events next."""
        self._forward = observer

    def add(self, *, objects: int, rows: int) -> None:
        """Count what only the task knows of; something moved."""
        with self._lock:
            self.objects += objects
            self.rows += rows
            self.touched = time.monotonic()

    def touch(self) -> None:
        """Something moved."""
        self.touched = time.monotonic()

    def restart(self) -> None:
        """A new attempt: what an earlier one moved is not the result's."""
        self.moved_bytes = self.read_bytes = self.objects = self.rows = 0
        self.touched = time.monotonic()

    @property
    def bytes(self) -> int:
        """Payload that arrived; where nothing was written to a store, what was read."""
        return self.moved_bytes or self.read_bytes
