"""The pace of an endpoint: found by trying, on simulated services; and the layer that keeps it."""

from __future__ import annotations

import heapq
import random
import threading
import uuid

import pytest

from crossdock.connectors.layers import RetryStore
from crossdock.connectors.limits import Limiter, LimitStore, limiter_of
from crossdock.connectors.memory import MemoryOptions, MemoryStore
from crossdock.connectors.memory_bucket import bucket_named
from crossdock.connectors.pace import REQUEST_COST, Pace
from crossdock.errors import NotFoundError, ThrottledError
from crossdock.model import NO_VERSION
from crossdock.testing.store_suite import StoreSuite


def simulate(*, service_s, latency_s, capacity, seconds, throttle_over=None, throttled=0.0, seed=1):
    """A closed loop of 256 clients before a service; returns the pace, requests a second and how many were throttled."""
    dice, pace, now = random.Random(seed), Pace(), 0.0
    servers = [0.0] * capacity
    events, under_way, ended, refused = [], 0, 0, 0
    while now < seconds:
        while under_way < pace.limit:
            free = heapq.heappop(servers)
            done = max(now, free) + service_s * dice.uniform(0.8, 1.2)
            heapq.heappush(servers, done)
            no = (throttle_over is not None and under_way >= throttle_over) or dice.random() < throttled
            heapq.heappush(events, (latency_s + (now if no else done), dice.random(), no))
            under_way += 1
        now, _, no = heapq.heappop(events)
        saturated = under_way >= pace.limit
        under_way -= 1
        if no:
            refused += 1
            pace.throttled(now=now)
        else:
            ended += 1
            pace.ended(REQUEST_COST, now=now, saturated=saturated)
    return pace, ended / seconds, refused / max(ended, 1)


def test_a_service_that_is_near_and_busy_gets_few_requests_at_a_time():
    pace, rate, _ = simulate(service_s=0.0005, latency_s=0.0001, capacity=2, seconds=20)

    assert pace.limit <= 10
    assert rate > 0.95 * 2 / 0.0005


def test_a_link_with_latency_gets_many():
    pace, rate, _ = simulate(service_s=0.001, latency_s=0.04, capacity=64, seconds=20)

    assert pace.limit > 200
    assert rate > 0.9 * 256 / 0.041


def test_a_service_that_throttles_is_obeyed_and_still_used():
    pace, rate, refused = simulate(service_s=0.001, latency_s=0.02, capacity=64, seconds=60, throttle_over=50)

    assert pace.limit <= 63
    assert refused < 0.01
    assert rate > 0.5 * 50 / 0.021


def test_a_service_that_throttles_whatever_the_load_is_not_left_with_one_request_at_a_time():
    """One answer in twenty says slow down, at random: the rate stays above that of three requests at a time."""
    pace, rate, _ = simulate(service_s=0.001, latency_s=0.04, capacity=64, seconds=60, throttled=0.05)

    assert pace.limit < 20
    assert rate > 3 / 0.041


def test_after_a_cut_it_climbs_to_just_below_where_that_happened():
    pace, now = Pace(limit=100), 0.0
    pace.throttled(now=now)
    limits = {pace.limit}
    for _ in range(2_000):
        now += 0.001
        pace.ended(REQUEST_COST, now=now, saturated=True)
        limits.add(pace.limit)

    assert min(limits) == 70
    assert 90 < max(limits) <= 99


def test_it_comes_down_when_the_service_becomes_slower_to_refuse():
    pace, now = Pace(limit=100), 0.0
    for _ in range(4):
        for _ in range(pace.limit):
            pace.throttled(now=now)
        now += 1

    assert pace.limit < 100 * 0.7**3


def test_requests_that_were_under_way_when_it_was_cut_do_not_cut_again():
    pace = Pace(limit=100)
    for _ in range(100):
        pace.throttled(now=0.0)

    assert pace.limit == 70


def test_a_limit_that_limits_nothing_is_left_alone():
    pace, now = Pace(), 0.0
    for _ in range(10_000):
        now += 0.001
        pace.ended(REQUEST_COST, now=now, saturated=False)

    assert pace.limit == 8


@pytest.mark.parametrize("event", ["throttled", "ended"])
def test_it_stays_between_floor_and_ceiling(event):
    pace, now = Pace(limit=4, floor=2, ceiling=16), 0.0
    for number in range(20_000):
        now += 0.001 / pace.limit
        if event == "throttled":
            pace.throttled(now=now)
        else:
            pace.ended(REQUEST_COST * (number + 1), now=now, saturated=True)
        assert 2 <= pace.limit <= 16


# -- the limiter -------------------------------------------------------------------------------------------------------


def test_no_more_requests_at_a_time_than_the_limit():
    limiter, lock, at_once, most = Limiter(Pace(limit=3, ceiling=3)), threading.Lock(), [0], [0]
    full = threading.Barrier(3)

    def request():
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        full.wait(10)  # three are really under way at once
        with lock:
            at_once[0] -= 1

    threads = [threading.Thread(target=limiter.call, args=(request,)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert most == [3]


def test_a_wish_to_wait_is_obeyed_by_all_requests():
    now = [100.0]
    limiter = Limiter(clock=lambda: now[0])

    def refuse():
        raise ThrottledError("slower", retry_after_s=5)

    with pytest.raises(ThrottledError):
        limiter.call(refuse)
    began = threading.Event()
    thread = threading.Thread(target=lambda: limiter.call(began.set), daemon=True)
    thread.start()

    assert not began.wait(0.1)
    now[0] += 6
    with limiter._free:
        limiter._free.notify_all()
    assert began.wait(10)


def test_errors_give_the_slot_back():
    limiter = Limiter(Pace(limit=1, ceiling=1))
    for _ in range(5):
        with pytest.raises(NotFoundError):
            limiter.call(lambda: (_ for _ in ()).throw(NotFoundError("no")))

    assert limiter.call(lambda: "free") == "free"


def test_open_streams_that_nobody_reads_hold_no_slot():
    store = LimitStore(MemoryStore("limited", MemoryOptions()))
    limiter_of(store.endpoint, "read").pace = Pace(limit=1, ceiling=1)
    try:
        store.put("k", b"abc")
        readers = [store.read("k") for _ in range(10)]

        assert [b"".join(map(bytes, reader)) for reader in readers] == [b"abc"] * 10
    finally:
        limiter_of(store.endpoint, "read").pace = Pace()


def test_reads_and_writes_of_an_endpoint_do_not_wait_for_each_other():
    assert limiter_of("s3+https://x", "read") is not limiter_of("s3+https://x", "write")
    assert limiter_of("s3+https://x", "read") is limiter_of("s3+https://x", "read")


# -- a layer is a store ------------------------------------------------------------------------------------------------


class TestLimitedStore(StoreSuite):
    """The limit layer keeps the whole specification, however low the limit."""

    @pytest.fixture
    def store(self):
        limiters = [limiter_of("memory", kind) for kind in ("read", "write")]
        for limiter in limiters:
            limiter.pace = Pace(limit=1, ceiling=1)
        yield LimitStore(MemoryStore(uuid.uuid4().hex))
        for limiter in limiters:
            limiter.pace = Pace()

    def back_door(self, store, key):
        try:
            return bucket_named(store.inner.bucket).find("peek", key, NO_VERSION).data
        except NotFoundError:
            return None


class TestRetriedStore(TestLimitedStore):
    """So does the retry layer round it."""

    @pytest.fixture
    def store(self):
        return RetryStore(LimitStore(MemoryStore(uuid.uuid4().hex)))

    def back_door(self, store, key):
        return super().back_door(store.inner, key)
