"""A listing read ahead, in several key ranges at a time where the store can start anywhere; pages in strict key order.

No knowledge of the tree is needed: where to cut is guessed from the keys seen so far. A listing that ends within its
first four pages is read page by page, when asked for, and costs what it would cost anyway.
"""

from __future__ import annotations

import contextvars
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from typing import Self

from crossdock.errors import StorageError
from crossdock.flows.listing.order import in_order
from crossdock.flows.listing.ranges import SHAPE, Ranges, Shape
from crossdock.model import ObjectInfo
from crossdock.ports import ObjectStore

__all__ = ["Listing"]

_PATIENCE_S = 5.0  # for requests in flight when a listing is closed; their threads end by themselves later


class Listing(Iterator[Sequence[ObjectInfo]]):
    """The pages of ``store.list(prefix)``, in key order, fetched ahead by threads of their own.

    Memory: see ``Shape``; by default 174 pages, some 95 MB, for a listing of millions. Requests: one for 1,000 objects; where
    ranges are listed in parallel at most 8 and about 4 % more. Retries are those of the store's layers; a page that
    fails after them ends the listing with its error. One thread iterates; dropping or closing it ends the others.

    Args:
        store: What to list.
        prefix: Only keys that start with it.
        start_after: Only keys after this one.
        shape: How far ahead and how many at a time.
    """

    def __init__(
        self, store: ObjectStore, prefix: str, *, start_after: str | None = None, shape: Shape = SHAPE
    ) -> None:
        pages = iter(store.list(prefix, start_after=start_after))
        listers = shape.listers if store.capabilities.seekable_listing else 1
        self._crew = _Crew(store, prefix, pages, shape, listers)
        self._checked = in_order(_pages(self._crew, shape.first), where=f"{store.url}/{prefix}")
        weakref.finalize(self, self._crew.stop)

    def __next__(self) -> Sequence[ObjectInfo]:
        return next(self._checked)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def reaches(self, key: str) -> bool:
        """Whether pages up to ``key`` are here already."""
        return self._crew.reaches(key)

    def close(self) -> None:
        """End; waits up to 5 s for requests in flight. Twice is fine."""
        self._crew.stop()
        self._crew.join()


def _pages(crew: _Crew, first: int) -> Iterator[Sequence[ObjectInfo]]:
    """Not a method: what runs holds no reference to the listing, so that dropping the listing ends its threads."""
    for _ in range(first):
        page = crew.fetch()
        if page is None:
            return
        yield page
    crew.start()
    while (page := crew.following()) is not None:
        yield page


class _Crew:
    """The threads of one listing and what they share."""

    def __init__(
        self, store: ObjectStore, prefix: str, pages: Iterator[Sequence[ObjectInfo]], shape: Shape, size: int
    ) -> None:
        self._ranges = Ranges(
            pages,
            lambda after: iter(store.list(prefix, start_after=after)),
            prefix,
            shape,
            can_cut=size > 1,
            where=f"{store.url}/{prefix}",
        )
        self._size = size
        self._where = f"{store.url}/{prefix}"
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._error: BaseException | None = None
        self._stopped = False

    def fetch(self) -> Sequence[ObjectInfo] | None:
        """One page, in the caller's thread, before the threads begin."""
        while (chosen := self._ranges.choose()) is not None:
            self._ranges.put(chosen, next(chosen.pages, None))
            page = self._ranges.take()
            if page is not None:
                return page
        return None

    def start(self) -> None:
        """Begin to read ahead."""
        for number in range(self._size):
            context = contextvars.copy_context()  # observers of this thread hear of retries in those
            thread = threading.Thread(
                target=context.run, args=(self._work,), name=f"crossdock-list-{number}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def following(self) -> Sequence[ObjectInfo] | None:
        """The next page, as soon as it is here; ``None`` after the last.

        Raises:
            CrossdockError: A page failed, in whatever range.
        """
        with self._changed:
            while True:
                if self._error is not None:
                    raise self._error
                page = self._ranges.take()
                if page is not None or self._ranges.exhausted:
                    self._changed.notify_all()
                    return page
                if self._stopped:
                    raise StorageError(
                        "the listing was closed before its end", operation="list", where=self._where
                    )
                self._changed.wait()

    def reaches(self, key: str) -> bool:
        """See ``Ranges``."""
        with self._changed:
            return self._ranges.reaches(key)

    def stop(self) -> None:
        """Let every thread end after its request; waits for none."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def join(self) -> None:
        """Wait for them, 5 s for all together."""
        until = time.monotonic() + _PATIENCE_S
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _work(self) -> None:
        while True:
            with self._changed:
                while (chosen := None if self._stopped else self._ranges.choose()) is None:
                    if self._stopped or self._ranges.ended:
                        return
                    self._changed.wait()
            try:
                page = next(chosen.pages, None)
                with self._changed:
                    self._ranges.put(chosen, page)
                    self._changed.notify_all()
            except BaseException as error:  # raised again where the pages are taken
                with self._changed:
                    self._error, self._stopped = error, True
                    self._changed.notify_all()
                return
