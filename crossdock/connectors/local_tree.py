"""A directory tree entered without following links: descriptors, the error table, the walk in key order.

Every directory below the root is opened by ``dir_fd`` with ``O_NOFOLLOW``, so a symbolic link inside never leads out,
even if it is put there while we look. The root itself may be reached through links: it is the user's choice.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from crossdock.connectors.local_names import split, upload_id_of
from crossdock.errors import (
    ConnectionLostError,
    CrossdockError,
    DeniedError,
    NotFoundError,
    Retry,
    StorageError,
    UnexpectedError,
    UnsupportedError,
)

__all__ = ["Entry", "LocalTree", "locked", "translated"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF, errno.ENOSYS})

_ERRORS: dict[int, tuple[type[CrossdockError], str, str, Retry | None]] = {
    errno.ENOENT: (NotFoundError, "there is no such object", "", None),
    errno.ENOTDIR: (UnsupportedError, "a part of the path is not a directory", "", None),
    errno.EISDIR: (UnsupportedError, "a directory is in the way", "objects below it keep it", None),
    errno.ELOOP: (
        UnsupportedError,
        "this is a symbolic link, which is not followed",
        "name its target",
        None,
    ),
    errno.ENAMETOOLONG: (UnsupportedError, "the name is too long for this file system", "", None),
    errno.EINVAL: (UnsupportedError, "this file system refuses the name or the call", "", None),
    errno.EILSEQ: (UnsupportedError, "this file system refuses the name", "", None),
    errno.EFBIG: (UnsupportedError, "the file is too large for this file system", "", None),
    errno.ENOLCK: (UnsupportedError, "this file system has no locks", "", None),
    errno.EOPNOTSUPP: (UnsupportedError, "this file system cannot do this", "", None),
    errno.EACCES: (DeniedError, "permission denied", "check owner and mode", None),
    errno.EPERM: (DeniedError, "operation not permitted", "check owner, mode and mount options", None),
    errno.EROFS: (DeniedError, "the file system is mounted read-only", "", None),
    errno.ENOSPC: (StorageError, "no space left on the device", "free some space, then resume", None),
    errno.EDQUOT: (StorageError, "the disk quota is used up", "free some space, then resume", None),
    errno.EMFILE: (StorageError, "too many open files in this process", "raise ulimit -n", Retry.LATER),
    errno.ENFILE: (StorageError, "too many open files on this machine", "", Retry.LATER),
    errno.EIO: (StorageError, "the device reports an input/output error", "check the disk", None),
    errno.ESTALE: (ConnectionLostError, "the file server forgot this file", "", Retry.LATER),
    errno.ETIMEDOUT: (ConnectionLostError, "the file server does not answer", "", Retry.LATER),
}


@contextmanager
def translated(operation: str, where: str, key: str | None = None) -> Iterator[None]:
    """The one table from the system's errors to ours, for everything in the block.

    Our own errors pass; those raised without a place are given this one.
    """
    try:
        yield
    except CrossdockError as error:  # first, because NotFoundError is an OSError too
        if not error.operation:
            error.operation, error.where, error.key = operation, where, key
        raise
    except OSError as error:
        unknown = (UnexpectedError, error.strerror or str(error), "please report it", None)
        kind, cause, hint, retry = _ERRORS.get(error.errno or 0, unknown)
        raise kind(cause, operation=operation, where=where, key=key, hint=hint, retry=retry) from error


@dataclass(frozen=True, slots=True)
class Entry:
    """Something the walk met: a file, or the directory of an unfinished upload.

    ``directory`` is an open descriptor, good until the walk goes on; ``base`` is that directory's key prefix.
    """

    base: str
    name: str
    directory: int
    upload_id: str | None

    @property
    def key(self) -> str:
        """The file's key."""
        return self.base + self.name


