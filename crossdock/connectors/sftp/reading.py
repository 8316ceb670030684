"""Reading one file as an object, through one handle: what replaces the file meanwhile is not even seen.

A file that is changed in place is found, before the last piece is handed out, by the size and time of its handle. Times have
seconds: a change in place within the second of the last one, to the same size, shows nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from crossdock.connectors.sftp import files
from crossdock.connectors.sftp.errors import translated
from crossdock.connectors.sftp.session import Session
from crossdock.connectors.sftp.state import version_of
from crossdock.errors import PreconditionError
from crossdock.model import ByteRange, ObjectInfo
from crossdock.ports import Chunk

__all__ = ["SFTPReader"]


class SFTPReader:
    """An open handle and the range wanted of it; see ``ports.ObjectReader``. For one thread, to be read once."""

    def __init__(
        self,
        session: Session,
        handle: bytes,
        info: ObjectInfo,
        wanted: ByteRange | None,
        *,
        where: str,
        done: Callable[[], None],
    ) -> None:
        self.info = info
        self._session, self._handle, self._done = session, handle, done
        self._left = len(wanted) if wanted else 0
        self._where = where
        self._closed = True  # until there is something to close
        start, end = (wanted.start, wanted.end) if wanted else (0, 0)
        self._ahead = files.Ahead(session, handle, start, end)
        self._closed = False

    def __iter__(self) -> Iterator[Chunk]:
        try:
            pieces = iter(self._ahead)
            while self._left:
                with translated("read", self._where, self.info.key):
                    piece = next(pieces, b"")
                    self._left -= len(piece)
                    if not self._left or not piece:
                        self._demand_unchanged(ended=not piece)
                yield piece
        finally:
            self.close()

    def read_all(self) -> Chunk:
        """All that is left, in one piece; takes its size in memory and 2 MiB."""
        data, at = bytearray(self._left), 0
        for piece in self:
            data[at : at + len(piece)] = piece
            at += len(piece)
        return data

    def close(self) -> None:
        """Close the handle; twice is fine."""
        if not self._closed:
            self._closed = True
            files.close(self._session, self._handle)
            self._done()

    def __del__(self) -> None:
        self.close()

    def _demand_unchanged(self, *, ended: bool) -> None:
        now = files.fstat(self._session, self._handle)
        if ended or version_of(now.size, now.mtime) != self.info.version:
            raise PreconditionError("the file was changed while it was read", hint="read it again")
