"""Listings in key order: checked as they come, and looked into with keys that only grow.

``in_order`` proves the order everything above relies on. ``Ahead`` answers "is this key there?" for growing keys from
one pass over a listing: the destination's half of a sorted merge, without ever holding more than a page of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from crossdock.errors import StorageError
from crossdock.model import ObjectInfo
from crossdock.ports import ObjectStore

__all__ = ["Ahead", "in_order"]

_PATIENCE_PAGES = (
    2  # pages without a single match before a jump: continuing a listing may be cheaper than a new one
)


def in_order(pages: Iterable[Sequence[ObjectInfo]], *, where: str) -> Iterator[Sequence[ObjectInfo]]:
    """Pass pages on while their keys grow strictly, in UTF-8 byte order (which is the order of Python's text).

    Raises:
        StorageError: A key is not greater than the one before: pages repeated, looping, or a listing without order.
    """
    before: str | None = None
    for page in pages:
        for info in page:
            if before is not None and info.key <= before:
                raise StorageError(
                    f"the listing is out of order: {info.key!r} came after {before!r}",
                    operation="list",
                    where=where,
                    hint="a plan made from it could miss objects; this endpoint needs ordered listings",
                )
            before = info.key
        yield page


class Ahead:
    """A destination's listing below one prefix, asked for keys in growing order.

    Memory: one page. Requests: one a page, and where many pages lie between two wanted keys they are jumped over, so
    that a few objects can be copied into a very large bucket. Not thread-safe.
    """

    def __init__(self, store: ObjectStore, prefix: str) -> None:
        self._store = store
        self._prefix = prefix
        self._pages = self._listing(None)
        self._page: Sequence[ObjectInfo] = ()
        self._at = 0
        self._last: str | None = None  # last key of the pages taken so far
        self._wanted: str | None = None
        self._idle_pages = 0
        self._ended = False

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

    def _turn(self, key: str) -> None:
        """Take the next page that can hold ``key``."""
        before = key[:-1]  # less than key, with little in between
        if self._idle_pages >= _PATIENCE_PAGES and self._last is not None and before > self._last:
            self._pages = self._listing(before)
            self._idle_pages = 0
        page = next(self._pages, None)
        self._idle_pages += 1
        if page is None:
            self._ended, self._page, self._at = True, (), 0
        elif page:
            self._page, self._at, self._last = page, 0, page[-1].key

    def _listing(self, start_after: str | None) -> Iterator[Sequence[ObjectInfo]]:
        pages = self._store.list(self._prefix, start_after=start_after)
        return in_order(pages, where=f"{self._store.url}/{self._prefix}")
