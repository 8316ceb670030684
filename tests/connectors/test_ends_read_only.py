"""Ends that are sources only: a web server, and an archive through fsspec. The ends are in ``ends.py``."""

from __future__ import annotations

import pytest

import crossdock as xd
from crossdock.errors import ConfigError, UnsupportedError
from crossdock.testing.source_suite import SourceSuite


class TestHTTPSource(SourceSuite):
    @pytest.fixture
    def end(self, http):
        return http()


class TestArchiveSource(SourceSuite):
    @pytest.fixture
    def end(self, archive):
        return archive()


@pytest.mark.parametrize("name", ["http", "archive"])
def test_a_source_only_is_no_sink(request, name):
    """It says so when it is opened, not when the first byte is sent."""
    with pytest.raises((ConfigError, UnsupportedError), match="source only"):
        xd.sink(request.getfixturevalue(name)().url)
