"""Byte streams: what a source hands to a sink. Pulled, once, in order.

``ObjectStream`` is a stored object not yet opened: a sink may iterate it, read ranges of it in parallel through its
``store``, or copy it inside the service. ``PlainStream`` is anything else: a generator, a response body, bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Self

from crossdock.errors import ConfigError
from crossdock.events import BytesRead, emit
from crossdock.model import MIB, ObjectInfo
from crossdock.ports import ByteStream, Chunk, ObjectReader, ObjectStore

__all__ = ["ObjectStream", "PlainStream", "as_byte_stream"]


class _Pulled:
    """Reading as a file over iterating as a stream; keeps at most one chunk. Not thread-safe.

    It counts what it hands over, so that a half which stops early can be told from one that read everything.
    """

    def __init__(self) -> None:
        self._chunks: Iterator[Chunk] | None = None
        self._rest = memoryview(b"")
        self._pulled = 0
        self._closed = False

    def _pull(self) -> Iterator[Chunk]:
        raise NotImplementedError

    def _demand_open(self) -> None:
        """An end that is none would look like a short object.

        Raises:
            ConfigError: The stream was closed.
        """
        if self._closed:
            raise ConfigError(
                "the stream is closed", operation="read", hint="call the source again for another one"
            )

    def __iter__(self) -> Iterator[Chunk]:
        self._demand_open()
        for chunk in self._pull():
            self._demand_open()
            size = memoryview(chunk).nbytes
            self._pulled += size
            emit(BytesRead(bytes=size))
            yield chunk
        self._demand_open()

    def tell(self) -> int:
        """How many bytes were handed over so far."""
        return self._pulled - len(self._rest)

    def read(self, size: int = -1, /) -> bytes:
        """``size`` bytes, fewer only at the end, all that is left if negative: some foreign readers take less for the end."""
        self._demand_open()
        if self._chunks is None:
            self._chunks = iter(self)
        pieces: list[memoryview] = []
        wanted = size
        while wanted:
            if not self._rest:
                chunk = next(self._chunks, None)
                if chunk is None:
                    break
                self._rest = memoryview(chunk).cast("B")
            taken = self._rest if wanted < 0 else self._rest[:wanted]
            self._rest = self._rest[len(taken) :]
            pieces.append(taken)
            wanted -= len(taken) if wanted > 0 else 0
        return b"".join(pieces)

    def readable(self) -> bool:
        """For foreign readers that ask."""
        return True

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called: nothing more is to be read."""
        return self._closed

    def close(self) -> None:
        """Let go; twice is fine."""
        self._closed = True
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ObjectStream(_Pulled):
    """A stored object, opened when its info or its bytes are first asked for.

    With ``info`` from a listing nothing is asked twice; without it the first request (one GET) tells.
    """

    def __init__(self, store: ObjectStore, key: str, *, name: str, info: ObjectInfo | None = None) -> None:
        super().__init__()
        self.store: ObjectStore = store
        self.key = key
        self.name: str | None = name
        self._info = info
        self._reader: ObjectReader | None = None

    @property
    def known(self) -> ObjectInfo | None:
        """What is known of the object without asking: who reads ranges need not open the whole."""
        return self._info

    @property
    def info(self) -> ObjectInfo:
        """What is known of the object; opens it if nothing is."""
        if self._info is None:
            self._info = self.opened().info
        return self._info

    def opened(self) -> ObjectReader:
        """The one whole read of this stream, begun if it was not; pinned to the version known so far."""
        self._demand_open()
        if self._reader is None:
            if self._info is None:
                self._reader = self.store.read(self.key)
            else:
                self._reader = self.store.read(self.key, version=self._info.version)
        return self._reader

    def _pull(self) -> Iterator[Chunk]:
        reader = self.opened()
        try:
            yield from reader
        finally:
            reader.close()

    def close(self) -> None:
        """Give the connection back."""
        super().close()
        if self._reader is not None:
            self._reader.close()


class PlainStream(_Pulled):
    """Chunks from anywhere. Its length may be known or not; what comes is what is sent."""

    store: ObjectStore | None = None

    def __init__(self, chunks: Iterable[Chunk], *, info: ObjectInfo, name: str | None = None) -> None:
        super().__init__()
        self._source = chunks
        self.info = info
        self.name = name

    def _pull(self) -> Iterator[Chunk]:
        for chunk in self._source:
            if not isinstance(chunk, bytes | bytearray | memoryview) and not hasattr(chunk, "__buffer__"):
                try:
                    memoryview(chunk)
                except TypeError:
                    raise ConfigError(
                        f"a byte stream yielded {type(chunk).__name__}, not bytes",
                        operation="read",
                        hint="give a stitch_function that turns the first task's output into bytes",
                    ) from None
            if len(chunk):
                yield chunk

    def close(self) -> None:
        """Close what the chunks come from."""
        super().close()
        close = getattr(self._source, "close", None)
        if close is not None:
            close()


def as_byte_stream(value: Any) -> ByteStream:
    """Take what a first task may hand over: a stream, bytes, a file, an iterable of bytes.

    Raises:
        ConfigError: It is none of these.
    """
    if isinstance(value, ObjectStream | PlainStream):
        return value
    if isinstance(value, str):
        raise ConfigError("text is not bytes", operation="put", hint="encode it: text.encode('utf-8')")
    if isinstance(value, bytes | bytearray | memoryview):
        return PlainStream([value], info=ObjectInfo(key="", size=memoryview(value).nbytes))
    if isinstance(value, ByteStream):
        return value
    if callable(getattr(value, "read", None)):
        return PlainStream(_file_chunks(value), info=ObjectInfo(key="", size=None))
    if isinstance(value, Iterable) and not isinstance(value, dict):
        return PlainStream(value, info=ObjectInfo(key="", size=None))
    raise ConfigError(
        f"a sink takes a byte stream, not {type(value).__name__}",
        operation="put",
        hint="give a stitch_function that turns the first task's output into bytes or an iterable of bytes",
    )


def _file_chunks(file: Any) -> Iterator[Chunk]:
    try:
        while chunk := file.read(MIB):
            yield chunk
    finally:
        close = getattr(file, "close", None)
        if close is not None:
            close()
