"""What filesystems raise, as classes of ``crossdock.errors``: the one table, and the context manager that applies it.

fsspec has no errors of its own; its filesystems raise Python's, their library's, or an answer with an HTTP status. Told
apart by Python's classes first, then by a status, then by the library's class by name (so that none is imported here).
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from crossdock.connectors.service_errors import error_of
from crossdock.errors import (
    ConnectionLostError,
    CredentialsError,
    CrossdockError,
    DeniedError,
    ExistsError,
    IntegrityError,
    MissingExtraError,
    NotFoundError,
    Retry,
    StalledError,
    StorageError,
    UnexpectedError,
    UnsupportedError,
)

__all__ = ["translated"]

Kind = tuple[type[CrossdockError], str, str, Retry | None]

_FULL: Kind = (StorageError, "no space left at the destination", "free some space, then resume", None)
_DENIED: Kind = (DeniedError, "permission denied", "check what the account is allowed to do", None)
_LOST: Kind = (ConnectionLostError, "", "", None)
_LOGIN: Kind = (CredentialsError, "the server refuses the login", "check username and password", None)
_DAMAGED: Kind = (IntegrityError, "", "the archive is damaged, or was replaced while it was read", None)
_ABSENT: Kind = (NotFoundError, "there is no such object", "", None)

_BY_CLASS: tuple[tuple[type[BaseException], Kind], ...] = (
    (FileNotFoundError, _ABSENT),
    (NotADirectoryError, _ABSENT),
    (IsADirectoryError, (NotFoundError, "this is a directory, not an object", "", None)),
    (FileExistsError, (ExistsError, "something of this name is in the way", "", None)),
    (PermissionError, _DENIED),
    (TimeoutError, (StalledError, "no answer in time", "", None)),
    (ConnectionError, _LOST),
    (EOFError, (ConnectionLostError, "the connection was closed", "", None)),
    (NotImplementedError, (UnsupportedError, "this filesystem cannot do it", "", None)),
    (ImportError, (MissingExtraError, "", "install the package it names", None)),
)

_BY_ERRNO: dict[int, Kind] = {
    errno.ENOENT: _ABSENT,
    errno.EACCES: _DENIED,
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: _DENIED,
    errno.ENAMETOOLONG: (UnsupportedError, "the name is too long for this filesystem", "", None),
    errno.EINVAL: (UnsupportedError, "this filesystem refuses the name or the call", "", None),
    errno.EMFILE: (StorageError, "too many open files in this process", "raise ulimit -n", Retry.LATER),
}

# RFC 959 section 4.2: the reply code an FTP server's text begins with.
_BY_FTP_REPLY: dict[str, Kind] = {
    "421": _LOST,
    "425": _LOST,
    "426": _LOST,
    "450": (StorageError, "the file is busy", "", Retry.LATER),
    "451": (StorageError, "", "", Retry.LATER),
    "452": _FULL,
    "530": _LOGIN,
    "532": _LOGIN,
    "552": _FULL,
    "553": (UnsupportedError, "the server refuses this file name", "", None),
}

_BY_NAME: dict[str, Kind] = {
    "BadZipFile": _DAMAGED,
    "ReadError": _DAMAGED,  # tarfile
    "error_reply": _LOST,  # ftplib: not in the protocol's order, so the connection is of no more use
    "error_proto": _LOST,
    "gaierror": (ConnectionLostError, "the host's name cannot be resolved", "check the URL", None),
    "SSLCertVerificationError": (
        UnsupportedError,
        "the server's certificate is not trusted",
        "TLS is always verified: name a certificate file in the filesystem's options",
        None,
    ),
    "LogonFailure": _LOGIN,
    "SMBAuthenticationError": _LOGIN,
    "ConnectionTimeoutError": _LOST,
    "ServerTimeoutError": _LOST,
    "ClientConnectionError": _LOST,
    "ClientPayloadError": _LOST,
    "ConnectTimeout": _LOST,
    "ReadTimeout": (StalledError, "no answer in time", "", None),
    "FSTimeoutError": (StalledError, "no answer in time", "", None),
}


@contextmanager
def translated(
    operation: str,
    where: str,
    key: str | None = None,
    *,
    secrets: Callable[[], tuple[str, ...]] = tuple,
) -> Iterator[None]:
    """Turn what a filesystem raises in the block into ours, with the vendor's error as ``__cause__``.

    A text that holds one of ``secrets`` (some libraries print whole URLs) is masked, and its cause is dropped. Our own
    errors pass; those raised without a place are given this one.
    """
    try:
        yield
    except CrossdockError as error:
        if not error.operation:
            error.operation, error.where, error.key = operation, where, key
        raise
    except Exception as error:  # fsspec promises no set of classes
        ours = _ours(error, operation=operation, where=where, key=key)
        text = f"{error!r} {error}"
        leaked = [secret for secret in secrets() if secret and secret in text]
        if not leaked:
            raise ours from error
        for secret in leaked:
            ours.cause = ours.cause.replace(secret, "***")
        raise ours from None


def _ours(error: Exception, **place: Any) -> CrossdockError:
    status = _status(error)
    if status is not None:
        return error_of(status, str(error), **place)
    kind, cause, hint, retry = _kind(error)
    words = " ".join(str(error).split()) or type(error).__name__
    return kind(cause or words, hint=hint, retry=retry, **place)


def _kind(error: Exception) -> Kind:
    for cls in type(error).__mro__:
        if cls.__name__ in _BY_NAME:
            return _BY_NAME[cls.__name__]
    if type(error).__module__ == "ftplib":
        return _ftp(str(error))
    found = next((kind for cls, kind in _BY_CLASS if isinstance(error, cls)), None)
    if found is None and isinstance(error, OSError):
        found = _BY_ERRNO.get(error.errno or 0, _LOST)
    if found is not None:
        return found
    return UnexpectedError, f"{type(error).__name__}: {error}", "please report it", None


def _ftp(text: str) -> Kind:
    code = text[:3]
    if code in _BY_FTP_REPLY:
        return _BY_FTP_REPLY[code]
    if code == "550":  # no such file, no permission, not a plain file: only the words tell
        if re.search(r"(?i)denied|permi|privilege", text):
            return _DENIED
        if re.search(r"(?i)exist|no such|not found|cannot find", text) and not re.search(
            r"(?i)already exist", text
        ):
            return _ABSENT
    return (StorageError, text, "", Retry.LATER if code.startswith("4") else None)


def _status(error: Exception) -> int | None:
    """The HTTP status an error carries, in the ways of requests, aiohttp and the clouds' libraries."""
    answer = getattr(error, "response", None)
    for holder, name in ((error, "status"), (error, "status_code"), (error, "code"), (answer, "status_code")):
        value = getattr(holder, name, None)
        if isinstance(value, str) and value.isdigit():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 400 <= value < 600:
            return value
    return None
