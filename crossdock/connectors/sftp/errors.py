"""What servers and SSH say, as our errors: one table, applied in one context manager."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager

import paramiko

from crossdock.connectors.sftp.wire import Status
from crossdock.errors import (
    ConnectionLostError,
    CrossdockError,
    DeniedError,
    ExistsError,
    NotFoundError,
    StorageError,
    UnexpectedError,
    UnsupportedError,
)

__all__ = ["StatusError", "translated"]


class StatusError(Exception):
    """A server's status that is not success."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message or 'no words'} (status {code})")
        self.code = code
        self.message = message


_BY_CODE: dict[int, tuple[type[CrossdockError], str, str]] = {
    Status.NO_SUCH_FILE: (NotFoundError, "there is no such object", ""),
    Status.PERMISSION_DENIED: (DeniedError, "permission denied", "check owner and mode on the server"),
    Status.FAILURE: (StorageError, "the server failed", "check the server's disk and log"),
    Status.BAD_MESSAGE: (UnexpectedError, "the server did not understand us", "please report it"),
    Status.NO_CONNECTION: (ConnectionLostError, "the server lost its connection", ""),
    Status.CONNECTION_LOST: (ConnectionLostError, "the server lost its connection", ""),
    Status.UNSUPPORTED: (UnsupportedError, "the server cannot do this", ""),
    Status.FILE_ALREADY_EXISTS: (ExistsError, "the file exists already", ""),
    Status.WRITE_PROTECT: (DeniedError, "the file system is read-only", ""),
    Status.NO_SPACE: (StorageError, "no space left on the server", "free some space, then resume"),
    Status.QUOTA_EXCEEDED: (
        StorageError,
        "the quota on the server is used up",
        "free some space, then resume",
    ),
}


@contextmanager
def translated(operation: str, where: str, key: str | None = None) -> Iterator[None]:
    """Everything in the block raises our errors; those raised without a place are given this one."""
    try:
        yield
    except CrossdockError as error:  # first, because NotFoundError is an OSError too
        if not error.operation:
            error.operation, error.where, error.key = operation, where, key
        raise
    except StatusError as error:
        kind, cause, hint = _BY_CODE.get(error.code, (StorageError, "the server refused", ""))
        said = error.message.strip()
        if (
            said
            and kind in (StorageError, UnsupportedError)
            and said.lower() not in ("failure", "operation unsupported")
        ):
            cause = f"{cause}: {said}"
        raise kind(cause, operation=operation, where=where, key=key, hint=hint) from error
    except (struct.error, ValueError) as error:
        raise ConnectionLostError(
            f"the server's answer makes no sense ({error})", operation=operation, where=where, key=key
        ) from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise ConnectionLostError(
            f"the connection broke ({str(error) or type(error).__name__})",
            operation=operation,
            where=where,
            key=key,
        ) from error
