"""ListObjectsV2, page by page: raw keys, and never a page that is silently short."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from crossdock.connectors.s3 import documents
from crossdock.connectors.s3.client import Client
from crossdock.connectors.s3.uploads import document
from crossdock.errors import ConnectionLostError
from crossdock.model import ObjectInfo

__all__ = ["list_pages"]

_PAGE = 1000
_CONTROL = re.compile(r"[\x00-\x1f]")


def list_pages(client: Client, prefix: str, start_after: str | None) -> Iterator[Sequence[ObjectInfo]]:
    """All objects under a prefix, one request per page of at most 1,000.

    A page has to come after the one before: it must begin with a later key, be in order, carry as many objects as it
    says, and name the next page by a token that was not used before.

    ``start_after`` is sent up to its first control character, and the keys before it are dropped here: moto, for one,
    echoes it unencoded, and no parser takes such a page.

    Raises:
        ConnectionLostError: A page is cut, repeated, out of order or goes in circles.
    """
    query = {"list-type": "2", "encoding-type": "url", "max-keys": str(_PAGE)}
    if prefix:
        query["prefix"] = prefix
    floor = _CONTROL.split(start_after or "", maxsplit=1)[0]
    if floor:
        query["start-after"] = floor
    last, tokens = floor.encode(), set[str]()
    while True:
        answer = client.call("list", "GET", None, query=query)
        page = document(client, "list", None, answer, "ListBucketResult", "Contents")
        try:
            infos = documents.object_infos(page)
        except documents.MalformedError as error:
            raise _broken(client, str(error)) from error
        last = _in_order(client, infos, last, prefix)
        count = page.root.get("KeyCount")
        if count is not None and count.isdigit() and int(count) != len(infos):
            raise _broken(client, f"a page says {count} objects and carries {len(infos)}")
        if start_after is not None and floor != start_after:
            infos = [info for info in infos if info.key.encode() > start_after.encode()]
        if infos:
            yield infos
        if page.root.get("IsTruncated", "").lower() != "true":
            if "IsTruncated" not in page.root:
                raise _broken(client, "a page does not say whether it is the last")
            return
        token = page.root.get("NextContinuationToken", "")
        if not token or token in tokens:
            raise _broken(client, "a page that is not the last names no new page")
        tokens.add(token)
        query["continuation-token"] = token


def _in_order(client: Client, infos: Sequence[ObjectInfo], last: bytes, prefix: str) -> bytes:
    for info in infos:
        raw = info.key.encode()
        if raw <= last:
            raise _broken(client, f"the key {info.key!r} comes twice or out of order")
        if not info.key.startswith(prefix):
            raise _broken(client, f"the key {info.key!r} is not under the prefix that was asked for")
        last = raw
    return last


def _broken(client: Client, cause: str) -> ConnectionLostError:
    return ConnectionLostError(cause, operation="list", where=client.where)
