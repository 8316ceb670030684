"""A stored object as a file to seek in, each read one ranged request, all pinned to one version.

For readers that know what they want (a Parquet footer, the columns of a row group): what is not asked for is not fetched.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any, Self

from crossdock.events import BytesRead, emit
from crossdock.model import MIB, ByteRange, ObjectInfo
from crossdock.ports import ObjectStore

__all__ = ["RangedFile", "coalesced"]

GAP_BYTES = MIB // 4
"""Two ranges this close are one request: at 50 MB/s that much takes as long as a short round trip."""


class RangedFile(io.RawIOBase):
    """Reads by range. Not thread-safe.

    One request for each read, none for what ``fetch`` brought. Memory: what is read, and what was fetched last. An error says
    that it is the source's.
    """

    def __init__(self, store: ObjectStore, info: ObjectInfo, *, size: int) -> None:
        super().__init__()
        self.info = info
        self._store = store
        self._size = size
        self._at = 0
        self._fetched: list[tuple[ByteRange, memoryview]] = []

    @classmethod
    def of(cls, stream: Any) -> Self | None:
        """Over the object of a byte stream; ``None`` if ranges of one version cannot be had. One HEAD unless a listing told of it."""
        store = getattr(stream, "store", None)
        if store is None or not (store.capabilities.ranged_reads and store.capabilities.pinned_reads):
            return None
        try:
            key = getattr(stream, "key", None)
            info = getattr(stream, "known", None) or (store.stat(key) if key is not None else stream.info)
        except Exception as error:
            error.phase = "source"  # type: ignore[attr-defined] # whose failure it is, for who asks
            raise
        return cls(store, info, size=info.size) if info.size is not None and info.version else None

    def fetch(self, ranges: Iterable[ByteRange]) -> None:
        """Bring ranges in as few requests as make sense; what an earlier call brought is let go."""
        self._fetched = []
        for each in coalesced(ranges):
            self._fetched.append((each, memoryview(self._request(each))))

    def _request(self, byte_range: ByteRange) -> Any:
        try:
            reader = self._store.read(self.info.key, byte_range, version=self.info.version)
            try:
                data = reader.read_all()
            finally:
                reader.close()
        except Exception as error:
            error.phase = "source"  # type: ignore[attr-defined]
            raise
        emit(BytesRead(bytes=len(byte_range)))
        return data

    def read(self, size: int = -1, /) -> bytes:
        """``size`` bytes, fewer only at the end."""
        end = self._size if size < 0 else min(self._at + size, self._size)
        if end <= self._at:
            return b""
        wanted = ByteRange(self._at, end)
        self._at = end
        for held, data in self._fetched:
            if held.start <= wanted.start and wanted.end <= held.end:
                return bytes(data[wanted.start - held.start : wanted.end - held.start])
        return bytes(self._request(wanted))

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Where the next read starts; costs nothing."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        """Where the next read starts."""
        return self._at

    def size(self) -> int:
        """The object's."""
        return self._size

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def close(self) -> None:
        """Let go of what was fetched; twice is fine."""
        self._fetched = []
        super().close()


def coalesced(ranges: Iterable[ByteRange], gap_bytes: int = GAP_BYTES) -> list[ByteRange]:
    """The same bytes in fewer ranges, in order: neighbours closer than ``gap_bytes`` become one."""
    merged: list[ByteRange] = []
    for each in sorted(ranges):
        if merged and each.start <= merged[-1].end + gap_bytes:
            merged[-1] = ByteRange(merged[-1].start, max(merged[-1].end, each.end))
        else:
            merged.append(each)
    return merged
