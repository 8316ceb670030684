"""A server on 127.0.0.1 with one answer to everything, and stores that ask it."""

from __future__ import annotations

import contextlib
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from crossdock.connectors.azure import AzureOptions, AzureStore
from crossdock.connectors.gcs import GCSOptions, GCSStore
from crossdock.connectors.s3 import S3Options, S3Store
from crossdock.options import Secret


@contextmanager
def answering(body, kind="application/json", encoding=None):
    """A server that gives one answer to everything; yields its URL and what it was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(self.path + self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode())
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if encoding is not None:
                self.send_header("Content-Encoding", encoding)
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # a client that has read enough hangs up
                self.wfile.write(body)

        do_GET = do_PUT = do_HEAD = do_POST  # noqa: N815 - http.server's name

        def log_message(self, *_):
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def s3(url):
    return S3Store(
        "bucket", S3Options(endpoint_url=url, key=Secret("k"), secret=Secret("s"), region="us-east-1")
    )


def gcs(url):
    return GCSStore("bucket", GCSOptions(endpoint_url=url, anon=True))


def azure(url):
    return AzureStore("bucket", AzureOptions(endpoint_url=url, account_name="acct", anon=True))
