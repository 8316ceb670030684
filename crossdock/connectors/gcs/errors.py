"""The one table from what GCS and the network answer to our errors.

Status codes and reasons: https://docs.cloud.google.com/storage/docs/json_api/v1/status-codes and
https://docs.cloud.google.com/storage/docs/xml-api/reference-status
"""

from __future__ import annotations

import html
import json
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import urllib3.exceptions as transport

from crossdock.errors import (
    ConnectionLostError,
    CredentialsError,
    CrossdockError,
    DeniedError,
    IntegrityError,
    NotFoundError,
    PreconditionError,
    RangeError,
    Retry,
    StalledError,
    StorageError,
    ThrottledError,
)

__all__ = ["Place", "from_answer", "from_network"]

_RATE_REASONS = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "SlowDown"})
_MESSAGE_LIMIT = 300
_XML = {
    name: re.compile(rb"<%s>(.*?)</%s>" % (name.encode(), name.encode()), re.DOTALL)
    for name in ("Code", "Message", "Details")
}


@dataclass(frozen=True, slots=True)
class Place:
    """What an error says about where it happened."""

    operation: str
    where: str
    key: str | None = None


def from_answer(place: Place, status: int, headers: Mapping[str, str], body: bytes) -> CrossdockError:
    """The error for an answer that is none of those the caller can use."""
    reason, message = _explanation(body)
    cause = f"{status} {message or reason or 'without explanation'}"
    fields: dict[str, Any] = {"operation": place.operation, "where": place.where, "key": place.key}
    if status == 400:
        return _bad_request(cause, message, reason, fields)
    if status == 401:
        hint = (
            "the credentials are invalid, expired or missing: check token and GOOGLE_APPLICATION_CREDENTIALS"
        )
        return CredentialsError(cause, hint=hint, **fields)
    if status in (408, 429, 503) or (status == 403 and reason in _RATE_REASONS):
        return ThrottledError(cause, retry_after_s=_retry_after_s(headers), **fields)
    if status == 403:
        return DeniedError(
            cause, hint="grant the credentials a role such as roles/storage.objectUser", **fields
        )
    if status == 404:
        return _missing(cause, message, reason, fields)
    if (
        status == 409
    ):  # two changes of one object at a time; https://cloud.google.com/storage/docs/retry-strategy
        return StorageError(cause, retry=Retry.LATER, **fields)
    if status == 410:
        return NotFoundError(cause, **fields)
    if status in (304, 412):
        return PreconditionError(cause, hint="the object changed since it was looked at", **fields)
    if status == 416:
        return RangeError(cause, **fields)
    if status >= 500:
        return ConnectionLostError(cause, retry_after_s=_retry_after_s(headers), **fields)
    if 300 <= status < 400:
        return StorageError(f"{status}: the endpoint redirects", hint="check endpoint_url", **fields)
    return StorageError(cause, **fields)


def _bad_request(cause: str, message: str, reason: str, fields: dict[str, Any]) -> CrossdockError:
    if reason in ("BadDigest", "InvalidDigest") or "doesn't match calculated" in message:
        return IntegrityError(
            cause, hint="the service got other bytes than were sent, and kept none", **fields
        )
    if "requester pays" in message.lower():
        return DeniedError(cause, hint="set requester_pays or user_project", **fields)
    return StorageError(cause, **fields)


def _missing(cause: str, message: str, reason: str, fields: dict[str, Any]) -> CrossdockError:
    if reason == "NoSuchBucket" or "bucket does not exist" in message:
        bucket = fields | {"key": None}
        return NotFoundError(
            "there is no such bucket", hint="check the bucket's name and endpoint_url", **bucket
        )
    return NotFoundError(cause, **fields)


def _explanation(body: bytes) -> tuple[str, str]:
    """Reason and message of a JSON error, an XML error or plain text; regular expressions, so no XML entity counts."""
    text = body[:65536].strip()
    if text.startswith(b"{"):
        try:
            error = json.loads(text)["error"]
            details = error.get("errors") or [{}]
            return str(details[0].get("reason", "")), _short(str(error.get("message", "")))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
            return "", _short(text.decode(errors="replace"))
    if text.startswith(b"<"):
        found = {name: pattern.search(text) for name, pattern in _XML.items()}
        code, message, details = (
            html.unescape(match[1].decode(errors="replace")) if match else "" for match in found.values()
        )
        return code, _short(" ".join(part for part in (message, details) if part) or code)
    return "", _short(text.decode(errors="replace"))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MESSAGE_LIMIT else f"{line[:_MESSAGE_LIMIT]}..."


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds from ``Retry-After``, which is a number or a date."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def from_network(place: Place, error: BaseException, *, has_answered: bool) -> CrossdockError:
    """The error for a request without an answer.

    Args:
        place: What was done where.
        error: urllib3's.
        has_answered: Whether this endpoint ever answered this process. If not, a name that does not resolve or a port
            that refuses is a wrong address, and trying again only delays the news.
    """
    fields: dict[str, Any] = {"operation": place.operation, "where": place.where, "key": place.key}
    unreachable = Retry.LATER if has_answered else Retry.NEVER
    if isinstance(error, transport.ProxyError):
        hint = "check HTTPS_PROXY and NO_PROXY"
        return ConnectionLostError(
            f"the proxy failed: {_root_cause(error)}", hint=hint, retry=unreachable, **fields
        )
    if isinstance(error, transport.NameResolutionError):
        cause = f"the host's name does not resolve: {_root_cause(error)}"
        return ConnectionLostError(
            cause, hint="check endpoint_url and the network", retry=unreachable, **fields
        )
    if isinstance(error, transport.SSLError):
        return _tls(error, fields)
    if isinstance(error, transport.NewConnectionError):  # before its base class, ConnectTimeoutError
        cause = f"no connection: {_root_cause(error)}"
        return ConnectionLostError(
            cause, hint="check endpoint_url and the network", retry=unreachable, **fields
        )
    if isinstance(error, transport.ConnectTimeoutError):
        return StalledError("the endpoint took too long to accept a connection", **fields)
    if isinstance(error, transport.TimeoutError) or isinstance(_innermost(error), socket.timeout):
        return StalledError("no byte moved for longer than no_progress_timeout_s", **fields)
    return ConnectionLostError(f"the connection broke: {_root_cause(error)}", **fields)


def _tls(error: BaseException, fields: dict[str, Any]) -> CrossdockError:
    cause = _root_cause(error)
    if "EOF" in cause:  # cut during or after the handshake, like any other connection
        return ConnectionLostError(f"the connection broke: {cause}", **fields)
    hint = "TLS is never switched off: check endpoint_url, the clock and the certificate authorities (SSL_CERT_FILE)"
    return ConnectionLostError(f"TLS refused: {cause}", hint=hint, retry=Retry.NEVER, **fields)


def _innermost(error: BaseException) -> BaseException:
    """The exception at the bottom: urllib3 passes it as an argument or as the cause."""
    seen = error
    while True:
        inner = next((a for a in seen.args if isinstance(a, BaseException)), None) or seen.__cause__
        if inner is None or inner is seen:
            return seen
        seen = inner


def _root_cause(error: BaseException) -> str:
    inner = _innermost(error)
    text = str(inner) or type(inner).__name__
    return _short(re.sub(r"^<?[\w.]*(?:Connection|Pool)[^:]*: ", "", text))
