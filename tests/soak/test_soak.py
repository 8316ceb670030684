"""Everything goes wrong at once, small: the full soak is ``make bench ARGS="soak"``."""

from __future__ import annotations

import pytest

from benchmarks.soak import Load, soak
from crossdock.connectors import commits, layers
from crossdock.model import MIB

LOAD = Load(small=300, large=3, least=8 * MIB, most=20 * MIB)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    """An object that fails seven times in a row waits for half a minute; here nobody learns anything from that."""
    real = layers.backoff_s
    for module in (layers, commits):
        monkeypatch.setattr(module, "backoff_s", lambda number, error: min(0.5, real(number, error)))


@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", [1, 2])
def test_five_per_cent_of_every_fault_at_once(seed):
    """Nothing wrong, lost, duplicated or leaked; the counts add up in every round; every kind of fault fired."""
    soaked = soak(seed, LOAD)

    assert soaked.flaws == []
    assert soaked.objects == 303
    assert len(soaked.fired) > 25
