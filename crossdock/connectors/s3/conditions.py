"""The state a destination must be in: what S3 can be asked for, and a look where an imitation of S3 would not ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from crossdock.errors import NotFoundError, PreconditionError, UnsupportedError
from crossdock.model import Condition, ObjectInfo

__all__ = ["demand_conditions", "look", "refused_as_precondition"]


def demand_conditions(condition: Condition, *, honoured: bool, operation: str, where: str, key: str) -> None:
    """Refuse a condition the server has no means for.

    Args:
        condition: What is asked.
        honoured: Whether the server has conditional writes at all.
        operation: The verb, for errors.
        where: The bucket's URL.
        key: The destination.

    Raises:
        UnsupportedError: It has none.
        PreconditionError: The condition names a version that is no ETag: no object of S3 can be it.
    """
    if condition.is_any:
        return
    if not honoured:
        raise UnsupportedError(
            "the server has no conditional writes", operation=operation, where=where, key=key
        )
    if not condition.absent and condition.version.etag is None:
        raise PreconditionError("S3 compares ETags only", operation=operation, where=where, key=key)


def look(
    stat: Callable[[], ObjectInfo], condition: Condition, *, operation: str, where: str, key: str
) -> None:
    """Compare the destination with ``condition`` by a HEAD: imitations of S3 ignore it on completions and copies.

    The condition is sent all the same; between the two nobody but such a server can be wrong.
    """
    if condition.is_any:
        return
    try:
        stat()
    except NotFoundError as error:
        if condition.absent:
            return
        raise PreconditionError(
            "there is no such object any more", operation=operation, where=where, key=key
        ) from error
    if condition.absent:
        raise PreconditionError("there is an object already", operation=operation, where=where, key=key)


@contextmanager
def refused_as_precondition(condition: Condition, *, operation: str, where: str, key: str) -> Iterator[None]:
    """Amazon answers If-Match on a key that is gone with 404."""
    try:
        yield
    except NotFoundError as error:
        if not condition.version or "NoSuchBucket" in error.cause or "NoSuchUpload" in error.cause:
            raise
        raise PreconditionError(
            "there is no such object any more", operation=operation, where=where, key=key
        ) from error
