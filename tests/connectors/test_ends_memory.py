"""A dict of this process: all that a source and a sink promise. The ends are in ``ends.py``."""

from __future__ import annotations

import pytest

from crossdock.testing.sink_suite import SinkSuite
from crossdock.testing.source_suite import SourceSuite


class TestMemorySource(SourceSuite):
    @pytest.fixture
    def end(self, memory):
        return memory()


class TestMemorySink(SinkSuite):
    @pytest.fixture
    def end(self, memory):
        return memory()
