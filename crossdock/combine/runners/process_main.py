"""What a worker process of a ``LocalRunner`` runs: shards one after the other, from a pipe, until the pipe ends."""

from __future__ import annotations

import os
import queue
import signal
import threading
from multiprocessing.connection import Connection
from typing import Any

from crossdock.combine.runners.onworker import stop_run, work_off
from crossdock.combine.runners.sharding import Recipe
from crossdock.sharing import obey

__all__ = ["name_of", "serve"]


def name_of(pid: int) -> str:
    """What such a process calls itself."""
    return f"process {pid}"


def serve(pipe: Connection, recipe: Recipe) -> None:
    """Answer until the driver says ``end``. If the driver is gone, so is this process, at once, whatever runs in it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's: it stops in an orderly way
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    worker = name_of(os.getpid())
    sending = threading.Lock()
    shards: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def say(kind: str, what: Any) -> None:
        with sending:
            pipe.send((kind, what))

    def work() -> None:
        while (items := shards.get()) is not None:
            say("answered", work_off(recipe, items, worker=worker, send=lambda message: say("told", message)))

    worker_thread = threading.Thread(target=work, name="crossdock-shards")
    say("ready", os.getpid())
    worker_thread.start()
    while True:
        try:
            kind, what = pipe.recv()
        except (EOFError, OSError):
            os._exit(1)  # nobody is left to tell
        if kind == "run":
            shards.put(what)
        elif kind == "share":
            obey(recipe.run_id, what)
        elif kind == "stop":
            stop_run(recipe.run_id)
        else:
            shards.put(None)
            worker_thread.join()
            return
