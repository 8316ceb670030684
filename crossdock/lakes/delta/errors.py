"""What deltalake says, as our errors: classes first, then words; one table, applied in one context manager."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from deltalake.exceptions import (
    CommitFailedError,
    DeltaError,
    DeltaProtocolError,
    SchemaMismatchError,
    TableNotFoundError,
)

from crossdock.errors import (
    ConfigError,
    ConnectionLostError,
    CredentialsError,
    CrossdockError,
    DeniedError,
    NotFoundError,
    PreconditionError,
    Retry,
    StalledError,
    StorageError,
    ThrottledError,
    UnsupportedError,
)

__all__ = ["translated"]

_Row = tuple[type[CrossdockError], str, Retry | None]
_AGAIN = "another commit was in the way; try again"

_BY_CLASS: tuple[tuple[type[BaseException], _Row], ...] = (
    (TableNotFoundError, (NotFoundError, "", None)),
    (CommitFailedError, (PreconditionError, _AGAIN, Retry.LATER)),
    (SchemaMismatchError, (ConfigError, "", None)),
    (DeltaProtocolError, (UnsupportedError, "", None)),
)

_NO_VERSION = (
    r"not the same as the specified end version|not available: no new commits|No files in log segment"
    r"|[Ii]nvalid table version|earlier than the first|[Nn]ot a Delta table|No (delta )?commit|no such version"
)

# The first that is found in the text counts.
_BY_WORDS: tuple[tuple[str, _Row], ...] = (
    (
        r"table already exists|[Vv]ersion \d+ already exists|VersionAlreadyExists",
        (PreconditionError, _AGAIN, Retry.LATER),
    ),
    (
        r"Resources exhausted",
        (
            StorageError,
            "the upsert needs more memory: raise merge_memory_bytes, or upsert fewer rows at a time",
            None,
        ),
    ),
    (
        _NO_VERSION,
        (NotFoundError, "", None),
    ),
    (
        r"InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|InvalidToken|40[1] Unauthorized",
        (CredentialsError, "", None),
    ),
    (r"AccessDenied|403 Forbidden|Permission denied|PermissionDenied", (DeniedError, "", None)),
    (r"NoSuchBucket|ContainerNotFound", (NotFoundError, "", None)),
    (r"SlowDown|429|503 Service", (ThrottledError, "", None)),
    (r"operation timed out|deadline has elapsed", (StalledError, "", None)),
    (
        r"error sending request|[Cc]onnection (refused|reset|closed)|50[024] |dns error",
        (ConnectionLostError, "", None),
    ),
    (r"appendOnly|append-only", (UnsupportedError, "the table takes appended rows only", None)),
)


@contextmanager
def translated(operation: str, where: str, table: str | None = None) -> Iterator[None]:
    """Everything in the block raises our errors; those of the stream that is written pass as they are."""
    try:
        yield
    except CrossdockError as error:
        if not error.operation:
            error.operation, error.where, error.key = operation, where, table
        raise
    except Exception as error:
        if not _is_library(error):
            raise
        kind, hint, retry = _row(error)
        raise kind(
            _words(error), operation=operation, where=where, key=table, hint=hint, retry=retry
        ) from error


def _is_library(error: Exception) -> bool:
    """Its own classes; a bare ``Exception`` (of schemas); an ``OSError`` without a number: the source's have one."""
    return (
        isinstance(error, DeltaError)
        or type(error) is Exception
        or (isinstance(error, OSError) and error.errno is None)
    )


def _row(error: Exception) -> _Row:
    for family, row in _BY_CLASS:
        if isinstance(error, family):
            return row
    said = str(error)
    for words, row in _BY_WORDS:
        if re.search(words, said):
            return row
    return StorageError, "", None


def _words(error: Exception) -> str:
    """The library's message on one line, without the layers it came through."""
    text = re.sub(r"\x1b\[\d*m", "", str(error))
    text = re.sub(r"[\s\u21b3]+", " ", text).strip()
    text = re.sub(
        r"^((Generic )?(delta kernel |DeltaTable |DeltaTable: )?(Kernel )?error: )+",
        "",
        text,
        flags=re.IGNORECASE,
    )
    return text[:500] or type(error).__name__
