"""``put``, ``delete``, digests and metadata: whole or not at all, exact or loud."""

from __future__ import annotations

import pytest

from crossdock.errors import CrossdockError, IntegrityError, PreconditionError, UnsupportedError
from crossdock.model import NO_METADATA, Metadata
from crossdock.ports import ObjectStore
from crossdock.testing.hostile import FULL_METADATA, HOSTILE_METADATA
from crossdock.testing.suite.base import KEY, SuiteBase, content, digests_of, keys_in, only, wrong

__all__ = ["SIZES", "WritingChecks", "kept_by", "size_of"]

SIZES = ("0", "1", "part-1", "part", "part+1", "3 parts", "3 parts+7")
DIGESTS = ("md5", "crc32c", "crc64nvme", "sha256")


def size_of(label: str, part_size: int) -> int:
    """The size in bytes that a label of ``SIZES`` means."""
    return {
        "0": 0,
        "1": 1,
        "part-1": part_size - 1,
        "part": part_size,
        "part+1": part_size + 1,
        "3 parts": 3 * part_size,
        "3 parts+7": 3 * part_size + 7,
    }[label]


def kept_by(store: ObjectStore, metadata: Metadata) -> Metadata:
    """What of ``metadata`` this store says it keeps."""
    fields = store.capabilities.metadata_fields
    kept = {name: getattr(metadata, name) for name in Metadata.FIELDS if name in fields}
    return Metadata(**kept, user=dict(metadata.user) if "user" in fields else {})


