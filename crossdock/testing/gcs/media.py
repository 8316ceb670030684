"""Sending an object's bytes, as both APIs do: ranges, hashes in headers, and decompressive transcoding.

GCS serves an object stored with ``Content-Encoding: gzip`` decompressed to clients that do not accept gzip; then a range
is ignored, the length is not told, and the hashes still are those of the stored bytes. Whoever copies objects has
to ask for the stored ones. https://docs.cloud.google.com/storage/docs/transcoding
"""

from __future__ import annotations

import base64
import re
import zlib
from datetime import datetime
from email.utils import formatdate

from crossdock.testing.gcs.errors import ApiError
from crossdock.testing.gcs.objects import StoredObject
from crossdock.testing.wire import Headers, Request, Response, header_text

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def media_response(request: Request, stored: StoredObject, *, shows_custom: bool) -> Response:
    """Answer a GET or HEAD for an object's bytes; 416 for a range that starts at or after the end."""
    headers = _headers(stored, shows_custom=shows_custom)
    meta = stored.metadata
    gzipped = (meta.content_encoding or "").lower() == "gzip"
    if gzipped and "gzip" not in request.headers.get("accept-encoding", "").lower():
        plain = None if "no-transform" in (meta.cache_control or "").lower() else _gunzip(stored)
        if plain is not None:
            headers += [("Warning", "214 UploadServer gunzipped"), ("Vary", "Accept-Encoding")]
            return Response(200, headers, (plain,), is_chunked=True)
    if meta.content_encoding is not None:
        headers.append(("Content-Encoding", header_text(meta.content_encoding)))
    span = _range(request.headers.get("range"), stored.size)
    status, (start, end) = (200, (0, stored.size)) if span is None else (206, span)
    if span is not None:
        headers.append(("Content-Range", f"bytes {start}-{end - 1}/{stored.size}"))
    if request.method == "HEAD":
        return Response(status, headers, declared_length=end - start)
    return Response(status, headers, tuple(stored.content.slice(start, end)))


def hash_headers(stored: StoredObject) -> Headers:
    """``x-goog-hash``, one header for each hash, as GCS sends it."""
    headers = [("x-goog-hash", f"crc32c={encode_crc32c(stored.crc32c)}")]
    if stored.md5 is not None:
        headers.append(("x-goog-hash", f"md5={base64.b64encode(stored.md5).decode()}"))
    return headers


def encode_crc32c(value: int) -> str:
    """Encode a CRC32C as Google does: big-endian, base64."""
    return base64.b64encode(value.to_bytes(4, "big")).decode()


def http_date(timestamp: str) -> str:
    """Print a timestamp of ours for an HTTP header."""
    return formatdate(datetime.fromisoformat(timestamp).timestamp(), usegmt=True)


def _headers(stored: StoredObject, *, shows_custom: bool) -> Headers:
    meta = stored.metadata
    headers: Headers = [
        ("Content-Type", header_text(meta.content_type or "application/octet-stream")),
        ("ETag", f'"{stored.etag}"'),
        ("Last-Modified", http_date(stored.updated)),
        ("Accept-Ranges", "bytes"),
        ("x-goog-generation", str(stored.generation)),
        ("x-goog-metageneration", str(stored.metageneration)),
        ("x-goog-storage-class", meta.storage_class),
        ("x-goog-stored-content-encoding", header_text(meta.content_encoding or "identity")),
        ("x-goog-stored-content-length", str(stored.size)),
        *hash_headers(stored),
    ]
    if stored.component_count is not None:
        headers.append(("x-goog-component-count", str(stored.component_count)))
    for name, value in (
        ("Cache-Control", meta.cache_control),
        ("Content-Disposition", meta.content_disposition),
        ("Content-Language", meta.content_language),
    ):
        if value is not None:
            headers.append((name, header_text(value)))
    if shows_custom:
        headers += [(header_text(f"x-goog-meta-{k}"), header_text(v)) for k, v in meta.custom.items()]
    return headers


def _gunzip(stored: StoredObject) -> bytes | None:
    """Decompress all members of a gzip file; None if it is none (GCS then sends what is stored)."""
    data, plain = stored.data, b""
    try:
        while data:
            member = zlib.decompressobj(wbits=31)
            plain += member.decompress(data) + member.flush()
            data = member.unused_data
    except zlib.error:
        return None
    return plain


def _range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the half-open range that a single ``Range`` asks for; None for the whole object."""
    match = _RANGE.fullmatch(header or "")
    if match is None or match.group(0) == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < int(first):
            return None  # not a range at all (RFC 9110, section 14.1.1): ignored
    if start >= size:
        raise ApiError(416, f"The requested range {header} cannot be satisfied for {size} bytes.")
    return start, end
