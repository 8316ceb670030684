"""Bytes on their way out of an encoder: a byte stream of unknown length that every object sink takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

from crossdock.errors import ConfigError
from crossdock.model import Metadata, ObjectInfo
from crossdock.ports import Chunk, ObjectStore

__all__ = ["Collector", "Outgoing"]


class Outgoing:
    """Chunks made as they are pulled, once, in order. Not thread-safe; memory: what one step of the encoder makes.

    An end that is no end is an error: closed in the middle, it raises instead of stopping short.
    """

    store: ObjectStore | None = None

    def __init__(
        self,
        chunks: Iterator[Chunk],
        *,
        name: str | None = None,
        content_type: str | None = None,
        close: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self.info = ObjectInfo(key="", size=None, metadata=Metadata(content_type=content_type))
        self._chunks = chunks
        self._close = close
        self._rest = b""
        self._closed = False

    def __iter__(self) -> Iterator[Chunk]:
        while (chunk := self._next()) is not None:
            yield chunk

    def _next(self) -> Chunk | None:
        """The next chunk that is not empty."""
        if self._closed:
            raise ConfigError("the stream is closed", operation="encode", hint="call the encoder again")
        for chunk in self._chunks:
            if len(chunk):
                return chunk
        return None

    def read(self, size: int = -1, /) -> bytes:
        """``size`` bytes, fewer only at the end (all that is left if negative)."""
        pieces = [self._rest]
        held = len(self._rest)
        while size < 0 or held < size:
            chunk = self._next()
            if chunk is None:
                break
            pieces.append(bytes(chunk))
            held += len(chunk)
        data = b"".join(pieces)
        cut = len(data) if size < 0 else min(size, len(data))
        self._rest = data[cut:]
        return data[:cut]

    def readable(self) -> bool:
        """For foreign readers that ask."""
        return True

    @property
    def closed(self) -> bool:
        """Whether nothing more is to be read."""
        return self._closed

    def close(self) -> None:
        """Abandon what was not made yet and close what it is made from; twice is fine."""
        if self._closed:
            return
        self._closed = True
        close: Any = getattr(self._chunks, "close", None)
        try:
            if close is not None:
                close()
        finally:
            if self._close is not None:
                self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Collector:
    """What a foreign writer takes for a file: keeps what is written until it is taken.

    Once abandoned it is dead: a writer that finishes late (Parquet's and ORC's do so when they are collected as garbage) writes
    into nothing. It does not raise then, because an exception there ends the process (ORC).
    """

    def __init__(self) -> None:
        self.closed = False
        self._pieces: list[bytes] = []
        self._written = 0
        self._dead = False

    def write(self, data: Any) -> int:
        """Keep some bytes."""
        piece = bytes(data)  # the writer's own memory, which it will use again
        if not self._dead:
            self._pieces.append(piece)
        self._written += len(piece)
        return len(piece)

    def take(self) -> bytes:
        """What was written since the last time, in one piece."""
        pieces, self._pieces = self._pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def abandon(self) -> None:
        """Nothing that is written from now on leads anywhere."""
        self._dead = True
        self._pieces = []

    def tell(self) -> int:
        """How much was written."""
        return self._written

    def flush(self) -> None:
        """Everything is here already."""

    def close(self) -> None:
        """The writer is done; what it wrote can still be taken."""

    def readable(self) -> bool:
        """It is not."""
        return False

    def writable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is not."""
        return False
