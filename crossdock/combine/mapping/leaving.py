"""A script whose last line is a map shall not lose it: the process waits for its maps, unless it was interrupted.

Thread pools refuse work once the interpreter begins to exit, so waiting must come before that: the same hook that
``concurrent.futures`` uses, run in reverse order of registration. Its hooks cannot be registered any more by then, so the module
of its process pools, which Dask imports with a map's first run, is imported here.
"""

from __future__ import annotations

import atexit
import signal
import sys
import threading
import weakref
from concurrent.futures import (
    process as _processes_first,  # noqa: F401 - its exit hook must be registered before ours
    thread as _threads_first,  # noqa: F401 - the same
)
from typing import Protocol

__all__ = ["finish_before_exit"]


class Unfinished(Protocol):
    """What may still be under way when the interpreter wants to exit."""

    def interrupt(self) -> None:
        """Begin nothing more, because a person wants it to end."""

    def join(self) -> None:
        """Wait for what runs."""


_running: weakref.WeakSet[Unfinished] = weakref.WeakSet()
_hook = threading.Lock()
_hook_set = False


def finish_before_exit(unfinished: Unfinished) -> None:
    """Let the process wait for it before it exits."""
    global _hook_set  # noqa: PLW0603 - registered once a process
    with _hook:
        _running.add(unfinished)
        if not _hook_set:
            threading._register_atexit(_finish_all)  # type: ignore[attr-defined]  # noqa: SLF001 - see above
            _hook_set = True


def _finish_all() -> None:
    if isinstance(getattr(sys, "last_value", None), KeyboardInterrupt):  # Ctrl-C, wherever it struck
        _interrupt_all()
    try:
        _join_all()
    except KeyboardInterrupt:
        try:
            _interrupt_all()
            _join_all()
        finally:
            _die_of_the_interrupt()


def _die_of_the_interrupt() -> None:
    """End as Ctrl-C ends a process, after what others registered for the end.

    An exception here would only be printed, and the process would end as a success.
    """
    atexit._run_exitfuncs()  # noqa: SLF001 - what the interpreter would do next
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.raise_signal(signal.SIGINT)


def _interrupt_all() -> None:
    for each in list(_running):
        each.interrupt()


def _join_all() -> None:
    for each in list(_running):
        each.join()
