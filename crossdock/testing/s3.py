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

- **answers say what Amazon's say** (`crossdock.testing.s3_answers`): a checksum that was checked is echoed, GET and HEAD take
  ``partNumber``, uploads are listed in pages with their true age, and an upload that ended is gone; a bucket may encrypt with
  KMS, so that no ETag in it is an MD5.

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

from moto.s3.models import FakeDeleteMarker

from crossdock.testing.admin import PREFIX, admin_route, run_process
from crossdock.testing.rules import Faults
from crossdock.testing.s3_answers import NO_PART, NO_UPLOAD, completed, list_uploads, prepare, select_part
from crossdock.testing.s3_digests import DigestError, check_body, check_complete, check_xml
from crossdock.testing.s3_moto import Home, call_moto
from crossdock.testing.s3_words import injected_error, s3_error, s3_operation
from crossdock.testing.server import LoopbackServer
from crossdock.testing.wire import Request, Response, Route, decode_key

_REGION = "us-east-1"
_ACCOUNT = "123456789012"
_KMS = "aws:kms"
_OF_UPLOADS = frozenset({"part.put", "upload.complete", "upload.parts"})
_UNLOCKED = frozenset(
    {"object.stat", "part.put"}
)  # a read takes its bytes under the lock: moto empties what is replaced


@dataclass(frozen=True, slots=True)
class StoredS3Object:
    """One object as moto holds it: a snapshot, whose ``data`` stays what it was when the key is replaced."""

    key: str
    size: int
    etag: str
    headers: dict[str, str]
    data: bytes


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

    def create_bucket(self, name: str, *, kms: bool = False) -> None:
        """Create an empty bucket, not through HTTP; with ``kms`` it encrypts with a key of KMS unless told otherwise."""
        with self._lock, self._home.entered():
            bucket = self._home.backend.create_bucket(name, _REGION)
            if kms:
                bucket.encryption = {"Rule": {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": _KMS}}}

    def bucket_names(self) -> list[str]:
        """Return the names of all buckets."""
        return sorted(self._home.backend.buckets)

    def objects(self, bucket: str) -> dict[str, StoredS3Object]:
        """Return the live objects by key, not through HTTP; to be looked at before the server stops."""
        with self._lock, self._home.entered():
            keys = self._home.backend.get_bucket(bucket).keys
            return {
                key: StoredS3Object(
                    key, record.size, record.etag.strip('"'), dict(record.response_dict), bytes(record.value)
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
        operation = s3_operation(request, bucket, key)
        return Route(operation, lambda r: self._run(r, operation, bucket, key), bucket, key)

    def error(self, request: Request, status: int) -> Response:
        """Make S3's error document for an injected status."""
        del request
        return injected_error(status)

    def _run(self, request: Request, operation: str, bucket: str, key: str) -> Response:
        try:
            check_body(request)
            if operation == "objects.delete":
                check_xml(request)
            if operation in _UNLOCKED:
                return self._call(request, operation, bucket, key)
            with self._lock:
                if operation == "upload.complete":
                    if self._has_ended(bucket, request.query.get("uploadId", "")):
                        return s3_error(404, *NO_UPLOAD)
                    check_complete(request, lambda: self._parts(bucket, request.query.get("uploadId", "")))
                return self._call(request, operation, bucket, key)
        except DigestError as error:
            return s3_error(400, error.code, str(error))

    def _parts(self, bucket: str, upload_id: str) -> dict[int, bytes]:
        """Read the parts of an open upload; nothing if moto will refuse the request anyway."""
        home = self._home.backend.buckets.get(bucket)
        upload = home.multiparts.get(upload_id) if home else None
        return {number: part.value for number, part in upload.parts.items()} if upload else {}

    def _call(self, request: Request, operation: str, bucket: str, key: str) -> Response:
        with self._home.entered():
            home = self._home.backend.buckets.get(bucket)
            if home is not None and operation == "upload.list":
                return list_uploads(request, bucket, home.multiparts)
            record = home.keys.get(key) if home is not None and _is_read(operation) else None
            parts = None
            if (
                record is not None
                and not isinstance(record, FakeDeleteMarker)
                and "partNumber" in request.query
            ):
                parts = select_part(request, record)
                if parts is None:
                    return s3_error(416, *NO_PART)
            prepare(request, operation, encryption=_KMS if home is not None and home.encryption else None)
            try:
                status, headers, body = call_moto(request, bucket, key)
            except Exception as error:  # moto's bugs are answers of a broken server, not ends of ours
                if operation in _OF_UPLOADS and self._has_ended(bucket, request.query.get("uploadId", "")):
                    return s3_error(404, *NO_UPLOAD)
                return s3_error(500, "InternalError", f"moto: {type(error).__name__}: {error}")
            if status in (200, 206):
                headers = completed(request, operation, headers, record, parts)
        lengths = [int(value) for name, value in headers if name.lower() == "content-length"]
        kept = [(n, v) for n, v in headers if n.lower() not in {"content-length", "connection", "date"}]
        declared = lengths[0] if lengths and request.method == "HEAD" else None
        return Response(status, kept, (body,) if body else (), declared)

    def _has_ended(self, bucket: str, upload_id: str) -> bool:
        """Whether a bucket that is there has no such open upload: moto would complete it again, or stumble over it."""
        home = self._home.backend.buckets.get(bucket)
        return home is not None and upload_id not in home.multiparts


def _is_read(operation: str) -> bool:
    return operation in {"object.get", "object.stat"}


if __name__ == "__main__":
    sys.exit(
        run_process(
            "python -m crossdock.testing.s3",
            lambda buckets, faults, port: EmbeddedS3(buckets, faults, port=port),
        )
    )
