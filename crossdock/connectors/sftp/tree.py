"""The directories below a root on a server: containment, and the walk in key order.

No symbolic link below the root is followed: each directory of a key is looked at (all of them in one round trip) before
anything is done in it. SFTP has no way to do both in one step, so who can write on the server could put a link in place
in between; against such a person the server must protect itself. The root may be reached through links.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from crossdock.connectors.local_names import refusal_of, split, upload_id_of
from crossdock.connectors.sftp import files
from crossdock.connectors.sftp.address import Address
from crossdock.connectors.sftp.errors import StatusError
from crossdock.connectors.sftp.session import Session
from crossdock.connectors.sftp.wire import Attributes, Status
from crossdock.errors import NotFoundError, UnsupportedError

__all__ = ["Entry", "Place", "Tree"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key is: its directory, which was looked at, its final name, and what has that name now."""

    directory: bytes
    name: bytes
    found: Attributes | None

    @property
    def path(self) -> bytes:
        """The whole path."""
        return joined(self.directory, self.name)


@dataclass(frozen=True, slots=True)
class Entry:
    """Something the walk met: a file, or the directory of an unfinished upload."""

    base: str  # the directory's key prefix
    name: str
    directory: bytes
    attributes: Attributes
    upload_id: str | None

    @property
    def key(self) -> str:
        """The file's key."""
        return self.base + self.name


def joined(directory: bytes, name: bytes) -> bytes:
    """A path below a directory."""
    return directory + name if directory.endswith(b"/") else directory + b"/" + name


