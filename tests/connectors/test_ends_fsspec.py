"""What fsspec opens: a disk, and FTP on pyftpdlib's server: all that a source and a sink promise. The ends are in ``ends.py``."""

from __future__ import annotations

import pytest

from crossdock.testing.sink_suite import SinkSuite
from crossdock.testing.source_suite import SourceSuite


class TestFsspecDiskSource(SourceSuite):
    @pytest.fixture
    def end(self, fsspec_disk):
        return fsspec_disk()


class TestFsspecDiskSink(SinkSuite):
    @pytest.fixture
    def end(self, fsspec_disk):
        return fsspec_disk()


class TestFTPSource(SourceSuite):
    @pytest.fixture
    def end(self, ftp):
        return ftp()


class TestFTPSink(SinkSuite):
    @pytest.fixture
    def end(self, ftp):
        return ftp()