class WritingChecks(SuiteBase):
    """An object is visible whole or not at all; what was sent is what is there."""

    @pytest.mark.parametrize("label", SIZES)
    def test_put_gives_the_bytes_back(self, store: ObjectStore, label: str) -> None:
        """Any size arrives exactly, and the answer says key, size and version of what is there now."""
        data = content(size_of(label, self.part_size(store)))
        info = store.put(KEY, data)

        assert data == self.back_door(store, KEY)
        assert data == bytes(store.read(KEY).read_all())
        assert (KEY, len(data), store.stat(KEY).version) == (info.key, info.size, info.version)

    def test_put_replaces_the_whole_object(self, store: ObjectStore) -> None:
        """A shorter object leaves nothing of the longer one before it; the version changes."""
        before = store.put(KEY, content(5_000, seed=1), metadata=FULL_METADATA)
        after = store.put(KEY, b"short")

        assert before.version != after.version
        assert self.back_door(store, KEY) == b"short"
        assert store.stat(KEY).metadata == NO_METADATA
        assert keys_in(store) == [KEY]

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_put_takes_any_buffer(self, store: ObjectStore, kind: type) -> None:
        """bytes, bytearray and memoryview (a slice, too) arrive the same, and are the caller's again afterwards."""
        data = bytearray(content(1_000))
        store.put(KEY, memoryview(data)[100:900] if kind is memoryview else kind(data[100:900]))
        expected = bytes(data[100:900])
        data[:] = bytes(1_000)

        assert expected == self.back_door(store, KEY)

    def test_put_accepts_right_digests(self, store: ObjectStore) -> None:
        """All digests the store checks, right: the object is there."""
        data = content(1_000)
        store.put(KEY, data, digests=digests_of(data))

        assert data == self.back_door(store, KEY)

    @pytest.mark.parametrize("name", DIGESTS)
    def test_put_with_a_wrong_digest_changes_nothing(self, store: ObjectStore, name: str) -> None:
        """A digest the store checks, wrong: ``IntegrityError``; the key stays absent, or as it was."""
        if name not in store.capabilities.put_checks:
            pytest.skip(f"the store does not check {name} of a put")
        data = content(1_000)

        with pytest.raises(IntegrityError):
            store.put(KEY, data, digests=wrong(data, name))
        self.assert_untouched(store, KEY, None)
        store.put(KEY, b"before")
        with pytest.raises(IntegrityError):
            store.put(KEY, data, digests=wrong(data, name))
        self.assert_untouched(store, KEY, b"before")

    def test_published_digests_are_of_the_bytes(self, store: ObjectStore) -> None:
        """``put`` and ``stat`` report every digest the store says it publishes; what is reported is right."""
        data = content(1_000)
        put, stat = store.put(KEY, data).digests, store.stat(KEY).digests

        assert store.capabilities.publishes <= {*stat.as_dict()}
        assert store.capabilities.publishes <= {*put.as_dict()}
        for name, value in (*put.as_dict().items(), *stat.as_dict().items()):
            if name in DIGESTS:
                assert {name: value} == only(digests_of(data), frozenset({name})).as_dict()

    def test_metadata_travels(self, store: ObjectStore) -> None:
        """Every field the store says it keeps comes back exactly; the others are absent."""
        store.put(KEY, b"data", metadata=FULL_METADATA)

        assert kept_by(store, FULL_METADATA) == store.stat(KEY).metadata

    def test_absent_metadata_stays_absent(self, store: ObjectStore) -> None:
        """An object put without metadata has none: no default content type is made up."""
        store.put(KEY, b"data")

        assert store.stat(KEY).metadata == NO_METADATA

    @pytest.mark.parametrize("field", Metadata.FIELDS)
    def test_one_metadata_field_alone(self, store: ObjectStore, field: str) -> None:
        """A field set alone comes back alone."""
        metadata = Metadata(**{field: getattr(FULL_METADATA, field)})
        store.put(KEY, b"data", metadata=metadata)

        assert kept_by(store, metadata) == store.stat(KEY).metadata

    @pytest.mark.parametrize("what", HOSTILE_METADATA)
    def test_hostile_metadata_is_kept_or_refused(self, store: ObjectStore, what: str) -> None:
        """Kept exactly, or an error and no object; never changed silently."""
        metadata = HOSTILE_METADATA[what]
        try:
            store.put(KEY, b"data", metadata=metadata)
        except CrossdockError:
            self.assert_untouched(store, KEY, None)
        else:
            assert kept_by(store, metadata) == store.stat(KEY).metadata
            assert self.back_door(store, KEY) == b"data"

    def test_reading_carries_metadata(self, store: ObjectStore) -> None:
        """A read's info has the metadata of the object, or ``None`` if the answer did not carry it."""
        store.put(KEY, b"data", metadata=FULL_METADATA)
        reader = store.read(KEY)
        metadata = reader.info.metadata
        reader.close()

        assert metadata in (None, kept_by(store, FULL_METADATA))

    def test_listing_carries_metadata_if_it_says_so(self, store: ObjectStore) -> None:
        """``listing_has_metadata``: the listing's metadata is the object's; otherwise it is ``None``, not empty."""
        store.put(KEY, b"data", metadata=FULL_METADATA)
        listed = [info.metadata for page in store.list() for info in page]

        assert listed == [kept_by(store, FULL_METADATA) if store.capabilities.listing_has_metadata else None]

    def test_delete_removes_one_object(self, store: ObjectStore) -> None:
        """The object is gone, its neighbours are not."""
        for key in (KEY, f"{KEY}.2", "folder/other"):
            store.put(key, b"data")
        store.delete(KEY)

        assert [f"{KEY}.2", "folder/other"] == keys_in(store)
        self.assert_untouched(store, KEY, None)

    def test_delete_of_what_is_not_there_is_fine(self, store: ObjectStore) -> None:
        """Deleting an absent key, twice, raises nothing."""
        store.put("folder/other", b"data")
        store.delete(KEY)
        store.delete(KEY)

        assert keys_in(store) == ["folder/other"]

    def test_delete_only_in_one_version(self, store: ObjectStore) -> None:
        """With a version that was replaced, the object stays; with the one that is there, it goes."""
        stale = store.put(KEY, b"old").version
        current = store.put(KEY, b"new").version

        with pytest.raises((PreconditionError, UnsupportedError)) as raised:
            store.delete(KEY, version=stale)
        self.assert_untouched(store, KEY, b"new")
        if isinstance(raised.value, PreconditionError):
            store.delete(KEY, version=current)
            self.assert_untouched(store, KEY, None)
