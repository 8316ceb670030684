"""A Dask preload for the local workers of a ``DaskRunner``: Ctrl-C is for the driver alone.

A terminal sends SIGINT to every process of the foreground command. A worker that heard it would drop what it has in flight, and the
driver, which stops in an orderly way, would wait for answers that never come.
"""

from __future__ import annotations

import logging
import signal
import threading

from distributed.comm.core import CommClosedError

__all__ = ["dask_setup"]


def _drop_closed(record: logging.LogRecord) -> bool:
    """Drop the traceback of a heartbeat to a scheduler that is going away: every orderly end has them."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, CommClosedError)


def dask_setup(worker: object) -> None:
    """Called by Dask in the worker process, on its main thread, when it starts and when it is started again.

    A worker that is a thread of the driver (``processes=False``) leaves the driver's signals alone.
    """
    del worker
    logging.getLogger("distributed.worker").addFilter(_drop_closed)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
