"""The signed HTTP route: botocore signs, urllib3 sends, nothing normalises, nobody retries.

Payload goes out in small pieces, so that a slow line is judged by progress and not by total time. One pool of
connections per process and bucket; thread-safe.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.request import getproxies, proxy_bypass

import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.httpsession import get_cert_path
from urllib3.connection import HTTPConnection, HTTPSConnection

from crossdock.connectors.s3.address import Address
from crossdock.connectors.s3.credentials import Identity
from crossdock.connectors.s3.errors import answered, translated
from crossdock.connectors.s3.options import S3Options
from crossdock.errors import ConnectionLostError
from crossdock.ports import Chunk

__all__ = ["Answer", "Client"]

_PIECE = 256 * 1024  # what one send may take no_progress_timeout_s for
_BODY_LIMIT = 16 * 1024 * 1024  # of an answer that is not payload; a listing page is some 1 MB
_POOL_SIZE = 64


class Answer:
    """Status, headers and the whole body of an answer that is not payload."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body


class _Signer(S3SigV4Auth):
    """SigV4 over headers; the payload is signed only if the caller hashed it."""

    def payload(self, request: Any) -> str:
        """What stands for the body in the signature."""
        return str(request.context["payload"])


class _Patient:
    """A connection whose sends may take as long as its reads: urllib3 would give them the connect timeout."""

    send_timeout_s: float = 60.0

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        self.sock.settimeout(self.send_timeout_s)  # type: ignore[attr-defined]


def _pool(address: Address, options: S3Options) -> urllib3.HTTPConnectionPool:
    class Plain(_Patient, HTTPConnection):
        send_timeout_s = options.no_progress_timeout_s

    class Secure(_Patient, HTTPSConnection):
        send_timeout_s = options.no_progress_timeout_s

    settings: dict[str, Any] = {
        "maxsize": _POOL_SIZE,
        "retries": False,
        "timeout": urllib3.Timeout(connect=options.connect_timeout_s, read=options.no_progress_timeout_s),
    }
    manager: urllib3.PoolManager = urllib3.PoolManager(1, **settings)
    if address.base.startswith("https://"):
        settings["ssl_context"] = ssl.create_default_context(cafile=options.ca_bundle or get_cert_path(True))
        host = urllib3.util.parse_url(address.base).host or ""
        proxy = getproxies().get("https")
        if proxy and not proxy_bypass(host):
            manager = urllib3.ProxyManager(proxy, 1, **settings)
        else:
            manager = urllib3.PoolManager(1, **settings)
    pool = manager.connection_from_url(address.base)
    pool.ConnectionCls = Secure if address.base.startswith("https://") else Plain
    return pool


class Client:
    """Signed requests to one bucket."""

    def __init__(self, address: Address, options: S3Options, identity: Identity, *, where: str) -> None:
        self.address = address
        self.where = where
        self._identity = identity
        self._extra = {"x-amz-request-payer": "requester"} if options.requester_pays else {}
        self._pool = _pool(address, options)

    def call(
        self,
        operation: str,
        method: str,
        key: str | None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        document: bytes | None = None,
        payload: Chunk | None = None,
    ) -> Answer:
        """One request whose answer is not payload; anything but 2xx raises.

        Args:
            operation: The verb, for errors.
            method: HTTP's.
            key: ``None`` for the bucket.
            query: Parameters, not yet encoded.
            headers: Besides those of signing.
            document: A small XML body, signed.
            payload: A large body, not hashed for the signature.
        """
        response = self._sent(operation, method, key, query, headers, document, payload)
        with translated(operation, self.where, key):
            body = self._body(response, operation, key)
        if not 200 <= response.status < 300:
            raise answered(response, body, operation=operation, where=self.where, key=key)
        return Answer(response.status, response.headers, body)

    def open(self, operation: str, key: str, *, headers: Mapping[str, str]) -> Any:
        """A GET whose body is still to be read; the caller releases it. Anything but 200 and 206 raises."""
        response = self._sent(operation, "GET", key, None, headers, None, None)
        if response.status not in (200, 206):
            with translated(operation, self.where, key):
                body = self._body(response, operation, key)
            raise answered(response, body, operation=operation, where=self.where, key=key)
        return response

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
        document: bytes | None,
        payload: Chunk | None,
    ) -> Any:
        target = self.address.target(key, query)
        sent: dict[str, str] = {**self._extra, **(headers or {})}
        body: Any = document
        if payload is not None:
            body = _pieces(memoryview(payload).cast("B")) if memoryview(payload).nbytes else b""
            sent["Content-Length"] = str(memoryview(payload).nbytes)
        signed = self._signed(
            method, target, sent, document, unsigned=payload is not None, operation=operation
        )
        with translated(operation, self.where, key):
            return self._pool.urlopen(
                method,
                target,
                body=body,
                headers=signed,
                preload_content=False,
                decode_content=False,
                redirect=False,
                assert_same_host=False,
            )

    def _signed(
        self,
        method: str,
        target: str,
        headers: dict[str, str],
        document: bytes | None,
        *,
        unsigned: bool,
        operation: str,
    ) -> dict[str, str]:
        # Accept-Encoding is not signed: proxies change it, and S3 never encodes by itself.
        plain = {**headers, "Accept-Encoding": "identity", "User-Agent": "crossdock"}
        if self._identity.anonymous:
            return plain
        hashed = "UNSIGNED-PAYLOAD" if unsigned else hashlib.sha256(document or b"").hexdigest()
        request = AWSRequest(method=method, url=self.address.base + target, headers=headers)
        request.context["payload"] = hashed
        try:
            _Signer(self._identity.frozen(), "s3", self.address.region).add_auth(request)
        except Exception as error:
            if hasattr(error, "operation") and not error.operation:
                error.operation = operation
            raise
        return {**plain, **dict(request.headers.items())}


def _pieces(view: memoryview) -> Iterator[memoryview]:
    for start in range(0, view.nbytes, _PIECE):
        yield view[start : start + _PIECE]
