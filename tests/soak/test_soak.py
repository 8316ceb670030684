"""Everything goes wrong at once, small: the full soak is ``make bench ARGS="soak"``."""

from __future__ import annotations

import pytest

from benchmarks.soak import Load, soak
from crossdock.model import MIB

LOAD = Load(small=300, large=3, least=8 * MIB, most=20 * MIB)


@pytest.mark.parametrize("seed", [1, 2])
def test_five_per_cent_of_every_fault_at_once(seed):
    """Nothing wrong, lost, duplicated or leaked; the counts add up in every round; every kind of fault fired."""
    soaked = soak(seed, LOAD)

    assert soaked.flaws == []
    assert soaked.objects == 303
    assert len(soaked.fired) > 25
