"""Listing by key ranges: the same pages as one listing from front to end, whatever the keys; and what that costs."""

from __future__ import annotations

import bisect
import hashlib
import itertools
import random
import threading
import time
from collections.abc import Iterator

import pytest
from flow_kit import HOSTILE
from hypothesis import given, settings, strategies as st

from crossdock.connectors.layers import layered
from crossdock.connectors.memory import MemoryStore
from crossdock.errors import ConnectionLostError, DeniedError, StorageError
from crossdock.flows.listing import Ahead, Listing, Shape
from crossdock.flows.listing.guessing import Scale
from crossdock.flows.listing.ranges import Ranges
from crossdock.model import ObjectInfo
from crossdock.ports import Capabilities

SMALL = Shape(first=2, listers=4, stretch=6, window=36, spare=8)


def at_once(_):
    """No latency: one thread may do all the work."""


def pausing(_):
    """A service that takes some time, so that every lister gets its turn."""
    time.sleep(0.0005)


class Keys:
    """A store that only lists: sorted keys, counted requests, a hook before each page, requests that overlap on demand."""

    url = "keys://here"
    endpoint = "keys"

    def __init__(self, keys, page=10, *, seekable=True):
        self.keys = sorted(set(keys))
        self.page = page
        self.capabilities = Capabilities(seekable_listing=seekable)
        self.requests = 0
        self.before = at_once
        self._lock = threading.Lock()

    def list(self, prefix="", *, start_after=None) -> Iterator[list[ObjectInfo]]:
        at = bisect.bisect_left(self.keys, prefix)
        if start_after is not None:
            at = max(at, bisect.bisect_right(self.keys, start_after))
        while True:
            with self._lock:
                self.requests += 1
                number = self.requests
            self.before(number)
            page = [
                ObjectInfo(key=key, size=1)
                for key in self.keys[at : at + self.page]
                if key.startswith(prefix)
            ]
            at += self.page
            if page:
                yield page
            if len(page) < self.page or at >= len(self.keys):
                return


def listed(listing):
    with listing:
        return [info.key for page in listing for info in page]


def sequential(store, prefix=""):
    """What one listing from front to end costs."""
    before = store.requests
    keys = [info.key for page in store.list(prefix) for info in page]
    cost, store.requests = store.requests - before, before
    return keys, cost


def by_rounds(store, shape, prefix=""):
    """A listing where each round of requests lasts as long as one: no threads, no clock, the same every time.

    Returns:
        Its keys, the number of rounds, the most pages that were held.
    """

    def begin(after):
        return store.list(prefix, start_after=after)

    ranges = Ranges(store.list(prefix), begin, prefix, shape, can_cut=True)
    rounds = held = 0
    keys = []
    while not ranges.exhausted:
        crew = 1 if rounds < shape.first else shape.listers
        for each in list(itertools.islice(iter(ranges.choose, None), crew)):
            ranges.put(each, next(each.pages, None))
        rounds += 1
        held = max(held, ranges.held)
        while (page := ranges.take()) is not None:
            keys += [info.key for info in page]
    return keys, rounds, held


def trees():
    rng = random.Random(5)
    yield "flat", [f"obj-{number:07d}" for number in range(15_000)]
    yield "hashes", [hashlib.sha256(str(number).encode()).hexdigest() for number in range(15_000)]
    yield (
        "dates",
        [
            f"logs/{year}/{month:02d}/{day:02d}/h{host}/{number:03d}"
            for year, month, day, host, number in itertools.product(
                (2023, 2024), range(1, 13), range(1, 29), range(3), range(15)
            )
        ],
    )
    yield (
        "one large directory among small ones",
        [f"a/{number}/x" for number in range(1_500)]
        + [f"m/big/{number:08x}" for number in range(10_000)]
        + [f"z/{number}" for number in range(1_500)],
    )
    yield (
        "no order in it",
        ["".join(rng.choices("ab/é\U0001f4a9 ~\n", k=rng.randint(1, 12))) for _ in range(20_000)],
    )
    yield "one long name, varied at its end", ["n" * 700 + f"{number:05d}" for number in range(5_000)]
    yield "counted without leading zeros", [f"part-{number}" for number in range(15_000)]


@pytest.mark.parametrize(("kind", "keys"), [pytest.param(*each, id=each[0]) for each in trees()])
def test_any_tree_is_listed_whole_in_order_and_at_the_price_of_one_listing(kind, keys):
    """Every key once, in order; at most a constant and 1 request in ``stretch`` more than from front to end."""
    store = Keys(keys)
    expected, cost = sequential(store)
    shape = Shape()
    bound = cost * (1 + 1 / shape.stretch) + shape.spare

    found, _, held = by_rounds(store, shape)

    assert expected == found
    assert store.requests <= bound
    assert held <= shape.window + shape.listers

    store.requests, store.before = 0, pausing
    assert expected == listed(Listing(store, ""))
    assert store.requests <= bound


@settings(deadline=None, max_examples=40)
@given(
    keys=st.sets(st.text(alphabet="a/b0é\U0001f4a9\x01", min_size=1, max_size=5), max_size=300),
    prefix=st.sampled_from(["", "a", "b/"]),
    page=st.integers(1, 3),
)
def test_any_keys_come_whole_and_in_order(keys, prefix, page):
    store = Keys(keys, page)

    assert sorted(key for key in keys if key.startswith(prefix)) == listed(
        Listing(store, prefix, shape=SMALL)
    )


def test_hostile_keys_by_ranges():
    keys = [f"{key}{number:04d}" for key in HOSTILE for number in range(60)]

    assert sorted(keys) == by_rounds(Keys(keys), SMALL)[0]
    assert sorted(keys) == listed(Listing(Keys(keys), "", shape=SMALL))