class LocalTree:
    """The directories below one root. Holds no descriptor between calls, so it is thread-safe and picklable."""

    def __init__(self, root: str, url: str, *, fsync: bool) -> None:
        self.root = root
        self.url = url
        self._fsync = fsync

    @contextmanager
    def parent_of(self, operation: str, key: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
        """Open the directory that holds ``key``; yields its descriptor and the final name.

        System errors in the block become ours. With ``create`` missing directories are made (and stay).

        Raises:
            NotFoundError: A directory is missing or is a file, so there can be no such object.
            UnsupportedError: A segment is a link; or, with ``create``, a file is where a directory is needed.
        """
        directories, name = split(key)
        with translated(operation, self.url, key):
            descriptor = self.open_root(operation, create=create)
            try:
                for segment in directories:
                    inner = self._enter(operation, key, descriptor, segment, create=create)
                    os.close(descriptor)
                    descriptor = inner
                yield descriptor, name
            finally:
                os.close(descriptor)

    def open_root(self, operation: str, *, create: bool = False) -> int:
        """A descriptor of the root, which the caller closes.

        Raises:
            NotFoundError: It is missing (and not to be made), or not a directory.
        """
        root = Path(self.root)
        if create and not root.is_dir():
            with suppress(FileExistsError):  # a file, or a link that leads nowhere: opening it says so
                root.mkdir(parents=True, exist_ok=True)
        try:
            return os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError) as error:
            cause = "there is no such directory" if error.errno == errno.ENOENT else "this is not a directory"
            raise NotFoundError(cause, operation=operation, where=self.url) from error

    def _enter(self, operation: str, key: str, parent: int, segment: str, *, create: bool) -> int:
        try:
            return os.open(segment, _DIRECTORY, dir_fd=parent)
        except FileNotFoundError:
            if not create:
                raise
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            raise self._obstacle(operation, key, parent, segment, create=create) from error
        try:
            os.mkdir(segment, dir_fd=parent)
        except FileExistsError:  # another thread or process made it just now
            return os.open(segment, _DIRECTORY, dir_fd=parent)
        if self._fsync:  # or a crash of the machine loses the new directory with everything committed in it
            os.fsync(parent)
        return os.open(segment, _DIRECTORY, dir_fd=parent)

    def _obstacle(
        self, operation: str, key: str, parent: int, segment: str, *, create: bool
    ) -> CrossdockError:
        """Why a segment cannot be entered."""
        if stat.S_ISLNK(os.stat(segment, dir_fd=parent, follow_symlinks=False).st_mode):
            return UnsupportedError(
                f"{segment!r} is a symbolic link, which is not followed",
                operation=operation,
                where=self.url,
                key=key,
                hint="name the link's target as the root, or replace the link by a directory",
            )
        if not create:
            return NotFoundError(f"{segment!r} is a file", operation=operation, where=self.url, key=key)
        return UnsupportedError(
            f"{segment!r} is a file, and a directory cannot have the same name",
            operation=operation,
            where=self.url,
            key=key,
            hint="keys x and x/y cannot both be files: rename or filter one",
        )

    def walk(self, prefix: str = "", start_after: str | None = None) -> Iterator[Entry]:
        """Files in UTF-8 byte order of their keys, and unfinished uploads wherever they are met.

        Memory: the names of one directory at a time, for each level of the tree. Links and special files are passed
        over. Directories that vanish meanwhile count as emptied.

        Raises:
            UnsupportedError: A name is not UTF-8, so it is no key.
        """
        first = prefix.encode(errors="surrogatepass")
        after = b"" if start_after is None else start_after.encode(errors="surrogatepass")
        stack: list[tuple[int, bytes, Iterator[bytes]]] = []
        try:
            root = self.open_root("list")
            stack.append((root, b"", _names(root)))
            while stack:
                directory, base, names = stack[-1]
                name = next(names, None)
                if name is None:
                    os.close(stack.pop()[0])
                    continue
                path = base + name
                upload_id = upload_id_of(os.fsdecode(name[:-1])) if name.endswith(b"/") else None
                if upload_id is not None or (
                    not name.endswith(b"/") and path.startswith(first) and path > after
                ):
                    yield Entry(self._text(base), self._text(name.rstrip(b"/")), directory, upload_id)
                elif name.endswith(b"/") and _may_hold(path, first, after):
                    self._text(path)
                    inner = _open_if_there(name[:-1], directory)
                    if inner is not None:
                        stack.append((inner, path, _names(inner)))
        finally:
            for directory, _, _ in stack:
                os.close(directory)

    def _text(self, path: bytes) -> str:
        try:
            return path.decode()
        except UnicodeDecodeError as error:
            raise UnsupportedError(
                f"the file name {path!r} is not UTF-8, so it is no key",
                operation="list",
                where=self.url,
                hint="rename the file, or choose a prefix without it",
            ) from error


def _names(directory: int) -> Iterator[bytes]:
    """Files and directories of a directory, the latter with ``/``, so that sorting them sorts the keys."""
    with os.scandir(directory) as entries:
        names = [
            os.fsencode(entry.name) + (b"/" if entry.is_dir(follow_symlinks=False) else b"")
            for entry in entries
            if entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)
        ]
    yield from sorted(names)


def _may_hold(path: bytes, prefix: bytes, after: bytes) -> bool:
    """Whether keys that start with ``path`` can start with ``prefix`` and come behind ``after``."""
    return (path.startswith(prefix) or prefix.startswith(path)) and (path > after or after.startswith(path))


def _open_if_there(name: bytes, parent: int) -> int | None:
    try:
        return os.open(name, _DIRECTORY, dir_fd=parent)
    except FileNotFoundError:
        return None
    except NotADirectoryError:  # replaced by a file or a link since the directory was read
        return None


@contextmanager
def locked(descriptor: int, how: int = fcntl.LOCK_EX, *, required: bool = True) -> Iterator[None]:
    """Hold an advisory lock between the threads and processes that use this module.

    Args:
        descriptor: An open file or directory, not shared with another thread.
        how: ``fcntl.LOCK_EX`` or ``fcntl.LOCK_SH``.
        required: Without it, a file system that has no locks is put up with.
    """
    try:
        fcntl.flock(descriptor, how)
    except OSError as error:
        if required or error.errno not in _NO_LOCKS:
            raise
        yield
        return
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
