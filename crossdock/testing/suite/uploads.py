"""Uploads in parts: nothing visible before ``complete``, exactly these parts after it, nothing left after ``abort``."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from crossdock.errors import CrossdockError, IntegrityError, NotFoundError, UnsupportedError
from crossdock.ports import ObjectStore
from crossdock.testing.hostile import FULL_METADATA
from crossdock.testing.suite.base import KEY, SuiteBase, content, digests_of, keys_in, wrong
from crossdock.testing.suite.writing import DIGESTS, SIZES, kept_by, size_of

__all__ = ["UploadChecks"]


class UploadChecks(SuiteBase):
    """The multipart verbs."""

    @pytest.fixture
    def parted(self, store: ObjectStore) -> ObjectStore:
        """The store, if it takes parts; otherwise ``begin`` must refuse, and the check ends."""
        if not store.capabilities.multipart:
            with pytest.raises(UnsupportedError):
                store.begin(KEY, part_size_bytes=self.part_size(store))
            pytest.skip("the store takes no parts, and begin says so")
        return store

    @pytest.mark.parametrize("label", SIZES[1:])
    def test_parts_make_the_object(self, parted: ObjectStore, label: str) -> None:
        """Parts sent in any order make the object, exactly; the answer is of what is there now."""
        data = content(size_of(label, self.part_size(parted)))
        info = self.upload(parted, KEY, data)

        assert data == self.back_door(parted, KEY)
        assert (KEY, len(data), parted.stat(KEY).version) == (info.key, info.size, info.version)
        assert keys_in(parted) == [KEY]
        assert [*parted.list_uploads()] == []

    def test_parts_in_parallel(self, parted: ObjectStore) -> None:
        """Eight threads send the parts of one upload."""
        if parted.capabilities.ordered_parts:
            pytest.skip("the store takes parts in order, and the test of order shows it")
        size = self.part_size(parted)
        data = content(8 * size - 3)
        upload = parted.begin(KEY, part_size_bytes=size, size=len(data))
        with ThreadPoolExecutor(8) as pool:
            parts = [
                *pool.map(
                    lambda n: parted.put_part(upload, n, memoryview(data)[(n - 1) * size : n * size]),
                    range(1, 9),
                )
            ]
        parted.complete(upload, parts, size=len(data))

        assert data == self.back_door(parted, KEY)

    def test_nothing_is_visible_before_complete(self, parted: ObjectStore) -> None:
        """Until ``complete`` the key is absent, or holds what it held; also in listings."""
        data = content(self.part_size(parted) + 1)
        upload = parted.begin(KEY, part_size_bytes=self.part_size(parted), size=len(data))
        parts = self.put_parts(parted, upload, data)
        self.assert_untouched(parted, KEY, None)

        assert keys_in(parted) == []
        parted.put(KEY, b"before")
        self.assert_untouched(parted, KEY, b"before")
        parted.complete(upload, parts, size=len(data))
        assert data == self.back_door(parted, KEY)

    def test_order_is_demanded_or_does_not_matter(self, parted: ObjectStore) -> None:
        """``ordered_parts``: a part out of order is refused, and nothing became visible."""
        size = self.part_size(parted)
        upload = parted.begin(KEY, part_size_bytes=size)
        if parted.capabilities.ordered_parts:
            with pytest.raises(UnsupportedError):
                parted.put_part(upload, 2, content(size))
        else:
            parted.put_part(upload, 2, content(size))
        self.assert_untouched(parted, KEY, None)
        parted.abort(upload)
        assert [*parted.list_uploads()] == []

    def test_a_part_sent_again_replaces_itself(self, parted: ObjectStore) -> None:
        """The bytes sent last for a number are the ones that count; a store that wants order refuses."""
        size = self.part_size(parted)
        data = content(2 * size)
        upload = parted.begin(KEY, part_size_bytes=size)
        parted.put_part(upload, 1, content(size, seed=9))
        if parted.capabilities.ordered_parts:
            with pytest.raises(UnsupportedError):
                parted.put_part(upload, 1, content(size))
            parted.abort(upload)
            return
        parts = self.put_parts(parted, upload, data)
        parted.complete(upload, parts, size=len(data))

        assert data == self.back_door(parted, KEY)

    def test_only_the_named_parts_count(self, parted: ObjectStore) -> None:
        """Parts that were sent and not named at completion are not in the object; or such a completion is refused."""
        size = self.part_size(parted)
        data = content(3 * size)
        upload = parted.begin(KEY, part_size_bytes=size)
        parts = self.put_parts(parted, upload, data)
        if parted.capabilities.ordered_parts:
            with pytest.raises(UnsupportedError):
                parted.complete(upload, parts[:2], size=2 * size)
            self.assert_untouched(parted, KEY, None)
            parted.abort(upload)
            return
        parted.complete(upload, parts[:2], size=2 * size)

        assert data[: 2 * size] == self.back_door(parted, KEY)

    def test_a_missing_part_is_found(self, parted: ObjectStore) -> None:
        """Too few parts for ``size``: ``IntegrityError``, and nothing becomes visible."""
        size = self.part_size(parted)
        data = content(3 * size)
        upload = parted.begin(KEY, part_size_bytes=size, size=len(data))
        parts = self.put_parts(parted, upload, data)

        with pytest.raises(IntegrityError):
            parted.complete(upload, parts[:2], size=len(data))
        self.assert_untouched(parted, KEY, None)
        parted.abort(upload)

    def test_no_part_at_all_is_found(self, parted: ObjectStore) -> None:
        """No parts, and a size that is not 0: ``IntegrityError``, and what was there stays; it is no empty object."""
        parted.put(KEY, b"before")
        upload = parted.begin(KEY, part_size_bytes=self.part_size(parted))

        with pytest.raises(IntegrityError):
            parted.complete(upload, [], size=10)
        self.assert_untouched(parted, KEY, b"before")
        parted.abort(upload)

    def test_no_parts_are_an_empty_object(self, parted: ObjectStore) -> None:
        """No parts and size 0: an empty object with the upload's metadata; nothing is left of the upload."""
        upload = parted.begin(KEY, part_size_bytes=self.part_size(parted), metadata=FULL_METADATA)
        info = parted.complete(upload, [], size=0, digests=digests_of(b""))

        assert self.back_door(parted, KEY) == b""
        assert (KEY, 0, parted.stat(KEY).version) == (info.key, info.size, info.version)
        assert kept_by(parted, FULL_METADATA) == parted.stat(KEY).metadata
        assert [*parted.list_uploads()] == []

    @pytest.mark.parametrize("off", [-1, 1])
    def test_a_wrong_size_is_found(self, parted: ObjectStore, off: int) -> None:
        """``size`` is not the parts' sum: ``IntegrityError``; what was there stays."""
        data = content(self.part_size(parted) + 100)
        parted.put(KEY, b"before")
        upload = parted.begin(KEY, part_size_bytes=self.part_size(parted))
        parts = self.put_parts(parted, upload, data)

        with pytest.raises(IntegrityError):
            parted.complete(upload, parts, size=len(data) + off)
        self.assert_untouched(parted, KEY, b"before")
        parted.abort(upload)

    def test_right_digests_of_the_whole_are_accepted(self, parted: ObjectStore) -> None:
        """All digests of the whole, right: the object is there, and what is published is right."""
        data = content(2 * self.part_size(parted) + 5)
        self.upload(parted, KEY, data, digests=digests_of(data))
        stat = parted.stat(KEY).digests

        assert data == self.back_door(parted, KEY)
        assert stat.conflict(digests_of(data)) is None

    @pytest.mark.parametrize("name", DIGESTS)
    def test_a_wrong_digest_of_the_whole_changes_nothing(self, parted: ObjectStore, name: str) -> None:
        """A digest the store checks at completion, wrong: ``IntegrityError``; what was there stays."""
        if name not in parted.capabilities.complete_checks:
            pytest.skip(f"the store does not check {name} at completion")
        data = content(2 * self.part_size(parted))
        parted.put(KEY, b"before")

        with pytest.raises(IntegrityError):
            self.upload(parted, KEY, data, digests=wrong(data, name))
        self.assert_untouched(parted, KEY, b"before")
        assert [*parted.list_uploads()] == []

    @pytest.mark.parametrize("name", DIGESTS)
    def test_a_wrong_digest_of_a_part_is_refused(self, parted: ObjectStore, name: str) -> None:
        """A digest the store checks of parts, wrong: ``IntegrityError``; sent again rightly, the upload goes on."""
        if name not in parted.capabilities.part_checks:
            pytest.skip(f"the store does not check {name} of a part")
        data = content(self.part_size(parted))
        upload = parted.begin(KEY, part_size_bytes=len(data))

        with pytest.raises(IntegrityError):
            parted.put_part(upload, 1, data, digests=wrong(data, name))
        parted.complete(upload, self.put_parts(parted, upload, data), size=len(data))
        assert data == self.back_door(parted, KEY)

    def test_abort_leaves_nothing(self, parted: ObjectStore) -> None:
        """After ``abort`` the key is as it was and no upload is open; a second ``abort`` is fine."""
        data = content(self.part_size(parted) + 1)
        upload = parted.begin(KEY, part_size_bytes=self.part_size(parted))
        self.put_parts(parted, upload, data)
        parted.abort(upload)
        parted.abort(upload)

        assert [*parted.list_uploads()] == []
        assert keys_in(parted) == []
        self.assert_untouched(parted, KEY, None)

    def test_an_aborted_upload_is_dead(self, parted: ObjectStore) -> None:
        """Late parts and a late ``complete`` raise ``NotFoundError`` and change nothing."""
        data = content(self.part_size(parted))
        parted.put(KEY, b"before")
        upload = parted.begin(KEY, part_size_bytes=len(data))
        parts = self.put_parts(parted, upload, data)
        parted.abort(upload)

        with pytest.raises(NotFoundError):
            parted.put_part(upload, 2, data)
        with pytest.raises(NotFoundError):
            parted.complete(upload, parts, size=len(data))
        with pytest.raises(NotFoundError):
            parted.complete(upload, [], size=0)
        self.assert_untouched(parted, KEY, b"before")
        assert [*parted.list_uploads()] == []

    def test_a_completed_upload_is_gone(self, parted: ObjectStore) -> None:
        """A second ``complete`` and late parts raise; a late ``abort`` is fine; the object stays."""
        data = content(self.part_size(parted))
        upload = parted.begin(KEY, part_size_bytes=len(data))
        parts = self.put_parts(parted, upload, data)
        parted.complete(upload, parts, size=len(data))

        with pytest.raises(NotFoundError):
            parted.complete(upload, parts, size=len(data))
        with pytest.raises(CrossdockError):
            parted.put_part(upload, 1, content(len(data), seed=9))
        parted.abort(upload)
        self.assert_untouched(parted, KEY, data)
        assert data == self.back_door(parted, KEY)

    def test_open_uploads_are_listed(self, parted: ObjectStore) -> None:
        """``list_uploads`` names open uploads by key and id under a plain prefix; what it lists can be aborted."""
        size = self.part_size(parted)
        uploads = [
            parted.begin(key, part_size_bytes=size) for key in ("logs/a", "logs/a", "logs-2/b", "other")
        ]
        parted.put_part(uploads[0], 1, b"data")
        seen = sorted((upload.key, upload.id) for upload in parted.list_uploads())
        logs = sorted(upload.key for upload in parted.list_uploads("logs/"))

        assert sorted((upload.key, upload.id) for upload in uploads) == seen
        assert logs == ["logs/a", "logs/a"]
        for upload in [*parted.list_uploads()]:
            parted.abort(upload)
        assert [*parted.list_uploads()] == []

    def test_two_uploads_of_one_key_are_apart(self, parted: ObjectStore) -> None:
        """Each upload has its own parts; the last to complete is what is there."""
        size = self.part_size(parted)
        first, second = (parted.begin(KEY, part_size_bytes=size) for _ in range(2))
        old, new = content(size + 1, seed=1), content(size + 2, seed=2)
        old_parts, new_parts = self.put_parts(parted, first, old), self.put_parts(parted, second, new)
        parted.complete(first, old_parts, size=len(old))
        assert old == self.back_door(parted, KEY)
        parted.complete(second, new_parts, size=len(new))

        assert new == self.back_door(parted, KEY)

    def test_parts_carry_metadata(self, parted: ObjectStore) -> None:
        """What ``begin`` was given is the object's metadata after ``complete``."""
        self.upload(parted, KEY, content(100), metadata=FULL_METADATA)

        assert kept_by(parted, FULL_METADATA) == parted.stat(KEY).metadata

    def test_an_upload_travels(self, parted: ObjectStore) -> None:
        """Upload, parts and store go through pickle: another process can send parts and complete."""
        data = content(2 * self.part_size(parted))
        upload = parted.begin(KEY, part_size_bytes=self.part_size(parted))
        other: ObjectStore
        other, away = pickle.loads(pickle.dumps((parted, upload)))  # noqa: S301 - our own bytes
        parts = pickle.loads(pickle.dumps(self.put_parts(other, away, data)))  # noqa: S301 - our own bytes
        parted.complete(upload, parts, size=len(data), digests=digests_of(data))

        assert data == self.back_door(parted, KEY)
