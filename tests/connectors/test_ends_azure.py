"""Azure on Azurite: all that a source and a sink promise. The ends are in ``ends.py``."""

from __future__ import annotations

import pytest

from crossdock.testing.sink_suite import SinkSuite
from crossdock.testing.source_suite import SourceSuite


class TestAzureSource(SourceSuite):
    @pytest.fixture
    def end(self, azure):
        return azure()


class TestAzureSink(SinkSuite):
    @pytest.fixture
    def end(self, azure):
        return azure()
