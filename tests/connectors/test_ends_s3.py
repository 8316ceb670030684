"""S3 on the embedded server: all that a source and a sink promise. The ends are in ``ends.py``."""

from __future__ import annotations

import pytest

from crossdock.testing.sink_suite import SinkSuite
from crossdock.testing.source_suite import SourceSuite


class TestS3Source(SourceSuite):
    @pytest.fixture
    def end(self, s3):
        return s3()


class TestS3Sink(SinkSuite):
    @pytest.fixture
    def end(self, s3):
        return s3()
