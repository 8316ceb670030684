"""``usage``: how many objects and bytes are below a URL, in all and for each prefix down to a depth, while it is listed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from crossdock.connectors.objects import ObjectSource
from crossdock.connectors.registry import open_store
from crossdock.errors import ConfigError, NotFoundError
from crossdock.flows.below import objects_below
from crossdock.model import ObjectInfo

__all__ = ["Usage", "usage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """One prefix in numbers, with all below it; ``depth`` 0 is the whole.

    ``unknown_sizes`` objects are counted, and their bytes are not: the listing did not tell.
    """

    prefix: str
    depth: int
    objects: int
    bytes: int
    unknown_sizes: int = 0


def usage(url: str, *, depth: int = 0, options: Mapping[str, Any] | None = None) -> Iterator[Usage]:
    """Count what is below a URL; each prefix as soon as the listing has passed it, the whole at last.

    Memory: a page of the listing, and one number for each level: keys come in order, so a prefix is over when the next
    begins. Requests: one LIST for 1,000 objects.

    Args:
        url: A prefix (that ends at a slash) or an object.
        depth: How many levels of prefixes below the URL to tell apart; 0 for the whole alone.
        options: Options of the store.

    Yields:
        Prefixes in key order, those inside before the one around them; at last the whole.

    Raises:
        ConfigError: ``depth`` is negative, or the URL or an option is wrong.
        NotFoundError: The bucket is missing, or nothing is there.
        CrossdockError: A page failed: the numbers are never silently short.

    Example:
        >>> import crossdock as xd
        >>> sink = xd.sink("memory://used/")
        >>> for key in ("a/1", "a/2", "b/1"):
        ...     _ = sink(b"12345", key=key)
        >>> [(each.prefix, each.objects, each.bytes) for each in xd.usage("memory://used/", depth=1)]
        [('a/', 2, 10), ('b/', 1, 5), ('', 3, 15)]
    """
    if depth < 0:
        raise ConfigError(f"depth is 0 or more, not {depth}", operation="usage", where=url)
    store, prefix = open_store(url, options or {})
    return _checked(url, ObjectSource(store, prefix), depth)


def _checked(url: str, source: ObjectSource, depth: int) -> Iterator[Usage]:
    source.store.check()  # a wrong endpoint or missing credentials show in seconds
    empty = True
    for each in counted(objects_below(source), source.prefix, depth):
        empty = empty and not each.objects
        if not empty:
            yield each
    if empty:
        raise NotFoundError("nothing is there", operation="list", where=url)


class _Sum:
    """One prefix while it is being listed."""

    __slots__ = ("bytes", "objects", "prefix", "unknown_sizes")

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.objects = self.bytes = self.unknown_sizes = 0

    def ended(self, depth: int) -> Usage:
        return Usage(
            prefix=self.prefix,
            depth=depth,
            objects=self.objects,
            bytes=self.bytes,
            unknown_sizes=self.unknown_sizes,
        )


def counted(objects: Iterable[ObjectInfo], prefix: str, depth: int) -> Iterator[Usage]:
    """The same over any listing in key order. Pure.

    Args:
        objects: Keys in order; all of them begin with ``prefix``.
        prefix: Where levels are counted from.
        depth: How many of them.
    """
    base = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"
    open_now = [_Sum(prefix)]
    for info in objects:
        segments = info.key[len(base) :].split("/")[:-1][:depth] if info.key.startswith(base) else []
        while len(open_now) - 1 > len(segments) or any(
            not info.key.startswith(each.prefix) for each in open_now[1:]
        ):
            yield open_now[-1].ended(len(open_now) - 1)
            open_now.pop()
        while len(open_now) - 1 < len(segments):
            inside = "".join(f"{segment}/" for segment in segments[: len(open_now)])
            open_now.append(_Sum(f"{base}{inside}"))
        for each in open_now:
            each.objects += 1
            each.bytes += info.size or 0
            each.unknown_sizes += info.size is None
    while open_now:
        yield open_now[-1].ended(len(open_now) - 1)
        open_now.pop()
