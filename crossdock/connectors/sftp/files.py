"""What one does with paths and handles of a server: one function, one or a few requests. Raises ``StatusError``.

Requests that do not depend on each other go out together, so that a round trip is paid for once.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from crossdock.connectors.sftp.errors import StatusError
from crossdock.connectors.sftp.session import Pending, Session
from crossdock.connectors.sftp.wire import (
    Attributes,
    Kind,
    Open,
    Status,
    set_mtime,
    set_size,
    text,
)
from crossdock.errors import ConnectionLostError, CrossdockError
from crossdock.model import MIB
from crossdock.ports import Chunk

__all__ = [
    "Ahead",
    "close",
    "fstat",
    "fsync",
    "look",
    "look_at_all",
    "look_through",
    "make_directory",
    "names",
    "open_to_read",
    "opened",
    "remove",
    "remove_directory",
    "rename_new",
    "replace",
    "touch",
    "truncate",
    "write_at",
]

_WINDOW_BYTES = 2 * MIB  # asked for ahead of the reader, or sent ahead of the server's word
_PLAIN = struct.pack(">I", 0)  # no attributes: the server's own


def look(session: Session, path: bytes) -> Attributes | None:
    """What is there, links not followed; ``None`` for nothing."""
    return next(look_at_all(session, [path]))


def look_at_all(session: Session, paths: Sequence[bytes]) -> Iterator[Attributes | None]:
    """The same of several paths, in one round trip; answers are judged as they are taken, in order."""
    pending = [session.request(Kind.LSTAT, text(path)) for path in paths]
    return (_attributes(answer) for answer in pending)


def look_through(session: Session, path: bytes) -> Attributes | None:
    """What is there, links followed: for the root, which is the user's choice."""
    return _attributes(session.request(Kind.STAT, text(path)))


def _attributes(pending: Pending) -> Attributes | None:
    try:
        return pending.result(Kind.ATTRS).attributes()
    except StatusError as error:
        if error.code != Status.NO_SUCH_FILE:
            raise
        return None


@contextmanager
def opened(session: Session, path: bytes, how: Open) -> Iterator[bytes]:
    """A handle, closed at the end of the block; a failure to close raises unless the block did."""
    handle = session.request(Kind.OPEN, text(path), struct.pack(">I", how), _PLAIN).result(Kind.HANDLE).text()
    try:
        yield handle
    except BaseException:
        with suppress(CrossdockError):  # the error in flight matters more
            session.request(Kind.CLOSE, text(handle))
        raise
    session.request(Kind.CLOSE, text(handle)).result(Kind.STATUS)


def open_to_read(session: Session, path: bytes) -> bytes:
    """A handle to read from; whoever asked closes it."""
    return (
        session.request(Kind.OPEN, text(path), struct.pack(">I", Open.READ), _PLAIN)
        .result(Kind.HANDLE)
        .text()
    )


def close(session: Session, handle: bytes) -> None:
    """Close a handle that was read from, without waiting for the answer."""
    with suppress(CrossdockError):  # a connection that is gone has closed it
        session.request(Kind.CLOSE, text(handle))


def fstat(session: Session, handle: bytes) -> Attributes:
    """What an open file is now."""
    return session.request(Kind.FSTAT, text(handle)).result(Kind.ATTRS).attributes()


def touch(session: Session, handle: bytes, seconds: int) -> None:
    """Set the time of change."""
    session.request(Kind.FSETSTAT, text(handle), set_mtime(seconds)).result(Kind.STATUS)


def truncate(session: Session, handle: bytes, size: int) -> None:
    """Set the size."""
    session.request(Kind.FSETSTAT, text(handle), set_size(size)).result(Kind.STATUS)


def fsync(session: Session, handle: bytes) -> None:
    """Wait for the server's disk, where the server offers that."""
    if b"fsync@openssh.com" in session.extensions:
        session.extended(b"fsync@openssh.com", text(handle)).result(Kind.STATUS)


def remove(session: Session, path: bytes) -> None:
    """Remove a file; one that is not there is fine."""
    _unless_gone(session.request(Kind.REMOVE, text(path)))


