"""``ReadOut``: one object's bytes, in order, pinned to one version and compared with what its store published of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from crossdock.connectors.digests import Hasher, choose_digests
from crossdock.connectors.published import compare, learn
from crossdock.connectors.registry import open_store
from crossdock.connectors.writer.ordered import OrderedHasher
from crossdock.errors import ConfigError, IntegrityError, RangeError
from crossdock.model import ByteRange, Digests, ObjectInfo, Verification
from crossdock.ports import Chunk

__all__ = ["ReadOut", "parse_range"]


class ReadOut:
    """One object, or a range of it, to be iterated once. Building it opens nothing.

    Memory: a chunk. Requests: one that asks for the object's state and one read; where only the ETag of an upload in parts is
    published, one or two that ask for the sizes of its parts. The bytes are handed out before the last of them is compared: who
    must not use wrong ones waits for the end.

    Args:
        url: The object's URL, its key byte for byte.
        start: First byte; negative counts from the end.
        stop: The byte after the last one; ``None`` for the end.
        options: Options of the store.

    Attributes:
        proof: After the end, the digest that the bytes were equal to; empty if there was none to compare, or for a range,
            of which no store publishes one.

    Raises:
        ConfigError: The URL names no object, or an option is wrong.
    """

    def __init__(
        self,
        url: str,
        *,
        start: int = 0,
        stop: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._store, self._key = open_store(url, options or {})
        if not self._key:
            raise ConfigError("the URL names no object", operation="read", where=url)
        if stop is not None and not 0 <= start < stop:
            raise ConfigError(f"[{start}, {stop}) is not a range", operation="read", where=url)
        self._start, self._stop = start, stop
        self.proof = ""

    def __iter__(self) -> Iterator[Chunk]:
        """Non-empty chunks in order.

        Raises:
            NotFoundError: There is no such object.
            PreconditionError: It was replaced while it was read.
            RangeError: The range starts after the last byte.
            IntegrityError: The bytes are not those that the store published, or not all of them.
        """
        info = self._store.stat(self._key)
        if (self._start, self._stop) != (0, None):
            yield from self._range(info)
            return
        known = learn(info, self._store, wanted=Verification.V2, in_parts=False)
        whole = Hasher(choose_digests(known.source.digests, frozenset(), frozenset()))
        by_part = OrderedHasher(known.parts, ["md5"]) if known.parts else None
        reader = self._store.read(self._key, version=info.version)
        try:
            for chunk in reader:
                if by_part is not None:
                    by_part.update(whole.size, memoryview(chunk))
                whole.update(chunk)
                yield chunk
        finally:
            reader.close()
        if info.size is not None and whole.size != info.size:
            raise IntegrityError(
                f"{whole.size} of {info.size} bytes came",
                operation="read",
                where=self._store.url,
                key=self._key,
            )
        stretches: list[Digests] = by_part.digests() if by_part is not None else []
        self.proof = compare(known, whole.digests(), stretches, self._store).proof

    def _range(self, info: ObjectInfo) -> Iterator[Chunk]:
        size = info.size
        if size is None:
            raise ConfigError(
                "its size is not known, so it has no ranges",
                operation="read",
                where=self._store.url,
            )
        start = self._start if self._start >= 0 else max(0, size + self._start)
        if start >= size:
            raise RangeError(
                f"byte {start} is behind the last of {size}",
                operation="read",
                where=self._store.url,
                key=self._key,
            )
        stop = size if self._stop is None else min(self._stop, size)
        reader = self._store.read(self._key, ByteRange(start, stop), version=info.version)
        try:
            yield from reader
        finally:
            reader.close()


def parse_range(text: str) -> tuple[int, int | None]:
    """``START-END`` (END not included), ``START-`` or ``-COUNT`` (the last so many) as ``start`` and ``stop``.

    Raises:
        ConfigError: It is none of these.
    """
    first, dash, last = text.partition("-")
    if (
        dash
        and (first or last)
        and text.isascii()
        and all(not each or each.isdecimal() for each in (first, last))
    ):
        if not first and int(last) > 0:
            return -int(last), None
        if first and (not last or int(last) > int(first)):
            return int(first), int(last) if last else None
    raise ConfigError(f"{text!r} is not a range", operation="read", hint="write 0-100, 100- or -100")
