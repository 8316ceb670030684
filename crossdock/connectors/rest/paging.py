"""How an API cuts a list into pages: small frozen values that say what is asked first, and what after a page. Pure.

``None`` is the end, and an end is what the server said: an empty page, no cursor, no link, the total reached. What looks
like an end and contradicts the server's own numbers is an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from crossdock.connectors.http.addresses import Target
from crossdock.connectors.rest.asking import Ask, follow
from crossdock.connectors.rest.jsonpath import MISSING, Path, at, keys_found, shown, steps_of
from crossdock.errors import ConfigError, StorageError

__all__ = ["ByCursor", "ByLink", "ByOffset", "ByPage", "ByURL", "Paging", "Standing"]

_LINK = re.compile(r'<([^>]*)>((?:\s*;\s*[^\s=;,]+\s*(?:=\s*(?:"[^"]*"|[^\s;,"]*))?)*)')
_REL = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,"]*))', re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a list stands after a page: what a way of paging decides by."""

    ask: Ask
    body: Any
    headers: Mapping[str, str]  # names in lower case
    records: int  # of this page
    seen: int  # so far, this page's among them
    number: int  # of this page, from 1
    root: Target
    place: Mapping[str, Any]  # for errors


class Paging(Protocol):
    """A way of paging."""

    def first(self, ask: Ask) -> Ask:
        """What is asked first."""

    def following(self, standing: Standing) -> Ask | None:
        """What is asked after a page; ``None`` after the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ByPage:
    """Pages by number: ``?page=1``, ``?page=2``, until one is empty or the total is reached.

    A page with fewer records than asked for is not the last: servers cap sizes.

    Args:
        param: The query parameter of the number.
        start: The first number.
        size_param: The query parameter of the size.
        size: Records asked for at a time.
        total: Path to the number of all records, if the server tells it: saves the last, empty page.
    """

    param: str = "page"
    start: int = 1
    size_param: str = "per_page"
    size: int | None = None
    total: Path | None = None

    def __post_init__(self) -> None:
        _check(self.size, self.total)

    def first(self, ask: Ask) -> Ask:
        """See ``Paging``."""
        return ask.with_params({**_sized(self.size_param, self.size), self.param: self.start})

    def following(self, standing: Standing) -> Ask | None:
        """See ``Paging``."""
        if _ended(standing, self.total):
            return None
        return standing.ask.with_params({self.param: self.start + standing.number})


@dataclass(frozen=True, slots=True, kw_only=True)
class ByOffset:
    """Pages by position: ``?offset=0``, then as many further as records came, until a page is empty or the total reached.

    Args:
        param: The query parameter of the offset.
        start: The first offset.
        size_param: The query parameter of the size.
        size: Records asked for at a time.
        total: Path to the number of all records, if the server tells it.
    """

    param: str = "offset"
    start: int = 0
    size_param: str = "limit"
    size: int | None = None
    total: Path | None = None

    def __post_init__(self) -> None:
        _check(self.size, self.total)

    def first(self, ask: Ask) -> Ask:
        """See ``Paging``."""
        return ask.with_params({**_sized(self.size_param, self.size), self.param: self.start})

    def following(self, standing: Standing) -> Ask | None:
        """See ``Paging``."""
        if _ended(standing, self.total):
            return None
        return standing.ask.with_params({self.param: self.start + standing.seen})


@dataclass(frozen=True, slots=True, kw_only=True)
class ByCursor:
    """Pages by a token that each page gives for the next; no token (absent, null, empty) is the end.

    Args:
        param: The query parameter that takes the token.
        path: Path to it in the body, such as ``meta.next`` or ``data[-1].id``.
        header: The header that has it, instead.
        more: Path to a truth value that says whether there is another page, where the token alone does not.
        size_param: The query parameter of the size.
        size: Records asked for at a time.
    """

    param: str = "cursor"
    path: Path | None = None
    header: str | None = None
    more: Path | None = None
    size_param: str = "limit"
    size: int | None = None

    def __post_init__(self) -> None:
        _check(self.size, self.path, self.more)
        if (self.path is None) == (self.header is None):
            raise ConfigError("ByCursor takes a path or a header, one of the two", operation="open")

    def first(self, ask: Ask) -> Ask:
        """See ``Paging``."""
        return ask.with_params(_sized(self.size_param, self.size))

    def following(self, standing: Standing) -> Ask | None:
        """See ``Paging``."""
        more = at(standing.body, self.more) if self.more is not None else True
        if more is MISSING:
            raise StorageError(
                f"page {standing.number} has no {shown(self.more or '')}; {keys_found(standing.body)}",
                hint="check `more` of ByCursor",
                **standing.place,
            )
        if not more:
            return None
        token = (
            standing.headers.get(self.header.lower()) if self.header else at(standing.body, self.path or "$")
        )
        if token is MISSING or token is None or token == "":
            if self.more is not None:
                raise StorageError(
                    f"page {standing.number} says that there is more, and has no cursor to it",
                    hint="check `path` of ByCursor",
                    **standing.place,
                )
            return None
        if isinstance(token, dict | list | bool):
            raise StorageError(
                f"the cursor of page {standing.number} is neither text nor number", **standing.place
            )
        return standing.ask.with_params({self.param: token})


@dataclass(frozen=True, slots=True, kw_only=True)
class ByLink:
    """Pages by the Link header (RFC 8288), as GitHub has them; without such a link it is the last.

    Args:
        rel: The relation that is followed.
    """

    rel: str = "next"

    def first(self, ask: Ask) -> Ask:
        """See ``Paging``."""
        return ask

    def following(self, standing: Standing) -> Ask | None:
        """See ``Paging``."""
        for url, rest in _LINK.findall(standing.headers.get("link", "")):
            found = _REL.search(rest)
            if found and self.rel.lower() in (found[1] or found[2] or "").lower().split():
                return follow(standing.ask, standing.root, url, standing.place)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ByURL:
    """Pages by a URL in the body; absent, null or empty is the end.

    Args:
        path: Path to it.
    """

    path: Path = "next"

    def __post_init__(self) -> None:
        _check(None, self.path)

    def first(self, ask: Ask) -> Ask:
        """See ``Paging``."""
        return ask

    def following(self, standing: Standing) -> Ask | None:
        """See ``Paging``."""
        url = at(standing.body, self.path)
        if url is MISSING or url is None or url == "":
            return None
        return follow(standing.ask, standing.root, url, standing.place)


def _check(size: int | None, *paths: Path | None) -> None:
    if size is not None and size < 1:
        raise ConfigError(f"a page has at least one record, not {size}", operation="open")
    for path in paths:
        if path is not None:
            steps_of(path)


def _sized(param: str, size: int | None) -> dict[str, int]:
    return {} if size is None else {param: size}


def _ended(standing: Standing, total: Path | None) -> bool:
    """Whether a list without cursors is at its end.

    Raises:
        StorageError: There is no total where one should be, or the pages end before it is reached.
    """
    if total is None:
        return not standing.records
    expected = at(standing.body, total)
    if isinstance(expected, str) and expected.isdecimal():
        expected = int(expected)
    if type(expected) is not int:
        raise StorageError(
            f"page {standing.number} has no number at {shown(total)}; {keys_found(standing.body)}",
            hint="check `total`, or leave it out: an empty page is the end then",
            **standing.place,
        )
    if standing.seen >= expected:
        return True
    if not standing.records:
        raise StorageError(
            f"page {standing.number} is empty after {standing.seen} of {expected} records",
            hint="the list would have been short; it may have changed while it was read: read it again",
            **standing.place,
        )
    return False
