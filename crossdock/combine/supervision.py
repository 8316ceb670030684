"""Watching an attempt while it runs: no progress, too long altogether, too much scratch.

The attempt runs, both halves of it, on one thread of its own; the caller's thread waits and watches. Giving up closes the
streams that cross and raises inside the attempt's thread, so that its own clean-up (aborting an upload) happens. A
thread that is stuck in native code cannot be interrupted from Python: after a grace period it is left behind, said in
the log, and ends as soon as that call returns.
"""

from __future__ import annotations

import contextvars
import ctypes
import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from crossdock.combine.context import TaskContext
from crossdock.combine.crossing import Crossing
from crossdock.combine.meter import Meter
from crossdock.combine.settings import Settings
from crossdock.errors import CrossdockError, StalledError, StorageError
from crossdock.options import format_size

__all__ = ["supervised"]

R = TypeVar("R")

_GRACE_S = 10.0  # for an attempt that was given up to abort what it had begun
_SCRATCH_CHECK_S = 0.5

_logger = logging.getLogger("crossdock.task")


class _GivenUpError(BaseException):
    """Raised inside an attempt that was given up; not an ``Exception``, so that no half takes it for its own."""


class _Attempt(Generic[R]):
    """One attempt on a thread of its own."""

    def __init__(self, call: Callable[[], R], name: str) -> None:
        self._call = call
        self.ended = threading.Event()
        self._value: R | None = None
        self._error: BaseException | None = None
        context = contextvars.copy_context()
        self.thread = threading.Thread(
            target=context.run, args=(self._run,), name=f"task-{name}", daemon=True
        )
        self.thread.start()

    def _run(self) -> None:
        try:
            self._value = self._call()
        except BaseException as error:
            self._error = error
        finally:
            self.ended.set()

    def interrupt(self) -> None:
        """Raise in the thread, as soon as it runs Python again."""
        ident = ctypes.c_ulong(self.thread.ident or 0)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(_GivenUpError))

    @property
    def came_through(self) -> bool:
        """Whether it ended by itself, one way or the other."""
        return self.ended.is_set() and not isinstance(self._error, _GivenUpError)

    def result(self) -> R:
        """Its value, or its error raised."""
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Watch:
    """What an attempt may do, and how to tell that it did too much."""

    settings: Settings
    meter: Meter
    context: TaskContext
    began: float

    def verdict(self) -> CrossdockError | None:
        """Why the attempt must be given up, or ``None``."""
        now, timeouts = time.monotonic(), self.settings.timeouts
        if timeouts.total_s is not None and now - self.began >= timeouts.total_s:
            return StalledError(f"not done within {timeouts.total_s:g} s", operation="run")
        if timeouts.no_progress_s is not None and now - self.meter.touched >= timeouts.no_progress_s:
            return StalledError(
                f"no progress for {timeouts.no_progress_s:g} s",
                operation="run",
                hint="if it works silently, call xd.current().progress() now and then, or give a longer timeout",
            )
        quota = self.settings.scratch_quota_bytes
        if quota is not None:
            held = self.context.scratch_bytes()
            if held > quota:
                return StorageError(
                    f"the scratch directory holds {format_size(held)}, more than its quota of {format_size(quota)}",
                    operation="run",
                    hint="give a larger scratch_quota, or stream instead of staging",
                )
        return None

    def wait_s(self) -> float:
        """How long nothing can be wrong."""
        now, timeouts = time.monotonic(), self.settings.timeouts
        waits = [
            timeouts.total_s - (now - self.began) if timeouts.total_s is not None else None,
            timeouts.no_progress_s - (now - self.meter.touched)
            if timeouts.no_progress_s is not None
            else None,
            _SCRATCH_CHECK_S if self.settings.scratch_quota_bytes is not None else None,
        ]
        return max(min(each for each in waits if each is not None), 0.001)


def supervised(
    call: Callable[[], R], *, settings: Settings, meter: Meter, context: TaskContext, crossing: Crossing
) -> R:
    """Run ``call`` on a thread of its own and wait for it within the settings' limits.

    Costs a thread per attempt. What the thread raises is raised here.

    Raises:
        StalledError: A timeout passed; ``crossing.phase`` says in whose code the thread stood.
        StorageError: The scratch directory holds more than its quota.
    """
    attempt = _Attempt(call, context.name)
    watch = _Watch(settings=settings, meter=meter, context=context, began=time.monotonic())
    try:
        while not attempt.ended.wait(watch.wait_s()):
            verdict = watch.verdict()
            if verdict is not None:
                crossing.phase = crossing.standing(sys._current_frames().get(attempt.thread.ident or 0))  # noqa: SLF001 - the only way to see where another thread stands
                _give_up(attempt, crossing, context)
                if attempt.came_through:  # it ended in the very moment
                    break
                raise verdict
    except KeyboardInterrupt:
        _give_up(attempt, crossing, context)
        raise
    result = attempt.result()
    verdict = watch.verdict() if settings.scratch_quota_bytes is not None else None
    if isinstance(verdict, StorageError) and not isinstance(verdict, StalledError):
        raise verdict
    return result


def _give_up(attempt: _Attempt[Any], crossing: Crossing, context: TaskContext) -> None:
    crossing.release()
    attempt.interrupt()
    if not attempt.ended.wait(_GRACE_S):
        text = (
            "task %s: attempt %d is stuck in native code; its thread is left behind until that call returns"
        )
        _logger.warning(text, context.name, context.attempt)
