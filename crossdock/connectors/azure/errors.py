"""The errors of the signed route, as ours: urllib3's by class, answers by status and Azure's code.

Codes: https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes; the table is
``connectors.service_errors``, which the obstore engine uses too.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from urllib3 import exceptions as vendor

from crossdock.connectors.service_errors import error_of
from crossdock.errors import ConnectionLostError, CrossdockError, NotFoundError, Retry, StalledError

__all__ = ["answered", "container_is_missing", "translated"]


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
            hint="check account_name, endpoint_url and the certificates of this machine (SSL_CERT_FILE)",
            retry=Retry.NEVER,
            **place,
        )
    if isinstance(error, vendor.NameResolutionError):
        return ConnectionLostError(
            "the account's host name does not resolve", hint="check account_name and the network", **place
        )
    if isinstance(error, vendor.NewConnectionError | vendor.ConnectTimeoutError):
        reason = str(error).rsplit(": ", 1)[-1]
        return ConnectionLostError(
            f"cannot connect ({reason})", hint="check account_name, endpoint_url and the network", **place
        )
    if isinstance(error, vendor.TimeoutError) or isinstance(inner, TimeoutError):
        return StalledError("no progress within the timeout", hint="see no_progress_timeout_s", **place)
    return ConnectionLostError(f"the connection broke ({inner})", **place)


def answered(response: Any, body: bytes, **place: Any) -> CrossdockError:
    """The error an HTTP answer is; the answer to a HEAD has its code in a header."""
    return error_of(
        response.status,
        body[:4096].decode("utf-8", "replace"),
        code=response.headers.get("x-ms-error-code"),
        retry_after=response.headers.get("retry-after"),
        **place,
    )


def container_is_missing(error: NotFoundError) -> bool:
    """Whether it is not only the object that is not there."""
    return error.cause.startswith(("ContainerNotFound", "ContainerBeingDeleted", "ResourceNotFound"))
