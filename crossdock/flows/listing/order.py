"""The order everything above a listing relies on: proved page by page, as they pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from crossdock.errors import StorageError
from crossdock.model import ObjectInfo

__all__ = ["in_order", "out_of_order"]


def in_order(pages: Iterable[Sequence[ObjectInfo]], *, where: str) -> Iterator[Sequence[ObjectInfo]]:
    """Pass pages on while their keys grow strictly, in UTF-8 byte order (which is the order of Python's text).

    Raises:
        StorageError: A key is not greater than the one before: pages repeated, looping, or a listing without order.
    """
    before: str | None = None
    for page in pages:
        for info in page:
            if before is not None and info.key <= before:
                raise out_of_order(info.key, before, where)
            before = info.key
        yield page


def out_of_order(key: str, before: str, where: str) -> StorageError:
    """The error for a key that does not come after the one before it."""
    return StorageError(
        f"the listing is out of order: {key!r} came after {before!r}",
        operation="list",
        where=where,
        hint="a plan made from it could miss objects; this endpoint needs ordered listings",
    )
