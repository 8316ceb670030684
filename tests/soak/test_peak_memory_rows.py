"""Rows take as much memory however many there are; the published figures, of 3 GB, are ``make bench ARGS="flights"``."""

from __future__ import annotations

import pytest

from benchmarks.round_trip import BOUND, STOPS, once_round
from crossdock.model import MIB

FEW, MANY = 2, 6
"""Copies of the 31 MB file. As Arrow has them 49 MiB each: even the few are more than is held at a time."""


@pytest.fixture(scope="module")
def few():
    """Of each process that moves rows. ``once_round`` compares what arrived with what was sent."""
    return {stop.name: stop.peak_bytes for stop in once_round(FEW)}


@pytest.mark.parametrize("stop", STOPS)
def test_once_round(few, stop):
    """CSV to a partitioned lake, to PostgreSQL, to CSV: below 500 MiB, and what is measured is a process that did something."""
    assert 100 * MIB < few[stop] < BOUND


def test_three_times_the_rows(few):
    """190 MB of CSV beside 63: the table grows by 200 MiB; what allocators keep grows by half of that at most, and once."""
    (many,) = once_round(MANY, STOPS[:1])

    assert many.peak_bytes < BOUND
    assert many.peak_bytes - few[many.name] < 100 * MIB