@pytest.mark.parametrize("count", [0, 1, 10, 39, 40])
def test_what_fits_in_the_first_pages_costs_what_it_always_did(count):
    """A listing that ends in its first page costs one request; no thread is begun for one of four."""
    store = Keys([f"{number:04d}" for number in range(count)])
    expected, cost = sequential(store)
    threads = threading.active_count()

    with Listing(store, "") as listing:
        found = [info.key for page in itertools.islice(listing, 4) for info in page]
        begun = threading.active_count() - threads

    assert (expected, cost, 0) == (found, store.requests, begun)
    assert store.requests == max(1, -(-count // 10))


@pytest.mark.parametrize(
    ("kind", "times"),
    [
        ("flat", 5),
        ("hashes", 4),
        ("dates", 4),
        ("counted without leading zeros", 4),
        ("one large directory among small ones", 2),
    ],
)
def test_six_listers_are_that_much_faster(kind, times):
    store = Keys(dict(trees())[kind])
    _, cost = sequential(store)

    _, rounds, _ = by_rounds(store, Shape())

    assert rounds * times <= cost


def test_ranges_are_listed_at_the_same_time():
    """Two requests wait for each other: only a listing that sends them together gets past."""
    store = Keys([f"obj-{number:06d}" for number in range(4_000)])
    together = threading.Barrier(2, timeout=60)
    met = threading.Event()

    def meet(number):
        if number > 40 and not met.is_set():
            together.wait()
            met.set()

    store.before = meet

    assert len(listed(Listing(store, "", shape=SMALL))) == 4_000
    assert met.is_set()


def test_a_store_that_cannot_start_anywhere_is_read_ahead_by_one():
    store = Keys([f"{number:04d}" for number in range(1_000)], seekable=False)
    expected, cost = sequential(store)

    assert expected == listed(Listing(store, "", shape=SMALL))
    assert cost == store.requests


@pytest.mark.parametrize("fails_at", [1, 3, 30])
def test_a_page_that_fails_for_good_ends_the_listing(fails_at):
    """Never short: the pages before it may come, the end never does."""
    store = Keys([f"obj-{number:06d}" for number in range(4_000)])

    def refuse(number):
        pausing(number)
        if number >= fails_at:
            raise DeniedError("no", operation="list")

    store.before = refuse

    with Listing(store, "", shape=SMALL) as listing, pytest.raises(DeniedError):
        list(listing)


def test_pages_that_fail_now_and_then_are_asked_for_again():
    """Below is the retry layer, for each range by itself."""
    store = Keys([f"obj-{number:06d}" for number in range(4_000)])
    failed = []

    def stumble(number):
        pausing(number)
        if number % 7 == 0:
            failed.append(number)
            raise ConnectionLostError("gone", operation="list")

    store.before = stumble

    assert store.keys == listed(Listing(layered(store), "", shape=SMALL))
    assert failed


class Repeating(Keys):
    """Gives a page twice in every range."""

    def list(self, prefix="", *, start_after=None):
        for page in super().list(prefix, start_after=start_after):
            yield page
            yield page


def test_a_repeated_page_is_loud():
    store = Repeating([f"obj-{number:06d}" for number in range(4_000)])

    with Listing(store, "", shape=SMALL) as listing, pytest.raises(StorageError, match="out of order"):
        list(listing)


class Deaf(Keys):
    """Starts at the beginning, wherever it is asked to."""

    def list(self, prefix="", **_):
        return super().list(prefix)


def test_a_service_that_does_not_start_where_asked_is_loud():
    store = Deaf([f"obj-{number:06d}" for number in range(4_000)])

    with pytest.raises(StorageError, match="out of order"):
        by_rounds(store, SMALL)


def test_a_listing_closed_or_dropped_leaves_no_thread():
    def running():
        return [thread for thread in threading.enumerate() if thread.name.startswith("crossdock-list")]

    store = Keys([f"obj-{number:06d}" for number in range(4_000)])
    listing = Listing(store, "", shape=SMALL)
    for _ in range(4):
        next(listing)
    begun = running()
    listing.close()

    assert begun
    assert not running()
    with pytest.raises(StorageError, match="closed"):
        list(listing)

    dropped = Listing(store, "", shape=SMALL)
    for _ in range(4):
        next(dropped)
    begun = running()
    del dropped
    for thread in begun:
        thread.join(10)

    assert begun
    assert not running()


def test_looking_ahead_jumps_only_over_pages_that_are_not_here():
    store = Keys([f"obj-{number:06d}" for number in range(20_000)])
    ahead = Ahead(store, "")
    dense = [ahead.find(f"obj-{number:06d}") for number in range(3_000)]
    before = store.requests
    sparse = [ahead.find(f"obj-{number:06d}") for number in (10_000, 15_000, 19_999)]
    ahead.close()

    assert all(dense)
    assert all(sparse)
    assert store.requests - before < 200  # of 1,700 pages between


@pytest.mark.parametrize(
    ("keys", "pages", "about"),
    [
        ([f"obj-{number:07d}" for number in range(3_000, 4_000)], 24, "obj-0027"),
        ([f"h-{host:02d}/{number:04d}" for host in (1,) for number in range(9_000, 10_000)], 10, "h-02/9"),
    ],
)
def test_a_guess_carries_over_what_never_changes(keys, pages, about):
    scale = Scale("")
    scale.learn(keys)

    assert scale.ahead(keys[0], keys[-1], pages).startswith(about)


def test_memory_listings_take_part():
    """The reference store is read by one thread, and whole."""
    store = MemoryStore("listing-ranges")
    for number in range(50):
        store.put(f"{number:03d}", b"")

    assert [f"{number:03d}" for number in range(50)] == listed(Listing(store, ""))
