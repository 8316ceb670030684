"""Copies inside the service: exact, pinned to what was observed, conditional, with the metadata asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crossdock.errors import NotFoundError, PreconditionError, UnsupportedError
from crossdock.model import ABSENT, Condition, ObjectInfo
from crossdock.ports import ObjectStore
from crossdock.testing.hostile import FULL_METADATA
from crossdock.testing.suite.base import KEY, SuiteBase, content
from crossdock.testing.suite.writing import kept_by

__all__ = ["CopyChecks"]

SOURCE = "origin/source.bin"


class CopyChecks(SuiteBase):
    """``copy`` where the capability is claimed; ``UnsupportedError`` where it is not."""

    @pytest.fixture
    def origin(self, store: ObjectStore) -> ObjectInfo:
        """A source object; without the capability the copy must be refused, and the check ends."""
        info = store.put(SOURCE, content(5_000), metadata=FULL_METADATA)
        if not store.capabilities.server_side_copy:
            with pytest.raises(UnsupportedError):
                store.copy(store.url, SOURCE, KEY, info=info)
            self.assert_untouched(store, KEY, None)
            pytest.skip("the store does not copy inside, and says so")
        return info

    def test_copy_is_exact(self, store: ObjectStore, origin: ObjectInfo) -> None:
        """The bytes are the source's; the source stays; the answer is of what is there now."""
        info = store.copy(store.url, SOURCE, KEY, info=origin)

        assert content(5_000) == self.back_door(store, KEY)
        assert content(5_000) == self.back_door(store, SOURCE)
        assert (KEY, 5_000, store.stat(KEY).version) == (info.key, info.size, info.version)

    def test_copy_carries_the_metadata_asked_for(self, store: ObjectStore, origin: ObjectInfo) -> None:
        """The copy has the metadata that was given, not what the source has."""
        other = replace(FULL_METADATA, content_type="application/json", user={"only": "this"})
        store.copy(store.url, SOURCE, KEY, info=origin, metadata=other)

        assert kept_by(store, other) == store.stat(KEY).metadata

    def test_copy_is_pinned(self, store: ObjectStore, origin: ObjectInfo) -> None:
        """Source replaced since it was observed: ``PreconditionError``, and nothing at the destination."""
        store.put(SOURCE, content(5_000, seed=2))

        with pytest.raises(PreconditionError):
            store.copy(store.url, SOURCE, KEY, info=origin)
        self.assert_untouched(store, KEY, None)

    def test_copy_of_what_is_gone(self, store: ObjectStore, origin: ObjectInfo) -> None:
        """Source deleted since it was observed: ``NotFoundError`` or ``PreconditionError``, nothing there."""
        store.delete(SOURCE)

        with pytest.raises((NotFoundError, PreconditionError)):
            store.copy(store.url, SOURCE, KEY, info=origin)
        self.assert_untouched(store, KEY, None)

    def test_copy_only_if_absent(self, store: ObjectStore, origin: ObjectInfo) -> None:
        """``ABSENT`` with something there: ``PreconditionError`` and it stays (or the condition is refused)."""
        store.put(KEY, b"before")
        expected = PreconditionError if store.capabilities.create_if_absent else UnsupportedError

        with pytest.raises(expected):
            store.copy(store.url, SOURCE, KEY, info=origin, condition=ABSENT)
        self.assert_untouched(store, KEY, b"before")

    def test_copy_only_over_what_was_observed(self, store: ObjectStore, origin: ObjectInfo) -> None:
        """A destination that was replaced meanwhile stays (or the condition is refused)."""
        stale = store.put(KEY, b"before").version
        store.put(KEY, b"middle")
        expected = PreconditionError if store.capabilities.replace_if_match else UnsupportedError

        with pytest.raises(expected):
            store.copy(store.url, SOURCE, KEY, info=origin, condition=Condition(version=stale))
        self.assert_untouched(store, KEY, b"middle")
