"""Reading over the signed HTTP route: keys obstore would bend, and servers it refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from crossdock.connectors.native import quoted
from crossdock.connectors.s3.client import Client
from crossdock.connectors.s3.errors import translated
from crossdock.connectors.s3.headers import info_of
from crossdock.errors import ConnectionLostError, IntegrityError, PreconditionError, RangeError
from crossdock.model import MIB, ByteRange, ObjectInfo, Version
from crossdock.ports import Chunk

__all__ = ["SignedReader", "demand_version", "open_signed"]

_CHUNK = MIB
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class SignedReader:
    """One answer of a signed GET: see ``ports.ObjectReader``. For one thread, to be read once."""

    def __init__(self, response: Any, info: ObjectInfo, *, skip: int, length: int, where: str) -> None:
        self.info = info
        self._response = response
        self._skip, self._length = skip, length
        self._where = where

    def __iter__(self) -> Iterator[Chunk]:
        """Chunks of at most 1 MiB; a body that ends early raises ``ConnectionLostError``."""
        left_to_skip, left = self._skip, self._length
        while left:
            with translated("read", self._where, self.info.key):
                chunk = self._response.read(min(_CHUNK, left_to_skip or left), decode_content=False)
            if not chunk:
                raise ConnectionLostError(
                    f"the body ended {left} of {self._length} bytes early",
                    operation="read",
                    where=self._where,
                    key=self.info.key,
                )
            if left_to_skip:
                left_to_skip -= len(chunk)
                continue
            left -= len(chunk)
            yield chunk
        self._finish()

    def read_all(self) -> Chunk:
        """All bytes in one chunk; memory is their length and one chunk more, never twice their length."""
        data, at = bytearray(self._length), 0
        for chunk in self:
            data[at : at + len(chunk)] = chunk
            at += len(chunk)
        return data

    def _finish(self) -> None:
        """Give the connection back if the answer is read to its end; what is left of it is not worth reading."""
        with translated("read", self._where, self.info.key):
            if self._response.length_remaining:
                self._response.close()
            else:
                self._response.read()
            self._response.release_conn()

    def close(self) -> None:
        """Drop the connection unless the body was read to its end."""
        if self._response.length_remaining != 0:
            self._response.close()
        self._response.release_conn()


def open_signed(
    client: Client, key: str, byte_range: ByteRange | None, version: Version, *, checksums: bool
) -> SignedReader:
    """One GET, pinned by If-Match, and checked: not every server honours what it was asked.

    A server that answers a range with 200 either sends the range (and says so in Content-Range) or the whole object,
    of which the bytes before the range are read and dropped.
    """
    headers = {"x-amz-checksum-mode": "ENABLED"}
    if byte_range is not None:
        headers["Range"] = f"bytes={byte_range.start}-{byte_range.end - 1}"
    if version.etag is not None:
        headers["If-Match"] = quoted(version.etag)
    response = client.open("read", key, headers=headers)
    try:
        size, skip, length = _extent(response, byte_range, where=client.where, key=key)
        info = info_of(key, size, response.headers, checksums=checksums)
        demand_version(info, version, operation="read", where=client.where)
    except BaseException:
        response.close()
        raise
    return SignedReader(response, info, skip=skip, length=length, where=client.where)


def demand_version(info: ObjectInfo, version: Version, *, operation: str, where: str) -> None:
    """Compare what answered with what was asked for: some servers ignore If-Match.

    Raises:
        PreconditionError: Another version answered.
    """
    if version.etag is not None and info.version.etag != version.etag:
        raise PreconditionError(
            "the object was replaced", operation=operation, where=where, key=info.key, hint="list again"
        )


def _extent(response: Any, byte_range: ByteRange | None, **place: Any) -> tuple[int, int, int]:
    """Whole size, bytes to drop and bytes to pass on, from honest headers only."""
    length = response.headers.get("content-length", "")
    if not length.isdigit():
        raise ConnectionLostError("the answer has no Content-Length", operation="read", **place)
    said = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    if byte_range is None:
        return int(length), 0, int(length)
    if said is None:
        if response.status == 206:
            raise IntegrityError("a partial answer without Content-Range", operation="read", **place)
        size = int(length)
        if byte_range.start >= size:
            raise RangeError("the range starts after the last byte", operation="read", **place)
        return size, byte_range.start, min(byte_range.end, size) - byte_range.start
    start, end, size = int(said[1]), int(said[2]) + 1, int(said[3])
    if start != byte_range.start or end != min(byte_range.end, size) or int(length) != end - start:
        raise IntegrityError(f"the server answered another range: {said[0]}", operation="read", **place)
    return size, 0, end - start
