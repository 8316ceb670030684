"""A receiver of notifications on 127.0.0.1: keeps what was posted, and fails on purpose like the other servers here."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from crossdock.testing.rules import Faults
from crossdock.testing.server import LoopbackServer
from crossdock.testing.wire import Request, Response, Route

__all__ = ["EmbeddedWebhook", "Posted"]


@dataclass(frozen=True, slots=True)
class Posted:
    """One request that the receiver took.

    Attributes:
        path: The request target as it was sent.
        headers: By lower-case name.
        body: The bytes.
    """

    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class EmbeddedWebhook:
    """Answers 200 ``ok`` to every POST and keeps it; Slack's webhooks do the same. Thread-safe.

    ``faults`` takes rules whose operation is ``post``; a request that a fault answered is in ``faults.requests`` and
    not in ``posted``.

    Example:
        >>> from crossdock.testing import EmbeddedWebhook
        >>> with EmbeddedWebhook() as hook:
        ...     hook.posted
        []
    """

    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        self._posted: list[Posted] = []
        self._lock = threading.Lock()
        self._server = LoopbackServer(self, self.faults)

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port``, while it runs; any path below it will do."""
        return self._server.url

    @property
    def posted(self) -> list[Posted]:
        """What arrived so far, in the order of arrival."""
        with self._lock:
            return list(self._posted)

    def route(self, request: Request) -> Route:
        """See ``App``."""
        return Route("post" if request.method == "POST" else "other", self._take)

    def error(self, request: Request, status: int) -> Response:
        """An answer that repeats the address, as some servers do: whoever logs it tells a secret."""
        return Response.text(status, f"cannot {request.method} {request.target}\n", "text/plain")

    def _take(self, request: Request) -> Response:
        if request.method != "POST":
            return self.error(request, 405)
        with self._lock:
            self._posted.append(Posted(request.target, dict(request.headers), bytes(request.body())))
        return Response.text(200, "ok", "text/plain")

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()
