"""How a kind of filesystem is really used: what fsspec's common interface leaves open or gets wrong.

Above all whether it can give a finished file its name in one step. ``with fs.open(url, "wb")`` publishes whatever was
written when something fails in the middle, so a sink writes under a temporary name and renames; where renaming is not one
step (a copy and a delete on most object stores), there is no sink. Which is which is this table.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from typing import Any, Protocol

from crossdock.connectors.fsspec_bridge.names import is_directory, joined
from crossdock.connectors.fsspec_bridge.protocols import class_path, filesystem_class, is_loaded
from crossdock.errors import ExistsError, NotFoundError, UnsupportedError
from crossdock.ports import CASE

__all__ = ["Archive", "Bytes", "Dialect", "demand_sink", "dialect_of", "renames", "there"]


class Bytes(Protocol):
    """A file as far as it is used here."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; empty at the end."""

    def write(self, data: Any, /) -> int | None:
        """Take all of ``data``."""

    def close(self) -> None:
        """Finish."""


class Dialect:
    """Any filesystem that nothing is known about: a source, and no sink.

    Attributes:
        renames: A finished file gets its name in one step.
        replaces: That step may take the place of another file.
        creates: It can be asked to fail if the name is taken, in the same step.
        flat: Listings come from one index, not directory by directory.
        shared: One instance serves all threads.
        versioned: What it says of a file is about the bytes it reads.
        folds: What of keys it does not tell apart, as ``Capabilities.folds``.
    """

    renames = False
    replaces = False
    creates = False
    flat = False
    shared = False
    versioned = True
    folds: frozenset[str] = frozenset()

    def info(self, fs: Any, path: str) -> Mapping[str, Any]:
        """What is there now: nothing remembered from an earlier listing."""
        fs.invalidate_cache()
        found: Mapping[str, Any] = fs.info(path)
        return found

    def listed(self, fs: Any, path: str) -> list[Mapping[str, Any]]:
        """The entries of one directory."""
        fs.invalidate_cache()
        return list(fs.ls(path, detail=True))

    def read(self, fs: Any, path: str, start: int, end: int | None) -> Bytes:
        """Open a file for reading, from ``start`` on, up to ``end`` if that is known."""
        if start == 0 and end is None:
            opened: Bytes = fs.open(path, "rb")
            return opened
        return BytesIO(fs.cat_file(path, start=start, end=end))

    def write(self, fs: Any, path: str) -> Bytes:
        """Open a file for writing, empty."""
        opened: Bytes = fs.open(path, "wb")
        return opened

    def make_directory(self, fs: Any, path: str) -> None:
        """Make a directory and those above it; one that is there is fine."""
        fs.makedirs(path, exist_ok=True)

    def remove(self, fs: Any, path: str) -> None:
        """Remove one file; no pattern is expanded."""
        fs.rm_file(path)

    def rename(self, fs: Any, old: str, new: str, *, absent: bool) -> None:
        """Give ``old`` the name ``new`` in one step.

        Raises:
            ExistsError: ``absent``, or the filesystem never replaces, and the name is taken.
        """
        raise NotImplementedError


class Remembered(Dialect):
    """Caches: what they say comes from the origin and what they read may be older, so it is no version of it."""

    versioned = False


