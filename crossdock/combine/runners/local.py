"""``LocalRunner``: threads in this process, or processes of this machine. Nothing is left of either when a run ended."""

from __future__ import annotations

import multiprocessing
import os
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Self, TypeVar

from crossdock.combine.runners.feed import Feed
from crossdock.combine.runners.telling import level_of
from crossdock.combine.runners.threads import ThreadRun
from crossdock.errors import ConfigError

__all__ = ["LocalRunner"]

T = TypeVar("T")
R = TypeVar("R")

_THREADS = 32
_SHARDS_PER_PROCESS = 2  # one runs, one waits, so that no process waits for the driver


class LocalRunner:
    """Runs items on threads of this process, or in worker processes; implements ``crossdock.ports.Runner``. Thread-safe.

    Threads are the default: no start-up cost, nothing is pickled, and most tasks wait for a network. Processes are for
    tasks that compute in Python or may crash: a process that dies takes nothing along but what it had begun, which runs
    again; an item that kills its process again and again fails alone.

    Each ``run`` has threads or processes of its own, so runs that feed each other cannot starve each other, and processes
    inherit the secrets that the task refers to. Processes are spawned: a script that uses them needs
    ``if __name__ == "__main__":``, and each run of them begins with about half a second.

    Args:
        threads: How many items run at once, far above the number of cores (32); with ``processes``, in each of them (1).
        processes: How many worker processes; none by default.
        window: How many items may be taken from the input and not yet yielded; twice what runs at once by default. With
            ``processes`` and quick items the default is larger: they travel many at a time.
        worker_log_level: With ``processes``: log records of crossdock's loggers from this level on are carried here.
    """

    def __init__(
        self,
        threads: int | None = None,
        *,
        processes: int | None = None,
        window: int | None = None,
        worker_log_level: int | str | None = "WARNING",
    ) -> None:
        given = {"threads": threads, "processes": processes, "window": window}
        for name, value in given.items():
            if value is not None and (isinstance(value, bool) or value < 1):
                raise ConfigError(f"{name} is 1 or more, not {value}")
        self._processes = processes
        self._log_level = level_of(worker_log_level)
        self._item_window = window
        self._threads = threads or (1 if processes else _THREADS)
        self._window = window or 2 * self._threads

    def run(
        self, function: Callable[[T], R], items: Iterable[T], *, name: str = "task"
    ) -> Generator[tuple[int, R | BaseException], None, None]:
        """Apply ``function`` to each item; yield ``(index, result or error)`` in completion order.

        Items are taken by the thread that iterates; events that items emit reach whoever listens there. If taking an item
        raises, what runs is still yielded, and then the error is raised. Closing the generator, or Ctrl-C in it, begins
        nothing more, ends pauses between retries, and waits for what runs.

        Raises:
            ConfigError: With ``processes``: the function cannot be pickled, or processes cannot start. An item that cannot be
                pickled is an error for that item.
        """
        if self._processes is not None:
            yield from self._run_in_processes(function, items, name, self._processes)
        else:
            yield from ThreadRun(function, Feed(items), name, self._threads, self._window).outcomes()

    def _run_in_processes(
        self, function: Callable[[T], R], items: Iterable[T], name: str, processes: int
    ) -> Iterator[tuple[int, R | BaseException]]:
        # Threads shall not pay for what only processes need.
        from crossdock.combine.runners.processes import ProcessPool
        from crossdock.combine.runners.sharding import Recipe, ShardSizer, origin, software
        from crossdock.combine.runners.shardloop import ShardLoop, refused_ahead
        from crossdock.combine.runners.wire import pickled

        here: Any = multiprocessing.current_process()
        if getattr(here, "_inheriting", False):
            # A script without `if __name__ == "__main__":` runs again in each process it starts. This is such a process;
            # the one that started it says what is wrong.
            os._exit(1)
        if here.daemon:
            raise ConfigError(
                "this process is a Dask worker or another daemon, which may not start processes",
                operation="map",
                hint="use LocalRunner(threads=...) in it, or DaskRunner()",
            )
        feed = Feed(items)
        feed.look(1)
        if feed.is_empty:
            return
        recipe = Recipe(
            function=pickled(function, name),
            name=name,
            run_id=uuid.uuid4().hex,
            threads=self._threads,
            software=software(),
            origin=origin(),
            log_level=self._log_level,
        )
        yield from refused_ahead(feed, self._threads)
        if feed.is_empty:
            return
        loop = ShardLoop(
            ProcessPool(recipe, processes),
            feed,
            sizer=ShardSizer(
                getattr(function, "shard_size", None),
                threads=self._threads,
                slots=processes,
                total=feed.total,
            ),
            shards_per_slot=_SHARDS_PER_PROCESS,
            window=None,
            item_window=self._item_window,
        )
        yield from loop.outcomes()

    def close(self) -> None:
        """Nothing outlives a ``run``, so there is nothing to let go of."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
