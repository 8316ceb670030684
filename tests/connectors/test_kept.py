"""Clients of the last used places are kept, and no more."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from crossdock.connectors.kept import Kept


def test_one_for_each_key():
    kept = Kept[list]()
    first = kept.get("a", list)
    assert kept.get("a", list) is first
    assert kept.get("b", list) is not first
    assert len(kept) == 2


def test_the_one_that_was_not_asked_for_the_longest_goes():
    kept = Kept[list](2)
    a, b = kept.get("a", list), kept.get("b", list)
    assert kept.get("a", list) is a
    kept.get("c", list)
    assert len(kept) == 2
    assert kept.get("a", list) is a
    assert kept.get("b", list) is not b


def test_threads_that_meet_get_the_same():
    kept = Kept[list]()
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda number: kept.get(number % 3, list), range(300)))
    assert all(got[number] is got[number % 3] for number in range(300))
