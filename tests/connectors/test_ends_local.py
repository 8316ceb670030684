"""A directory: all that a source and a sink promise. The ends are in ``ends.py``."""

from __future__ import annotations

import pytest

from crossdock.testing.sink_suite import SinkSuite
from crossdock.testing.source_suite import SourceSuite


class TestLocalSource(SourceSuite):
    @pytest.fixture
    def end(self, local):
        return local()


class TestLocalSink(SinkSuite):
    @pytest.fixture
    def end(self, local):
        return local()
