"""Memory stays below the budget plus a constant; the published figures are ``make bench ARGS="memory"``."""

from __future__ import annotations

from benchmarks.memory import ALLOWANCE, budget, measure
from crossdock.model import MIB


def test_sixty_four_objects_at_a_time():
    """64 objects of 8 MiB and a bit, all parts or puts of default size: budget plus 200 MiB, whatever waits."""
    peak = measure(64, 8 * MIB + 1)

    assert (peak.copied, peak.different) == (64, ())
    assert 50 * MIB < peak.peak_bytes < budget() + ALLOWANCE
