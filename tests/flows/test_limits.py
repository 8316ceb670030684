"""What ends a run early because the user said so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from crossdock.errors import ConfigError
from crossdock.flows.questions.limits import NO_LIMITS, limits_of

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def reached(limits, *, failed=0, copied_bytes=0, now=NOW):
    return limits.reached(failed=failed, copied_bytes=copied_bytes, now=now)


def test_without_limits_nothing_is_reached():
    assert reached(NO_LIMITS, failed=10**9, copied_bytes=10**18) is None


@pytest.mark.parametrize(("failed", "ends"), [(0, False), (2, False), (3, True)])
def test_failures(failed, ends):
    found = reached(limits_of(max_errors=2), failed=failed)
    assert bool(found) is ends
    assert not ends or found == "3 objects failed, and max_errors is 2"


@pytest.mark.parametrize(("copied", "ends"), [(0, False), (1023, False), (1024, True), (5000, True)])
def test_bytes(copied, ends):
    assert bool(reached(limits_of(max_bytes="1KiB"), copied_bytes=copied)) is ends


@pytest.mark.parametrize(
    "deadline",
    [
        "90m",
        timedelta(minutes=90),
        datetime(2026, 1, 31, 13, 30),  # noqa: DTZ001 - as a user may write it
        "2026-01-31T13:30:00Z",
    ],
)
def test_time(deadline):
    limits = limits_of(deadline=deadline, now=NOW)
    assert reached(limits, now=NOW + timedelta(minutes=89)) is None
    assert "2026-01-31T13:30:00Z" in reached(limits, now=NOW + timedelta(minutes=90))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max_errors": -1}, "0 or more"),
        ({"max_bytes": "much"}, "max bytes"),
        ({"deadline": "soon"}, "deadline"),
        ({"deadline": "2026-01-31T11:00"}, "has passed already"),
    ],
)
def test_what_makes_no_sense(given, said):
    with pytest.raises(ConfigError, match=said):
        limits_of(**given, now=NOW)
