"""What happens while work is done, as frozen records, and who wants to hear of it.

An ``Observer`` is called from worker threads, must be quick and must not raise; whoever calls it drops nothing and
logs nothing itself. Progress lines, counters and logs are observers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from crossdock.model import Counts

__all__ = [
    "BytesMoved",
    "BytesRead",
    "Event",
    "Listed",
    "Note",
    "Observer",
    "Progress",
    "Retried",
    "emit",
    "ignore",
    "listening",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """Listing goes on: how much was seen so far."""

    objects: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BytesMoved:
    """A chunk of payload was accepted by a destination."""

    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BytesRead:
    """A chunk of payload was handed over by a stream; what a parallel write reads by range is not counted here."""

    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """A call failed for a passing reason and is tried again after ``delay_s``."""

    operation: str
    place: str
    cause: str
    attempt: int
    delay_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a run stands: its numbers as recorded so far."""

    counts: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One line a person should read: a step begun, a worker lost, a dashboard's address."""

    text: str


Event = Listed | BytesMoved | BytesRead | Retried | Progress | Note


class Observer(Protocol):
    """Hears of events. Thread-safe, quick, never raises."""

    def __call__(self, event: Event, /) -> None:
        """Take one event."""


def ignore(event: Event, /) -> None:
    """Hear nothing."""


_listener: ContextVar[Observer] = ContextVar("crossdock_listener", default=ignore)


@contextmanager
def listening(observer: Observer) -> Iterator[Observer]:
    """Send what is emitted in this context to ``observer`` for the length of the block; yields the one before.

    Threads do not inherit a context by themselves: whoever starts them copies it (``contextvars.copy_context``).
    """
    before = _listener.get()
    token = _listener.set(observer)
    try:
        yield before
    finally:
        _listener.reset(token)


def emit(event: Event) -> None:
    """Tell whoever listens in this context."""
    _listener.get()(event)
