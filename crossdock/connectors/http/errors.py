"""The errors of a web server's answers and of the way there, as ours: urllib3's by class, answers by status."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from urllib3 import exceptions as vendor

from crossdock.errors import (
    ConnectionLostError,
    CredentialsError,
    CrossdockError,
    DeniedError,
    NotFoundError,
    PreconditionError,
    RangeError,
    Retry,
    StalledError,
    StorageError,
    ThrottledError,
    UnsupportedError,
)

__all__ = ["answered", "retry_after_s", "translated"]

_CREDENTIALS = "give the options user and password, token, or headers"
# https://www.rfc-editor.org/rfc/rfc9110#name-status-codes
_BY_STATUS: dict[int, tuple[type[CrossdockError], str, str]] = {
    401: (CredentialsError, "the server asks who is there (401)", _CREDENTIALS),
    403: (
        DeniedError,
        "the server refuses it (403)",
        "check the URL, its signature's age, and the credentials",
    ),
    404: (NotFoundError, "there is no such object", ""),
    405: (UnsupportedError, "the server does not allow the method (405)", ""),
    407: (CredentialsError, "the proxy asks who is there (407)", "check the proxy in the environment"),
    408: (ConnectionLostError, "the server waited too long for the request (408)", ""),
    410: (NotFoundError, "the object is gone for good (410)", ""),
    412: (PreconditionError, "the object was replaced", "read it again from its beginning"),
    416: (RangeError, "the range starts after the last byte", ""),
    421: (ConnectionLostError, "the server does not answer for this host on this connection (421)", ""),
    425: (ThrottledError, "the server asks to come again later (425)", ""),
    429: (ThrottledError, "the server asks for fewer requests (429)", ""),
    451: (DeniedError, "the server may not give it out (451)", ""),
    501: (UnsupportedError, "the server does not know the method (501)", ""),
    503: (ThrottledError, "the server is overloaded (503)", ""),
}


@contextmanager
def translated(operation: str, where: str, key: str | None = None) -> Iterator[None]:
    """Turn what urllib3 raises into ours; the vendor's error is the ``__cause__``."""
    try:
        yield
    except (vendor.HTTPError, OSError) as error:
        if isinstance(error, CrossdockError):
            raise
        raise _ours(error, operation=operation, where=where, key=key) from error


def _ours(error: Exception, **place: Any) -> CrossdockError:
    inner = next((arg for arg in error.args if isinstance(arg, Exception)), error)
    if isinstance(error, vendor.SSLError) or isinstance(inner, ssl.SSLError):
        return ConnectionLostError(
            f"the TLS connection was refused ({inner})",
            hint="check the host and the certificates it is trusted by (ca_bundle); TLS is always verified",
            retry=Retry.NEVER,
            **place,
        )
    if isinstance(error, vendor.NameResolutionError | vendor.NewConnectionError | vendor.ConnectTimeoutError):
        reason = str(error).rsplit(": ", 1)[-1]
        return ConnectionLostError(
            f"cannot connect ({reason})", hint="check the URL and the network", **place
        )
    if isinstance(error, vendor.ProxyError):
        return ConnectionLostError(
            f"the proxy does not answer ({inner})", hint="check the proxy in the environment", **place
        )
    if isinstance(error, vendor.TimeoutError) or isinstance(inner, TimeoutError):
        return StalledError("no progress within the timeout", hint="see no_progress_timeout_s", **place)
    return ConnectionLostError(f"the connection broke ({inner})", **place)


def answered(status: int, retry_after: str | None, **place: Any) -> CrossdockError:
    """The error that an answer is. Its body is a page for people, so it is not quoted."""
    fallback: tuple[type[CrossdockError], str, str] = (
        (ConnectionLostError, f"the server failed ({status})", "")
        if status >= 500
        else (StorageError, f"the server answered {status}", "")
    )
    kind, cause, hint = _BY_STATUS.get(status, fallback)
    wish = retry_after_s(retry_after) if kind.default_retry is Retry.LATER else None
    return kind(cause, hint=hint, retry_after_s=wish, **place)


def retry_after_s(text: str | None, now: datetime | None = None) -> float | None:
    """Seconds that a Retry-After asks for, in either of its forms; nonsense is ``None``."""
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        then = parsedate_to_datetime(text)
    except ValueError:
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return max(0.0, (then - (now or datetime.now(UTC))).total_seconds())
