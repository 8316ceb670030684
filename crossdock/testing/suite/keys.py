"""Hostile keys: each arrives exactly, alone and together, or is refused before a byte moves."""

from __future__ import annotations

import hashlib

import pytest

from crossdock.errors import CrossdockError, UnsupportedError
from crossdock.model import ByteRange
from crossdock.ports import CASE, ObjectStore
from crossdock.testing.hostile import HOSTILE_KEYS
from crossdock.testing.suite.base import SuiteBase, keys_in

__all__ = ["KeyChecks"]


def label(key: str) -> str:
    """A short name of a key for test ids."""
    text = key if len(key) <= 40 else f"{key[:20]}... {len(key.encode())} bytes"
    return ascii(text)


def body_of(key: str) -> bytes:
    """Bytes that no other key has."""
    return b"body of " + hashlib.sha256(key.encode()).hexdigest().encode()


class KeyChecks(SuiteBase):
    """Keys are opaque."""

    @pytest.mark.parametrize("key", HOSTILE_KEYS, ids=label)
    def test_a_hostile_key_alone(self, store: ObjectStore, key: str) -> None:
        """put, list, stat, read, ranged read, delete: under exactly this key. Or refused, and nothing is there."""
        if key in self.left_out_keys:
            pytest.skip(self.left_out_keys[key])
        assert self.supports_key(key) == (store.refusal(key) is None)
        if not self.supports_key(key):
            self.assert_refused(store, key)
            return
        data = body_of(key)
        store.put(key, data)

        assert [key] == keys_in(store)
        assert [key] == keys_in(store, prefix=key)
        assert keys_in(store, start_after=key) == []
        assert (key, len(data)) == (store.stat(key).key, store.stat(key).size)
        assert data == bytes(store.read(key).read_all())
        if store.capabilities.ranged_reads:
            assert data[1:4] == bytes(store.read(key, ByteRange(1, 4)).read_all())
        assert data == self.back_door(store, key)
        store.delete(key)
        assert keys_in(store) == []
        self.assert_untouched(store, key, None)

    def assert_refused(self, store: ObjectStore, key: str) -> None:
        """Every verb raises ``UnsupportedError``, and the store stays empty."""
        part_size = self.part_size(store)
        assert store.refusal(key)
        for use in (
            lambda: store.put(key, b"data"),
            lambda: store.stat(key),
            lambda: store.read(key).read_all(),
            lambda: store.delete(key),
            lambda: store.begin(key, part_size_bytes=part_size),
        ):
            with pytest.raises(UnsupportedError):
                use()
        assert keys_in(store) == []

    def test_hostile_keys_together(self, store: ObjectStore) -> None:
        """All side by side: each holds its own bytes, and deleting every second leaves the others."""
        keys = self.usable_keys(HOSTILE_KEYS)
        for key in keys:
            store.put(key, body_of(key))
        ordered = sorted(keys, key=str.encode)

        assert ordered == keys_in(store)
        for key in keys:
            assert body_of(key) == bytes(store.read(key).read_all())
            assert body_of(key) == self.back_door(store, key)
        for number in range(0, len(ordered), 5):
            assert ordered[number + 1 :] == keys_in(store, start_after=ordered[number])
        for key in ordered[::2]:
            store.delete(key)
        assert ordered[1::2] == keys_in(store)

    def test_keys_that_differ_by_case_alone(self, store: ObjectStore) -> None:
        """Two objects, or one where the store says that it folds case: a plan refuses such keys by what is said."""
        store.put("fold/x", b"first")
        store.put("fold/X", b"second")

        one = CASE in store.capabilities.folds
        assert (b"second" if one else b"first") == bytes(store.read("fold/x").read_all())
        assert len(keys_in(store)) == (1 if one else 2)

    def test_hostile_keys_in_parts(self, store: ObjectStore) -> None:
        """The same through uploads in parts, which often take another route; open uploads have exact keys."""
        if not store.capabilities.multipart:
            pytest.skip("the store takes no parts")
        keys = self.usable_keys(HOSTILE_KEYS)
        size = self.part_size(store)
        uploads = {key: store.begin(key, part_size_bytes=size) for key in keys}
        seen = sorted(upload.key for upload in store.list_uploads())
        for key, upload in uploads.items():
            part = store.put_part(upload, 1, body_of(key))
            store.complete(upload, [part], size=len(body_of(key)))

        assert sorted(keys) == seen
        assert sorted(keys, key=str.encode) == keys_in(store)
        assert {key: body_of(key) for key in keys} == {key: self.back_door(store, key) for key in keys}

    def test_hostile_keys_copied_inside(self, store: ObjectStore) -> None:
        """The same through copies inside the service, from and to hostile keys."""
        if not store.capabilities.server_side_copy:
            pytest.skip("the store does not copy inside")
        for key in self.usable_keys(HOSTILE_KEYS):
            info = store.put("plain", body_of(key))
            middle = store.copy(store.url, "plain", key, info=info)
            store.copy(store.url, key, "back", info=middle)

            assert body_of(key) == self.back_door(store, key)
            assert body_of(key) == self.back_door(store, "back")

    def test_a_key_beside_what_would_be_its_directory(self, store: ObjectStore) -> None:
        """``x`` and ``x/y`` both arrive, in either order; where they cannot, the second is refused, the first stays."""
        for first, second in (("one", "one/two"), ("three/four", "three")):
            store.put(first, b"first")
            if self.nested_keys:
                store.put(second, b"second")
                assert self.back_door(store, second) == b"second"
            else:
                with pytest.raises(CrossdockError):
                    store.put(second, b"second")
                assert second not in keys_in(store)
            assert self.back_door(store, first) == b"first"

    @pytest.mark.parametrize("key", ["", "lone surrogate \ud800"])
    def test_what_is_no_key(self, store: ObjectStore, key: str) -> None:
        """The empty key and text that UTF-8 cannot write are refused."""
        self.assert_refused(store, key)