def remove_directory(session: Session, path: bytes) -> None:
    """Remove an empty directory; one that is not there is fine."""
    _unless_gone(session.request(Kind.RMDIR, text(path)))


def _unless_gone(pending: Pending) -> None:
    try:
        pending.result(Kind.STATUS)
    except StatusError as error:
        if error.code != Status.NO_SUCH_FILE:
            raise


def make_directory(session: Session, path: bytes, *, mode: int | None = None) -> None:
    """Make a directory."""
    attributes = _PLAIN if mode is None else struct.pack(">II", 4, mode)
    session.request(Kind.MKDIR, text(path), attributes).result(Kind.STATUS)


def replace(session: Session, old: bytes, new: bytes) -> None:
    """Rename over whatever file has the new name, in one step for everybody."""
    session.extended(b"posix-rename@openssh.com", text(old), text(new)).result(Kind.STATUS)


def rename_new(session: Session, old: bytes, new: bytes) -> None:
    """Give a file a name that nobody has; a hard link fails if the name is taken, whatever the server's rename does."""
    if b"hardlink@openssh.com" in session.extensions:
        session.extended(b"hardlink@openssh.com", text(old), text(new)).result(Kind.STATUS)
        remove(session, old)
    else:
        session.request(Kind.RENAME, text(old), text(new)).result(Kind.STATUS)


def names(session: Session, path: bytes) -> list[tuple[bytes, Attributes]]:
    """What is in a directory, in no order, without ``.`` and ``..``."""
    handle = session.request(Kind.OPENDIR, text(path)).result(Kind.HANDLE).text()
    found: list[tuple[bytes, Attributes]] = []
    try:
        while True:
            fields = session.request(Kind.READDIR, text(handle)).result(Kind.NAME)
            for _ in range(fields.number()):
                name = fields.text()
                fields.text()  # the line that ls -l would show
                attributes = fields.attributes()
                if name not in (b".", b".."):
                    found.append((name, attributes))
    except StatusError as error:
        if error.code != Status.EOF:
            raise
        return found
    finally:
        close(session, handle)


def write_at(session: Session, handle: bytes, data: Chunk, offset: int) -> None:
    """Write all of ``data``, many requests ahead of the server's word; every one of them must have succeeded."""
    view = memoryview(data).cast("B")
    waiting: deque[Pending] = deque()
    size = session.write_length
    for start in range(0, len(view), size):
        piece = bytes(view[start : start + size])
        waiting.append(
            session.request(Kind.WRITE, text(handle), struct.pack(">Q", offset + start), text(piece))
        )
        while len(waiting) * size > _WINDOW_BYTES:
            waiting.popleft().result(Kind.STATUS)
    while waiting:
        waiting.popleft().result(Kind.STATUS)


class Ahead:
    """The bytes of a range of an open file, asked for ahead and handed out in order. For one thread.

    Memory: 2 MiB. A server may answer with less than was asked for; the rest is asked for again, in its place.
    """

    def __init__(self, session: Session, handle: bytes, start: int, end: int) -> None:
        self._session, self._handle = session, handle
        self._next, self._end = start, end
        self._waiting: deque[tuple[int, int, Pending]] = deque()
        self._fill()

    def _fill(self) -> None:
        size = self._session.read_length
        while self._next < self._end and len(self._waiting) * size < _WINDOW_BYTES:
            length = min(size, self._end - self._next)
            self._waiting.append((self._next, length, self._asked(self._next, length)))
            self._next += length

    def _asked(self, offset: int, length: int) -> Pending:
        return self._session.request(Kind.READ, text(self._handle), struct.pack(">QI", offset, length))

    def __iter__(self) -> Iterator[bytes]:
        """Pieces in order; ends early only where the file does."""
        while self._waiting:
            offset, length, pending = self._waiting.popleft()
            try:
                data = pending.result(Kind.DATA).text()
            except StatusError as error:
                if error.code == Status.EOF:
                    return
                raise
            if not data or len(data) > length:
                raise ConnectionLostError(f"the server sent {len(data)} of {length} bytes of a read")
            if len(data) < length:
                rest = (offset + len(data), length - len(data))
                self._waiting.appendleft((*rest, self._asked(*rest)))
            self._fill()
            yield data
