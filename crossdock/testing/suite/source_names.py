"""A source as a value and as a list: names below its prefix, recipes, versions for caches."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from crossdock.connectors.objects import ObjectSource
from crossdock.errors import UnsupportedError
from crossdock.testing.ends import End
from crossdock.testing.hostile import HOSTILE_KEYS
from crossdock.testing.suite.base import content
from crossdock.testing.suite.end_base import PREFIX
from crossdock.testing.suite.keys import body_of
from crossdock.testing.suite.source_streams import NAME, SourceBase

__all__ = ["SourceNameChecks"]

BELOW = ("a", "folder/b", "folder/c/d", "folder-2/e", "z")
BESIDE = ("base-2/a", "bas", "basement", "other/base/a", "z")


class SourceNameChecks(SourceBase):
    """Keys are below the prefix, byte for byte, and fit for calling the source."""

    def fill(self, end: End) -> None:
        """Objects below the prefix and beside it."""
        for key in (*(PREFIX + key for key in BELOW), *BESIDE):
            end.put(key, key.encode())

    def test_a_listing_is_of_what_is_below(self, end: End, source: ObjectSource) -> None:
        """Each key once, in the order of UTF-8 bytes, without the prefix; nothing that is beside it. Or it is refused."""
        self.fill(end)
        if not source.store.capabilities.lists:
            with pytest.raises(UnsupportedError):
                next(source.list(), None)
            with pytest.raises(UnsupportedError):
                next(source.pages(), None)
            return

        assert sorted(BELOW, key=str.encode) == [*source.list()]
        assert [*source.list("folder/")] == ["folder/b", "folder/c/d"]
        assert [*source.list("nothing")] == []
        assert [(source.prefix + key, len(PREFIX + key)) for key in sorted(BELOW, key=str.encode)] == [
            (info.key, info.size) for page in source.pages() for info in page
        ]

    def test_what_is_listed_can_be_read(self, end: End, source: ObjectSource) -> None:
        """By its name alone, and with what the listing said of it."""
        self.fill(end)
        if not source.store.capabilities.lists:
            assert (PREFIX + "folder/b").encode() == source("folder/b").read()
            return

        assert {key: (PREFIX + key).encode() for key in BELOW} == {
            key: source(key).read() for key in source.list()
        }
        for page in source.pages():
            for info in page:
                name = info.key[len(source.prefix) :]
                assert (PREFIX + name).encode() == source(name, info=info).read()

    def test_hostile_keys_together(self, end: End, source: ObjectSource) -> None:
        """Each is listed and read as it is; a key that cannot be is refused before anything is asked."""
        usable = end.usable(HOSTILE_KEYS, PREFIX)
        for key in usable:
            end.put(PREFIX + key, body_of(key))

        if source.store.capabilities.lists:
            assert sorted(usable, key=str.encode) == [*source.list()]
        with ThreadPoolExecutor(8) as pool:
            read = [*pool.map(lambda key: source(key).read(), usable)]
        assert [body_of(key) for key in usable] == read
        for key in HOSTILE_KEYS:
            if key not in end.left_out_keys and end.refusal(PREFIX + key) is not None:
                with pytest.raises(UnsupportedError):
                    source(key).read()

    def test_a_source_is_a_recipe(self, end: End, source: ObjectSource) -> None:
        """It goes through pickle, before and after it was used, and reads the same object; no secret shows."""
        end.put(PREFIX + NAME, b"data")
        source(NAME).read()
        pickled = pickle.dumps(source)
        twin = pickle.loads(pickled)  # noqa: S301 - our own bytes
        shown = pickled + repr(source).encode() + source.name.encode() + source.url.encode()

        assert (source.url, repr(source)) == (twin.url, repr(twin))
        assert twin(NAME).read() == b"data"
        assert [secret for secret in end.secrets if secret.encode() in shown] == []

    def test_eight_threads_share_a_source(self, end: End, source: ObjectSource) -> None:
        """Each reads objects of its own, exactly."""
        bodies = {f"object-{number}": content(100_000 + number, seed=number) for number in range(8)}
        for key, body in bodies.items():
            end.put(PREFIX + key, body)
        with ThreadPoolExecutor(8) as pool:
            read = [*pool.map(lambda key: source(key).read(), [*bodies] * 4)]

        assert [*bodies.values()] * 4 == read

    def test_a_version_tells_changes(self, end: End, source: ObjectSource) -> None:
        """``version_of`` is the same as long as the object is, and another once it was replaced, equal size or not."""
        end.put(PREFIX + NAME, b"data")
        try:
            first = source.version_of(NAME)
        except UnsupportedError:
            assert not source(NAME).info.version
            return
        again = source.version_of(NAME)
        end.put(PREFIX + NAME, b"DATA")

        assert first == again != source.version_of(NAME)

    def test_preflight_passes(self, end: End, source: ObjectSource) -> None:
        """A place that is there can be reached."""
        end.put(PREFIX + NAME, b"data")
        source.preflight()
