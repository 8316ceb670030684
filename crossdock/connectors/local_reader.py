"""Reading one file as an object: bytes of one state of it, or an error.

The descriptor stays on the file that was opened, so a replacement by rename is not even seen; a change in place is
found by comparing the file's state after each piece with the state it was opened in.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from crossdock.connectors.local_names import version_of
from crossdock.connectors.local_tree import translated
from crossdock.errors import PreconditionError
from crossdock.model import MIB, ByteRange, ObjectInfo
from crossdock.ports import Chunk

__all__ = ["LocalReader"]

CHUNK_SIZE_BYTES = MIB


class LocalReader:
    """An open file and the range wanted of it. Owns the descriptor; not thread-safe."""

    def __init__(self, descriptor: int, info: ObjectInfo, wanted: ByteRange | None, url: str) -> None:
        self.info = info
        self._descriptor: int | None = descriptor
        self._next, self._end = (wanted.start, wanted.end) if wanted else (0, 0)
        self._url = url

    def __iter__(self) -> Iterator[Chunk]:
        try:
            while self._next < self._end:
                yield self._piece(min(CHUNK_SIZE_BYTES, self._end - self._next))
        finally:
            self.close()

    def read_all(self) -> Chunk:
        """All that is left, in one piece."""
        try:
            return self._piece(self._end - self._next)
        finally:
            self.close()

    def close(self) -> None:
        """Close the file; twice is fine."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()

    def _piece(self, size: int) -> Chunk:
        """The next ``size`` bytes, proven to be of the state that ``info`` names."""
        if self._descriptor is None:
            raise ValueError("the reader is closed")
        buffer = bytearray(size)
        view, done = memoryview(buffer), 0
        with translated("read", self._url, self.info.key):
            while done < size:
                count = os.preadv(self._descriptor, [view[done:]], self._next + done)
                if count == 0:  # cut shorter; the comparison below says so
                    break
                done += count
            state = os.fstat(self._descriptor)
        if done < size or version_of(state) != self.info.version:
            raise PreconditionError(
                "the file was changed while it was read", operation="read", where=self._url, key=self.info.key
            )
        self._next += done
        return buffer
