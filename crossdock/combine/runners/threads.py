"""One run on threads of this process: nothing is pickled, payload stays where it is."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from crossdock.combine.runners.feed import Feed
from crossdock.pausing import stop_pauses_with

__all__ = ["ThreadRun"]

T = TypeVar("T")
R = TypeVar("R")


class ThreadRun(Generic[T, R]):
    """A function over items, ``threads`` at a time, at most ``window`` of them taken and not yet yielded.

    Threads run in copies of the context of whoever iterates, so events reach who listens there.
    """

    def __init__(
        self, function: Callable[[T], R], feed: Feed[T], name: str, threads: int, window: int
    ) -> None:
        self._function = function
        self._feed = feed
        self._window = window
        self._name = name
        self._threads = min(threads, window)
        self._stop = threading.Event()
        self._news: queue.SimpleQueue[tuple[int, R | BaseException] | None] = (
            queue.SimpleQueue()
        )  # None: look again
        self._under_way: dict[int, Future[Any]] = {}
        self._more = True
        self._broken: Exception | None = None

    def outcomes(self) -> Iterator[tuple[int, R | BaseException]]:
        """Position and result or error of each item, as they end."""
        here = contextvars.copy_context()

        def prepare() -> None:
            for variable, value in here.items():
                variable.set(value)
            stop_pauses_with(self._stop)

        pool = ThreadPoolExecutor(self._threads, f"crossdock-{self._name}", prepare)
        self._feed.listen(lambda: self._news.put(None))
        try:
            while True:
                if self._feed.stopped and not self._stop.is_set():
                    yield from self._begin_nothing_more()
                self._fill(pool)
                if not self._under_way and not self._more:
                    break
                ended = self._news.get()
                if ended is not None:
                    del self._under_way[ended[0]]
                    yield ended
        finally:
            self._stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
        if self._broken is not None:
            raise self._broken

    def _begin_nothing_more(self) -> Iterator[tuple[int, BaseException]]:
        """The input was called off: pauses between retries end, and what did not begin comes back as ``CancelledError``."""
        self._stop.set()
        self._more = False
        for index in [index for index, future in self._under_way.items() if future.cancel()]:
            del self._under_way[index]
            yield index, CancelledError()

    def _fill(self, pool: ThreadPoolExecutor) -> None:
        while self._more and len(self._under_way) < self._window:
            # An ended item is yielded before another is waited for: the input may depend on its consumer.
            if not self._news.empty() or (self._under_way and not self._feed.ready()):
                return
            try:
                index, item = next(self._feed)
            except StopIteration:
                self._more = False
            except Exception as error:
                self._more, self._broken = False, error
            else:
                self._under_way[index] = pool.submit(self._work, index, item)

    def _work(self, index: int, item: T) -> None:
        try:
            self._news.put((index, self._function(item)))
        except BaseException as error:
            self._news.put((index, error))
