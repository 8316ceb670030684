"""List Blobs, page by page: raw keys in UTF-8 byte order, and never a page that is silently short."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence

from crossdock.connectors.azure.client import Client
from crossdock.connectors.azure.documents import MalformedError, parse_listing
from crossdock.errors import ConfigError, ConnectionLostError, StorageError, UnsupportedError
from crossdock.model import ObjectInfo

__all__ = ["Bookmarks", "list_pages", "starts_exactly"]

_PAGE = 1000
_TRIED = 100  # keys a container has to have more than before it is asked whether it can start at one
_STARTING_VERSION = "2026-02-06"  # the first that knows startFrom
_PLAIN_BELOW = "\ud800"  # a key of lesser characters has the same place in UTF-16's order as in UTF-8's
_BEYOND = re.compile("[\U00010000-\U0010ffff]")  # characters that UTF-16 sorts before U+E000
_HELD_LIMIT = 100_000


class Bookmarks:
    """Where pages ended, by prefix and last key: a listing that goes on after one needs no page before it.

    Thread-safe; keeps the latest 1,024.
    """

    def __init__(self) -> None:
        self._markers: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, prefix: str, last: str, marker: str) -> None:
        """Remember that the page after ``last`` is ``marker``'s."""
        with self._lock:
            self._markers[prefix, last] = marker
            self._markers.move_to_end((prefix, last))
            if len(self._markers) > 1024:
                self._markers.popitem(last=False)

    def after(self, prefix: str, key: str) -> str:
        """The marker to go on with after ``key``; empty if it is not known."""
        with self._lock:
            return self._markers.get((prefix, key), "")


class _Sorted:
    """Brings keys from the service's order into UTF-8's; they differ only beyond U+FFFF.

    Whether the service sorts code units or code points is not documented. From the first key with a character beyond
    U+FFFF on, all keys that begin as it does up to there are held back and sorted: right in either order.
    """

    def __init__(self) -> None:
        self._held: list[ObjectInfo] = []
        self._prefix = ""

    def __bool__(self) -> bool:
        return bool(self._held)

    def put(self, infos: Sequence[ObjectInfo], *, is_last: bool) -> list[ObjectInfo]:
        """Take a page; give what is known to come before all that follows."""
        ready: list[ObjectInfo] = []
        for info in infos:
            if self._held and not info.key.startswith(self._prefix):
                ready += self._flush()
            if not self._held:
                found = None if info.key.isascii() else _BEYOND.search(info.key)
                if found is None:
                    ready.append(info)
                    continue
                self._prefix = info.key[: found.start()]
            self._held.append(info)
        if is_last:
            ready += self._flush()
        return ready

    def _flush(self) -> list[ObjectInfo]:
        held, self._held = sorted(self._held, key=lambda info: info.key), []
        return held

    @property
    def is_full(self) -> bool:
        """Whether too much is held back to go on."""
        return len(self._held) > _HELD_LIMIT


def starts_exactly(client: Client) -> bool:
    """Whether a listing of this container can start at any key, found out by trying it at one that is there.

    ``startFrom`` came with a version of 2026 that not every service has, and is documented in two ways: as a whole name, and as
    one relative to the prefix. So it is sent without a prefix, where both say the same, and only if the answer to a key that was just
    listed is that key and the next. Requests: one, which also shows whether the container answers at all; one more if it
    holds over 100 objects.

    Raises:
        StorageError: The container does not answer, or refuses.
    """
    query = {"restype": "container", "comp": "list", "maxresults": str(_TRIED)}
    answer = client.call("check", "GET", None, query=query)
    try:
        infos, marker = parse_listing(answer.body)
    except MalformedError:
        return False  # whoever lists will say so
    wanted = [info.key for info in infos[-2:]]
    if not marker or len(wanted) < 2 or not _is_plain(wanted[0]):
        return False
    query |= {"maxresults": "2", "startFrom": wanted[0]}
    try:
        answer = client.call("check", "GET", None, query=query, headers={"x-ms-version": _STARTING_VERSION})
        found, _ = parse_listing(answer.body)
    except (StorageError, ConfigError, UnsupportedError, MalformedError):
        return False  # a service that does not know the version
    return [info.key for info in found] == wanted


