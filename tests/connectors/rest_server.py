"""An API on loopback: lists cut into pages in every usual way, tokens, validators; its faults are ``Rule``s."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from urllib.parse import parse_qs, urlencode

from crossdock.testing.rules import Faults, Rule
from crossdock.testing.server import LoopbackServer
from crossdock.testing.wire import Request, Response, Route

FAULTS = (
    Rule(status=500, probability=0.06, name="500"),
    Rule(status=429, retry_after_s=0, probability=0.06, name="429"),
    Rule(reset=True, probability=0.06, name="reset"),
    Rule(cut_at=30, cut_with="rst", probability=0.06, name="cut"),
)
"""A fifth of all requests, and a little more."""


class API:
    """``lists`` by path; ``handlers`` by path answer instead. ``seen`` are raw targets with headers, in order."""

    def __init__(self, faults: tuple[Rule, ...] = (), *, seed: int = 0) -> None:
        self.lists: dict[str, list[dict]] = {}
        self.handlers: dict[str, Callable[[Request], Response]] = {}
        self.needs: tuple[str, str] | None = None
        self.etags = False
        self.cap = 100
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.most_at_once = 0
        self._at_once = 0
        self.faults = Faults(faults, seed=seed)
        self._lock = threading.Lock()
        self._server = LoopbackServer(self, self.faults)

    @property
    def url(self) -> str:
        return self._server.url

    def __enter__(self):
        self._server.start()
        return self

    def __exit__(self, *_):
        self._server.stop()

    def route(self, request: Request) -> Route:
        return Route("object.get", self._answered, key=request.target[1:])

    def error(self, request: Request, status: int) -> Response:  # noqa: ARG002 - App's
        return Response.text(status, "a page for people", "text/html")

    def targets(self, path: str = "") -> list[str]:
        return [target for target, _ in self.seen if target.startswith(path)]

    def _answered(self, request: Request) -> Response:
        with self._lock:
            self.seen.append((request.target, dict(request.headers)))
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return self._answer(request)
        finally:
            with self._lock:
                self._at_once -= 1

    def _answer(self, request: Request) -> Response:
        path = request.path
        if self.needs is not None and request.headers.get(self.needs[0].lower()) != self.needs[1]:
            return Response(401)
        if path in self.handlers:
            return self.handlers[path](request)
        found = self.lists.get(path)
        if found is None:
            return Response.text(404, "nothing", "text/plain")
        return self._page(request, found)

    def _page(self, request: Request, found: list[dict]) -> Response:
        query = {name: values[-1] for name, values in parse_qs(request.target.partition("?")[2]).items()}
        if "since" in query:
            found = [each for each in found if str(each["updated_at"]) >= query["since"]]
        size = min(int(query.get("size", "100")), self.cap)
        start = int(query["offset"]) if "offset" in query else (int(query.get("page", "1")) - 1) * size
        if "cursor" in query:
            start = int(query["cursor"].removeprefix("c"))
        part, end = found[start : start + size], start + size
        more = end < len(found)
        link = f"{self.url}{request.path}?{urlencode({**query, 'offset': end})}"
        body = {
            "items": part,
            "total": len(found),
            "meta": {"next": f"c{end}" if more else None, "more": more},
            "next": link if more else None,
        }
        data = json.dumps(body).encode()
        headers = [("Content-Type", "application/json")]
        if more:
            headers += [("Link", f'<{self.url}/x>; rel="last", <{link}>; rel="next"'), ("X-Next", f"c{end}")]
        if self.etags:
            etag = f'"{hashlib.sha256(data).hexdigest()[:12]}"'
            headers.append(("ETag", etag))
            if request.headers.get("if-none-match") == etag:
                return Response(304, headers)
        return Response(200, headers, (data,))


def answering(body: object, *, status: int = 200, headers: tuple[tuple[str, str], ...] = ()):
    """A handler that gives one JSON body."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda _: Response(status, [("Content-Type", "application/json"), *headers], (data,))
