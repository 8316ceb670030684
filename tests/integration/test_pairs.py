"""M x N: every source into every sink, through one combined task, by construction and without a module per pair."""

from __future__ import annotations

from ends import *  # noqa: F403 - fixtures
from ends import SINKS, SOURCES_ONLY

from crossdock.testing.pair_suite import PairSuite


class TestPairs(PairSuite):
    """The whole matrix. GCS is there twice, by the API it is read through."""

    ends = SINKS
    sources_only = SOURCES_ONLY
