"""The HTTP source keeps what a read-only store promises, with strong ETags and without, and on rclone's server."""

from __future__ import annotations

import os
import re
import shutil

import pytest
from http_server import WebServer
from rclone_server import serve_http

from crossdock.connectors.http import HTTPOptions, HTTPStore
from crossdock.model import NO_METADATA
from crossdock.options import Secret
from crossdock.testing.store_suite import ReadOnlyStoreSuite

SECRET = "canary-token-0123456789"


class TestHTTPSource(ReadOnlyStoreSuite):
    secrets = (SECRET,)

    @pytest.fixture
    def server(self):
        with WebServer() as server:
            yield server

    @pytest.fixture
    def store(self, server):
        self.server = server
        server.manners.needs = ("Authorization", f"Bearer {SECRET}")
        return HTTPStore(server.url, HTTPOptions(token=Secret(SECRET)))

    def back_door(self, store, key):  # noqa: ARG002 - the suite says so
        page = self.server.pages.get(f"/{key}")
        return None if page is None else page.data

    def seed(self, store, key, data, *, metadata=NO_METADATA):
        self.server.keep(key, data, metadata=metadata)
        return store.stat(key)

    def unseed(self, store, key):  # noqa: ARG002 - the suite says so
        del self.server.pages[f"/{key}"]

    def supports_key(self, key):
        return re.fullmatch(r"[!-~]+", key) is not None and "#" not in key


class TestHTTPSourceWithDatesOnly(TestHTTPSource):
    """No ETags: pinned by Last-Modified, which the server honours to the second."""

    @pytest.fixture
    def store(self, server):
        self.server = server
        server.manners.etags = "none"
        return HTTPStore(server.url)


class TestHTTPSourceWithWeakETags(TestHTTPSource):
    """Weak ETags, and a server that ignores every condition: answers are compared."""

    @pytest.fixture
    def store(self, server):
        self.server = server
        server.manners.etags = "weak"
        server.manners.dates = server.manners.honours_conditions = False
        return HTTPStore(server.url)


class TestHTTPSourceWithoutHead(TestHTTPSource):
    """HEAD is refused, as presigned URLs do: the first byte tells."""

    @pytest.fixture
    def store(self, server):
        self.server = server
        server.manners.head = 403
        return HTTPStore(server.url)


class TestHTTPSourceWithoutRanges(TestHTTPSource):
    """Ranges switched off: whole objects only, and everything else the same."""

    @pytest.fixture
    def store(self, server):
        self.server = server
        server.manners.ranges = False
        return HTTPStore(server.url, HTTPOptions(ranges=False))


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    root = tmp_path_factory.mktemp("http")
    with serve_http(root) as url:
        yield url, root


class TestHTTPOnRclone(ReadOnlyStoreSuite):
    """A server that is not ours: dates only, index pages, and keys that are file names."""

    nested_keys = False

    @pytest.fixture
    def store(self, served):
        url, self.root = served
        for path in self.root.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return HTTPStore(url)

    def path(self, key):
        return self.root / key

    def back_door(self, store, key):  # noqa: ARG002 - the suite says so
        return self.path(key).read_bytes() if self.path(key).is_file() else None

    def seed(self, store, key, data, *, metadata=NO_METADATA):  # noqa: ARG002 - a file has none
        self.path(key).parent.mkdir(parents=True, exist_ok=True)
        before = self.path(key).stat().st_mtime if self.path(key).exists() else 1e9
        self.path(key).write_bytes(data)
        os.utime(self.path(key), (before + 1, before + 1))  # what only dates tell apart must differ in them
        return store.stat(key)

    def unseed(self, store, key):  # noqa: ARG002 - the suite says so
        self.path(key).unlink()

    def supports_key(self, key):
        return re.fullmatch(r"[!-~]+", key) is not None and "#" not in key

    # rclone's server maps paths to file names and guesses metadata from them; exactness of keys is the other server's.
    test_a_hostile_key_is_read_exactly = None
    test_metadata_and_digests_are_those_of_the_object = None
    test_replaced_while_it_is_read = None  # it is changed in place here, and this server does not look
