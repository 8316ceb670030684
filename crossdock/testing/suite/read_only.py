"""Stores that are sources only: every verb that writes refuses, and what was seeded behind their back is read exactly."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from crossdock.errors import UnsupportedError
from crossdock.model import ByteRange, Upload
from crossdock.ports import ObjectStore
from crossdock.testing.hostile import FULL_METADATA, HOSTILE_KEYS
from crossdock.testing.suite.base import KEY, SuiteBase, content, digests_of, keys_in
from crossdock.testing.suite.writing import kept_by

__all__ = ["ReadOnlyChecks"]

_UPLOAD = Upload(key=KEY, id="none", part_size_bytes=1)
_WRITES: dict[str, Callable[[ObjectStore], object]] = {
    "put": lambda store: store.put(KEY, b"data"),
    "begin": lambda store: store.begin(KEY, part_size_bytes=1),
    "put_part": lambda store: store.put_part(_UPLOAD, 1, b"data"),
    "complete": lambda store: store.complete(_UPLOAD, [], size=0),
    "abort": lambda store: store.abort(_UPLOAD),
    "list_uploads": lambda store: [*store.list_uploads()],
    "copy": lambda store: store.copy(store.url, KEY, "other", info=store.stat(KEY)),
    "delete": lambda store: store.delete(KEY),
}


class ReadOnlyChecks(SuiteBase):
    """``capabilities.writable`` is false, and means it."""

    @pytest.mark.parametrize("verb", _WRITES)
    def test_nothing_is_written(self, store: ObjectStore, verb: str) -> None:
        """Every verb that writes raises ``UnsupportedError``; what is there stays."""
        self.seed(store, KEY, b"before")

        assert not store.capabilities.writable
        with pytest.raises(UnsupportedError):
            _WRITES[verb](store)
        assert self.back_door(store, KEY) == b"before"
        assert bytes(store.read(KEY).read_all()) == b"before"

    def test_a_listing_is_whole_or_refused(self, store: ObjectStore) -> None:
        """Without ``lists`` a listing raises ``UnsupportedError`` when it is asked for, and is never just empty."""
        self.seed(store, KEY, b"data")
        if store.capabilities.lists:
            assert keys_in(store) == [KEY]
            return

        for prefix in ("", "folder/", KEY):
            with pytest.raises(UnsupportedError):
                next(store.list(prefix), None)

    @pytest.mark.parametrize("key", HOSTILE_KEYS, ids=lambda key: ascii(key)[:60])
    def test_a_hostile_key_is_read_exactly(self, store: ObjectStore, key: str) -> None:
        """stat, read and ranged read of exactly this key; or it is refused before a request is made."""
        if key in self.left_out_keys:
            pytest.skip(self.left_out_keys[key])
        assert self.supports_key(key) == (store.refusal(key) is None)
        if not self.supports_key(key):
            for use in (store.stat, store.read):
                with pytest.raises(UnsupportedError):
                    use(key)
            return
        data = b"body of " + hashlib.sha256(key.encode()).digest()
        self.seed(store, key, data)

        assert (key, len(data)) == (store.stat(key).key, store.stat(key).size)
        assert data == bytes(store.read(key).read_all())
        if store.capabilities.ranged_reads:
            assert data[1:4] == bytes(store.read(key, ByteRange(1, 4)).read_all())

    def test_metadata_and_digests_are_those_of_the_object(self, store: ObjectStore) -> None:
        """What the store says it keeps comes back exactly, from ``stat`` and from a read; no digest is wrong."""
        data = content(1_000)
        self.seed(store, KEY, data, metadata=FULL_METADATA)
        reader = store.read(KEY)
        reader.close()

        assert kept_by(store, FULL_METADATA) == store.stat(KEY).metadata
        assert reader.info.metadata in (None, kept_by(store, FULL_METADATA))
        for digests in (store.stat(KEY).digests, reader.info.digests):
            assert digests.conflict(digests_of(data)) is None
            assert store.capabilities.publishes <= {*digests.as_dict()}

    def test_eight_threads_read_through_one_store(self, store: ObjectStore) -> None:
        """Eight threads stat and read objects through one store, each exactly."""
        for number in range(8):
            self.seed(store, f"object-{number}", content(100_000 + number, seed=number))

        def work(number: int) -> list[bytes]:
            key = f"object-{number}"
            assert store.stat(key).size == 100_000 + number
            return [bytes(store.read(key).read_all()) for _ in range(5)]

        with ThreadPoolExecutor(8) as pool:
            read = [*pool.map(work, range(8))]

        assert [[content(100_000 + number, seed=number)] * 5 for number in range(8)] == read
