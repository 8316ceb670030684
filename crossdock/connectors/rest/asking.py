"""What is asked of an API: a path and a query, byte for byte. Pure; knows no secrets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, unquote_plus, urlencode, urljoin, urlsplit

from crossdock.connectors.http.addresses import Target, target_of
from crossdock.errors import ConfigError, StorageError, UnsupportedError

__all__ = ["Ask", "asked", "follow"]

_PATH = "/%!$&'()*+,;=:@~-._"
_QUERY = _PATH + "?"


@dataclass(frozen=True, slots=True)
class Ask:
    """One request target below an origin; ``query`` is kept as it was written, as signed URLs need."""

    path: str  # begins with a slash
    query: str = ""

    @property
    def target(self) -> str:
        """What is sent."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def with_params(self, params: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> Ask:
        """The same with query parameters set, in place of any of the same names.

        Texts, numbers, ``True`` as ``true``; a list is sent as several of one name; ``None`` leaves one out.
        """
        pairs = [*(params.items() if isinstance(params, Mapping) else params)]
        names = {str(name) for name, _ in pairs}
        kept = [
            part
            for part in self.query.split("&")
            if part and unquote_plus(part.partition("=")[0]) not in names
        ]
        given = [(str(name), text) for name, value in pairs for text in _texts(value)]
        if given:
            kept.append(urlencode(given, quote_via=quote))
        return replace(self, query="&".join(kept))


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, list | tuple):
        return [text for each in value for text in _texts(each)]
    if isinstance(value, bool):
        return ["true" if value else "false"]
    return [value.isoformat() if hasattr(value, "isoformat") else str(value)]


def asked(base: str, path: str, params: Mapping[str, Any] | None) -> Ask:
    """The first request of a call: ``path`` below the base URL's path.

    Raises:
        ConfigError: ``path`` is a URL of its own, or climbs out.
    """
    if "://" in path or path.startswith("//"):
        raise ConfigError(
            "a path below the API's URL is wanted, not another URL",
            operation="read",
            where=base,
            hint="make an xd.rest(...) for the other one",
        )
    plain, _, query = path.partition("?")
    if ".." in plain.split("/"):
        raise ConfigError("the path climbs out of the API's URL", operation="read", where=base, key=plain)
    root = urlsplit(base).path.rstrip("/")
    whole = f"{root}/{plain.lstrip('/')}" if plain else root or "/"
    ask = Ask(quote(whole, safe=_PATH), quote(query, safe=_QUERY))
    return ask.with_params(params or {})


def follow(now: Ask, root: Target, url: Any, place: Mapping[str, Any]) -> Ask:
    """Where a server says that the next page is.

    It must be at the API's own origin: credentials go nowhere else, and without them a page would be another's.

    Raises:
        StorageError: It is no URL.
        UnsupportedError: It is elsewhere.
    """
    if not isinstance(url, str):
        raise StorageError("what names the next page is not a URL but " + type(url).__name__, **place)
    parts = urlsplit(urljoin(f"{root.scheme}://{root.authority}{now.target}", url.strip()))
    try:
        there = target_of(f"{parts.scheme}://{parts.netloc}")
    except ConfigError:
        raise StorageError("what names the next page is no URL that can be asked", **place) from None
    if there.origin != root.origin:
        raise UnsupportedError(
            f"the next page is at another origin, {there.scheme}://{there.authority}, where no credentials are sent",
            hint="name the API by the URL that its links have, or use another way of paging",
            **place,
        )
    return Ask(quote(parts.path or "/", safe=_PATH), quote(parts.query, safe=_QUERY))
