"""Listings: every key once, in UTF-8 byte order, page by page, never short."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from crossdock.model import ByteRange
from crossdock.ports import ObjectStore
from crossdock.testing.suite.base import SuiteBase, content, keys_in

__all__ = ["ListingChecks"]

MANY = 2_100


class ListingChecks(SuiteBase):
    """``list`` on small and paged listings."""

    def fill(self, store: ObjectStore, keys: list[str]) -> None:
        """Put small objects, in no particular order."""
        with ThreadPoolExecutor(8) as pool:
            for _ in pool.map(lambda key: store.put(key, key.encode()), keys):
                pass

    def test_an_empty_store_lists_nothing(self, store: ObjectStore) -> None:
        """No keys, no error, also under a prefix."""
        assert keys_in(store) == []
        assert keys_in(store, "any/") == []

    def test_a_listing_says_what_is_there(self, store: ObjectStore) -> None:
        """Size and version of each object are those of ``stat``'s object, fit to pin a read."""
        store.put("a", content(10))
        store.put("b", content(20))
        listed = [info for page in store.list() for info in page]

        assert [(info.key, info.size) for info in listed] == [("a", 10), ("b", 20)]
        if store.capabilities.pinned_reads:
            assert all(info.version for info in listed)
            for info in listed:
                assert content(info.size or 0)[:5] == bytes(
                    store.read(info.key, ByteRange(0, 5), version=info.version).read_all()
                )

    def test_order_is_that_of_utf8_bytes(self, store: ObjectStore) -> None:
        """``a.txt`` comes before ``a/b``, upper before lower case, U+FFEE before an emoji."""
        keys = [
            "a",
            "a.txt",
            "a/b",
            "a/c/d",
            "a0",
            "B",
            "Z",
            "b",
            "z/",
            "\u00e9",
            "\uffee",
            "\U0001f680",
            "a-b/c",
        ]
        usable = self.usable_keys([key for key in keys if store.refusal(key) is None])
        self.fill(store, usable)

        assert sorted(usable, key=str.encode) == keys_in(store)

    def test_a_prefix_is_plain_text(self, store: ObjectStore) -> None:
        """A prefix may end anywhere; it takes every key that starts with it and no other."""
        keys = ["log", "logs-2/a", "logs/a", "logs/b/c", "logt", "other/logs/a"]
        self.fill(store, self.usable_keys(keys))

        for prefix in (
            "",
            "l",
            "log",
            "logs",
            "logs/",
            "logs/b",
            "logs/b/",
            "logs/b/c",
            "logs/b/cd",
            "nothing",
        ):
            assert [key for key in self.usable_keys(keys) if key.startswith(prefix)] == keys_in(store, prefix)

    def test_start_after_is_exclusive(self, store: ObjectStore) -> None:
        """Keys strictly behind ``start_after``, whether it exists or not; with a prefix, only those under it."""
        keys = ["a/1", "a/2", "a/3", "b/1", "c"]
        self.fill(store, keys)

        for after in ("", "a", "a/", "a/2", "a/25", "a/3", "b/1", "c", "z"):
            assert [key for key in keys if key > after] == keys_in(store, start_after=after or None)
            assert [key for key in keys if key > after and key.startswith("a/")] == keys_in(
                store, "a/", start_after=after or None
            )

    def test_pages_are_whole(self, store: ObjectStore) -> None:
        """2,100 keys: each once, in order, in pages of at most 1,000; from any key on, too."""
        keys = [f"many/{number % 7}/{number:05d}" for number in range(MANY)]
        self.fill(store, keys)
        expected = sorted(keys)
        pages = [[info.key for info in page] for page in store.list()]

        assert max(len(page) for page in pages) <= 1_000
        assert all(pages)
        assert expected == [key for page in pages for key in page]
        assert expected[1_500:] == keys_in(store, start_after=expected[1_499])
        assert [key for key in expected if key.startswith("many/3/")] == keys_in(store, "many/3/")

    def test_a_listing_is_lazy(self, store: ObjectStore) -> None:
        """An iterator that can be dropped half-way; another one starts afresh."""
        self.fill(store, ["a", "b", "c"])
        pages = store.list()
        first = next(pages)
        close = getattr(pages, "close", None)
        if close is not None:
            close()

        assert first[0].key == "a"
        assert keys_in(store) == ["a", "b", "c"]

    @pytest.mark.parametrize("size", [999, 1_000, 1_001])
    def test_page_borders(self, store: ObjectStore, size: int) -> None:
        """A listing that ends just before, at and after the end of a page is complete."""
        keys = [f"{number:04d}" for number in range(size)]
        self.fill(store, keys)

        assert keys == keys_in(store)
