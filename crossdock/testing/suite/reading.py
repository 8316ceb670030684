"""``stat`` and ``read``: exact bytes, ranges, one version or an error."""

from __future__ import annotations

import gzip

import pytest

from crossdock.errors import CrossdockError, NotFoundError, PreconditionError, RangeError, UnsupportedError
from crossdock.model import ByteRange, Metadata
from crossdock.ports import ObjectStore
from crossdock.testing.suite.base import KEY, SuiteBase, content

__all__ = ["ReadingChecks"]

RANGES = [(0, 1), (0, 1_000), (1, 2), (499, 777), (999, 1_000), (900, 5_000), (0, 10**12)]


class ReadingChecks(SuiteBase):
    """Bytes come whole, in order, of one version, or the call raises."""

    def test_chunks_add_up(self, store: ObjectStore) -> None:
        """Iterating gives non-empty chunks of bytes in order; together they are the object."""
        data = content(2_500_000)
        self.seed(store, KEY, data)
        chunks = [*store.read(KEY)]

        assert all(len(memoryview(chunk)) for chunk in chunks)
        assert data == b"".join(bytes(chunk) for chunk in chunks)

    def test_an_empty_object_has_no_chunks(self, store: ObjectStore) -> None:
        """Zero bytes are an object; iterating it gives nothing, ``read_all`` gives ``b""``."""
        self.seed(store, KEY, b"")

        assert [*store.read(KEY)] == []
        assert bytes(store.read(KEY).read_all()) == b""
        assert store.stat(KEY).size == 0

    def test_the_answer_says_what_is_read(self, store: ObjectStore) -> None:
        """A reader's info is that of the whole object, also when a range is read."""
        self.seed(store, KEY, content(1_000))
        stat = store.stat(KEY)
        reader = store.read(KEY, ByteRange(10, 20)) if store.capabilities.ranged_reads else store.read(KEY)
        info = reader.info
        reader.close()

        assert (KEY, 1_000, stat.version) == (info.key, info.size, info.version)

    def test_close_twice_is_fine(self, store: ObjectStore) -> None:
        """A reader can be closed before, during and after reading, and again."""
        self.seed(store, KEY, content(3_000_000))
        unread = store.read(KEY)
        unread.close()
        unread.close()
        begun = store.read(KEY)
        next(iter(begun))
        begun.close()
        begun.close()

        assert store.stat(KEY).size == 3_000_000

    @pytest.mark.parametrize(("start", "end"), RANGES)
    def test_a_range_is_half_open(self, store: ObjectStore, start: int, end: int) -> None:
        """``[start, end)``; an end beyond the object is cut to its size. Without the capability it is refused."""
        data = content(1_000)
        self.seed(store, KEY, data)
        if not store.capabilities.ranged_reads:
            with pytest.raises(UnsupportedError):
                store.read(KEY, ByteRange(start, end)).read_all()
            return

        assert data[start:end] == bytes(store.read(KEY, ByteRange(start, end)).read_all())
        assert data[start:end] == b"".join(bytes(chunk) for chunk in store.read(KEY, ByteRange(start, end)))

    @pytest.mark.parametrize(("size", "start"), [(1_000, 1_000), (1_000, 5_000), (1, 1), (0, 0)])
    def test_a_range_behind_the_end_raises(self, store: ObjectStore, size: int, start: int) -> None:
        """A range that starts after the last byte raises ``RangeError``; an empty object has no range."""
        self.seed(store, KEY, content(size))
        expected = RangeError if store.capabilities.ranged_reads else UnsupportedError

        with pytest.raises(expected):
            store.read(KEY, ByteRange(start, start + 10)).read_all()

    def test_what_is_not_there_is_not_found(self, store: ObjectStore) -> None:
        """``stat`` and ``read`` of an absent key raise ``NotFoundError``; a longer key is no substitute."""
        self.seed(store, f"{KEY}.longer", b"data")

        with pytest.raises(NotFoundError):
            store.stat(KEY)
        with pytest.raises(NotFoundError):
            store.read(KEY).read_all()

    def test_a_pinned_read_takes_the_version_that_is_there(self, store: ObjectStore) -> None:
        """Pinned to what ``put``, ``stat`` or the listing said, a read gives the bytes."""
        data = content(500)
        put = self.seed(store, KEY, data)
        if not store.capabilities.pinned_reads:
            with pytest.raises(UnsupportedError):
                store.read(KEY, version=put.version).read_all()
            return
        seen = [put.version, store.stat(KEY).version]
        if store.capabilities.lists:
            seen.extend(info.version for page in store.list() for info in page)

        assert all(seen)
        for version in seen:
            assert data == bytes(store.read(KEY, version=version).read_all())
            if store.capabilities.ranged_reads:
                assert data[5:9] == bytes(store.read(KEY, ByteRange(5, 9), version=version).read_all())
            assert store.stat(KEY, version=version).size == 500

    def test_replaced_between_two_ranged_reads(self, store: ObjectStore) -> None:
        """Same key, same size, other bytes: the second pinned read raises; never half old, half new."""
        if not store.capabilities.pinned_reads:
            pytest.skip("no pinned reads: the writer reads such objects in one request")
        version = self.seed(store, KEY, content(1_000, seed=1)).version
        ranged = store.capabilities.ranged_reads
        head, tail = (ByteRange(0, 500), ByteRange(500, 1_000)) if ranged else (None, None)
        first = bytes(store.read(KEY, head, version=version).read_all())
        self.seed(store, KEY, content(1_000, seed=2))

        assert content(1_000, seed=1)[: 500 if ranged else None] == first
        with pytest.raises(PreconditionError):
            store.read(KEY, tail, version=version).read_all()
        with pytest.raises(PreconditionError):
            store.read(KEY, version=version).read_all()
        with pytest.raises(PreconditionError):
            store.stat(KEY, version=version)

    def test_deleted_between_two_ranged_reads(self, store: ObjectStore) -> None:
        """A pinned read of an object that is gone raises ``NotFoundError`` or ``PreconditionError``."""
        if not store.capabilities.pinned_reads:
            pytest.skip("no pinned reads: the writer reads such objects in one request")
        version = self.seed(store, KEY, content(1_000)).version
        self.unseed(store, KEY)

        with pytest.raises((NotFoundError, PreconditionError)):
            store.read(
                KEY, ByteRange(500, 1_000) if store.capabilities.ranged_reads else None, version=version
            ).read_all()

    def test_replaced_while_it_is_read(self, store: ObjectStore) -> None:
        """A read under way ends with all old bytes, or raises; never a mix, never short."""
        old = content(6_000_000, seed=1)
        self.seed(store, KEY, old)
        reader = store.read(KEY)
        chunks = iter(reader)
        seen = [bytes(next(chunks))]
        self.seed(store, KEY, content(6_000_000, seed=2))
        try:
            seen.extend(bytes(chunk) for chunk in chunks)
        except CrossdockError:
            return  # loud is as good as whole
        finally:
            reader.close()

        assert old == b"".join(seen)

    def test_stored_bytes_are_not_decoded(self, store: ObjectStore) -> None:
        """``Content-Encoding: gzip`` is kept as stored: same bytes, same length, whole and by range."""
        stored = gzip.compress(b"text " * 1_000, mtime=0)
        self.seed(store, KEY, stored, metadata=Metadata(content_type="text/plain", content_encoding="gzip"))

        assert len(stored) == store.stat(KEY).size
        assert stored == bytes(store.read(KEY).read_all())
        assert stored == b"".join(bytes(chunk) for chunk in store.read(KEY))
        if store.capabilities.ranged_reads:
            assert stored[3:20] == bytes(store.read(KEY, ByteRange(3, 20)).read_all())

    def test_payload_that_looks_like_protocol(self, store: ObjectStore) -> None:
        """MIME boundaries, chunk framing and XML in the payload are payload."""
        data = b"\r\n--==0==\r\nContent-Type: text/plain\r\n\r\n--==0==--\r\n0\r\n\r\n<?xml version='1.0'?><Error/>"
        self.seed(store, KEY, data)

        assert data == self.back_door(store, KEY)
        assert data == bytes(store.read(KEY).read_all())
