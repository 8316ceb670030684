"""What a running task may ask about itself: ``xd.current()``.

One context per attempt, bound to the thread that runs it. Threads a task starts itself see it if the task hands
them its ``contextvars`` context.
"""

from __future__ import annotations

import contextvars
import logging
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crossdock.errors import CompositionError

__all__ = ["TaskContext", "current", "pause", "running", "stop_pauses_with"]

_logger = logging.getLogger("crossdock.task")
_current: contextvars.ContextVar[TaskContext] = contextvars.ContextVar("crossdock_task")
_interrupt = threading.local()


class TaskContext:
    """The running task: its name, the run it belongs to, the item, the attempt, a logger, a scratch directory.

    Attributes:
        name: The (combined) task's name.
        item: The mapped item's position in the input; ``None`` for a single call.
        attempt: 1 for the first.
    """

    __slots__ = ("_lock", "_run_id", "_scratch", "attempt", "item", "name")

    def __init__(self, name: str, *, run_id: str = "", item: int | None = None, attempt: int = 1) -> None:
        self.name = name
        self.item = item
        self.attempt = attempt
        self._run_id = run_id
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._lock = threading.Lock()

    @property
    def run_id(self) -> str:
        """Equal for all items of one map; a single call has its own."""
        if not self._run_id:
            self._run_id = uuid.uuid4().hex[:12]
        return self._run_id

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose records carry ``task``, ``run_id``, ``item`` and ``attempt``."""
        about = {"task": self.name, "run_id": self.run_id, "item": self.item, "attempt": self.attempt}
        return logging.LoggerAdapter(_logger, about)

    @property
    def scratch(self) -> Path:
        """A temporary directory shared by both halves; made when first asked for, removed when the attempt ends."""
        with self._lock:
            if self._scratch is None:
                self._scratch = tempfile.TemporaryDirectory(prefix="crossdock-")
            return Path(self._scratch.name)

    def _close(self) -> None:
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def __repr__(self) -> str:
        return f"TaskContext(name={self.name!r}, item={self.item}, attempt={self.attempt})"


def current() -> TaskContext:
    """The task that runs on this thread.

    Raises:
        CompositionError: None does.
    """
    try:
        return _current.get()
    except LookupError:
        raise CompositionError(
            "no task is running on this thread",
            hint="call xd.current() inside a task; a thread of your own needs contextvars.copy_context().run(...)",
        ) from None


@contextmanager
def running(context: TaskContext) -> Iterator[TaskContext]:
    """Make a context current for the length of a ``with`` block, and remove its scratch directory afterwards."""
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)
        context._close()  # noqa: SLF001 - the context's life is this block


def stop_pauses_with(event: threading.Event) -> None:
    """Bind an event to this thread: once it is set, waiting retries give up at once. Runners call it."""
    _interrupt.event = event


def pause(seconds: float) -> bool:
    """Wait between attempts; ``False`` if the runner is stopping and no further attempt should begin."""
    event: threading.Event | None = getattr(_interrupt, "event", None)
    if event is None:
        time.sleep(seconds)
        return True
    return not event.wait(seconds)
