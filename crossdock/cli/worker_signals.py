"""A Dask preload for workers that a command starts on its own terminal: Ctrl-C is for the driver alone.

A terminal sends SIGINT to every process of the foreground command. A worker that heard it would drop what it has in flight, and the
driver, which stops in an orderly way, would wait for answers that never come.
"""

from __future__ import annotations

import signal

__all__ = ["dask_setup"]


def dask_setup(worker: object) -> None:
    """Called by Dask in the worker process, on its main thread, when it starts and when it is started again."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
