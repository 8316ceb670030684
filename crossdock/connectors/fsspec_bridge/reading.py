"""Reading one file, or a range of it: exactly as many bytes as announced, of one state as far as that can be seen.

No filesystem of fsspec takes a condition with a read, so what it says of the file is compared before and after. That finds
a replacement that changed size, time or tag; one that changed none of them within the resolution of the server's clock
stays unseen, which is why ``pinned_reads`` is not claimed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from crossdock.connectors.fsspec_bridge.dialects import Bytes
from crossdock.connectors.fsspec_bridge.errors import translated
from crossdock.connectors.fsspec_bridge.filesystems import Filesystems, Lent
from crossdock.errors import ConnectionLostError, PreconditionError
from crossdock.model import MIB, ByteRange, ObjectInfo
from crossdock.ports import Chunk

__all__ = ["FsspecReader"]

CHUNK_SIZE_BYTES = MIB


class FsspecReader:
    """One open file and the filesystem borrowed for it, which goes back when the reader is closed. Not thread-safe."""

    def __init__(
        self,
        filesystems: Filesystems,
        lent: Lent,
        file: Bytes,
        info: ObjectInfo,
        wanted: ByteRange | None,
        *,
        look_again: Callable[[Lent], ObjectInfo],
    ) -> None:
        """``wanted`` is ``None`` for the whole file; ``look_again`` says what is there now."""
        self.info = info
        self._filesystems = filesystems
        self._lent: Lent | None = lent
        self._first = lent  # the one the file was opened through
        self._file = file
        self._whole = wanted is None
        self._left = len(wanted) if wanted is not None else info.size
        self._look_again = look_again

    def __iter__(self) -> Iterator[Chunk]:
        try:
            while True:
                data = self._piece(CHUNK_SIZE_BYTES)
                if not data:
                    break
                yield data
            self._demand_same()
        finally:
            self.close()

    def read_all(self) -> Chunk:
        """All that is left, in one piece."""
        return b"".join(bytes(chunk) for chunk in self)

    def close(self) -> None:
        """Close the file and give the filesystem back; twice is fine."""
        lent, self._lent = self._lent, None
        if lent is None:
            return
        try:
            with translated(
                "read", self._filesystems.shown, self.info.key, secrets=self._filesystems.secrets
            ):
                self._file.close()
            if lent is self._first:
                lent.unfit = lent.unfit or bool(getattr(self._file, "hung_up", False))
        except BaseException:
            lent.unfit = True
            raise
        finally:
            self._filesystems.give_back(lent)

    def __del__(self) -> None:
        self.close()

    def _piece(self, size: int) -> bytes:
        """The next bytes; empty only where the file ends as announced."""
        if self._lent is None:
            raise ValueError("the reader is closed")
        if self._left == 0 and not self._whole:
            return b""
        wanted = size if self._left is None or self._whole else min(size, self._left)
        data: bytes = self._ask(lambda: self._file.read(wanted))
        if not data:
            if self._left:
                raise self._wrong(
                    ConnectionLostError,
                    f"the file ended {self._left} bytes before the end that was announced",
                )
            return b""
        if self._left is not None:
            if len(data) > self._left and self._whole:
                raise self._wrong(PreconditionError, "the file grew while it was read")
            data = data[: self._left]
            self._left -= len(data)
        return data

    def _demand_same(self) -> None:
        if self._lent is None or not self.info.version:
            return
        self._ask(self._file.close)
        if getattr(self._file, "hung_up", False):  # in the middle of an answer: nothing can be asked over it
            self._lent.unfit = True
            self._filesystems.give_back(self._lent)
            self._lent = None
            self._lent = self._filesystems.borrow("read", self.info.key)
        lent = self._lent
        now = self._ask(lambda: self._look_again(lent))
        if (now.version, now.size) != (self.info.version, self.info.size):
            raise self._wrong(PreconditionError, "the file was replaced while it was read")

    def _ask(self, action: Callable[[], Any]) -> Any:
        try:
            with translated(
                "read", self._filesystems.shown, self.info.key, secrets=self._filesystems.secrets
            ):
                return action()
        except BaseException:
            if self._lent is not None:
                self._lent.unfit = True
            raise

    def _wrong(
        self, kind: type[ConnectionLostError | PreconditionError], cause: str
    ) -> ConnectionLostError | PreconditionError:
        return kind(cause, operation="read", where=self._filesystems.shown, key=self.info.key)
