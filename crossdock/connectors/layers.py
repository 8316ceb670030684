"""Layers round a store: each is another ``ObjectStore``. ``layered`` assembles them; nobody else retries.

The retry layer tries again what failed for a passing reason (``error.retry is LATER``), waits with full jitter, obeys
Retry-After, and marks what it gives up on EXHAUSTED so that the next layer does not multiply retries. It does not
retry ``put``, ``complete`` and ``copy``: a lost acknowledgement must be resolved by looking at the destination, which
the writer does (docs/decisions/0004).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception

from crossdock.connectors.layer import Layer
from crossdock.connectors.limits import LimitStore
from crossdock.errors import CrossdockError, PreconditionError, Retry
from crossdock.events import Retried, emit
from crossdock.model import (
    NO_DIGESTS,
    NO_METADATA,
    NO_VERSION,
    ByteRange,
    Digests,
    Metadata,
    ObjectInfo,
    Part,
    Upload,
    Version,
)
from crossdock.pausing import is_stopping, pause
from crossdock.ports import Chunk, ObjectReader, ObjectStore

__all__ = ["ATTEMPTS", "RetryStore", "attempt", "backoff_s", "layered"]

T = TypeVar("T")

ATTEMPTS = 8
CHECK_ATTEMPTS = 2  # a wrong URL or a refused connection is reported within seconds


def layered(store: ObjectStore) -> ObjectStore:
    """The store as everything above uses it: the bare connector, its endpoint's limit, retries.

    What costs no service anything (a dict of this process) has no limit to find.
    """
    return RetryStore(store if store.endpoint.startswith("memory") else LimitStore(store))


def backoff_s(attempt_number: int, error: BaseException | None) -> float:
    """How long to wait before the next attempt: exponential to 20 s with full jitter, at least Retry-After."""
    import secrets

    ceiling = min(20.0, 0.2 * 2**attempt_number)
    jittered: float = ceiling * (0.5 + secrets.randbelow(1000) / 2000)
    wished: float | None = getattr(error, "retry_after_s", None)
    return max(jittered, wished or 0.0)


def _error_of(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None


def attempt(
    function: Callable[[], T],
    *,
    operation: str,
    place: str,
    attempts: int = ATTEMPTS,
    already_failed: int = 0,
    is_cleaning: bool = False,
) -> T:
    """Call ``function`` until it succeeds, fails for good, or ``attempts`` are used up.

    Once the work is being stopped, nothing waits and an attempt that fails is the last one, except of what cleans up.
    """

    def wait(state: RetryCallState) -> float:
        return backoff_s(state.attempt_number + already_failed, _error_of(state))

    def is_over(state: RetryCallState) -> bool:
        return state.attempt_number >= attempts or (is_stopping() and not is_cleaning)

    def sleep(seconds: float) -> None:
        pause(seconds)

    def note(state: RetryCallState) -> None:
        error = _error_of(state)
        delay_s = state.next_action.sleep if state.next_action else 0.0
        emit(
            Retried(
                operation=operation,
                place=place,
                cause=str(error),
                attempt=state.attempt_number + already_failed,
                delay_s=delay_s,
            )
        )

    try:  # the first attempt costs no machinery
        return function()
    except CrossdockError as error:
        if error.retry is not Retry.LATER or attempts <= 1:
            raise
        first = error
    outcomes: list[CrossdockError] = [first]

    def again() -> T:
        if outcomes:
            raise outcomes.pop()  # replays the first failure, so that it is waited for and counted as one
        return function()

    try:
        return Retrying(
            stop=is_over,
            sleep=sleep,
            wait=wait,
            retry=retry_if_exception(lambda e: isinstance(e, CrossdockError) and e.retry is Retry.LATER),
            before_sleep=note,
            reraise=True,
        )(again)
    except CrossdockError as error:
        if error.retry is Retry.LATER:
            error.retry, error.attempts = Retry.EXHAUSTED, attempts
        raise


class _ResumingReader:
    """A read that goes on at the offset, pinned to the same version, when the connection breaks."""

    def __init__(
        self, store: ObjectStore, key: str, byte_range: ByteRange | None, first: ObjectReader
    ) -> None:
        self._store, self._key = store, key
        self._reader = first
        self.info = first.info
        whole = self.info.size
        start, end = (byte_range.start, byte_range.end) if byte_range else (0, whole)
        self._next = start
        self._end = min(end, whole) if end is not None and whole is not None else end
        # Going on at an offset without a pin could join two versions: then the whole object is read again, above.
        self._pinned = bool(self.info.version) and store.capabilities.pinned_reads

    def __iter__(self) -> Iterator[Chunk]:
        failures = 0
        while True:
            before = self._next
            try:
                for chunk in self._reader:
                    self._next += len(memoryview(chunk).cast("B"))
                    yield chunk
                return
            except CrossdockError as error:
                self._reader.close()
                if self._end is not None and self._next >= self._end:
                    return
                failures = 1 if self._next > before else failures + 1
                resumable = self._end is not None and self._pinned and self._store.capabilities.ranged_reads
                if error.retry is not Retry.LATER or not resumable or failures >= ATTEMPTS:
                    raise
                self._reader = self._reopened(error, failures)

    def _reopened(self, error: CrossdockError, failures: int) -> ObjectReader:
        end = self._end
        if end is None:  # pragma: no cover - guarded by the caller
            raise error
        broken: list[CrossdockError] = [error]

        def reopen() -> ObjectReader:
            if broken:
                raise broken.pop()
            return self._store.read(self._key, ByteRange(self._next, end), version=self.info.version)

        return attempt(
            reopen, operation="read", place=f"{self._store.url}/{self._key}", already_failed=failures - 1
        )

    def read_all(self) -> Chunk:
        start, failures = self._next, 0
        try:
            data = self._reader.read_all()
        except CrossdockError as error:
            if error.retry is not Retry.LATER or self._end is None or not self._pinned:
                raise
            self._reader.close()
            failures += 1
            data = self._all_again(error, ByteRange(start, self._end))
        self._next = start + len(memoryview(data).cast("B"))
        return data

    def _all_again(self, error: CrossdockError, byte_range: ByteRange) -> Chunk:
        broken: list[CrossdockError] = [error]
        whole = (byte_range.start, byte_range.end) == (0, self.info.size)

        def again() -> Chunk:
            if broken:
                raise broken.pop()
            # The whole is asked for as the whole: not every server has ranges.
            wanted = None if whole and not self._store.capabilities.ranged_reads else byte_range
            reader = self._store.read(self._key, wanted, version=self.info.version)
            try:
                return reader.read_all()
            finally:
                reader.close()

        return attempt(again, operation="read", place=f"{self._store.url}/{self._key}")

    def close(self) -> None:
        self._reader.close()


class RetryStore(Layer):
    """An ``ObjectStore`` that retries another one's reads and control calls; ``put``, ``complete`` and ``copy`` pass."""

    def _place(self, key: str) -> str:
        return f"{self.inner.url}/{key}"

    def check(self) -> None:
        """See the port; tried twice at most."""
        attempt(self.inner.check, operation="check", place=self.url, attempts=CHECK_ATTEMPTS)

    def list(self, prefix: str = "", *, start_after: str | None = None) -> Iterator[Sequence[ObjectInfo]]:
        """See the port; a page that fails is asked for again after the last key seen, and then fatal."""
        last = start_after

        def following() -> tuple[Sequence[ObjectInfo] | None, Iterator[Sequence[ObjectInfo]]]:
            pages = self.inner.list(prefix, start_after=last)
            return next(pages, None), pages

        page, pages = attempt(following, operation="list", place=self._place(prefix))
        while page is not None:
            if page:
                last = page[-1].key
                yield page
            try:
                page = next(pages, None)
            except CrossdockError as error:
                if error.retry is not Retry.LATER:
                    raise
                page, pages = attempt(following, operation="list", place=self._place(prefix))

    def stat(self, key: str, *, version: Version = NO_VERSION) -> ObjectInfo:
        """See the port."""
        return attempt(
            lambda: self.inner.stat(key, version=version), operation="stat", place=self._place(key)
        )

    def part_sizes(self, info: ObjectInfo, *, every: bool = False) -> tuple[int, ...] | None:
        """See ``ports.PartSizes``; ``None`` where the store has no such verb."""
        ask: Callable[..., tuple[int, ...] | None] | None = getattr(self.inner, "part_sizes", None)
        if ask is None:
            return None
        return attempt(lambda: ask(info, every=every), operation="stat", place=self._place(info.key))

    def read(
        self, key: str, byte_range: ByteRange | None = None, *, version: Version = NO_VERSION
    ) -> ObjectReader:
        """See the port; an interrupted read goes on at the offset, pinned to the version it began with.

        A store without pinned reads cannot be asked for a version: what it opened is compared with it instead.
        """
        asked = version if self.inner.capabilities.pinned_reads else NO_VERSION
        reader = attempt(
            lambda: self.inner.read(key, byte_range, version=asked),
            operation="read",
            place=self._place(key),
        )
        if version not in (asked, reader.info.version):
            reader.close()
            raise PreconditionError(
                "the object was replaced since it was observed",
                operation="read",
                where=self.url,
                key=key,
                hint="list again",
            )
        return _ResumingReader(self.inner, key, byte_range, reader)

    def begin(
        self, key: str, *, part_size_bytes: int, metadata: Metadata = NO_METADATA, size: int | None = None
    ) -> Upload:
        """See the port."""
        return attempt(
            lambda: self.inner.begin(key, part_size_bytes=part_size_bytes, metadata=metadata, size=size),
            operation="begin",
            place=self._place(key),
        )

    def put_part(self, upload: Upload, number: int, data: Chunk, *, digests: Digests = NO_DIGESTS) -> Part:
        """See the port; a part sent again replaces itself, so this is safe."""
        return attempt(
            lambda: self.inner.put_part(upload, number, data, digests=digests),
            operation="put part",
            place=self._place(upload.key),
        )

    def abort(self, upload: Upload) -> None:
        """See the port."""
        attempt(
            lambda: self.inner.abort(upload),
            operation="abort",
            place=self._place(upload.key),
            is_cleaning=True,
        )

    def list_uploads(self, prefix: str = "") -> Iterator[Upload]:
        """See the port; the list of open uploads is short, so it is taken whole and asked for again whole."""
        yield from attempt(
            lambda: [*self.inner.list_uploads(prefix)], operation="list uploads", place=self._place(prefix)
        )

    def delete(self, key: str, *, version: Version = NO_VERSION) -> None:
        """See the port."""
        attempt(lambda: self.inner.delete(key, version=version), operation="delete", place=self._place(key))
