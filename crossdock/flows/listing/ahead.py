"""Looking into a listing with keys that only grow: the destination's half of a sorted merge."""

from __future__ import annotations

from collections.abc import Sequence

from crossdock.errors import StorageError
from crossdock.flows.listing.ranges import SHAPE, Shape
from crossdock.flows.listing.reading import Listing
from crossdock.model import ObjectInfo
from crossdock.ports import ObjectStore

__all__ = ["Ahead"]

_PATIENCE_PAGES = (
    2  # pages without a single match before a jump: continuing a listing may be cheaper than a new one
)


class Ahead:
    """A destination's listing below one prefix, asked for keys in growing order.

    Memory: what ``Listing`` reads ahead, at most 174 pages. Requests: those of ``Listing``, and where many pages lie between
    two wanted keys they are jumped over, so that a few objects can be copied into a very large bucket. Not thread-safe;
    its listing's threads end when it is dropped or closed.
    """

    def __init__(self, store: ObjectStore, prefix: str, *, shape: Shape = SHAPE) -> None:
        self._store = store
        self._prefix = prefix
        self._shape = shape
        self._pages = Listing(store, prefix, shape=shape)
        self._page: Sequence[ObjectInfo] = ()
        self._at = 0
        self._last: str | None = None  # last key of the pages taken so far
        self._wanted: str | None = None
        self._idle_pages = 0
        self._ended = False
        self.pages = 0  # requests so far, about: pages that were turned to

    def find(self, key: str) -> ObjectInfo | None:
        """The object under ``key``, or ``None``.

        Raises:
            StorageError: ``key`` does not grow, the listing is out of order, or it failed: never a short answer.
        """
        if self._wanted is not None and key <= self._wanted:
            raise StorageError(
                f"two objects meet at one destination, or out of order: {key!r} after {self._wanted!r}",
                operation="plan",
                where=self._store.url,
            )
        self._wanted = key
        while not self._ended and (self._last is None or self._last < key):
            self._turn(key)
        page, at = self._page, self._at
        while at < len(page) and page[at].key < key:
            at += 1
        self._at = at
        if at < len(page) and page[at].key == key:
            self._idle_pages = 0
            return page[at]
        return None

    def close(self) -> None:
        """End the listing. Twice is fine."""
        self._pages.close()

    def _turn(self, key: str) -> None:
        """Take the next page that can hold ``key``."""
        before = key[:-1]  # less than key, with little in between
        far = self._idle_pages >= _PATIENCE_PAGES and self._last is not None and before > self._last
        if far and not self._pages.reaches(key):
            self._pages = Listing(self._store, self._prefix, start_after=before, shape=self._shape)
            self._idle_pages = 0
        page = next(self._pages, None)
        self._idle_pages += 1
        self.pages += 1
        if page is None:
            self._ended, self._page, self._at = True, (), 0
        elif page:
            self._page, self._at, self._last = page, 0, page[-1].key