def _is_plain(key: str) -> bool:
    return max(key, default="") < _PLAIN_BELOW


def list_pages(
    client: Client,
    prefix: str,
    start_after: str | None,
    bookmarks: Bookmarks,
    *,
    starts: bool = False,
    operation: str = "list",
) -> Iterator[list[ObjectInfo]]:
    """All objects under a prefix, with metadata: one request per page of at most 1,000.

    After a key at which no page of this process ended, the pages before it are asked for again and dropped, unless the service
    ``starts`` where it is asked to; then the last page may be one beyond the prefix.

    Raises:
        ConnectionLostError: A page is cut, repeated, out of order or goes in circles, or the service does not start where it did.
        UnsupportedError: More keys than memory should hold would have to be sorted.
    """
    query = {"restype": "container", "comp": "list", "include": "metadata", "maxresults": str(_PAGE)}
    if prefix:
        query["prefix"] = prefix
    marker = bookmarks.after(prefix, start_after) if start_after else ""
    if starts and start_after and not marker and start_after.startswith(prefix) and _is_plain(start_after):
        yield from _started(client, prefix, start_after, query, operation)
        return
    for page in _followed(client, prefix, query, marker, bookmarks, operation):
        kept = page if not start_after else [info for info in page if info.key > start_after]
        for start in range(0, len(kept), _PAGE):
            yield kept[start : start + _PAGE]


def _started(
    client: Client, prefix: str, start_after: str, query: dict[str, str], operation: str
) -> Iterator[list[ObjectInfo]]:
    """The objects under a prefix after a key that the service starts at."""
    query = {name: value for name, value in query.items() if name != "prefix"} | {"startFrom": start_after}
    headers = {"x-ms-version": _STARTING_VERSION}
    for page in _followed(client, "", query, "", Bookmarks(), operation, headers=headers):
        if page and page[0].key < start_after:
            raise _broken(
                client, operation, f"asked to start at {start_after!r}, it starts at {page[0].key!r}"
            )
        kept = [info for info in page if info.key > start_after and info.key.startswith(prefix)]
        for start in range(0, len(kept), _PAGE):
            yield kept[start : start + _PAGE]
        if page and not page[-1].key.startswith(prefix):
            return


def _followed(
    client: Client,
    prefix: str,
    query: dict[str, str],
    marker: str,
    bookmarks: Bookmarks,
    operation: str,
    *,
    headers: Mapping[str, str] | None = None,
) -> Iterator[list[ObjectInfo]]:
    """The pages of one query in UTF-8's order, as many as come with an answer or nothing; each answer checked."""
    last, seen, waiting = "", {marker}, _Sorted()
    while True:
        if marker:
            query["marker"] = marker
        answer = client.call(operation, "GET", None, query=query, headers=headers)
        try:
            infos, marker = parse_listing(answer.body)
        except MalformedError as error:
            raise _broken(client, operation, str(error)) from error
        last = _in_order(client, operation, infos, last, prefix)
        page = waiting.put(infos, is_last=not marker)
        if waiting.is_full:
            raise UnsupportedError(
                f"over {_HELD_LIMIT} keys that begin alike go on beyond U+FFFF and cannot be sorted in memory",
                operation=operation,
                where=client.where,
                hint="list longer prefixes one by one",
            )
        if page and marker and not waiting:
            bookmarks.keep(prefix, page[-1].key, marker)
        yield page
        if not marker:
            return
        if marker in seen:
            raise _broken(client, operation, "the listing goes in circles")
        seen.add(marker)


def _in_order(client: Client, operation: str, infos: Sequence[ObjectInfo], last: str, prefix: str) -> str:
    """The last key; each is after the one before it, by code points (as UTF-8) or by code units (as UTF-16)."""
    for info in infos:
        key = info.key
        if key <= last and key.encode("utf-16-be") <= last.encode("utf-16-be"):
            raise _broken(client, operation, f"the key {key!r} comes twice or out of order")
        if not key.startswith(prefix):
            raise _broken(client, operation, f"the key {key!r} is not under the prefix that was asked for")
        last = key
    return last


def _broken(client: Client, operation: str, cause: str) -> ConnectionLostError:
    return ConnectionLostError(cause, operation=operation, where=client.where)
