"""A web server whose manners a test chooses: validators, ranges, HEAD, framing, redirects; its faults are ``Rule``s."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from email.utils import formatdate

from crossdock.model import NO_METADATA, Metadata
from crossdock.testing.rules import Faults
from crossdock.testing.server import LoopbackServer
from crossdock.testing.wire import Request, Response, Route, header_text

_RANGE = re.compile(r"bytes=(\d+)-(\d+)")
_FIELDS = {
    "content_type": "Content-Type",
    "cache_control": "Cache-Control",
    "content_disposition": "Content-Disposition",
    "content_encoding": "Content-Encoding",
    "content_language": "Content-Language",
}


@dataclass
class Page:
    """One object, and how it is served."""

    data: bytes
    etag: str | None = None
    modified: float | None = None
    metadata: Metadata = NO_METADATA
    headers: tuple[tuple[str, str], ...] = ()


@dataclass
class Manners:
    """How the server behaves; a test changes them while it runs."""

    etags: str = "strong"  # strong, weak, none
    dates: bool = True
    ranges: bool = True
    says_ranges: bool = True
    head: int = 200  # another status: HEAD is refused with it
    length: str = "declared"  # or chunked
    honours_conditions: bool = True
    content_range: str | None = None  # sent instead of the true one
    whole_of_other_size: bool = False
    needs: tuple[str, str] | None = None  # a header without which the answer is 401
    redirects: dict[str, tuple[int, str | None]] = field(default_factory=dict)


class WebServer:
    """An origin on 127.0.0.1. ``seen`` are the requests so far: method, raw target, headers."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.manners = Manners()
        self.faults = Faults()
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self._count = 0
        self._lock = threading.Lock()
        self._server = LoopbackServer(self, self.faults)

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def __enter__(self):
        self._server.start()
        return self

    def __exit__(self, *_):
        self._server.stop()

    def keep(
        self, key: str, data: bytes, *, metadata: Metadata = NO_METADATA, headers=(), modified=None
    ) -> None:
        """An object under the raw target ``/key``; every version has an ETag of its own."""
        with self._lock:
            self._count += 1
            self.pages[f"/{key}"] = Page(
                bytes(data), f"v{self._count}", modified or 1e9 + self._count, metadata, tuple(headers)
            )

    def methods(self) -> list[str]:
        return [method for method, _, _ in self.seen]

    # What LoopbackServer asks of a service.
    def route(self, request: Request) -> Route:
        operation = {"GET": "object.get", "HEAD": "object.stat"}.get(request.method, "other")
        return Route(operation, self._answer, key=request.target[1:])

    def error(self, request: Request, status: int) -> Response:  # noqa: ARG002 - App's
        return Response.text(status, "a page for people", "text/html")

    def _answer(self, request: Request) -> Response:
        self.seen.append((request.method, request.target, dict(request.headers)))
        manners = self.manners
        if request.target in manners.redirects:
            status, location = manners.redirects[request.target]
            return Response(status, [] if location is None else [("Location", location)])
        if manners.needs is not None and request.headers.get(manners.needs[0].lower()) != manners.needs[1]:
            return Response(401, [("WWW-Authenticate", "Basic realm=x")])
        if request.method == "HEAD" and manners.head != 200:
            return Response(manners.head)
        page = self.pages.get(request.target)
        if page is None:
            return Response.text(404, "no such page", "text/html")
        if manners.honours_conditions and not self._holds(request, page):
            return Response(412)
        return self._sent(request, page)

    def _holds(self, request: Request, page: Page) -> bool:
        wanted = request.headers.get("if-match")
        if wanted is not None and wanted != self._etag(page):
            return False
        since = request.headers.get("if-unmodified-since")
        return since is None or since == formatdate(page.modified, usegmt=True)

    def _etag(self, page: Page) -> str | None:
        return {"strong": f'"{page.etag}"', "weak": f'W/"{page.etag}"', "none": None}[self.manners.etags]

    def _sent(self, request: Request, page: Page) -> Response:
        manners = self.manners
        headers = list(page.headers)
        if (etag := self._etag(page)) is not None:
            headers.append(("ETag", etag))
        if manners.dates:
            headers.append(("Last-Modified", formatdate(page.modified, usegmt=True)))
        if manners.says_ranges:
            headers.append(("Accept-Ranges", "bytes"))
        for name, header in _FIELDS.items():
            if getattr(page.metadata, name) is not None:
                headers.append((header, header_text(getattr(page.metadata, name))))
        headers += [(f"x-amz-meta-{name}", header_text(value)) for name, value in page.metadata.user.items()]
        match = _RANGE.fullmatch(request.headers.get("range", ""))
        status, data = 200, page.data
        if match is not None and manners.ranges:
            start, end = int(match[1]), min(int(match[2]) + 1, len(data))
            if start >= len(data):
                return Response(416, [("Content-Range", f"bytes */{len(data)}")])
            headers.append(("Content-Range", manners.content_range or f"bytes {start}-{end - 1}/{len(data)}"))
            status, data = 206, data[start:end]
        if request.method == "HEAD":
            return Response(status, headers, declared_length=len(data))
        return Response(status, headers, (data,), is_chunked=manners.length == "chunked")
