"""Conditional commits: create only if absent, replace only what was observed, one winner in a race."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from crossdock.errors import PreconditionError, UnsupportedError
from crossdock.model import ABSENT, Condition
from crossdock.ports import ObjectStore
from crossdock.testing.suite.base import KEY, SuiteBase, content

__all__ = ["ConditionChecks"]

RACERS = 8


class ConditionChecks(SuiteBase):
    """``Condition`` decides at the moment of the commit, for ``put`` and ``complete`` alike."""

    @pytest.fixture(params=["put", "complete"])
    def commit(
        self, request: pytest.FixtureRequest, store: ObjectStore
    ) -> Callable[[bytes, Condition], object]:
        """A way to commit bytes under ``KEY`` on a condition."""
        if request.param == "put":
            return lambda data, condition: store.put(KEY, data, condition=condition)
        if not store.capabilities.multipart:
            pytest.skip("the store takes no parts")
        return lambda data, condition: self.upload(store, KEY, data, condition=condition)

    def test_create_if_absent_creates(self, store: ObjectStore, commit: Callable[..., object]) -> None:
        """Nothing there: the object is created; without the capability the condition is refused, not ignored."""
        if not store.capabilities.create_if_absent:
            with pytest.raises(UnsupportedError):
                commit(b"new", ABSENT)
            self.assert_untouched(store, KEY, None)
            return
        commit(b"new", ABSENT)

        assert self.back_door(store, KEY) == b"new"

    def test_create_if_absent_never_replaces(self, store: ObjectStore, commit: Callable[..., object]) -> None:
        """Something there: ``PreconditionError``, and it stays."""
        store.put(KEY, b"before")
        expected = PreconditionError if store.capabilities.create_if_absent else UnsupportedError

        with pytest.raises(expected):
            commit(b"new", ABSENT)
        self.assert_untouched(store, KEY, b"before")

    def test_replace_if_match_replaces(self, store: ObjectStore, commit: Callable[..., object]) -> None:
        """The version that is there: replaced; without the capability the condition is refused, not ignored."""
        version = store.put(KEY, b"before").version
        if not store.capabilities.replace_if_match:
            with pytest.raises(UnsupportedError):
                commit(b"new", Condition(version=version))
            self.assert_untouched(store, KEY, b"before")
            return
        commit(b"new", Condition(version=version))

        assert self.back_door(store, KEY) == b"new"

    def test_replace_if_match_refuses_another_version(
        self, store: ObjectStore, commit: Callable[..., object]
    ) -> None:
        """A version that was replaced meanwhile (same size): ``PreconditionError``, and the newer one stays."""
        stale = store.put(KEY, b"before").version
        store.put(KEY, b"middle")
        expected = PreconditionError if store.capabilities.replace_if_match else UnsupportedError

        with pytest.raises(expected):
            commit(b"newest", Condition(version=stale))
        self.assert_untouched(store, KEY, b"middle")

    def test_replace_if_match_refuses_absence(
        self, store: ObjectStore, commit: Callable[..., object]
    ) -> None:
        """A version that was deleted meanwhile: ``PreconditionError``, and the key stays absent."""
        stale = store.put(KEY, b"before").version
        store.delete(KEY)
        expected = PreconditionError if store.capabilities.replace_if_match else UnsupportedError

        with pytest.raises(expected):
            commit(b"new", Condition(version=stale))
        self.assert_untouched(store, KEY, None)

    @pytest.mark.parametrize("replacing", [False, True])
    def test_one_wins_a_race(self, store: ObjectStore, replacing: bool) -> None:
        """Eight threads commit on the same condition: exactly one succeeds, and its bytes are there."""
        can = store.capabilities
        if not (can.replace_if_match if replacing else can.create_if_absent):
            pytest.skip("the store does not have this condition")
        condition = Condition(version=store.put(KEY, b"before").version) if replacing else ABSENT
        start = Barrier(RACERS)

        def race(seed: int) -> bytes | None:
            data = content(500, seed=seed)
            start.wait()
            try:
                store.put(KEY, data, condition=condition)
            except PreconditionError:
                return None
            return data

        with ThreadPoolExecutor(RACERS) as pool:
            won = [data for data in pool.map(race, range(RACERS)) if data is not None]

        assert len(won) == 1
        assert won[0] == self.back_door(store, KEY)
