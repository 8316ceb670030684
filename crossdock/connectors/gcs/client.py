"""One HTTP client for JSON and XML requests, shared by all stores of a process that reach GCS in the same way.

urllib3 with every retry switched off (the retry layer above is the only one), timeouts on no progress, TLS verified,
proxies from the environment as curl and Google's clients take them. A request gets the current token and comes back
as a read answer or as one of our errors.
"""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import urllib3
from urllib3.response import BaseHTTPResponse

from crossdock.connectors.gcs.connections import manager_for
from crossdock.connectors.gcs.credentials import Tokens
from crossdock.connectors.gcs.errors import Place, from_answer, from_network
from crossdock.connectors.gcs.options import GCSOptions
from crossdock.connectors.kept import Kept
from crossdock.errors import ConnectionLostError, CredentialsError, Retry
from crossdock.ports import Chunk

__all__ = ["Answer", "Client", "client_for"]

_NO_RETRY = urllib3.Retry(False, redirect=False)
_JOIN_BELOW = 64 * 1024  # one system call instead of three; copying this much costs less
_SEND_AT_ONCE = 128 * 1024  # each piece has the whole no-progress timeout to itself
_ANSWER_LIMIT = 64 * 1024 * 1024  # a page of 1,000 with full metadata is some 10 MB
_CONNECTIONS = 256  # kept open; more threads than that open connections of their own
USER_AGENT = f"crossdock (gzip) Python/{platform.python_version()}"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that was read whole: never payload."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class Client:
    """Requests to one endpoint with one identity. Thread-safe.

    Args:
        options: Where and as whom.
    """

    def __init__(self, options: GCSOptions) -> None:
        self.root = options.root
        self.tokens = Tokens(options, options.root)
        self.has_answered = False
        self._timeout = urllib3.Timeout(connect=options.connect_timeout_s, read=options.no_progress_timeout_s)
        self._pool: urllib3.HTTPConnectionPool | None = None
        self._lock = threading.Lock()
        # Headers by token, so that a request copies a dict instead of building one. Replaced as a whole.
        self._headers: tuple[str | None, dict[str, str]] | None = None

    def call(
        self,
        place: Place,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: tuple[Chunk, ...] = (),
        accept: tuple[int, ...] = (200,),
    ) -> Answer:
        """Make one request; its answer is read, up to a limit, and its connection given back.

        Args:
            place: What errors say.
            method: HTTP method.
            target: Path and query, encoded.
            headers: Besides the token and the user agent.
            body: Pieces of the body, sent without copying those that are large.
            accept: Statuses to come back with; any other raises.

        Raises:
            CrossdockError: As ``errors`` says; ``retry`` tells whether trying again makes sense.
        """
        answer = self.open(place, method, target, headers=headers, body=body, accept=accept)
        with self.translated(place):
            data = _whole(answer, place)
        return Answer(answer.status, answer.headers, data)

    def open(
        self,
        place: Place,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: tuple[Chunk, ...] = (),
        accept: tuple[int, ...] = (200,),
    ) -> BaseHTTPResponse:
        """As ``call``, with the answer's body still to be read, as it was stored; the caller releases the connection."""
        token = self.tokens.bearer()
        sent = {**self._sent(token), **(headers or {})}
        pieces: Iterable[Chunk] | bytes | None = None
        if body or method != "GET":
            size = sum(memoryview(piece).nbytes for piece in body)
            sent["Content-Length"] = str(size)
            pieces = b"".join(body) if size <= _JOIN_BELOW else _sliced(body)
        with self.translated(place):
            answer = self._connections().urlopen(
                method,
                target,
                body=pieces,  # type: ignore[arg-type] # any buffer can be sent
                headers=sent,
                retries=_NO_RETRY,
                redirect=False,
                assert_same_host=False,
                timeout=self._timeout,
                preload_content=False,
                decode_content=False,
            )
            self.has_answered = True
            if answer.status in accept:
                return answer
            data = _whole(answer, place)
        error = from_answer(place, answer.status, answer.headers, data)
        if answer.status == 401 and isinstance(error, CredentialsError) and self.tokens.refused(token):
            error.retry = Retry.LATER
        raise error

    @contextmanager
    def translated(self, place: Place) -> Iterator[None]:
        """Turn urllib3's exceptions into ours; also round the reading of a streamed answer."""
        try:
            yield
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise from_network(place, error, has_answered=self.has_answered) from error

    def billing(self) -> dict[str, str]:
        """The header that bills a project for the request, if one was asked for."""
        project = self.tokens.billed_project()
        return {"x-goog-user-project": project} if project else {}

    def _sent(self, token: str | None) -> dict[str, str]:
        known = self._headers
        if known is not None and known[0] == token:
            return known[1]
        headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **self.billing()}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self._headers = (token, headers)
        return headers

    def _connections(self) -> urllib3.HTTPConnectionPool:
        if self._pool is None:
            with self._lock:
                if self._pool is None:
                    manager = manager_for(self.root, connections=_CONNECTIONS, timeout=self._timeout)
                    self._pool = manager.connection_from_url(self.root)
        return self._pool


def _whole(answer: BaseHTTPResponse, place: Place) -> bytes:
    """The body of an answer that is no payload, not decoded: no encoding was asked for, and one could be a bomb.

    Raises:
        ConnectionLostError: It is longer than any answer of the service.
    """
    data = answer.read(_ANSWER_LIMIT + 1, decode_content=False)
    if len(data) > _ANSWER_LIMIT:
        answer.close()
        raise ConnectionLostError(
            "the answer is absurdly long", operation=place.operation, where=place.where, key=place.key
        )
    answer.read()  # the end of the body: the connection goes back
    answer.release_conn()
    return data


def _sliced(body: tuple[Chunk, ...]) -> Iterator[memoryview]:
    """Views of at most ``_SEND_AT_ONCE`` bytes: a socket's timeout counts for a whole ``sendall``."""
    for piece in body:
        view = memoryview(piece).cast("B")
        for start in range(0, view.nbytes, _SEND_AT_ONCE):
            yield view[start : start + _SEND_AT_ONCE]


_clients: Kept[Client] = Kept()


def client_for(options: GCSOptions) -> Client:
    """The process's client for these options; opened by the first request, not here."""
    key = (os.getpid(), *options.identity)  # a forked child must not share its parent's sockets
    return _clients.get(key, lambda: Client(options))
