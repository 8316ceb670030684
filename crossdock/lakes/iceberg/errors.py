"""What pyiceberg and its catalogue's database say, as our errors: one table, applied in one context manager."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from pyiceberg import exceptions as theirs
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from crossdock.errors import (
    ConfigError,
    CrossdockError,
    NotFoundError,
    PreconditionError,
    Retry,
    StorageError,
    UnsupportedError,
)

__all__ = ["translated"]

_Row = tuple[type[CrossdockError], str, Retry | None]
_AGAIN: _Row = (PreconditionError, "another commit was in the way; try again", Retry.LATER)

_BY_CLASS: tuple[tuple[type[BaseException], _Row], ...] = (
    (theirs.NoSuchTableError, (NotFoundError, "", None)),
    (theirs.NoSuchNamespaceError, (NotFoundError, "", None)),
    (theirs.NoSuchIcebergTableError, (NotFoundError, "", None)),
    (theirs.CommitFailedException, _AGAIN),
    (theirs.TableAlreadyExistsError, _AGAIN),
    (theirs.NamespaceAlreadyExistsError, _AGAIN),
    (theirs.ResolveError, (UnsupportedError, "", None)),
    (NotImplementedError, (UnsupportedError, "", None)),
)


@contextmanager
def translated(operation: str, where: str, table: str | None = None) -> Iterator[None]:
    """Everything in the block raises our errors; those of our stores and of the stream that is written pass as they are."""
    try:
        yield
    except CrossdockError as error:
        if not error.operation:
            error.operation, error.where, error.key = operation, where, table
        raise
    except (NotImplementedError, ValueError, SQLAlchemyError) as error:
        raise _ours(error, operation, where, table) from error
    except Exception as error:
        if type(error).__module__ != theirs.__name__:
            raise
        raise _ours(error, operation, where, table) from error


def _ours(error: Exception, operation: str, where: str, table: str | None) -> CrossdockError:
    kind, hint, retry = _row(error)
    said = str(getattr(error, "orig", None) or error)  # the database's own words, not SQLAlchemy's frame
    text = re.sub(r"\s+", " ", said).strip()[:500] or type(error).__name__
    return kind(text, operation=operation, where=where, key=table, hint=hint, retry=retry)


def _row(error: Exception) -> _Row:
    for family, row in _BY_CLASS:
        if isinstance(error, family):
            return row
    if isinstance(error, OperationalError):
        if "locked" in str(error):
            return _AGAIN
        return StorageError, "is it the file of a catalogue, in a directory that can be written?", None
    if isinstance(error, ValueError):
        return ConfigError, "", None
    return StorageError, "", None
