"""What obstore raises, as classes of ``crossdock.errors``: the one table, and the one context manager that applies it.

obstore tells most failures apart only in its text (0.12.1), so the words it is recognised by are pinned by tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from obstore import exceptions as vendor

from crossdock.connectors.service_errors import error_of
from crossdock.errors import (
    ConfigError,
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
    UnexpectedError,
    UnsupportedError,
)

__all__ = ["EngineRefusedError", "translated"]


class EngineRefusedError(UnsupportedError):
    """obstore cannot take an answer that may be a good one: ask again on the SDK's route.

    ``reason`` is ``range`` (the server answered a range with the whole object) or ``headers`` (no length, or a value
    that is not UTF-8).
    """

    reason: str = ""


@contextmanager
def translated(operation: str, where: str, key: str | None = None) -> Iterator[None]:
    """Turn what obstore raises into ours; the vendor's error is the ``__cause__``."""
    try:
        yield
    except (vendor.BaseError, FileNotFoundError, ValueError) as error:
        if isinstance(error, CrossdockError):
            raise
        raise _ours(error, operation=operation, where=where, key=key) from error
    except BaseException as error:
        if (
            type(error).__name__ != "PanicException"
        ):  # Rust panics are BaseExceptions of a module nobody can import
            raise
        raise UnexpectedError(
            f"obstore panicked: {error}", operation=operation, where=where, key=key
        ) from error


_STATUS = re.compile(r"status code: (\d{3})[^:]*:? ?(.*)", re.DOTALL)


def _ours(error: Exception, **place: Any) -> CrossdockError:
    """By status and code where there was an answer; otherwise by obstore's class, then by how the connection failed."""
    head, _, debug = str(error).partition("\n\nDebug source:")
    answered = _STATUS.search(head)
    if answered is not None:
        # In create mode 409 and 412 alike; of anything else obstore says it of any 409.
        if isinstance(error, vendor.AlreadyExistsError) and place["operation"] == "put":
            return PreconditionError("there is an object already", **place)
        return error_of(int(answered[1]), answered[2], **place)
    kind, hint = _by_class(error)
    if kind is not None:
        return kind(head, hint=hint, **place)
    return _unanswered(head, debug, place)


def _by_class(error: Exception) -> tuple[type[CrossdockError] | None, str]:
    if isinstance(error, FileNotFoundError):
        return NotFoundError, ""
    if isinstance(error, vendor.UnauthenticatedError):
        return CredentialsError, "check the credentials: they could not be resolved or renewed"
    if isinstance(error, vendor.PermissionDeniedError):
        return DeniedError, ""
    if isinstance(error, vendor.PreconditionError | vendor.AlreadyExistsError | vendor.NotModifiedError):
        return PreconditionError, ""
    if isinstance(error, vendor.InvalidPathError) or "Could not parse path" in str(error):
        return UnsupportedError, "the engine cannot address this key"
    if isinstance(error, vendor.NotSupportedError):
        return UnsupportedError, ""
    return None, ""


# Which words of obstore's text mean what, in this order: there are no classes for these.
_REFUSED = {
    "NotPartial": "range",
    "non-partial response": "range",
    "InvalidMetadata": "headers",
    "MissingContentLength": "headers",
    "MissingEtag": "headers",
    "ContentEncoding": "headers",
}
_TLS = (
    "certificate",
    "InvalidCertificate",
    "CorruptMessage",
    "InvalidMessage",
    "HandshakeFailure",
    "InvalidContentType",
    "tls handshake",
)


def _unanswered(head: str, debug: str, place: dict[str, Any]) -> CrossdockError:
    """No status: the connection failed, or obstore did not like the answer."""
    text = head + debug
    for word, reason in _REFUSED.items():
        if word in text:
            refused = EngineRefusedError(head, **place)
            refused.reason = reason
            return refused
    if "redirect without LOCATION" in head:
        return ConfigError(
            "the bucket is in another region", hint="set the option region to the bucket's own", **place
        )
    if "kind: Timeout" in debug:
        return StalledError("no progress within the timeout", hint="see no_progress_timeout_s", **place)
    if any(word in debug for word in _TLS):
        return ConnectionLostError(
            f"the TLS connection was refused ({_flaw(debug)})",
            hint="check the endpoint and the certificates it is trusted by",
            retry=Retry.NEVER,
            **place,
        )
    if "kind: Connect" in debug:
        return ConnectionLostError(
            f"cannot connect ({_innermost(debug)})", hint="check endpoint_url and the network", **place
        )
    if "HTTP error" in head or "kind: Interrupted" in debug:
        return ConnectionLostError(f"the connection broke ({_innermost(debug) or head})", **place)
    if "InvalidRange" in text or "StartTooLarge" in text:
        return RangeError("the range starts after the last byte", **place)
    if "UnexpectedRange" in text or "ContentRange" in text:
        return IntegrityError(f"the server answered another range: {head}", **place)
    return UnexpectedError(head, **place)


def _flaw(debug: str) -> str:
    """What is wrong with a certificate: ``UnknownIssuer``, ``Expired``, ...; it is a name there and no text."""
    found = re.search(r"InvalidCertificate\(\s*(\w+)", debug)
    return f"certificate: {found[1]}" if found else _innermost(debug)


def _innermost(debug: str) -> str:
    """The last quoted text of a debug print: ``Connection refused``, ``failed to lookup address``, ..."""
    found = re.findall(r'"((?:[^"\\]|\\.)*)"', debug)
    return str(found[-1]) if found else ""
