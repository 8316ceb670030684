"""One page of a listing, the same for both APIs: in order of the keys' UTF-8 bytes, with prefixes rolled up.

A page token names the last entry that was returned, so a listing goes on correctly while objects come and go.
https://docs.cloud.google.com/storage/docs/json_api/v1/objects/list
"""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_left
from dataclasses import dataclass, field

from crossdock.testing.gcs.errors import ApiError
from crossdock.testing.gcs.objects import Bucket, StoredObject

PAGE_LIMIT = 1000
_LAST = "\U0010ffff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What to list: offsets are about keys, ``after`` is a decoded page token or a marker and exclusive."""

    prefix: str = ""
    delimiter: str = ""
    start_offset: str = ""
    end_offset: str = ""
    after: str = ""
    limit: int = PAGE_LIMIT
    includes_trailing_delimiter: bool = False


@dataclass(slots=True)
class Page:
    """Objects, rolled-up prefixes, and after which entry to go on ("" at the end)."""

    objects: list[StoredObject] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    next_after: str = ""


def list_page(bucket: Bucket, query: Query) -> Page:
    """Collect one page; prefixes count towards the limit. The caller holds the store's lock."""
    page = Page()
    keys = bucket.sorted_keys()
    index = bisect_left(keys, max(query.prefix, query.start_offset, query.after))
    last = ""
    while index < len(keys):
        key = keys[index]
        if (query.end_offset and key >= query.end_offset) or not key.startswith(query.prefix):
            break
        rolled = _rolled_up(key, query)
        entry = rolled or key
        is_new = entry != last and not (query.after and entry <= query.after)
        if is_new and len(page.objects) + len(page.prefixes) >= query.limit:
            page.next_after = last
            break
        if is_new:
            if rolled:
                page.prefixes.append(rolled)
            if not rolled or (query.includes_trailing_delimiter and key == rolled):
                page.objects.append(bucket.objects[key])
            last = entry
        # Below a rolled-up prefix nothing else is of interest: go on after its last key.
        index = bisect_left(keys, rolled + _LAST, index + 1) if rolled else index + 1
    return page


def _rolled_up(key: str, query: Query) -> str:
    if not query.delimiter:
        return ""
    at = key.find(query.delimiter, len(query.prefix))
    return key[: at + len(query.delimiter)] if at >= 0 else ""


def encode_token(after: str) -> str:
    """Make a page token."""
    return base64.urlsafe_b64encode(b"\x0a" + after.encode()).decode()


def decode_token(token: str) -> str:
    """Read a page token; 400 if it is none of ours."""
    try:
        return base64.urlsafe_b64decode(token)[1:].decode()
    except (binascii.Error, ValueError):
        raise ApiError(400, "Invalid page token.") from None
