"""Waiting that ends when a run is stopped: between attempts, and for a turn at a bound of bytes a second.

What begins work binds its event; the binding goes with the context, so it reaches every thread that works for it. The root
of the project's rooms holds it so that neither the runners nor the connectors need know the other.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["is_stopping", "pause", "stop_pauses_with", "stopping_with"]

_stop: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar("crossdock_stop", default=None)


def stop_pauses_with(event: threading.Event) -> None:
    """Bind an event to this context: once it is set, nothing waits any more. Runners call it."""
    _stop.set(event)


@contextmanager
def stopping_with(event: threading.Event | None) -> Iterator[None]:
    """The same for the length of a ``with`` block; with ``None``, what must be finished waits as if nothing stopped."""
    token = _stop.set(event)
    try:
        yield
    finally:
        _stop.reset(token)


def is_stopping() -> bool:
    """Whether whoever began this work wants it to end."""
    event = _stop.get()
    return event is not None and event.is_set()


def pause(seconds: float) -> bool:
    """Wait; ``False``, at once, if the work is being stopped and nothing further should begin."""
    event = _stop.get()
    if event is None:
        time.sleep(seconds)
        return True
    return not event.wait(seconds)
