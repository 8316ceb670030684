"""A sink that fails leaves everything as it was: whatever breaks, wherever, the key is old or absent and nothing remains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import crossdock as xd
from crossdock.connectors.streams import PlainStream
from crossdock.errors import (
    ConnectionLostError,
    CrossdockError,
    IntegrityError,
    NotFoundError,
    PreconditionError,
    TaskFailed,
)
from crossdock.model import Digests, ObjectInfo, Upload
from crossdock.testing.ends import End
from crossdock.testing.suite.base import content, digests_of
from crossdock.testing.suite.end_base import PREFIX, chunks_of
from crossdock.testing.suite.origins import KEY, Origin
from crossdock.testing.suite.sink_base import NAME, SinkBase

__all__ = ["SinkFailureChecks", "SourceDiedError"]

OLD = b"the old object, which is good"
WHERE = ("first byte", "second byte", "middle", "last byte")


class SourceDiedError(Exception):
    """What a source of these tests dies of."""


def offset_of(where: str, size: int) -> int:
    """The offset in bytes that a label of ``WHERE`` means."""
    return {"first byte": 0, "second byte": 1, "middle": size // 2, "last byte": size - 1}[where]


def dying(data: bytes, at: int, chunk_size: int = 10_000) -> Iterator[bytes]:
    """The first ``at`` bytes, and then no more, loudly."""
    yield from chunks_of(data[:at], chunk_size)
    raise SourceDiedError


def missing(data: bytes) -> Any:
    """A stored object that was deleted before it was opened."""
    origin = Origin(data)
    origin.delete(KEY)
    return origin.stream()


class SinkFailureChecks(SinkBase):
    """Absent stays absent, old stays old, and no upload, temporary name or thread is left."""

    @pytest.fixture(params=[None, OLD], ids=["absent", "old"])
    def before(self, request: pytest.FixtureRequest, end: End) -> bytes | None:
        """What is at the destination before the sink is called."""
        held: bytes | None = request.param
        if held is not None:
            end.put(PREFIX + NAME, held)
        return held

    @pytest.fixture(params=["small", "in parts"])
    def data(self, request: pytest.FixtureRequest, end: End) -> bytes:
        """An object of one request, and one of several parts."""
        return content(1_000 if request.param == "small" else 2 * self.part_size(end) + 7)

    @pytest.mark.parametrize("where", WHERE)
    def test_a_source_that_dies(
        self, end: End, sink: Any, data: bytes, before: bytes | None, where: str
    ) -> None:
        """A generator that raises at any byte: its own error comes out, the destination is as it was."""
        with pytest.raises(SourceDiedError):
            sink(dying(data, offset_of(where, len(data))), key=NAME)
        self.assert_as_before(end, NAME, before)

    def test_a_source_that_is_interrupted(
        self, end: End, sink: Any, data: bytes, before: bytes | None
    ) -> None:
        """Ctrl-C in the middle is a failure like any other."""

        def interrupted() -> Iterator[bytes]:
            yield from chunks_of(data[: len(data) // 2])
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            sink(interrupted(), key=NAME)
        self.assert_as_before(end, NAME, before)

    @pytest.mark.parametrize("where", WHERE)
    def test_a_stored_object_that_dies(
        self, end: End, sink: Any, data: bytes, before: bytes | None, where: str
    ) -> None:
        """The connection to a stored object is lost for good at any byte, also in one of several parts."""
        origin = Origin(data, fault="dies", at=offset_of(where, len(data)))

        with pytest.raises(ConnectionLostError, match="the source died"):
            sink(origin.stream(), key=NAME)
        assert origin.fired > 0
        self.assert_as_before(end, NAME, before)

    @pytest.mark.parametrize("where", WHERE)
    def test_a_stored_object_that_ends_early(
        self, end: End, sink: Any, data: bytes, before: bytes | None, where: str
    ) -> None:
        """Fewer bytes than the source said, without an error of its own: loud, and never a short object."""
        origin = Origin(data, fault="ends early", at=offset_of(where, len(data)))

        with pytest.raises(CrossdockError):
            sink(origin.stream(), key=NAME)
        assert origin.fired > 0
        self.assert_as_before(end, NAME, before)

    @pytest.mark.parametrize("where", WHERE)
    def test_a_flipped_bit(self, end: End, sink: Any, data: bytes, before: bytes | None, where: str) -> None:
        """One bit is not what the source's digest says: ``IntegrityError``, however often it is read again."""
        origin = Origin(data, fault="flips", at=offset_of(where, len(data)))

        with pytest.raises(IntegrityError):
            sink(origin.stream(), key=NAME)
        assert origin.fired > 0
        self.assert_as_before(end, NAME, before)

    def test_a_stored_object_that_is_replaced(
        self, end: End, sink: Any, data: bytes, before: bytes | None
    ) -> None:
        """Replaced while it is read: the whole old object, or an error; never a mix."""
        origin = Origin(data, fault="is replaced", at=len(data) // 2)
        stream = origin.stream()
        try:
            sink(stream, key=NAME)
        except PreconditionError:
            self.assert_as_before(end, NAME, before)
        else:
            self.assert_as_before(end, NAME, data)
        assert origin.fired > 0

    @pytest.mark.parametrize("off", [-1, 1], ids=["one byte too few", "one byte too many"])
    def test_a_declared_length_is_kept(
        self, end: End, sink: Any, data: bytes, before: bytes | None, off: int
    ) -> None:
        """A stream that says how long it is, and is not: loud, and nothing becomes visible."""
        stream = PlainStream(chunks_of(data), info=ObjectInfo(key="", size=len(data) - off))

        with pytest.raises(CrossdockError):
            sink(stream, key=NAME)
        self.assert_as_before(end, NAME, before)

    def test_a_declared_digest_is_kept(self, end: End, sink: Any, data: bytes, before: bytes | None) -> None:
        """A stream that says what digest it has, and has another: loud, and nothing becomes visible."""
        wrong = Digests(crc32c=digests_of(data + b"!").crc32c)
        stream = PlainStream(chunks_of(data), info=ObjectInfo(key="", size=len(data), digests=wrong))

        with pytest.raises(IntegrityError):
            sink(stream, key=NAME)
        self.assert_as_before(end, NAME, before)

    def test_a_footer_after_the_end_is_not_taken(
        self, end: End, sink: Any, data: bytes, before: bytes | None
    ) -> None:
        """A writer that adds its footer when it is let go, as Parquet's does: once it failed it is not asked again."""
        footer = _FooterAfterFailure(data, len(data) // 2)

        with pytest.raises(SourceDiedError):
            sink(footer, key=NAME)
        footer.close()
        self.assert_as_before(end, NAME, before)

    def test_an_aborted_write_is_dead(self, end: End, sink: Any, before: bytes | None) -> None:
        """The upload of a write that failed takes no late part and no late completion; what was there stays."""
        store = end.root.store
        if not store.capabilities.multipart:
            pytest.skip("the end takes no parts")
        data, found = content(3 * self.part_size(end)), list[Upload]()

        def watched() -> Iterator[bytes]:
            yield from chunks_of(data)
            found.extend(upload for upload in store.list_uploads() if upload.key.endswith(NAME))
            raise SourceDiedError

        with pytest.raises(SourceDiedError):
            sink(watched(), key=NAME)

        assert len(found) == 1
        late = store.capabilities.min_part_size
        for use in (
            lambda: store.put_part(found[0], 1, content(late)),
            lambda: store.complete(found[0], [], size=0),
        ):
            with pytest.raises(CrossdockError):
                use()
        self.assert_as_before(end, NAME, before)

    def test_the_source_is_closed(self, sink: Any) -> None:
        """After success and after failure alike."""
        good, bad = _Closing(chunks_of(b"data")), _Closing(dying(b"data", 2))
        sink(good, key=NAME)
        with pytest.raises(SourceDiedError):
            sink(bad, key=NAME)

        assert (good.closed, bad.closed) == (True, True)

    @pytest.mark.parametrize(
        ("first", "phase", "cause"),
        [
            (lambda data: dying(data, len(data) // 2), "source", SourceDiedError),
            (lambda data: Origin(data, fault="dies", at=5).stream(), "source", ConnectionLostError),
            (missing, "source", NotFoundError),
        ],
        ids=["dying", "stored and dying", "missing"],
    )
    def test_a_failure_has_a_phase(
        self, end: End, sink: Any, data: bytes, first: Callable[[bytes], Any], phase: str, cause: type
    ) -> None:
        """In a combined task a source that dies is the source's failure, though it dies while the sink pulls."""
        begin = xd.task(lambda: first(data))
        with xd.one_task("dying") as pair:
            sink(begin(), key=NAME)

        with pytest.raises(TaskFailed) as failed:
            pair()
        assert phase == failed.value.phase
        assert isinstance(failed.value.__cause__, cause)
        self.assert_as_before(end, NAME, None)


class _Closing:
    """An iterator that knows that it was closed."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self.closed = chunks, False

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def close(self) -> None:
        self.closed = True


class _FooterAfterFailure:
    """Raises at ``at``; whoever asks again gets a footer, and a proper end."""

    def __init__(self, data: bytes, at: int) -> None:
        self._chunks = dying(data, at)
        self._footer: list[bytes] = []

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._footer:
            return self._footer.pop()
        try:
            return next(self._chunks)
        except SourceDiedError:
            self._footer.append(b"PAR1")
            raise

    def close(self) -> None:
        self._footer.append(b"PAR1")
