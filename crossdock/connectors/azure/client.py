"""The signed HTTP route: Azure's SDK signs, urllib3 sends, nothing normalises, nobody retries.

Payload goes out in small pieces, so that a slow line is judged by progress and not by total time. One pool of
connections a process and account; thread-safe.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from crossdock.connectors.azure.access import Access
from crossdock.connectors.azure.account import Account
from crossdock.connectors.azure.errors import answered, translated
from crossdock.connectors.azure.names import encode_key
from crossdock.connectors.azure.options import AzureOptions
from crossdock.errors import ConnectionLostError, CredentialsError, Retry
from crossdock.ports import Chunk

__all__ = ["API_VERSION", "Answer", "Client"]

API_VERSION = "2023-11-03"
_PIECE = 256 * 1024  # what one send may take no_progress_timeout_s for
_BODY_LIMIT = (
    64 * 1024 * 1024
)  # of an answer that is not payload; a page of 1,000 with full metadata is some 10 MB
_POOL_SIZE = 64
_SIGNED = "x-crossdock-target"  # carries the signed target past urllib3, which would log the SAS token in it


class Answer:
    """Status, headers and the whole body of an answer that is not payload."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body


class _Patient:
    """A connection whose sends may take as long as its reads: urllib3 would give them the connect timeout."""

    send_timeout_s: float = 60.0

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        self.sock.settimeout(self.send_timeout_s)  # type: ignore[attr-defined]

    def request(self, method: str, url: str, body: Any = None, headers: Any = None, **more: Any) -> None:
        sent = dict(headers or {})
        super().request(method, sent.pop(_SIGNED, url), body=body, headers=sent, **more)  # type: ignore[misc]


def _pool(account: Account, options: AzureOptions) -> urllib3.HTTPConnectionPool:
    class Plain(_Patient, HTTPConnection):
        send_timeout_s = options.no_progress_timeout_s

    class Secure(_Patient, HTTPSConnection):
        send_timeout_s = options.no_progress_timeout_s

    settings: dict[str, Any] = {
        "maxsize": _POOL_SIZE,
        "retries": False,
        "cert_reqs": "CERT_REQUIRED",
        "timeout": urllib3.Timeout(connect=options.connect_timeout_s, read=options.no_progress_timeout_s),
    }
    parts = urlsplit(account.base)
    proxy = urllib.request.getproxies().get("https") if parts.scheme == "https" else None
    manager: urllib3.PoolManager
    if proxy and not urllib.request.proxy_bypass(parts.netloc):
        manager = urllib3.ProxyManager(proxy if "://" in proxy else f"http://{proxy}", 1, **settings)
    else:
        manager = urllib3.PoolManager(1, **settings)
    pool = manager.connection_from_url(account.base)
    pool.ConnectionCls = Secure if parts.scheme == "https" else Plain
    return pool


class Client:
    """Signed requests to one container."""

    def __init__(
        self, account: Account, container: str, access: Access, options: AzureOptions, *, where: str
    ) -> None:
        self.account = account
        self.container = container
        self.access = access
        self.where = where
        self._pool = _pool(account, options)

    def call(
        self,
        operation: str,
        method: str,
        key: str | None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        payload: Chunk = b"",
    ) -> Answer:
        """One request whose answer is not payload; anything but 2xx raises.

        Args:
            operation: The verb, for errors.
            method: HTTP's.
            key: ``None`` for the container.
            query: Parameters, not yet encoded.
            headers: Besides those of signing.
            payload: The body.
        """
        response = self._sent(operation, method, key, query, headers, payload)
        with translated(operation, self.where, key):
            body = self._body(response, operation, key)
        if not 200 <= response.status < 300:
            raise self._refused(response, body, operation, key)
        return Answer(response.status, response.headers, body)

    def open(self, operation: str, key: str, *, headers: Mapping[str, str]) -> Any:
        """A GET whose body is still to be read; the caller releases it. Anything but 200 and 206 raises."""
        response = self._sent(operation, "GET", key, None, headers, b"")
        if response.status not in (200, 206):
            with translated(operation, self.where, key):
                body = self._body(response, operation, key)
            raise self._refused(response, body, operation, key)
        return response

    def readable(self, container: str, key: str) -> tuple[str, dict[str, str]]:
        """A URL that the service can read a blob of this account at, and what else the request that names it needs."""
        token, headers = self.access.readable(self.account, container, key)
        url = self.account.base + self.account.target(container, encode_key(key))
        return (f"{url}?{token}" if token else url), headers

    def _refused(self, response: Any, body: bytes, operation: str, key: str | None) -> Exception:
        error = answered(response, body, operation=operation, where=self.where, key=key)
        if isinstance(error, CredentialsError) and response.status == 401 and self.access.refused():
            error.retry = Retry.LATER
        return error

    def _body(self, response: Any, operation: str, key: str | None) -> bytes:
        body: bytes = response.read(_BODY_LIMIT + 1, decode_content=False)
        if len(body) > _BODY_LIMIT:
            response.close()
            raise ConnectionLostError(
                "the answer is absurdly long", operation=operation, where=self.where, key=key
            )
        response.read()  # the end of the body: the connection goes back
        response.release_conn()
        return body

    def _sent(
        self,
        operation: str,
        method: str,
        key: str | None,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        payload: Chunk,
    ) -> Any:
        size = memoryview(payload).nbytes
        sent = {"x-ms-version": API_VERSION, **(headers or {})}
        if method == "PUT":
            sent["Content-Length"] = str(size)
        target = self.account.target(self.container, None if key is None else encode_key(key), query)
        try:
            sent[_SIGNED] = self.access.sign(method, self.account.base, target, sent)
        except CredentialsError as error:
            error.operation = error.operation or operation
            raise
        sent |= {"Accept-Encoding": "identity", "User-Agent": "crossdock"}
        body: Any = _pieces(memoryview(payload).cast("B")) if size else None
        with translated(operation, self.where, key):
            return self._pool.urlopen(
                method,
                target,
                body=body,
                headers=sent,
                preload_content=False,
                decode_content=False,
                redirect=False,
                assert_same_host=False,
            )


def _pieces(view: memoryview) -> Iterator[memoryview]:
    for start in range(0, view.nbytes, _PIECE):
        yield view[start : start + _PIECE]
