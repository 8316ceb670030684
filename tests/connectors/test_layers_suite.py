"""Layers are stores: the whole of them round a store keeps the specification that the store keeps without them.

The limit alone is in ``test_pace.py``, with what else it promises.
"""

from __future__ import annotations

import uuid

import pytest

from crossdock.connectors import layers
from crossdock.connectors.layers import RetryStore, layered
from crossdock.connectors.local import LocalOptions, LocalStore
from crossdock.connectors.memory import MemoryStore
from crossdock.connectors.memory_bucket import bucket_named
from crossdock.errors import NotFoundError
from crossdock.model import NO_VERSION
from crossdock.testing.store_suite import StoreSuite


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    """A wrong digest of a part is tried again: backoff is real but short, so that nothing here depends on time."""
    monkeypatch.setattr(layers, "backoff_s", lambda *_: 0.0)


class _OnMemory(StoreSuite):
    def back_door(self, store, key):
        while hasattr(store, "inner"):
            store = store.inner
        try:
            return bucket_named(store.bucket).find("peek", key, NO_VERSION).data
        except NotFoundError:
            return None


class TestRetryLayer(_OnMemory):
    @pytest.fixture
    def store(self):
        return RetryStore(MemoryStore(uuid.uuid4().hex))


class TestAllLayers(_OnMemory):
    """As everything above the connectors uses a store."""

    @pytest.fixture
    def store(self):
        return layered(MemoryStore(uuid.uuid4().hex))


class TestLayersTwice(_OnMemory):
    """A layer over layers is a store all the same."""

    @pytest.fixture
    def store(self):
        return layered(layered(MemoryStore(uuid.uuid4().hex)))


class TestAllLayersOnFiles(StoreSuite):
    """Round a store that lacks capabilities: what is refused below is refused above."""

    nested_keys = False

    @pytest.fixture
    def store(self, tmp_path):
        self.root = tmp_path / "root"
        return layered(LocalStore(str(self.root), LocalOptions(missing_root_is_empty=True, fsync=False)))

    def back_door(self, store, key):  # noqa: ARG002 - the suite says so
        path = self.root / key
        return path.read_bytes() if path.is_file() else None

    def missing_store(self, store):  # noqa: ARG002 - the suite says so
        return layered(LocalStore(f"{self.root}-missing"))

    def supports_key(self, key):
        segments = key.split("/")
        return not {"", ".", ".."} & {*segments} and all(len(segment.encode()) <= 255 for segment in segments)
