"""Bytes on their way into a decoder, whatever they come from; read once, in order, or by ranges where the store can.

Nothing is opened before the first byte is asked for. Memory: one chunk, and what ``peek`` looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import IO, Any

from crossdock.errors import ConfigError
from crossdock.formats.ranged import RangedFile
from crossdock.formats.spool import spooled
from crossdock.model import MIB, ObjectInfo
from crossdock.ports import Chunk

__all__ = ["Incoming"]

_READ_BYTES = MIB
_SPOOL_BYTES = 32 * MIB
"""An object that must be read at random and offers no ranges is held in memory up to this size, above it in a file."""

_WHOLE_BYTES = MIB
"""An object up to this size is read in one request rather than by ranges."""


class Incoming:
    """What a decoder reads: chunks, a few bytes ahead of them, or a file to seek in. One consumer."""

    def __init__(self, value: Any, *, name: str | None = None) -> None:
        self._value = value
        self.name: str | None = name or getattr(value, "name", None)
        if not isinstance(self.name, str):  # a file's name may be a number
            self.name = None
        self._ahead: list[Chunk] = []
        self._chunks: Iterator[Chunk] | None = None
        self._file: IO[bytes] | None = None

    @classmethod
    def of(cls, value: Any) -> Incoming:
        """Take a byte stream, bytes, a file, or an iterable of bytes.

        Raises:
            ConfigError: It is none of these.
        """
        if isinstance(value, Incoming):
            return value
        if isinstance(value, bytes | bytearray | memoryview) or callable(getattr(value, "read", None)):
            return cls(value)
        if (
            hasattr(value, "__arrow_c_stream__")
            or not isinstance(value, Iterable)
            or isinstance(value, str | dict)
        ):
            raise ConfigError(
                f"a decoder takes bytes, not {type(value).__name__}",
                operation="decode",
                hint="give a byte stream, bytes, a file or an iterable of bytes",
            )
        return cls(value)

    @property
    def content_type(self) -> str | None:
        """What the object's metadata says; may open it."""
        info = getattr(self._value, "info", None)
        metadata = info.metadata if isinstance(info, ObjectInfo) else None
        return metadata.content_type if metadata else None

    def __iter__(self) -> Iterator[Chunk]:
        """The chunks that are left, in order."""
        while True:
            if self._ahead:
                yield self._ahead.pop(0)
                continue
            chunk = self._next()
            if chunk is None:
                return
            yield chunk

    def peek(self, size: int) -> bytes:
        """The first bytes that are left, without taking them; fewer only at the end."""
        while sum(map(len, self._ahead)) < size:
            chunk = self._next()
            if chunk is None:
                break
            self._ahead.append(chunk)
        return b"".join(self._ahead)[:size]

    def _next(self) -> Chunk | None:
        if self._chunks is None:
            self._chunks = _chunks_of(self._value)
        return next(self._chunks, None)

    def file(self) -> Any:
        """Something to seek in: ranges of the stored object, if nothing was read yet and its store has them.

        Otherwise everything is read now, into memory up to 32 MiB and above that into a temporary file in the task's
        scratch directory.
        """
        if isinstance(self._value, bytes | bytearray | memoryview) and self._chunks is None:
            import pyarrow as pa

            return pa.BufferReader(self._value)
        ranged = RangedFile.of(self._value) if self._chunks is None else None
        if ranged is not None and ranged.info.size is not None and ranged.info.size > _WHOLE_BYTES:
            return ranged
        self._file = spooled(_SPOOL_BYTES)
        for chunk in self:
            self._file.write(chunk)
        self._file.seek(0)
        return self._file

    def close(self) -> None:
        """Let go of the source and of the temporary file; twice is fine."""
        try:
            if self._file is not None:
                self._file.close()
        finally:
            close = getattr(self._value, "close", None)
            if close is not None:
                close()


def _chunks_of(value: Any) -> Iterator[Chunk]:
    if isinstance(value, bytes | bytearray | memoryview):
        if len(value):
            yield value
        return
    # Not isinstance(value, ByteStream): before Python 3.12 that asks for ``info``, which opens the object.
    if not hasattr(value, "store") and callable(getattr(value, "read", None)):
        while data := value.read(_READ_BYTES):
            yield data
        return
    for chunk in value:
        if not isinstance(chunk, bytes | bytearray | memoryview) and not hasattr(chunk, "__buffer__"):
            chunk = _as_memory(chunk)  # noqa: PLW2901 - the same bytes
        if len(chunk):
            yield chunk


def _as_memory(chunk: Any) -> memoryview:
    try:
        return memoryview(chunk).cast("B")
    except TypeError:
        raise ConfigError(
            f"a stream of bytes yielded {type(chunk).__name__}",
            operation="decode",
            hint="decode a stream of bytes; rows need no decoding",
        ) from None
