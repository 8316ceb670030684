"""S3 on ``rclone serve s3``: all that a source and a sink promise. The ends are in ``ends.py``."""

from __future__ import annotations

import pytest

from crossdock.testing.sink_suite import SinkSuite
from crossdock.testing.source_suite import SourceSuite


class TestS3OnRcloneSource(SourceSuite):
    @pytest.fixture
    def end(self, s3_on_rclone):
        return s3_on_rclone()


class TestS3OnRcloneSink(SinkSuite):
    @pytest.fixture
    def end(self, s3_on_rclone):
        return s3_on_rclone()
