"""A store as a value: URL, capabilities, pickling, threads, ``check``."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from crossdock.errors import NotFoundError
from crossdock.model import Metadata
from crossdock.ports import Capabilities, ObjectStore
from crossdock.testing.suite.base import KEY, SuiteBase, content, keys_in

__all__ = ["RecipeChecks"]

DIGESTS = {"md5", "crc32c", "crc64nvme", "sha256", "multipart_etag"}


class RecipeChecks(SuiteBase):
    """A store is a picklable, thread-safe recipe without secrets."""

    def test_url_names_the_store(self, store: ObjectStore) -> None:
        """The URL has a scheme and no trailing slash, so that ``f"{url}/{key}"`` names an object."""
        scheme, separator, rest = store.url.partition("://")

        assert scheme
        assert separator
        assert rest
        assert not store.url.endswith("/")

    def test_capabilities_are_consistent(self, store: ObjectStore) -> None:
        """Capabilities are one record whose limits and names make sense."""
        can = store.capabilities

        assert isinstance(can, Capabilities)
        assert can == store.capabilities
        assert can.put_checks | can.part_checks | can.complete_checks | can.publishes <= DIGESTS
        assert can.metadata_fields <= {*Metadata.FIELDS, "user"}
        assert 1 <= can.min_part_size <= can.max_part_size
        assert can.max_parts >= 1
        assert can.max_put_size <= can.max_object_size

    def test_check_accepts_a_store_that_is_there(self, store: ObjectStore) -> None:
        """``check`` passes, also on an empty store, and writes nothing."""
        store.check()

        if store.capabilities.lists:
            assert keys_in(store) == []

    def test_check_finds_a_missing_bucket(self, store: ObjectStore) -> None:
        """Without the bucket ``check``, ``list`` and ``stat`` raise ``NotFoundError``; a listing is never just empty."""
        missing = self.missing_store(store)
        if missing is None:
            pytest.skip("this kind of store is always there")

        with pytest.raises(NotFoundError):
            missing.check()
        if missing.capabilities.lists:
            with pytest.raises(NotFoundError):
                keys_in(missing)
        with pytest.raises(NotFoundError):
            missing.stat(KEY)

    def test_pickle_is_the_recipe(self, store: ObjectStore) -> None:
        """A pickled store is the same place with the same capabilities."""
        data = content(100)
        self.seed(store, KEY, data)
        twin: ObjectStore = pickle.loads(pickle.dumps(store))  # noqa: S301 - our own bytes

        assert (store.url, store.endpoint, store.capabilities) == (twin.url, twin.endpoint, twin.capabilities)
        assert data == bytes(twin.read(KEY).read_all())

    def test_secrets_do_not_show(self, store: ObjectStore) -> None:
        """Neither pickle nor repr nor URL holds a literal secret; also not after the store was used."""
        self.seed(store, KEY, b"data")
        store.stat(KEY)
        shown = pickle.dumps(store) + repr(store).encode() + str(store).encode() + store.url.encode()

        assert [secret for secret in self.secrets if secret.encode() in shown] == []

    def test_eight_threads_share_a_store(self, store: ObjectStore) -> None:
        """Eight threads write, read, list and delete their own keys through one store, each exactly."""
        if not (store.capabilities.writable and store.capabilities.lists):
            pytest.skip("the store is read-only; its own checks share it between threads")

        def work(thread: int) -> list[str]:
            for number in range(6):
                key, data = f"thread-{thread}/{number}", content(1_000 + number, seed=thread)
                store.put(key, data)
                assert data == bytes(store.read(key).read_all())
            store.delete(f"thread-{thread}/0")
            return keys_in(store, f"thread-{thread}/")

        with ThreadPoolExecutor(8) as pool:
            seen = [*pool.map(work, range(8))]

        assert [[f"thread-{thread}/{number}" for number in range(1, 6)] for thread in range(8)] == seen
        assert len(keys_in(store)) == 8 * 5
