"""SFTP on asyncssh's server: all that a source and a sink promise. The ends are in ``ends.py``."""

from __future__ import annotations

import pytest

from crossdock.testing.sink_suite import SinkSuite
from crossdock.testing.source_suite import SourceSuite


class TestSFTPSource(SourceSuite):
    @pytest.fixture
    def end(self, sftp):
        return sftp()


class TestSFTPSink(SinkSuite):
    @pytest.fixture
    def end(self, sftp):
        return sftp()
