"""The limit layer: how many requests of this process an endpoint has at a time, found by ``Pace`` and shared by a run.

It stands inside the retry layer, so a retry that waits holds no slot. A slot is held only while a request or a chunk
is under way: a stream somebody has opened and does not read holds none, so any number of them may be open. Reads and
writes of an endpoint are limited apart: services count them apart, and a copy inside one endpoint must not wait for
itself.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from crossdock.connectors.layer import Layer
from crossdock.connectors.pace import REQUEST_COST, Pace, starting_limit
from crossdock.connectors.ration import Ration
from crossdock.errors import ThrottledError
from crossdock.model import (
    ANY,
    NO_DIGESTS,
    NO_METADATA,
    NO_VERSION,
    ByteRange,
    Condition,
    Digests,
    Metadata,
    ObjectInfo,
    Part,
    Upload,
    Version,
)
from crossdock.ports import Chunk, ObjectReader
from crossdock.sharing import Use, Word, join, peers, refused

__all__ = ["LimitStore", "Limiter", "limiter_of"]

T = TypeVar("T")

_MAX_WISH_S = 60.0  # a Retry-After that is longer is obeyed by the retry layer, request by request


class Limiter:
    """Slots for one kind of request to one endpoint, in this process. Thread-safe; first come first served by the lock.

    How many there are: ``Ration``, from the own pace and what a run's driver says (``crossdock.sharing``).
    """

    def __init__(self, pace: Pace | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        # No cryptography: processes shall round differently.
        self._ration = Ration(pace or Pace(limit=starting_limit(peers())), random.random())  # noqa: S311
        self._clock = clock
        self._free = threading.Condition()
        self._under_way = 0
        self._waiting = 0
        self._not_before = 0.0
        self._asked_to_wait_until = 0.0  # by the service itself, not by hearsay

    @property
    def pace(self) -> Pace:
        """The own limit, whatever a driver says."""
        return self._ration.pace

    @pace.setter
    def pace(self, pace: Pace) -> None:
        with self._free:
            self._ration.follow(pace)

    @property
    def limit(self) -> int:
        """How many requests may be under way now."""
        with self._free:
            return self._ration.allowed(now=self._clock())

    def call(self, request: Callable[[], T], work: Callable[[T], int] = lambda _: 0) -> T:
        """Wait for a slot, send, and learn from how it ends.

        Args:
            request: What to do.
            work: How many bytes its result moved.
        """
        mark = self._take()
        moved, throttled = -1, None
        try:
            result = request()
            moved = work(result)
        except ThrottledError as error:
            throttled = error
            raise
        finally:
            self._give_back(mark, moved, throttled)
        return result

    def begin(self, run_id: str) -> None:
        """See ``sharing.Shared``."""
        with self._free:
            self._ration.begin(run_id, now=self._clock())

    def use(self, run_id: str) -> Use | None:
        """See ``sharing.Shared``."""
        with self._free:
            now = self._clock()
            wait_s = max(0.0, self._asked_to_wait_until - now)
            self._ration.wanted(self._under_way, self._waiting, now=now)
            return self._ration.use(run_id, now=now, wait_s=wait_s)

    def obey(self, run_id: str, word: Word) -> None:
        """See ``sharing.Shared``."""
        with self._free:
            now = self._clock()
            before = self._ration.allowed(now=now)
            self._ration.obey(run_id, word, now=now, processes=peers())
            if word.wait_s > 0:
                self._not_before = max(self._not_before, now + min(word.wait_s, _MAX_WISH_S))
            if self._ration.allowed(now=now) > before:
                self._free.notify_all()

    def forget(self, run_id: str) -> None:
        """See ``sharing.Shared``."""
        with self._free:
            self._ration.forget(run_id)
            self._free.notify_all()

    def _take(self) -> int:
        with self._free:
            while True:
                now = self._clock()
                wish_s = self._not_before - now if self._not_before else 0.0
                allowed = self._ration.allowed(now=now)
                if wish_s <= 0 and self._under_way < allowed:
                    self._under_way += 1
                    return self._ration.wanted(self._under_way, self._waiting, now=now)
                self._waiting += 1
                self._ration.wanted(self._under_way, self._waiting, now=now)
                try:
                    self._free.wait(wish_s if wish_s > 0 else None)
                finally:
                    self._waiting -= 1

    def _give_back(self, mark: int, moved: int, throttled: ThrottledError | None) -> None:
        now = self._clock()
        with self._free:
            before = self._ration.limit
            if throttled is not None:
                self._ration.throttled(mark, self._under_way, now=now)
                wish_s = min(throttled.retry_after_s or 0.0, _MAX_WISH_S)
                self._asked_to_wait_until = max(self._asked_to_wait_until, now + wish_s)
                self._not_before = max(self._not_before, self._asked_to_wait_until)
            elif moved >= 0:
                saturated = self._waiting > 0 or self._under_way >= before
                self._ration.ended(moved + REQUEST_COST, now=now, saturated=saturated)
            self._under_way -= 1
            if self._ration.limit > before:
                self._free.notify_all()
            elif self._waiting:
                self._free.notify()
        if throttled is not None:
            refused()


_limiters: dict[tuple[str, str], Limiter] = {}
_lock = threading.Lock()


def limiter_of(endpoint: str, kind: str) -> Limiter:
    """The one limiter of this process for ``kind`` (``read`` or ``write``) of requests to ``endpoint``."""
    place = (endpoint, kind)
    with _lock:
        known = _limiters.get(place)
        if known is None:
            known = _limiters[place] = Limiter()
            join(place, known)
        return known


class _LimitedReader:
    """A read whose chunks each take a slot while they are fetched."""

    def __init__(self, inner: ObjectReader, limiter: Limiter) -> None:
        self._inner, self._limiter = inner, limiter
        self.info = inner.info

    def __iter__(self) -> Iterator[Chunk]:
        chunks = iter(self._inner)
        while True:
            chunk = self._limiter.call(lambda: next(chunks, None), _length)
            if chunk is None:
                return
            yield chunk

    def read_all(self) -> Chunk:
        return self._limiter.call(self._inner.read_all, _length)

    def close(self) -> None:
        self._inner.close()


def _length(chunk: Chunk | None) -> int:
    return 0 if chunk is None else memoryview(chunk).nbytes


class LimitStore(Layer):
    """An ``ObjectStore`` that sends another one's requests within the endpoint's limit.

    Control calls that cost the service little (``abort``, ``list_uploads``, ``check``) are sent at once.
    """

    @property
    def _reads(self) -> Limiter:
        return limiter_of(self.inner.endpoint, "read")

    @property
    def _writes(self) -> Limiter:
        return limiter_of(self.inner.endpoint, "write")

    def list(self, prefix: str = "", *, start_after: str | None = None) -> Iterator[Sequence[ObjectInfo]]:
        """See the port; a slot a page."""
        pages = self.inner.list(prefix, start_after=start_after)
        while (page := self._reads.call(lambda: next(pages, None))) is not None:
            yield page

    def stat(self, key: str, *, version: Version = NO_VERSION) -> ObjectInfo:
        """See the port."""
        return self._reads.call(lambda: self.inner.stat(key, version=version))

    def part_sizes(self, info: ObjectInfo, *, every: bool = False) -> tuple[int, ...] | None:
        """See ``ports.PartSizes``; ``None`` where the store has no such verb."""
        ask: Callable[..., tuple[int, ...] | None] | None = getattr(self.inner, "part_sizes", None)
        return None if ask is None else self._reads.call(lambda: ask(info, every=every))

    def read(
        self, key: str, byte_range: ByteRange | None = None, *, version: Version = NO_VERSION
    ) -> ObjectReader:
        """See the port; a slot until the answer begins, and one for each chunk while it is fetched."""
        limiter = self._reads
        return _LimitedReader(
            limiter.call(lambda: self.inner.read(key, byte_range, version=version)), limiter
        )

    def put(
        self,
        key: str,
        data: Chunk,
        *,
        metadata: Metadata = NO_METADATA,
        digests: Digests = NO_DIGESTS,
        condition: Condition = ANY,
    ) -> ObjectInfo:
        """See the port."""
        size = memoryview(data).nbytes
        return self._writes.call(
            lambda: self.inner.put(key, data, metadata=metadata, digests=digests, condition=condition),
            lambda _: size,
        )

    def begin(
        self, key: str, *, part_size_bytes: int, metadata: Metadata = NO_METADATA, size: int | None = None
    ) -> Upload:
        """See the port."""
        return self._writes.call(
            lambda: self.inner.begin(key, part_size_bytes=part_size_bytes, metadata=metadata, size=size)
        )

    def put_part(self, upload: Upload, number: int, data: Chunk, *, digests: Digests = NO_DIGESTS) -> Part:
        """See the port."""
        return self._writes.call(
            lambda: self.inner.put_part(upload, number, data, digests=digests), lambda part: part.size
        )

    def complete(
        self,
        upload: Upload,
        parts: Sequence[Part],
        *,
        size: int,
        digests: Digests = NO_DIGESTS,
        condition: Condition = ANY,
    ) -> ObjectInfo:
        """See the port."""
        return self._writes.call(
            lambda: self.inner.complete(upload, parts, size=size, digests=digests, condition=condition)
        )

    def copy(
        self,
        source: str,
        source_key: str,
        key: str,
        *,
        info: ObjectInfo,
        metadata: Metadata = NO_METADATA,
        condition: Condition = ANY,
    ) -> ObjectInfo:
        """See the port."""
        return self._writes.call(
            lambda: self.inner.copy(
                source, source_key, key, info=info, metadata=metadata, condition=condition
            )
        )

    def delete(self, key: str, *, version: Version = NO_VERSION) -> None:
        """See the port."""
        self._writes.call(lambda: self.inner.delete(key, version=version))
