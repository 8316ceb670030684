"""A source's store that breaks, or is changed, at a moment a test chooses: a layer over any store, so for every kind of source.

It is never the endpoint of a sink: bytes pass through the writer, and not inside the service.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from crossdock.connectors.layer import Layer
from crossdock.errors import ConnectionLostError, Retry
from crossdock.model import NO_VERSION, ByteRange, ObjectInfo, Version
from crossdock.ports import Chunk, ObjectReader, ObjectStore

__all__ = ["MeddledStore"]


class MeddledStore(Layer):
    """A layer that breaks reads, or does something while they are open.

    Args:
        inner: The real store, with its layers.
        on_read: Called with the key when a read is open and before its first byte is taken.
        dies_at: The offset in the object behind which no byte comes, but an error that is not retried.
    """

    def __init__(
        self, inner: ObjectStore, *, on_read: Callable[[str], None] | None = None, dies_at: int | None = None
    ) -> None:
        super().__init__(inner)
        self.on_read, self.dies_at = on_read, dies_at
        self.fired = 0

    @property
    def endpoint(self) -> str:
        """Nobody else's."""
        return f"meddled {self.inner.endpoint}"

    def part_sizes(self, info: ObjectInfo, *, every: bool = False) -> tuple[int, ...] | None:
        """The inner store's, if it has such a verb."""
        ask = getattr(self.inner, "part_sizes", None)
        sizes: tuple[int, ...] | None = None if ask is None else ask(info, every=every)
        return sizes

    def read(
        self, key: str, byte_range: ByteRange | None = None, *, version: Version = NO_VERSION
    ) -> ObjectReader:
        """The inner store's, and then what was asked for."""
        reader = self.inner.read(key, byte_range, version=version)
        if self.on_read is not None:
            self.fired += 1
            self.on_read(key)
        start = byte_range.start if byte_range is not None else 0
        end = byte_range.end if byte_range is not None else reader.info.size or 0
        if self.dies_at is not None and start <= self.dies_at < end:
            return _DyingReader(reader, self, self.dies_at - start)
        return reader


class _DyingReader:
    def __init__(self, reader: ObjectReader, store: MeddledStore, left: int) -> None:
        self._reader, self._store, self._left = reader, store, left

    @property
    def info(self) -> ObjectInfo:
        return self._reader.info

    def __iter__(self) -> Iterator[Chunk]:
        left = self._left
        for chunk in self._reader:
            view = memoryview(chunk).cast("B")
            if left:
                yield view[:left]
            left -= min(left, len(view))
            if not left:
                break
        self._store.fired += 1
        raise ConnectionLostError(
            "the source died", operation="read", where=self._store.url, retry=Retry.NEVER
        )

    def read_all(self) -> Chunk:
        return b"".join(bytes(chunk) for chunk in self)

    def close(self) -> None:
        self._reader.close()
