"""What the events of a run add up to: one thread-safe record that every progress display reads."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from crossdock.events import BytesMoved, Event, Listed, Progress, Retried
from crossdock.model import Counts

__all__ = ["Standing", "Tally"]

NO_COUNTS = Counts()
_WINDOW_S = 15.0  # the rate is a mean over this long: short enough to notice a stall, long enough to be read


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a run stands now."""

    listed_objects: int = 0
    listed_bytes: int = 0
    counts: Counts = NO_COUNTS
    moved_bytes: int = 0
    rate_bytes_per_s: float = 0.0
    retries: int = 0
    elapsed_s: float = 0.0

    @property
    def eta_s(self) -> float | None:
        """Seconds until all planned bytes are there at the present rate; ``None`` if that is not known."""
        left = self.counts.planned_bytes - self.moved_bytes
        if not self.counts.planned or self.rate_bytes_per_s <= 0 or left < 0:
            return None
        return left / self.rate_bytes_per_s


class Tally:
    """Adds up events. Quick and thread-safe; memory is one sample a quarter second within the rate's window.

    Worker processes cannot send their ``BytesMoved`` here, only the driver's ``Progress`` tells of them: the bytes shown are the
    larger of what was moved in this process and what the counts record.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._began = clock()
        self._listed = (0, 0)
        self._counts = Counts()
        self._moved = 0
        self._retries = 0
        self._before: int | None = None  # bytes that earlier attempts of this run had recorded
        self._samples: deque[tuple[float, int]] = deque([(self._began, 0)])

    def __call__(self, event: Event, /) -> None:
        """Take one event; kinds without numbers pass by."""
        with self._lock:
            if isinstance(event, BytesMoved):
                self._moved += event.bytes
            elif isinstance(event, Listed):
                self._listed = (event.objects, event.bytes)
            elif isinstance(event, Progress):
                if self._before is None:
                    self._before = event.counts.copied_bytes
                self._counts = event.counts
            elif isinstance(event, Retried):
                self._retries += 1
            else:
                return
            self._sample()

    def standing(self) -> Standing:
        """Where things stand at this moment."""
        with self._lock:
            now = self._sample()
            since, first = self._samples[0]
            done = self._done_bytes()
            seconds = now - since
            return Standing(
                listed_objects=self._listed[0],
                listed_bytes=self._listed[1],
                counts=self._counts,
                moved_bytes=(self._before or 0) + done,
                rate_bytes_per_s=(done - first) / seconds if seconds > 0 else 0.0,
                retries=self._retries,
                elapsed_s=now - self._began,
            )

    def _done_bytes(self) -> int:
        return max(self._moved, self._counts.copied_bytes - (self._before or 0))

    def _sample(self) -> float:
        now = self._clock()
        if now - self._samples[-1][0] >= 0.25:
            self._samples.append((now, self._done_bytes()))
            while len(self._samples) > 2 and now - self._samples[1][0] >= _WINDOW_S:
                self._samples.popleft()
        return now
