"""``LocalRunner``: threads in this process. No start-up cost, nothing is pickled, payload stays where it is."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

from crossdock.combine.context import stop_pauses_with
from crossdock.errors import ConfigError

__all__ = ["LocalRunner"]

T = TypeVar("T")
R = TypeVar("R")


class LocalRunner:
    """Runs each item on one of ``threads`` threads; implements ``crossdock.ports.Runner``.

    Each ``run`` has threads of its own, so runs that feed each other cannot starve each other. Thread-safe.

    Args:
        threads: How many items run at once. Most tasks wait for a network, so this is far above the number of cores.
        window: How many items may be taken from the input and not yet yielded; twice ``threads`` by default.
    """

    def __init__(self, threads: int = 32, *, window: int | None = None) -> None:
        if threads < 1 or (window is not None and window < 1):
            raise ConfigError(f"threads and window are 1 or more, not {threads} and {window}")
        self._window = window or 2 * threads
        self._threads = min(threads, self._window)

    def run(
        self, function: Callable[[T], R], items: Iterable[T], *, name: str = "task"
    ) -> Generator[tuple[int, R | BaseException], None, None]:
        """Apply ``function`` to each item; yield ``(index, result or error)`` in completion order.

        Items are taken by the thread that iterates. If taking one raises, what runs is still yielded, and then the
        error is raised. Closing the generator, or Ctrl-C in it, begins nothing more, ends pauses between retries, and
        waits for what runs.
        """
        stop = threading.Event()
        done: queue.SimpleQueue[tuple[int, R | BaseException]] = queue.SimpleQueue()

        def work(index: int, item: T) -> None:
            try:
                done.put((index, function(item)))
            except BaseException as error:
                done.put((index, error))

        pool = ThreadPoolExecutor(
            self._threads,
            thread_name_prefix=f"crossdock-{name}",
            initializer=stop_pauses_with,
            initargs=(stop,),
        )
        try:
            yield from self._feed(pool, work, iter(enumerate(items)), done)
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def _feed(
        self,
        pool: ThreadPoolExecutor,
        work: Callable[[int, T], None],
        items: Iterator[tuple[int, T]],
        done: queue.SimpleQueue[tuple[int, R | BaseException]],
    ) -> Iterator[tuple[int, R | BaseException]]:
        under_way = 0
        broken: Exception | None = None
        more = True
        while more or under_way:
            while more and under_way < self._window:
                # An ended item is yielded before another is waited for: the input may depend on its consumer.
                if not done.empty():
                    break
                try:
                    index, item = next(items)
                except StopIteration:
                    more = False
                except Exception as error:
                    more, broken = False, error
                else:
                    pool.submit(work, index, item)
                    under_way += 1
            if under_way:
                yield done.get()
                under_way -= 1
        if broken is not None:
            raise broken

    def close(self) -> None:
        """Nothing outlives a ``run``, so there is nothing to let go of."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
