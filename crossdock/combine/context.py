"""What a running task may ask about itself: ``xd.current()``.

One context per attempt, bound to the thread that runs it. Threads a task starts itself see it if the task hands
them its ``contextvars`` context.
"""

from __future__ import annotations

import contextvars
import logging
import shutil
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crossdock.combine.meter import Meter
from crossdock.errors import CompositionError

__all__ = ["TaskContext", "current", "running"]

_logger = logging.getLogger("crossdock.task")
_current: contextvars.ContextVar[TaskContext] = contextvars.ContextVar("crossdock_task")


class TaskContext:
    """The running task: its name, the run it belongs to, the item, the attempt, a logger, a scratch directory.

    Attributes:
        name: The (combined) task's name.
        item: The mapped item's position in the input; ``None`` for a single call.
        attempt: 1 for the first.
        tags: The task's tags.
    """

    __slots__ = ("_keep_scratch", "_lock", "_meter", "_run_id", "_scratch", "attempt", "item", "name", "tags")

    def __init__(
        self,
        name: str,
        *,
        run_id: str = "",
        item: int | None = None,
        attempt: int = 1,
        tags: tuple[str, ...] = (),
        keep_scratch: bool = False,
        meter: Meter | None = None,
    ) -> None:
        self.name = name
        self.item = item
        self.attempt = attempt
        self.tags = tags
        self._run_id = run_id
        self._keep_scratch = keep_scratch
        self._meter = meter or Meter()
        self._scratch: Path | None = None
        self._lock = threading.Lock()

    @property
    def run_id(self) -> str:
        """Equal for all items of one map; a single call has its own."""
        if not self._run_id:
            self._run_id = uuid.uuid4().hex[:12]
        return self._run_id

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose records carry ``task``, ``run_id``, ``item``, ``attempt`` and ``tags``."""
        about = {
            "task": self.name,
            "run_id": self.run_id,
            "item": self.item,
            "attempt": self.attempt,
            "tags": self.tags,
        }
        return logging.LoggerAdapter(_logger, about)

    @property
    def scratch(self) -> Path:
        """A temporary directory shared by both halves; made when first asked for, removed when the attempt ends.

        ``scratch_quota`` bounds what it may hold: looked at every half second and at the end. With
        ``keep_scratch="on_failure"`` that of a failed attempt stays, and the log says where.
        """
        with self._lock:
            if self._scratch is None:
                self._scratch = Path(tempfile.mkdtemp(prefix="crossdock-"))
            return self._scratch

    def scratch_bytes(self) -> int:
        """What the scratch directory holds; 0 if it was never asked for."""
        with self._lock:
            directory = self._scratch
        return _directory_bytes(directory) if directory is not None else 0

    def progress(self) -> None:
        """Say that work goes on: a task that moves no bytes for long is not stalled (``timeout``)."""
        self._meter.touch()

    def count(self, *, objects: int = 0, rows: int = 0) -> None:
        """Add to what the item's outcome says was moved; also a sign of progress. Bytes are counted by themselves."""
        self._meter.add(objects=objects, rows=rows)

    def _close(self, *, failed: bool) -> None:
        directory, self._scratch = self._scratch, None
        if directory is None:
            return
        if failed and self._keep_scratch:
            self.logger.warning(
                "attempt %d of %s failed; its scratch is kept: %s", self.attempt, self.name, directory
            )
        else:
            shutil.rmtree(directory)

    def __repr__(self) -> str:
        return f"TaskContext(name={self.name!r}, item={self.item}, attempt={self.attempt})"


def _directory_bytes(directory: Path) -> int:
    """What a directory's files hold; a file that vanishes meanwhile counts nothing."""
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.lstat().st_size
        except FileNotFoundError:
            continue
    return total


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
    failed = True
    try:
        yield context
        failed = False
    finally:
        _current.reset(token)
        context._close(failed=failed)  # noqa: SLF001 - the context's life is this block
