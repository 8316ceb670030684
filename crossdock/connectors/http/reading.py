"""A body as it comes, counted: bytes of one version, of the range that was asked for, whole or an error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from crossdock.connectors.http.errors import translated
from crossdock.connectors.http.headers import Extent
from crossdock.errors import ConnectionLostError
from crossdock.model import MIB, ObjectInfo
from crossdock.ports import Chunk

__all__ = ["HTTPReader"]

_CHUNK = MIB


class HTTPReader:
    """One answer: see ``ports.ObjectReader``. For one thread, to be read once."""

    def __init__(self, response: Any, info: ObjectInfo, extent: Extent, *, where: str) -> None:
        self.info = info
        self._response = response
        self._skip, self._left = extent.skip, extent.length
        self._where = where

    def __iter__(self) -> Iterator[Chunk]:
        """Chunks of at most 1 MiB; a body that ends early raises ``ConnectionLostError``.

        A body of unknown length is chunked, and its last chunk is its end: without it urllib3 raises.
        """
        while self._skip:
            self._skip -= len(self._taken(min(_CHUNK, self._skip), self._skip))
        while self._left is None or self._left:
            chunk = self._taken(_CHUNK if self._left is None else min(_CHUNK, self._left), self._left)
            if not chunk:
                break
            if self._left is not None:
                self._left -= len(chunk)
            yield chunk
        self._finish()

    def read_all(self) -> Chunk:
        """All bytes in one chunk; memory is their length and one chunk more."""
        if self._left is None:
            return b"".join(bytes(chunk) for chunk in self)
        data, at = bytearray(self._left), 0
        for chunk in self:
            data[at : at + len(chunk)] = chunk
            at += len(chunk)
        return data

    def close(self) -> None:
        """Drop the connection unless the body was read to its end."""
        if self._left != 0 or self._response.length_remaining != 0:
            self._response.close()
        self._response.release_conn()

    def _taken(self, size: int, left: int | None) -> bytes:
        with translated("read", self._where, self.info.key):
            chunk: bytes = self._response.read(size, decode_content=False)
        if not chunk and left:
            self._response.close()
            raise ConnectionLostError(
                f"the body ended {left} bytes early",
                operation="read",
                where=self._where,
                key=self.info.key,
            )
        return chunk

    def _finish(self) -> None:
        """Give the connection back if the answer is read to its end; what is left of it is not worth reading."""
        with translated("read", self._where, self.info.key):
            if self._response.length_remaining:
                self._response.close()
            else:
                self._response.read()
            self._response.release_conn()
