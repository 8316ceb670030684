"""An embedded S3: moto's service behind our own server, made strict and byte-exact.

moto [5.2] knows S3's operations, conditional writes and listings well, but its server closes every connection, loses
keys that a URL router dislikes, keeps one namespace for the whole process and checks no digest. Here moto is only the
service: our server carries it (keep-alive, faults, raw paths), each `EmbeddedS3` has its own buckets, and

- **keys are exact**: ``a//b``, ``/a``, ``a/``, ``a/./b``, ``a/../b``, ``.``, `` lead``, ``trail ``, ``a%2Fb``, ``a+b``,
  ``a#b?c``, ``*[x]``, emoji, newlines and control characters, for put, get, head, list (with ``encoding-type=url``), copy,
  delete and multipart; no router and no web framework is between, and moto takes the key from the raw path (not so the two
  operations whose documents name keys, bulk delete and the start of a multipart upload: XML has no control characters);
- **digests are checked**: ``Content-MD5``, ``x-amz-checksum-*`` (also in the trailer of an ``aws-chunked`` body) and a hexadecimal
  ``x-amz-content-sha256`` refuse wrong bytes with 400, and so do full-object checksums and ``x-amz-mp-object-size`` when a
  multipart upload is completed;
- **conditional writes are atomic**: everything but reads and parts runs under one lock; moto alone checks and writes in two steps.

What moto cannot do, still: it verifies no signature (an unsigned read is refused, an unsigned write is not); without ``encoding-type=url`` a listing with control
characters is no XML that a parser accepts (S3 has the same trouble); a completed multipart upload is held
twice in memory, as object and as parts; a listing sorts all keys for every page.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from xml.sax.saxutils import escape

from moto.s3.models import FakeDeleteMarker

from crossdock.testing.admin import PREFIX, admin_route, run_process
from crossdock.testing.rules import Faults
from crossdock.testing.s3_digests import DigestError, check_body, check_complete, check_xml
from crossdock.testing.s3_moto import Home, call_moto
from crossdock.testing.server import LoopbackServer
from crossdock.testing.wire import Request, Response, Route, decode_key

_REGION = "us-east-1"
_ACCOUNT = "123456789012"
_UNLOCKED = frozenset({"object.get", "object.stat", "part.put"})
_CODES = {
    400: "InvalidRequest",
    403: "AccessDenied",
    404: "NoSuchKey",
    409: "ConditionalRequestConflict",
    412: "PreconditionFailed",
    429: "SlowDown",
    500: "InternalError",
    503: "SlowDown",
}


@dataclass(frozen=True, slots=True)
class StoredS3Object:
    """One object as moto holds it; ``data`` is read when asked for, and belongs to this version of the key."""

    key: str
    size: int
    etag: str
    headers: dict[str, str]
    _record: Any

    @property
    def data(self) -> bytes:
        """All bytes."""
        return bytes(self._record.value)


class EmbeddedS3:
    """Amazon S3 in this process, on a free port of 127.0.0.1, path style, any credentials, region us-east-1.

    Args:
        buckets: Buckets to create; S3's names have at least three characters.
        faults: What shall go wrong; by default nothing, until rules are added to ``.faults``.
        port: 0 takes a free one.

    Example:
        >>> with EmbeddedS3(buckets=("landing",)) as s3:
        ...     sorted(s3.objects("landing"))
        []
    """

    def __init__(
        self, buckets: Sequence[str] = ("bucket",), faults: Faults | None = None, *, port: int = 0
    ) -> None:
        self.faults = faults if faults is not None else Faults()
        self._home = Home(_ACCOUNT, _REGION)
        self._lock = threading.Lock()
        self._server = LoopbackServer(self, self.faults, port)
        for name in buckets:
            self.create_bucket(name)

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port``, while the server runs."""
        return self._server.url

    def start(self) -> Self:
        """Listen; returns itself."""
        self._server.start()
        return self

    def stop(self) -> None:
        """Close every connection, wait for the threads and free the state: moto complains of what is not freed."""
        self._server.stop()
        with self._home.entered():
            self._home.dispose()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def create_bucket(self, name: str) -> None:
        """Create an empty bucket, not through HTTP."""
        with self._lock, self._home.entered():
            self._home.backend.create_bucket(name, _REGION)

    def bucket_names(self) -> list[str]:
        """Return the names of all buckets."""
        return sorted(self._home.backend.buckets)

    def objects(self, bucket: str) -> dict[str, StoredS3Object]:
        """Return the live objects by key, not through HTTP; to be looked at before the server stops."""
        with self._lock, self._home.entered():
            keys = self._home.backend.get_bucket(bucket).keys
            return {
                key: StoredS3Object(
                    key, record.size, record.etag.strip('"'), dict(record.response_dict), record
                )
                for key, record in keys.items()
                if not isinstance(record, FakeDeleteMarker)
            }

    def open_uploads(self, bucket: str) -> dict[str, str]:
        """Return multipart uploads nobody ended: upload id to key."""
        with self._lock, self._home.entered():
            multiparts = self._home.backend.get_bucket(bucket).multiparts
            return {upload_id: upload.key_name for upload_id, upload in multiparts.items()}

    def summaries(self, bucket: str) -> dict[str, dict[str, Any]]:
        """Return size and ETag of each object, for the admin route."""
        return {key: {"size": o.size, "etag": o.etag} for key, o in self.objects(bucket).items()}

    def route(self, request: Request) -> Route:
        """Find what a request means (the server calls it; see `crossdock.testing.wire.App`)."""
        if request.path.startswith(PREFIX):
            return admin_route(request, self)
        raw_bucket, _, raw_key = request.path[1:].partition("/")
        try:
            bucket, key = decode_key(raw_bucket), decode_key(raw_key)
        except ValueError:
            return Route("unknown", lambda r: self.error(r, 400))
        operation = _operation(request, bucket, key)
        return Route(operation, lambda r: self._run(r, operation, bucket, key), bucket, key)

    def error(self, request: Request, status: int) -> Response:
        """Make S3's error document for an injected status."""
        del request
        return _error(
            status, _CODES.get(status, "InternalError"), "Please reduce your request rate or try again."
        )

    def _run(self, request: Request, operation: str, bucket: str, key: str) -> Response:
        try:
            check_body(request)
            if operation == "objects.delete":
                check_xml(request)
            if operation in _UNLOCKED:
                return self._call(request, bucket, key)
            with self._lock:
                if operation == "upload.complete":
                    check_complete(request, lambda: self._parts(bucket, request.query.get("uploadId", "")))
                return self._call(request, bucket, key)
        except DigestError as error:
            return _error(400, error.code, str(error))

    def _parts(self, bucket: str, upload_id: str) -> dict[int, bytes]:
        """Read the parts of an open upload; nothing if moto will refuse the request anyway."""
        home = self._home.backend.buckets.get(bucket)
        upload = home.multiparts.get(upload_id) if home else None
        return {number: part.value for number, part in upload.parts.items()} if upload else {}

    def _call(self, request: Request, bucket: str, key: str) -> Response:
        with self._home.entered():
            try:
                status, headers, body = call_moto(request, bucket, key)
            except Exception as error:  # moto's bugs are answers of a broken server, not ends of ours
                return _error(500, "InternalError", f"moto: {type(error).__name__}: {error}")
        lengths = [int(value) for name, value in headers if name.lower() == "content-length"]
        kept = [(n, v) for n, v in headers if n.lower() not in {"content-length", "connection", "date"}]
        declared = lengths[0] if lengths and request.method == "HEAD" else None
        return Response(status, kept, (body,) if body else (), declared)


