"""What a source says of keys that are known already: asked one by one, many at a time, or found in its listing."""

from __future__ import annotations

import contextvars
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from typing import Self, TypeVar

from crossdock.errors import DeniedError, NotFoundError, PreconditionError, UnsupportedError
from crossdock.flows.listing import Ahead
from crossdock.flows.questions.missing import NO_SUCH_OBJECT, REPLACED, Missing
from crossdock.model import NO_VERSION, ObjectInfo, Version
from crossdock.ports import ObjectStore

__all__ = ["ASKED_AT_ONCE", "asked", "looked_up"]

T = TypeVar("T")

ASKED_AT_ONCE = 64
BATCH = 1_000
_AGAIN = 16  # batches asked one by one before the listing is tried again


def looked_up(store: ObjectStore, prefix: str, keys: Iterable[str]) -> Iterator[Sequence[ObjectInfo]]:
    """The objects under ``keys`` (full, growing, all below ``prefix``), in batches of at most 1,000, in order.

    A page of the listing is one request, and so is asking for one object, of which 64 are under way at a time: so the
    listing is used while a page of it answers at least 64 keys, where it can start at any key. What is not there comes
    as ``Missing``. Memory: a batch, and what ``Ahead`` holds. Requests: the lesser of the two, and 3 in 16,000 keys more.

    Raises:
        CrossdockError: The listing failed, or the store could not be asked.
    """
    lists = store.capabilities.lists and store.capabilities.seekable_listing
    with _Asking(store) as asking, closing(_Found(store, prefix)) as found:
        left = 0
        for batch in _batches(keys):
            done: list[ObjectInfo] = []
            if lists and left == 0 and (found.begun or len(batch) >= ASKED_AT_ONCE):
                done = found.take(batch)
                left = _AGAIN if len(done) < len(batch) else 0
            left = max(0, left - 1) if not done else left
            yield [*done, *asking.all((key, NO_VERSION) for key in batch[len(done) :])]


def asked(store: ObjectStore, infos: Iterable[ObjectInfo]) -> Iterator[Sequence[ObjectInfo]]:
    """The same objects in batches, those without a size now with it; one request for each of those, 64 at a time."""
    with _Asking(store) as asking:
        for batch in _batches(infos):
            unknown = [info for info in batch if info.size is None]
            answers = iter(asking.all((info.key, info.version) for info in unknown))
            yield [next(answers) if info.size is None else info for info in batch]


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    left = iter(items)
    while batch := list(islice(left, BATCH)):
        yield batch


class _Found:
    """Keys looked for in the listing, as long as that is worth it."""

    def __init__(self, store: ObjectStore, prefix: str) -> None:
        self._ahead = Ahead(store, prefix)

    @property
    def begun(self) -> bool:
        """Whether the listing was used before."""
        return self._ahead.pages > 0

    def take(self, keys: Sequence[str]) -> list[ObjectInfo]:
        """The objects of the first of these keys: of all, unless pages answer too few of them."""
        before = self._ahead.pages
        done: list[ObjectInfo] = []
        for key in keys:
            info = self._ahead.find(key)
            done.append(Missing(key=key, size=None) if info is None else info)
            if self._ahead.pages - before > 2 + len(done) // ASKED_AT_ONCE:
                break
        return done

    def close(self) -> None:
        self._ahead.close()


class _Asking:
    """Threads that ask for objects, begun when they are first needed."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def all(self, wanted: Iterable[tuple[str, Version]]) -> list[ObjectInfo]:
        """What each is, in order."""
        several = list(wanted)
        if len(several) < 2:
            return [_one(self._store, *each) for each in several]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(ASKED_AT_ONCE, "crossdock-ask")
        futures = [
            self._pool.submit(contextvars.copy_context().run, _one, self._store, key, version)
            for key, version in several
        ]
        return [future.result() for future in futures]


def _one(store: ObjectStore, key: str, version: Version) -> ObjectInfo:
    why = store.refusal(key)
    if why is not None:
        return Missing(key=key, size=None, why=f"the source cannot hold this key: {why}")
    try:
        return store.stat(key, version=version)
    except NotFoundError:
        return Missing(key=key, size=None, why=NO_SUCH_OBJECT)
    except PreconditionError:
        return Missing(key=key, size=None, why=REPLACED)
    except (DeniedError, UnsupportedError):
        return ObjectInfo(
            key=key, size=None, version=version
        )  # it fails alone, when it is read, and says why