class Archive(Dialect):
    """Zip, tar, libarchive: one index in memory, read once when the archive is opened."""

    flat = True

    def info(self, fs: Any, path: str) -> Mapping[str, Any]:
        """From the index."""
        found: Mapping[str, Any] = fs.info(path)
        return found

    def members(self, fs: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Name and description of every file, names as they are stored; also those no path leads to."""
        fs._get_dirs()  # noqa: SLF001 - the index that all of fsspec's archives share
        bent = {new: old for new, (_, _, old) in (getattr(fs, "index", None) or {}).items() if new != old}
        for name, info in fs.dir_cache.items():
            if not is_directory(info):
                yield bent.get(name, name), info


class Local(Dialect):
    """The disk of this machine, under whatever protocol a subclass has."""

    renames = replaces = creates = shared = True

    def rename(self, fs: Any, old: str, new: str, *, absent: bool) -> None:
        """One system call; ``absent`` by a link, which fails if the name is taken."""
        if not absent:
            os.replace(old, new)  # noqa: PTH105 - the text as it is, without pathlib's ideas of it
            return
        try:
            os.link(old, new)
        except FileExistsError as error:
            raise ExistsError("the file exists already") from error
        fs.rm_file(old)


class Memory(Dialect):
    """fsspec's dict of this process. Its files are one object for all who open them, so they are copied out."""

    renames = replaces = creates = shared = True

    def read(self, fs: Any, path: str, start: int, end: int | None) -> Bytes:
        """A copy of the bytes as they are now."""
        return BytesIO(fs.cat_file(path, start=start, end=end))

    def rename(self, fs: Any, old: str, new: str, *, absent: bool) -> None:
        """One assignment."""
        file = fs.store[old]
        if not absent:
            fs.store[new] = file
        elif fs.store.setdefault(new, file) is not file:
            raise ExistsError("the file exists already")
        file.path = new
        del fs.store[old]


class Moving(Dialect):
    """Filesystems whose own ``mv`` is one call to the server, which refuses if the name is taken (HDFS, SMB)."""

    renames = creates = True

    def rename(self, fs: Any, old: str, new: str, *, absent: bool) -> None:  # noqa: ARG002 - it always refuses
        """Ask the server; WebHDFS answers a refusal with 200 and ``false``, so what is there is looked at."""
        if fs.exists(new):
            raise ExistsError("the file exists already")
        fs.mv(old, new)
        fs.invalidate_cache()
        if fs.exists(old):
            raise ExistsError("the server did not rename the file: something of its name is there")


class Directory(Dialect):
    """``dir::``: another filesystem below one of its directories, used as that one is."""

    def __init__(self, inner: Dialect) -> None:
        self._inner = inner
        self.renames, self.replaces, self.creates = inner.renames, inner.replaces, inner.creates
        self.shared, self.versioned, self.folds = inner.shared, inner.versioned, inner.folds

    def info(self, fs: Any, path: str) -> Mapping[str, Any]:
        """The inner filesystem's answer, under the outer name."""
        return {**self._inner.info(fs.fs, joined(fs.path, path)), "name": path}

    def listed(self, fs: Any, path: str) -> list[Mapping[str, Any]]:
        """The inner entries, under their outer names."""
        inner = joined(fs.path, path) if path else fs.path
        cut = len(joined(fs.path, ""))
        return [{**each, "name": str(each["name"])[cut:]} for each in self._inner.listed(fs.fs, inner)]

    def read(self, fs: Any, path: str, start: int, end: int | None) -> Bytes:
        """As the inner filesystem reads."""
        return self._inner.read(fs.fs, joined(fs.path, path), start, end)

    def write(self, fs: Any, path: str) -> Bytes:
        """As the inner filesystem writes."""
        return self._inner.write(fs.fs, joined(fs.path, path))

    def make_directory(self, fs: Any, path: str) -> None:
        """As the inner filesystem does."""
        self._inner.make_directory(fs.fs, joined(fs.path, path) if path else fs.path)

    def remove(self, fs: Any, path: str) -> None:
        """As the inner filesystem does."""
        self._inner.remove(fs.fs, joined(fs.path, path))

    def rename(self, fs: Any, old: str, new: str, *, absent: bool) -> None:
        """As the inner filesystem does."""
        self._inner.rename(fs.fs, joined(fs.path, old), joined(fs.path, new), absent=absent)


class Share(Moving):
    """A share of Windows or Samba, which by default finds a name under any case."""

    folds = frozenset({CASE})


def _ftp() -> Dialect:
    from crossdock.connectors.fsspec_bridge.ftp import Ftp

    return Ftp()


_BY_CLASS: dict[str, Callable[[], Dialect]] = {
    "fsspec.implementations.local.LocalFileSystem": Local,
    "fsspec.implementations.memory.MemoryFileSystem": Memory,
    "fsspec.implementations.ftp.FTPFileSystem": _ftp,
    "fsspec.implementations.webhdfs.WebHDFS": Moving,
    "fsspec.implementations.arrow.HadoopFileSystem": Moving,
    "fsspec.implementations.smb.SMBFileSystem": Share,
    "fsspec.archive.AbstractArchiveFileSystem": Archive,
    "fsspec.implementations.cached.CachingFileSystem": Remembered,
}


def dialect_of(links: tuple[str, ...]) -> Dialect:
    """How the outermost filesystem of a chain is used: by its class, or the nearest it derives from.

    Raises:
        MissingExtraError: The protocol's package is not installed.
    """
    if links[0] == "dir":
        return Directory(dialect_of(links[1:] or ("file",)))
    for cls in filesystem_class(links[0]).__mro__:
        made = _BY_CLASS.get(f"{cls.__module__}.{cls.__qualname__}")
        if made is not None:
            return made()
    return Dialect()


def renames(protocol: str) -> bool:
    """Whether a protocol can be a sink, told by its class, or before that is imported by its name."""
    if is_loaded(protocol):
        return dialect_of((protocol,)).renames
    made = _BY_CLASS.get(class_path(protocol))
    return made is not None and made().renames


def demand_sink(dialect: Dialect, protocol: str) -> None:
    """Refuse to write where a finished file cannot get its name in one step.

    Raises:
        UnsupportedError: Says why, and what to use instead.
    """
    if not dialect.renames:
        raise UnsupportedError(
            f"{protocol}:// is a source only: fsspec gives it no way to write a file under a temporary name and rename "
            "it in one step, so a failure could leave a truncated object",
            operation="open",
            where=f"{protocol}://",
            hint="write to s3://, gs://, a directory, ftp:// or sftp://, and move it on with the service's own tool",
        )


def there(dialect: Dialect, fs: Any, path: str) -> Mapping[str, Any] | None:
    """What is at a path, or ``None``."""
    try:
        return dialect.info(fs, path)
    except (FileNotFoundError, NotFoundError):
        return None
