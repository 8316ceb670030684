"""GCS on the embedded server, read through either of its APIs: all that a source and a sink promise. The ends are in ``ends.py``."""

from __future__ import annotations

import pytest

from crossdock.testing.sink_suite import SinkSuite
from crossdock.testing.source_suite import SourceSuite
from crossdock.testing.store_suite import StoreSuite


class TestGCSSource(SourceSuite):
    @pytest.fixture
    def end(self, gcs):
        return gcs()


class TestGCSSink(SinkSuite):
    @pytest.fixture
    def end(self, gcs):
        return gcs()


class TestGCSJsonSource(SourceSuite):
    @pytest.fixture
    def end(self, gcs_json):
        return gcs_json()


class TestGCSJsonSink(SinkSuite):
    @pytest.fixture
    def end(self, gcs_json):
        return gcs_json()


class TestGCSJsonStore(StoreSuite):
    """The store itself with every read over the JSON API; ``test_gcs.py`` has it with the XML API."""

    @pytest.fixture
    def store(self, gcs_json):
        self.end = gcs_json()
        return self.end.store

    def back_door(self, store, key):  # noqa: ARG002 - the suite says so
        return self.end.held(key)

    def supports_key(self, key):
        size = len(key.encode(errors="replace"))
        return 1 <= size <= 1024 and key not in (".", "..") and not {*"\r\n"} & {*key} and "\ud800" not in key
