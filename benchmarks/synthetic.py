"""``python -m benchmarks.synthetic COUNT [LATENCY_S]``: an S3 of buckets full of objects that exist only in its listings.

Every bucket has the same objects, ``obj-0000000`` and so on, each with an ETag of its own; a page is made when it is asked
for, and given after the latency. It knows prefixes, ``start-after``, both versions of the listing, and HEAD of the bucket; it
counts requests, which ``GET /-/counts`` tells and sets to zero. It checks no signature.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, urlsplit

__all__ = ["Synthetic", "name_of"]

_PREFIX = "obj-"
_WIDTH = 7
_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
)
_ROW = (
    "<Contents><Key>obj-{0:07d}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;{0:032x}&quot;</ETag>"
    "<Size>4096</Size><StorageClass>STANDARD</StorageClass></Contents>"
)


def name_of(number: int) -> str:
    """The key of an object."""
    return f"{_PREFIX}{number:0{_WIDTH}d}"


class Synthetic(ThreadingHTTPServer):
    """The server; serves from ``serve_forever``."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, count: int, latency_s: float = 0.0, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.count = count
        self.latency_s = latency_s
        self._lock = threading.Lock()
        self._requests: Counter[str] = Counter()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def note(self, what: str) -> None:
        """Count one request."""
        with self._lock:
            self._requests[what] += 1

    def counted(self) -> dict[str, int]:
        """Requests since this was last asked."""
        with self._lock:
            counts, self._requests = dict(self._requests), Counter()
        return counts

    def after(self, key: str) -> int:
        """The number of the first object whose key is greater."""
        low, high = 0, self.count
        while low < high:
            middle = (low + high) // 2
            if name_of(middle) > key:
                high = middle
            else:
                low = middle + 1
        return low


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Synthetic

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: requests are counted."""

    def do_HEAD(self) -> None:
        url = urlsplit(self.path)
        self.server.note("HEAD" if url.path.strip("/").count("/") else "HEAD bucket")
        self._answer(200 if not url.path.strip("/").count("/") else 404, b"")

    def do_PUT(self) -> None:
        self.server.note("PUT")
        self._answer(501, b"")

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        if url.path == "/-/counts":
            self._answer(200, json.dumps(self.server.counted()).encode())
        elif url.path.strip("/").count("/"):
            self.server.note("GET")
            self._answer(404, b"")
        elif "location" in query:
            self._answer(200, b'<?xml version="1.0"?><LocationConstraint>us-east-1</LocationConstraint>')
        else:
            self.server.note("LIST")
            body = self._page(query)
            if self.server.latency_s:
                time.sleep(self.server.latency_s)
            self._answer(200, body)

    def _page(self, query: dict[str, str]) -> bytes:
        server = self.server
        prefix, size = query.get("prefix", ""), min(int(query.get("max-keys", "1000")), 1000)
        after = query.get("continuation-token") or query.get("start-after") or query.get("marker") or ""
        start = server.after(after) if after else 0
        if prefix and not _PREFIX.startswith(prefix):
            start = max(start, server.after(prefix))
        numbers = [n for n in range(start, min(start + size, server.count)) if name_of(n).startswith(prefix)]
        rows = "".join(map(_ROW.format, numbers))
        more = (
            bool(numbers) and numbers[-1] + 1 < server.count and name_of(numbers[-1] + 1).startswith(prefix)
        )
        last = name_of(numbers[-1]) if numbers else ""
        head = (
            f"{_HEAD}<Name>b</Name><Prefix>{quote(prefix)}</Prefix><KeyCount>{len(numbers)}</KeyCount>"
            f"<MaxKeys>{size}</MaxKeys><IsTruncated>{'true' if more else 'false'}</IsTruncated>"
        )
        if "encoding-type" in query:
            head += "<EncodingType>url</EncodingType>"
        if more:
            head += f"<NextContinuationToken>{last}</NextContinuationToken><NextMarker>{last}</NextMarker>"
        return f"{head}{rows}</ListBucketResult>".encode()

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


if __name__ == "__main__":
    served = Synthetic(int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0.0)
    print(served.url, flush=True)
    served.serve_forever()
