"""An API on 127.0.0.1 that answers in JSON: a function says what, faults say when it fails, requests are kept.

For tests of whatever reads an API, and for the sandboxes of the flow templates.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from crossdock.testing.rules import Faults
from crossdock.testing.server import LoopbackServer
from crossdock.testing.wire import Request, Response, Route

__all__ = ["Asked", "EmbeddedAPI"]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that was answered.

    Attributes:
        target: Path and query as they were sent.
        headers: By lower-case name.
        status: What it was answered.
    """

    target: str
    headers: dict[str, str]
    status: int


@dataclass
class EmbeddedAPI:
    """Answers GET with what a function makes of path and query, as JSON with an ETag; 304 if the client has it. Thread-safe.

    ``faults`` takes rules whose operation is ``api.get``; a request that a fault answered is in ``faults.requests`` and not in
    ``asked``.

    Args:
        answer: Called with the path and the decoded query; gives what is to be sent, or ``None`` where there is nothing (404).

    Example:
        >>> from crossdock.testing import EmbeddedAPI
        >>> with EmbeddedAPI(lambda path, query: [{"id": 1}] if path == "/users" else None) as api:
        ...     ...  # xd.rest(api.url)("users")
        Ellipsis
    """

    answer: Callable[[str, Mapping[str, str]], Any]
    faults: Faults = field(default_factory=Faults)
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self._asked: list[Asked] = []
        self._at_once = 0
        self._lock = threading.Lock()
        self._server = LoopbackServer(self, self.faults)

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port``, while it runs."""
        return self._server.url

    @property
    def asked(self) -> list[Asked]:
        """What was answered so far, in the order of the answers."""
        with self._lock:
            return list(self._asked)

    def route(self, request: Request) -> Route:
        """See ``App``."""
        return Route("api.get" if request.method == "GET" else "other", self._answered, key=request.path)

    def error(self, request: Request, status: int) -> Response:
        """What an injected status says."""
        del request
        return _json(status, {"error": f"status {status}, injected"})

    def _answered(self, request: Request) -> Response:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        response = _json(500, {"error": "the answer could not be made"})
        try:
            response = self._response(request)
        finally:
            with self._lock:
                self._at_once -= 1
                self._asked.append(Asked(request.target, dict(request.headers), response.status))
        return response

    def _response(self, request: Request) -> Response:
        if request.method != "GET":
            return _json(405, {"error": "only GET"})
        found = self.answer(request.path, request.query)
        if found is None:
            return _json(404, {"error": "there is nothing here"})
        response = _json(200, found)
        etag = f'"{hashlib.sha256(b"".join(response.chunks)).hexdigest()[:16]}"'
        if request.headers.get("if-none-match") == etag:
            return Response(304, [("ETag", etag)])
        response.headers.append(("ETag", etag))
        return response

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()


def _json(status: int, body: Any) -> Response:
    return Response.text(status, json.dumps(body), "application/json")
