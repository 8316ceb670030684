"""The errors of the signed HTTP route, as ours: urllib3's by class, answers by status and code."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from urllib3 import exceptions as vendor

from crossdock.connectors.service_errors import error_of
from crossdock.errors import ConnectionLostError, CrossdockError, Retry, StalledError

__all__ = ["answered", "translated"]


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
            hint="check the endpoint and the certificates it is trusted by (ca_bundle)",
            retry=Retry.NEVER,
            **place,
        )
    if isinstance(error, vendor.NewConnectionError | vendor.ConnectTimeoutError):
        reason = str(error).rsplit(": ", 1)[-1]
        return ConnectionLostError(
            f"cannot connect ({reason})", hint="check endpoint_url and the network", **place
        )
    if isinstance(error, vendor.TimeoutError) or isinstance(inner, TimeoutError):
        return StalledError("no progress within the timeout", hint="see no_progress_timeout_s", **place)
    return ConnectionLostError(f"the connection broke ({inner})", **place)


def answered(response: Any, body: bytes, **place: Any) -> CrossdockError:
    """The error an HTTP answer is."""
    return error_of(
        response.status,
        body[:4096].decode("utf-8", "replace"),
        region=response.headers.get("x-amz-bucket-region"),
        retry_after=response.headers.get("retry-after"),
        **place,
    )
