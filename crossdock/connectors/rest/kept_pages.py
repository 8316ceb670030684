"""Pages kept at any URL, with the validator by which the server is asked whether they still hold.

A kept page is never used without asking: what is saved is the body, not the request. An entry that is damaged or foreign
counts as absent. Entries hold what the API answered, so they deserve the care that the data does; no credentials.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from crossdock.errors import NotFoundError, PreconditionError
from crossdock.small_objects import SmallObjects, open_small_objects

__all__ = ["KeptPage", "KeptPages", "validators"]

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPage:
    """An answer as it was: headers by lower-case name, and the body, decoded."""

    headers: Mapping[str, str]
    body: bytes = field(repr=False)


def validators(headers: Mapping[str, str]) -> dict[str, str]:
    """The conditions of a request that asks whether a kept answer still holds; empty if it cannot be asked."""
    if "no-store" in headers.get("cache-control", "").lower() or headers.get("vary", "").strip() == "*":
        return {}
    asks = {"If-None-Match": headers.get("etag"), "If-Modified-Since": headers.get("last-modified")}
    return {name: value for name, value in asks.items() if value}


class KeptPages:
    """The kept pages of one API as one caller sees them. Thread-safe; memory is one page.

    Args:
        url: Where they are kept.
        options: Of that store.
        caller: What tells apart callers who may be shown different pages; no secret.
        limit_bytes: Of a page.
    """

    def __init__(self, url: str, options: Mapping[str, Any], *, caller: str, limit_bytes: int) -> None:
        self._place: SmallObjects = open_small_objects(url, options)
        self._caller = caller
        self._limit_bytes = 2 * limit_bytes + (1 << 20)  # base64, headers

    def get(self, url: str) -> KeptPage | None:
        """The page kept for a URL; one request to the store.

        Raises:
            CrossdockError: The store fails; an absent page is ``None``.
        """
        name = self._name(url)
        try:
            data = self._place.get(name, limit_bytes=self._limit_bytes)
        except NotFoundError:
            return None
        try:
            entry = json.loads(data)
            if entry["crossdock_page"] != _FORMAT or entry["url"] != url:
                return None
            body = zlib.decompress(base64.b64decode(entry["body"]))
            if hashlib.sha256(body).hexdigest() != entry["sha256"]:
                return None
            return KeptPage(headers=dict(entry["headers"]), body=body)
        except (ValueError, KeyError, TypeError, zlib.error):
            return None

    def keep(self, url: str, page: KeptPage) -> None:
        """Write a page in place of what was kept for its URL; one request to the store.

        Raises:
            CrossdockError: The store fails.
        """
        entry = {
            "crossdock_page": _FORMAT,
            "url": url,
            "headers": {name: value for name, value in page.headers.items() if name != "set-cookie"},
            "sha256": hashlib.sha256(page.body).hexdigest(),
            "body": base64.b64encode(zlib.compress(page.body, 1)).decode(),
        }
        try:
            self._place.put(self._name(url), json.dumps(entry).encode())
        except PreconditionError:
            return  # another wrote the same page in this moment

    def _name(self, url: str) -> str:
        digest = hashlib.sha256(f"{self._caller}\n{url}".encode()).hexdigest()
        return f"{digest[:2]}/{digest}.json"