class Tree:
    """The directories below one root. Holds nothing between calls."""

    def __init__(self, address: Address, url: str) -> None:
        self._root = address.path()
        self._text = address.root
        self._url = url

    def refusal(self, key: str) -> str | None:
        """Why no file below the root can have this key; see ``local_names``."""
        return refusal_of(self._text, key)

    def demand_root(self, session: Session) -> None:
        """The root is a directory.

        Raises:
            NotFoundError: It is missing, or a file.
        """
        found = files.look_through(session, self._root)
        if found is None:
            raise NotFoundError("there is no such directory", where=self._url, operation="open")
        if not found.is_directory:
            raise NotFoundError("this is not a directory", where=self._url, operation="open")

    def place_of(self, session: Session, key: str, *, create: bool = False) -> Place:
        """Find the directory of a key; with ``create`` missing ones are made (and stay). One round trip if all are there.

        Raises:
            NotFoundError: A directory is missing or is a file, so there can be no such object.
            UnsupportedError: A segment is a link; or, with ``create``, a file is where a directory is needed.
        """
        segments, name = split(key)
        paths, path = [], self._root
        for segment in segments:
            path = joined(path, segment.encode())
            paths.append(path)
        final = joined(path, name.encode())
        seen = files.look_at_all(session, [*paths, final])
        for at, segment in enumerate(segments):
            found = next(seen)
            if found is None:
                if not create:
                    raise NotFoundError("there is no such object")
                self._make(session, paths[at:], segments[at:])
                return Place(path, name.encode(), None)
            _demand_directory(found, segment, create=create)
        there = next(seen)
        if there is None and create and not segments and files.look_through(session, self._root) is None:
            self._make_root(session)
        return Place(path, name.encode(), there)

    def _make(self, session: Session, paths: list[bytes], segments: list[str]) -> None:
        for path, segment in zip(paths, segments, strict=True):
            try:
                _make_or_find(session, path, segment)
            except StatusError as error:
                if error.code != Status.NO_SUCH_FILE:
                    raise
                self._make_root(session)
                _make_or_find(session, path, segment)

    def _make_root(self, session: Session) -> None:
        """Make the root and what leads to it, unless they are there."""
        path = b""
        for segment in self._root.strip(b"/").split(b"/"):
            path = path + b"/" + segment if path or self._root.startswith(b"/") else segment
            if files.look_through(session, path) is None:
                try:
                    files.make_directory(session, path)
                except StatusError:
                    if files.look_through(session, path) is None:
                        raise

    def walk(self, session: Session, prefix: str = "", start_after: str | None = None) -> Iterator[Entry]:
        """Files in UTF-8 byte order of their keys, and unfinished uploads wherever they are met.

        Memory: the names of one directory at a time, for each level of the tree. A few round trips a directory.
        Links and special files are passed over. Directories that vanish meanwhile count as emptied.

        Raises:
            NotFoundError: The root is missing.
            UnsupportedError: A name is not UTF-8, so it is no key.
        """
        first = prefix.encode(errors="surrogatepass")
        after = b"" if start_after is None else start_after.encode(errors="surrogatepass")
        self.demand_root(session)
        base = self._begin(session, prefix)
        if base is None:
            return
        stack = [(base, self._names(session, base))]
        while stack:
            base, names = stack[-1]
            item = next(names, None)
            if item is None:
                stack.pop()
                continue
            name, attributes = item
            path = base + name
            plain = name.rstrip(b"/")
            upload_id = upload_id_of(plain.decode("latin-1")) if name.endswith(b"/") else None
            if upload_id is not None or (not name.endswith(b"/") and path.startswith(first) and path > after):
                directory = joined(self._root, base).rstrip(b"/") or b"/"
                yield Entry(self._decoded(base), self._decoded(plain), directory, attributes, upload_id)
            elif name.endswith(b"/") and _may_hold(path, first, after):
                self._decoded(path)
                stack.append((path, self._names(session, path)))

    def _begin(self, session: Session, prefix: str) -> bytes | None:
        """The directory in which all keys with this prefix are; ``None`` if there can be none."""
        base = prefix.rpartition("/")[0]
        if not base:
            return None if prefix.startswith("/") else b""
        if refusal_of(self._text, base) is not None:
            return None
        try:
            place = self.place_of(session, base)
        except NotFoundError:
            return None
        except UnsupportedError:  # a link on the way: below it there is nothing for us
            return None
        return f"{base}/".encode() if place.found is not None and place.found.is_directory else None

    def _names(self, session: Session, base: bytes) -> Iterator[tuple[bytes, Attributes]]:
        """Files and directories of a directory, the latter with ``/``, so that sorting them sorts the keys."""
        directory = joined(self._root, base).rstrip(b"/") or b"/"
        try:
            listed = files.names(session, directory)
        except StatusError as error:
            if error.code == Status.NO_SUCH_FILE and base:
                return
            raise
        found = []
        for name, attributes in listed:
            known = (
                attributes if attributes.mode is not None else files.look(session, joined(directory, name))
            )
            if known is None or known.is_link or not (known.is_directory or known.is_file):
                continue
            found.append((name + b"/" if known.is_directory else name, known))
        yield from sorted(found, key=lambda item: item[0])

    def _decoded(self, path: bytes) -> str:
        try:
            return path.decode()
        except UnicodeDecodeError as error:
            raise UnsupportedError(
                f"the file name {path!r} is not UTF-8, so it is no key",
                operation="list",
                where=self._url,
                hint="rename the file, or choose a prefix without it",
            ) from error


def _may_hold(path: bytes, prefix: bytes, after: bytes) -> bool:
    """Whether keys that start with ``path`` can start with ``prefix`` and come behind ``after``."""
    return (path.startswith(prefix) or prefix.startswith(path)) and (path > after or after.startswith(path))


def _make_or_find(session: Session, path: bytes, segment: str) -> None:
    try:
        files.make_directory(session, path)
    except StatusError:
        found = files.look(session, path)
        if found is None:
            raise
        _demand_directory(found, segment, create=True)  # another thread or process made it just now


def _demand_directory(found: Attributes, segment: str, *, create: bool) -> None:
    if found.is_directory:
        return
    if found.is_link:
        _refuse(
            f"{segment!r} is a symbolic link, which is not followed",
            "name the link's target as the root, or replace the link by a directory",
        )
    if not create:
        raise NotFoundError(f"{segment!r} is a file")
    _refuse(
        f"{segment!r} is a file, and a directory cannot have the same name",
        "keys x and x/y cannot both be files: rename or filter one",
    )


def _refuse(cause: str, hint: str) -> NoReturn:
    raise UnsupportedError(cause, hint=hint)
