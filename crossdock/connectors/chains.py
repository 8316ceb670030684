"""URLs in fsspec's way: which links a chain has, where the store ends and the key begins. Pure; imports no fsspec.

A store's URL and a key joined by ``/`` name an object. fsspec writes what lies inside an archive *before* the archive
(``zip://inner.csv::s3://bucket/a.zip``), so inside we write it behind, after a ``!`` as Java's jar URLs do:
``zip::s3://bucket/a.zip!/inner.csv``. Both forms are read; without ``!`` and what follows, ours is fsspec's too.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from crossdock.errors import ConfigError

__all__ = [
    "CACHES",
    "CONTAINERS",
    "Place",
    "demand_no_password",
    "is_chain",
    "links_of",
    "place_of",
    "without_password",
]

CONTAINERS = frozenset({"zip", "tar", "libarchive", "reference", "dir"})
"""Protocols that hold keys of their own inside what the rest of the chain names."""
CACHES = frozenset({"simplecache", "filecache", "blockcache", "cached"})
"""Protocols that only keep what they read: the key is the next link's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A URL taken apart: ``root`` names the store, ``key`` what is meant in it."""

    root: str
    key: str


def is_chain(url: str) -> bool:
    """Whether the URL begins with a link that wraps the next. A ``::`` elsewhere is text of a key."""
    first, sep, _ = url.partition("::")
    return bool(sep) and _protocol(first) in CONTAINERS | CACHES


def links_of(root: str) -> tuple[str, ...]:
    """The protocols of a root, outermost first, by fsspec's names."""
    first, sep, rest = root.partition("::")
    if not sep or not is_chain(root):
        return (_protocol(root),)
    return (_protocol(first), *links_of(rest.removesuffix("!")))


def place_of(url: str) -> Place:
    """Root and key of a URL. Keys are literal: nothing is percent-decoded.

    Raises:
        ConfigError: The URL has a password, or does not say which archive or place it means.
    """
    demand_no_password(url)
    if not is_chain(url):
        return _plain(url)
    first, _, rest = url.partition("::")
    protocol, _, inner = first.partition("://")
    if not rest.strip("!/"):
        raise ConfigError(
            f"the URL does not say what {protocol} opens",
            operation="open",
            where=url,
            hint=f"write {protocol}://key::PROTOCOL://place",
        )
    if protocol in CACHES:
        if inner:
            raise ConfigError(
                f"{protocol} keeps what the next link names and has no path of its own",
                operation="open",
                where=url,
                hint=f"write {protocol}::{rest}",
            )
        place = place_of(rest)
        return Place(root=f"{protocol}::{place.root}", key=place.key)
    archive, mark, key = rest.partition("!/")
    if rest.endswith("!"):
        archive, mark = rest[:-1], "!/"
    if inner and mark:
        raise ConfigError("the key is given twice, before :: and after !", operation="open", where=url)
    return Place(root=f"{protocol}::{_fixed(archive)}!", key=inner or key)


def _fixed(archive: str) -> str:
    """A plain path made absolute, so that the recipe means one place wherever it is used."""
    head, sep, last = archive.rpartition("::")
    return archive if "://" in last else f"{head}{sep}{os.path.abspath(last)}"  # noqa: PTH100 - Path keeps ".."


def _plain(url: str) -> Place:
    """Up to the authority is the root; without one, the directory that the path names."""
    scheme, sep, rest = url.partition("://")
    if not sep:
        scheme, rest = "file", url
    authority, _, key = rest.partition("/")
    if authority:
        return Place(root=f"{scheme}://{authority}", key=key)
    head, slash, last = rest.rpartition("/")
    if not slash:
        raise ConfigError(
            "the URL names no place", operation="open", where=url, hint=f"write {scheme}://host/prefix/"
        )
    return Place(root=f"{scheme}://{head.rstrip('/')}", key=last)


def demand_no_password(url: str) -> None:
    """Refuse a URL with a password, also in an inner link of a chain: it would be in every message about the place.

    Raises:
        ConfigError: It has one; the text does not.
    """
    shown = without_password(url) if is_chain(url) else _link_without_password(url)
    if shown != url:
        raise ConfigError(
            "a password in a URL shows in logs and reports",
            operation="open",
            where=shown,
            hint="write the user in the URL and give the option password=env:NAME or password=file:PATH",
        )


def without_password(url: str) -> str:
    """The same URL without ``:password`` before the host, in every link.

    ``org:repo@ref`` of github and gitlab is no password.
    """
    return "::".join(_link_without_password(link) for link in url.split("::"))


def _link_without_password(link: str) -> str:
    protocol, sep, rest = link.partition("://")
    if not sep or protocol in ("github", "gitlab", "git"):
        return link
    authority, slash, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    name, colon, _ = user.partition(":")
    return f"{protocol}{sep}{name}{at}{host}{slash}{path}" if at and colon else link


def _protocol(link: str) -> str:
    if "://" in link:
        return link.partition("://")[0].lower()
    return link.lower() if link.lower() in CONTAINERS | CACHES else "file"