def _operation(request: Request, bucket: str, key: str) -> str:
    """Name the operation, in the words both embedded servers use."""
    query, method = request.query, request.method
    if not bucket:
        return "bucket.list"
    if key:
        if "uploadId" in query:
            return {
                "PUT": "part.put",
                "POST": "upload.complete",
                "GET": "upload.parts",
                "DELETE": "upload.abort",
            }.get(method, "unknown")
        if "uploads" in query:
            return "upload.begin"
        if "tagging" in query or "acl" in query:
            return "object.patch" if method in {"PUT", "DELETE"} else "object.stat"
        if method == "PUT" and "x-amz-copy-source" in request.headers:
            return "object.copy"
        return {
            "GET": "object.get",
            "HEAD": "object.stat",
            "PUT": "object.insert",
            "POST": "object.insert",
            "DELETE": "object.delete",
        }.get(method, "unknown")
    if method == "POST" and "delete" in query:
        return "objects.delete"
    if method == "GET" and not query.keys() & {
        "location",
        "versioning",
        "policy",
        "acl",
        "tagging",
        "uploads",
    }:
        return "object.list"
    if method == "GET" and "uploads" in query:
        return "upload.list"
    return {"PUT": "bucket.insert", "DELETE": "bucket.delete"}.get(method, "bucket.get")


def _error(status: int, code: str, message: str) -> Response:
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{escape(message)}</Message>'
        "<RequestId>crossdock</RequestId></Error>"
    )
    return Response.text(status, body, "application/xml")


if __name__ == "__main__":
    sys.exit(
        run_process(
            "python -m crossdock.testing.s3",
            lambda buckets, faults, port: EmbeddedS3(buckets, faults, port=port),
        )
    )
