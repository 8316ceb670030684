"""Reading over the signed HTTP route: keys that obstore would bend, and answers it refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from crossdock.connectors.azure.client import Client
from crossdock.connectors.azure.errors import translated
from crossdock.connectors.azure.headers import info_of, pin
from crossdock.errors import ConnectionLostError, IntegrityError
from crossdock.model import MIB, ByteRange, ObjectInfo, Version
from crossdock.ports import Chunk

__all__ = ["SignedReader", "open_signed"]

_CHUNK = MIB
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class SignedReader:
    """One answer of a signed GET: see ``ports.ObjectReader``. For one thread, to be read once."""

    def __init__(self, response: Any, info: ObjectInfo, length: int, *, where: str) -> None:
        self.info = info
        self._response = response
        self._left = length
        self._where = where

    def __iter__(self) -> Iterator[Chunk]:
        """Chunks of at most 1 MiB; a body that ends early raises ``ConnectionLostError``."""
        while self._left:
            with translated("read", self._where, self.info.key):
                chunk = self._response.read(min(_CHUNK, self._left), decode_content=False)
            if not chunk:
                raise ConnectionLostError(
                    f"the body ended {self._left} bytes early",
                    operation="read",
                    where=self._where,
                    key=self.info.key,
                )
            self._left -= len(chunk)
            yield chunk
        self.close()

    def read_all(self) -> Chunk:
        """All bytes in one chunk; memory is their length and one chunk more, never twice their length."""
        data, at = bytearray(self._left), 0
        for chunk in self:
            data[at : at + len(chunk)] = chunk
            at += len(chunk)
        return data

    def close(self) -> None:
        """Give the connection back if the answer is read to its end, else drop it."""
        if self._left:
            self._response.close()
        else:
            self._response.drain_conn()  # an empty body must be read too before the connection can be used again
        self._response.release_conn()


def open_signed(client: Client, key: str, byte_range: ByteRange | None, version: Version) -> SignedReader:
    """One GET, pinned by If-Match; the answer's range is compared with what was asked for."""
    headers = pin(version, "If-Match", operation="read", where=client.where, key=key)
    if byte_range is not None:
        headers["x-ms-range"] = f"bytes={byte_range.start}-{byte_range.end - 1}"
    response = client.open("read", key, headers=headers)
    try:
        size, length = _extent(response, byte_range, where=client.where, key=key)
        info = info_of(key, size, response.headers, is_range=response.status == 206)
    except BaseException:
        response.close()
        raise
    return SignedReader(response, info, length, where=client.where)


def _extent(response: Any, byte_range: ByteRange | None, **place: Any) -> tuple[int, int]:
    """Whole size, and how many bytes come."""
    length = response.headers.get("content-length", "")
    if not length.isdigit():
        raise ConnectionLostError("the answer has no Content-Length", operation="read", **place)
    if byte_range is None:
        return int(length), int(length)
    said = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    if response.status != 206 or said is None:
        raise ConnectionLostError(
            "the whole object came where a range was asked for", operation="read", **place
        )
    start, end, size = int(said[1]), int(said[2]) + 1, int(said[3])
    if start != byte_range.start or end != min(byte_range.end, size) or int(length) != end - start:
        raise IntegrityError(f"the server answered another range: {said[0]}", operation="read", **place)
    return size, end - start
