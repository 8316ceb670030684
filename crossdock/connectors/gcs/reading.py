"""Reading over the JSON API: for keys that obstore cannot address, and whatever else needs the exact headers.

Stored bytes always: ``Accept-Encoding: gzip`` keeps GCS from decompressing what is stored with
``Content-Encoding: gzip`` (https://docs.cloud.google.com/storage/docs/transcoding), and urllib3 does not decode.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Iterator

from urllib3.response import BaseHTTPResponse

from crossdock.connectors.gcs.client import Client
from crossdock.connectors.gcs.errors import Place
from crossdock.connectors.gcs.resources import quoted
from crossdock.errors import ConnectionLostError
from crossdock.model import MIB, ByteRange, Digests, ObjectInfo, Version
from crossdock.ports import Chunk

__all__ = ["JsonReader", "open_media"]

_CHUNK_BYTES = MIB
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


def open_media(
    client: Client, place: Place, bucket: str, key: str, byte_range: ByteRange | None, generation: str | None
) -> JsonReader:
    """Open an object, or a range of it, at one generation. One request; the connection is held until read or closed.

    Raises:
        ConnectionLostError: The answer is not the range that was asked for.
    """
    target = f"/storage/v1/b/{quoted(bucket)}/o/{quoted(key)}?alt=media"
    if generation is not None:
        target += f"&generation={generation}"
    headers = {"Accept-Encoding": "gzip"}
    if byte_range is not None:
        headers["Range"] = f"bytes={byte_range.start}-{byte_range.end - 1}"
    answer = client.open(place, "GET", target, headers=headers, accept=(200, 206))
    try:
        size, length = _extent(answer, byte_range, place)
    except BaseException:
        answer.close()
        raise
    info = ObjectInfo(
        key=key,
        size=size,
        version=Version(generation=answer.headers.get("x-goog-generation", generation)),
        digests=_digests(answer),
        storage_class=answer.headers.get("x-goog-storage-class"),
    )
    return JsonReader(client, place, answer, info, length)


def _extent(answer: BaseHTTPResponse, byte_range: ByteRange | None, place: Place) -> tuple[int, int]:
    """Size of the whole object and of what comes; checks that it is what was asked for."""
    stored = answer.headers.get("x-goog-stored-content-length")
    if answer.status == 206:
        found = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
        if found is None or byte_range is None:
            raise _wrong(place, "a part of the object came without saying which")
        start, end, size = int(found[1]), int(found[2]) + 1, int(found[3])
        if (start, end) != (byte_range.start, min(byte_range.end, size)):
            raise _wrong(
                place, f"bytes {start} to {end} came, {byte_range.start} to {byte_range.end} were asked for"
            )
        return size, end - start
    length = answer.headers.get("content-length")
    told = stored if stored is not None else length
    if told is None:
        raise _wrong(place, "the answer does not say how long the object is")
    size = int(told)
    if byte_range is not None and (byte_range.start > 0 or byte_range.end < size):
        raise _wrong(place, "the whole object came where a range was asked for")
    if length is not None and int(length) != size:
        raise _wrong(place, f"{length} bytes come, {size} are stored")
    return size, size


def _wrong(place: Place, cause: str) -> ConnectionLostError:
    return ConnectionLostError(cause, operation=place.operation, where=place.where, key=place.key)


def _digests(answer: BaseHTTPResponse) -> Digests:
    """Digests of the whole stored object, from ``x-goog-hash``; several headers come joined by commas."""
    pairs = (item.strip().partition("=") for item in answer.headers.get("x-goog-hash", "").split(","))
    published = {name: a2b_base64(value) for name, _, value in pairs if name in ("crc32c", "md5")}
    return Digests(crc32c=published.get("crc32c"), md5=published.get("md5"))


class JsonReader:
    """The bytes of one answer. Not thread-safe.

    ``info.metadata`` stays ``None``: a download shows an absent Content-Type as application/octet-stream and no user
    metadata, so only a listing or ``stat`` tells it exactly.
    """

    def __init__(
        self, client: Client, place: Place, answer: BaseHTTPResponse, info: ObjectInfo, length: int
    ) -> None:
        self.info = info
        self._client = client
        self._place = place
        self._answer = answer
        self._left = length

    def __iter__(self) -> Iterator[Chunk]:
        """Chunks of at most 1 MiB; raises rather than ending early."""
        while self._left:
            yield self._take(min(_CHUNK_BYTES, self._left))
        self.close()

    def read_all(self) -> Chunk:
        """All bytes that are left."""
        data = self._take(self._left) if self._left else b""
        self.close()
        return data

    def close(self) -> None:
        """Give the connection back, or drop it if bytes are left on it."""
        if self._left:
            self._answer.close()
        else:
            self._answer.drain_conn()  # an empty body must be read too before the connection can be used again
        self._answer.release_conn()

    def _take(self, size: int) -> bytes:
        with self._client.translated(self._place):
            data = self._answer.read(size, decode_content=False)
        if not data or (len(data) < size and len(data) < self._left and size == self._left):
            self.close()
            raise _wrong(self._place, f"the answer ended {self._left - len(data)} bytes early")
        self._left -= len(data)
        return data
