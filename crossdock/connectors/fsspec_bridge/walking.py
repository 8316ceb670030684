"""Listings in UTF-8 byte order of keys: directory by directory, or from an archive's index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from crossdock.connectors.fsspec_bridge.dialects import Archive
from crossdock.connectors.fsspec_bridge.filesystems import Lent
from crossdock.connectors.fsspec_bridge.names import is_directory, joined
from crossdock.errors import NotFoundError, UnsupportedError

__all__ = ["Entry", "demand_root", "walk"]

Entry = tuple[str, Mapping[str, Any]]
"""A key and what the filesystem says of it."""

MAX_DEPTH = 200  # deeper than any tree that is meant: a link that leads back into itself


def walk(
    lent: Lent, dialect: Any, prefix: str, start_after: str | None, *, may_be_missing: bool = False
) -> Iterator[Entry]:
    """Files whose key starts with ``prefix``, in UTF-8 byte order; also those with a temporary name.

    Memory: the entries of one directory for each level of the tree; of an archive, its whole index. Requests: one a
    directory. What is a link to a directory is not entered.

    Raises:
        NotFoundError: The root is missing (unless that counts as empty), or a file.
        UnsupportedError: The filesystem names something in a way that leads nowhere, twice, or without end.
    """
    if isinstance(dialect, Archive):
        chosen = [
            (name, info)
            for name, info in dialect.members(lent.fs)
            if name.startswith(prefix) and (start_after is None or _bytes(name) > _bytes(start_after))
        ]
        yield from sorted(chosen, key=lambda entry: _bytes(entry[0]))
        return
    yield from _walk_tree(lent, dialect, prefix, start_after, may_be_missing=may_be_missing)


def _walk_tree(
    lent: Lent, dialect: Any, prefix: str, start_after: str | None, *, may_be_missing: bool
) -> Iterator[Entry]:
    first, after = _bytes(prefix), _bytes(start_after or "")
    base = prefix[: prefix.rfind("/") + 1]
    entries = _children(lent, dialect, base)
    if not entries:
        demand_root(lent, dialect, may_be_missing=may_be_missing)
    stack = [iter(entries)]
    while stack:
        entry = next(stack[-1], None)
        if entry is None:
            stack.pop()
            continue
        key, info = entry
        path = _bytes(key)
        if not key.endswith("/"):
            if path.startswith(first) and (start_after is None or path > after):
                yield key, info
        elif _may_hold(path, first, after):
            if len(stack) > MAX_DEPTH:
                raise UnsupportedError(
                    f"directories are nested more than {MAX_DEPTH} deep at {key[:200]!r}",
                    hint="perhaps a link leads back into its own directory: choose a prefix without it",
                )
            stack.append(iter(_children(lent, dialect, key)))


def _children(lent: Lent, dialect: Any, base: str) -> list[Entry]:
    """Entries of one directory with their keys, directories with ``/``, so that sorting them sorts the keys."""
    directory = joined(lent.root, base.rstrip("/")) if base else lent.root
    try:
        found = dialect.listed(lent.fs, directory)
    except FileNotFoundError:
        return []  # emptied since its parent was listed, or nothing below this prefix
    head = f"{directory.strip('/')}/" if directory.strip("/") else ""
    entries: dict[str, Mapping[str, Any]] = {}
    for info in found:
        path = str(info["name"]).lstrip("/").removesuffix("/")
        if path == directory.strip("/"):
            continue  # object stores list a directory's own marker in it; and a file, asked for as a directory, itself
        name = path[len(head) :]
        if not path.startswith(head) or not name or "/" in name:
            raise UnsupportedError(
                f"the filesystem lists {info['name']!r} in {directory!r}, which leads to no key"
            )
        if is_directory(info):
            if info.get("islink"):
                continue
            name += "/"
        elif info.get("type") not in ("file", None):
            continue  # pipes, devices, links to nowhere
        if name in entries:
            raise UnsupportedError(
                f"the filesystem lists {name!r} twice in {directory!r}: its names are not exact"
            )
        entries[name] = info
    return [(base + name, entries[name]) for name in sorted(entries, key=_bytes)]


def demand_root(lent: Lent, dialect: Any, *, may_be_missing: bool) -> None:
    """A root that is missing is an error, unless that counts as empty; an empty one is a listing of nothing.

    Raises:
        NotFoundError: It is missing, or a file.
    """
    try:
        info = dialect.info(lent.fs, lent.root)
    except FileNotFoundError as error:
        if may_be_missing:
            return
        raise NotFoundError("there is no such directory") from error
    if not is_directory(info):
        raise NotFoundError("this is a file, not a directory")


def _may_hold(path: bytes, prefix: bytes, after: bytes) -> bool:
    """Whether keys that start with ``path`` can start with ``prefix`` and come behind ``after``."""
    return (path.startswith(prefix) or prefix.startswith(path)) and (path > after or after.startswith(path))


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")
