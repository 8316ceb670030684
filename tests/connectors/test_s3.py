"""The S3 store keeps every promise of the port, on the strict embedded server."""

from __future__ import annotations

import pytest

from crossdock.connectors.s3 import S3Options, S3Store
from crossdock.options import Secret
from crossdock.testing.s3 import EmbeddedS3
from crossdock.testing.store_suite import StoreSuite

KEY_ID, SECRET = "CROSSDOCKKEYID", "canary-secret-0123456789"


def options_for(url: str, **more) -> S3Options:
    return S3Options(endpoint_url=url, key=Secret(KEY_ID), secret=Secret(SECRET), region="us-east-1", **more)


class TestS3(StoreSuite):
    secrets = (SECRET,)

    @pytest.fixture
    def server(self):
        with EmbeddedS3() as server:
            yield server

    @pytest.fixture
    def store(self, server):
        self.server = server
        return S3Store("bucket", options_for(server.url))

    def back_door(self, store, key):  # noqa: ARG002 - the suite says so
        found = self.server.objects("bucket").get(key)
        return None if found is None else found.data

    def supports_key(self, key):
        return 0 < len(key.encode()) <= 1024

    def missing_store(self, store):  # noqa: ARG002 - the suite says so
        return S3Store("missing", options_for(self.server.url))
