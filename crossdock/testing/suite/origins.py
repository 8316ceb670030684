"""Stored objects that break while they are read: the source half of a sink's tests. Each fault proves that it fired.

``Origin`` is a memory store whose ``read`` goes wrong at one byte. It is never the endpoint of a sink, so that no service
copies inside and every byte passes through the writer.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from crossdock.connectors.layers import layered
from crossdock.connectors.memory import MemoryStore
from crossdock.connectors.objects import ObjectSource
from crossdock.errors import ConnectionLostError, Retry
from crossdock.model import NO_METADATA, NO_VERSION, ByteRange, Metadata, ObjectInfo, Version
from crossdock.ports import Chunk, ObjectReader

__all__ = ["FAULTS", "KEY", "Origin"]

KEY = "origin"
FAULTS = ("dies", "ends early", "flips", "is replaced")


class Origin(MemoryStore):
    """One object that can be read, and a fault at byte ``at`` of it.

    ``dies``: the connection is lost there, for good. ``ends early``: no error, just no more bytes, as of a client that
    does not count. ``flips``: one bit is wrong, in every read. ``is replaced``: when that byte is reached another object
    of the same size takes its place.
    """

    def __init__(
        self, data: bytes, *, metadata: Metadata = NO_METADATA, fault: str = "", at: int = 0
    ) -> None:
        super().__init__(f"origin-{uuid.uuid4().hex}")
        self.fault, self.at, self.fired = fault, at, 0
        self.put(KEY, data, metadata=metadata)

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("an origin stays where it is")

    @property
    def endpoint(self) -> str:
        """Nobody else's."""
        return f"origin {self.bucket}"

    def stream(self) -> Any:
        """The object as a source hands it over; nothing is opened."""
        return ObjectSource(layered(self))(KEY)

    def read(
        self, key: str, byte_range: ByteRange | None = None, *, version: Version = NO_VERSION
    ) -> ObjectReader:
        """See the port; the fault lies where ``at`` is in the range."""
        reader = super().read(key, byte_range, version=version)
        size = reader.info.size or 0
        start, end = (byte_range.start, min(byte_range.end, size)) if byte_range else (0, size)
        if self.fault and start <= self.at < max(end, 1):
            return _Broken(reader, self, self.at - start)
        return reader


class _Broken:
    """A reader that does what its origin's fault says after ``at`` of its bytes."""

    def __init__(self, reader: ObjectReader, origin: Origin, at: int) -> None:
        self._reader, self._origin, self._at = reader, origin, at

    @property
    def info(self) -> ObjectInfo:
        return self._reader.info

    def __iter__(self) -> Iterator[Chunk]:
        data = bytearray(self._reader.read_all())
        if self._at:
            yield bytes(data[: self._at])
        origin = self._origin
        origin.fired += 1
        if origin.fault == "dies":
            raise ConnectionLostError(
                "the source died", operation="read", where=origin.url, key=KEY, retry=Retry.NEVER
            )
        if origin.fault == "ends early":
            return
        if origin.fault == "flips":
            data[self._at] ^= 1
        if origin.fault == "is replaced" and origin.fired == 1:
            origin.put(KEY, bytes(self.info.size or 0))
        yield bytes(data[self._at :])

    def read_all(self) -> Chunk:
        return b"".join(bytes(chunk) for chunk in self)

    def close(self) -> None:
        self._reader.close()
