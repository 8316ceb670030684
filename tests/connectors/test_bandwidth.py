"""Payload bytes per second: a bound over any stretch of time, shared by threads and by processes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, strategies as st

from crossdock import sharing
from crossdock.connectors.bandwidth import Bandwidth, process_bandwidth


class Clock:
    """Time that passes by waiting only."""

    def __init__(self):
        self.now = 0.0
        self.lock = threading.Lock()

    def __call__(self):
        return self.now

    def wait(self, seconds):
        with self.lock:
            self.now += seconds
        return True


@pytest.fixture(autouse=True)
def _alone():
    sharing.set_peers(1)
    yield
    sharing.set_peers(1)


def bandwidth(rate):
    clock = Clock()
    return Bandwidth(rate, clock=clock, wait=clock.wait), clock


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=50), st.integers(1, 5_000))
def test_no_stretch_of_time_gets_more_than_its_share_and_one_piece(sizes, rate):
    limit, clock = bandwidth(rate)
    went = []
    for size in sizes:
        limit.take(size)
        went.append((clock.now, size))

    for first, (begin, _) in enumerate(went):
        for last in range(first, len(went)):
            moved = sum(size for _, size in went[first : last + 1])
            assert moved <= (went[last][0] - begin) * rate + went[last][1] + 1 + last - first


def test_a_pause_is_not_caught_up():
    limit, clock = bandwidth(100)
    limit.take(100)
    clock.now += 60
    limit.take(100)
    assert clock.now == 61 - 1 == 60
    limit.take(100)
    assert clock.now == pytest.approx(61)


def test_the_share_of_a_process_follows_the_number_of_its_peers():
    limit, clock = bandwidth(100)
    sharing.set_peers(4)
    limit.take(100)
    limit.take(100)
    assert clock.now == pytest.approx(4)
    sharing.set_peers(1)
    limit.take(100)
    assert clock.now == pytest.approx(5)


def test_threads_share_it():
    limit, clock = bandwidth(1_000)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: limit.take(100), range(80)))
    assert clock.now == pytest.approx(7.9)


def test_without_a_bound_nothing_waits():
    limit, clock = bandwidth(None)
    limit.take(10**12)
    limit.take(10**12)
    assert clock.now == 0


def test_a_process_has_one_for_each_bound():
    assert process_bandwidth(17) is process_bandwidth(17)
    assert process_bandwidth(17) is not process_bandwidth(18)
