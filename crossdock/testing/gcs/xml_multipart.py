"""Multipart uploads of the XML API. They check each part's hash, and know no preconditions on the object.

https://docs.cloud.google.com/storage/docs/multipart-uploads
"""

from __future__ import annotations

import secrets
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from crossdock.testing.gcs.errors import ApiError
from crossdock.testing.gcs.media import encode_crc32c
from crossdock.testing.gcs.objects import Content, Store, StoredObject, timestamp
from crossdock.testing.gcs.resources import digests_of, integer
from crossdock.testing.gcs.uploads import Part, Uploads
from crossdock.testing.gcs.xml_documents import escape_key, header_metadata, write_headers, xml_response
from crossdock.testing.wire import Handler, Request, Response


class MultipartApi:
    """Handlers of requests with ``?uploads`` or ``?uploadId``."""

    def __init__(self, store: Store, uploads: Uploads) -> None:
        self._store = store
        self._uploads = uploads

    def handlers(self, request: Request, bucket: str, key: str) -> dict[str, tuple[str, Handler]]:
        """Return the handlers for one object, by method."""
        if "uploads" in request.query:
            return {"POST": ("upload.begin", lambda r: self._begin(r, bucket, key))}
        return {
            "PUT": ("part.put", lambda r: self._put_part(r, bucket, key)),
            "POST": ("upload.complete", lambda r: self._complete(r, bucket, key)),
            "GET": ("upload.parts", lambda r: self._list_parts(r, bucket, key)),
            "DELETE": ("upload.abort", lambda r: self._abort(r, bucket, key)),
        }

    def list_uploads(self, request: Request, bucket: str) -> Response:
        """Answer ``GET /bucket?uploads`` in one page."""
        self._store.bucket(bucket)
        prefix = request.query.get("prefix", "")
        items = "".join(
            f"<Upload><Key>{escape_key(u.key)}</Key><UploadId>{u.id}</UploadId><Initiated>{u.created}</Initiated></Upload>"
            for u in self._uploads.multiparts(bucket)
            if u.key.startswith(prefix)
        )
        body = f"<Bucket>{escape(bucket)}</Bucket><IsTruncated>false</IsTruncated>{items}"
        return xml_response("ListMultipartUploadsResult", body)

    def _begin(self, request: Request, bucket: str, key: str) -> Response:
        self._store.bucket(bucket)
        upload = self._uploads.begin_multipart(bucket, key, header_metadata(request.headers), timestamp())
        body = (
            f"<Bucket>{escape(bucket)}</Bucket><Key>{escape_key(key)}</Key><UploadId>{upload.id}</UploadId>"
        )
        return xml_response("InitiateMultipartUploadResult", body)

    def _put_part(self, request: Request, bucket: str, key: str) -> Response:
        upload = self._uploads.multipart(bucket, key, request.query["uploadId"])
        number = integer(request.query, "partNumber")
        content = Content.of(request.chunks)
        digests_of(request).check(content)
        # Opaque on purpose: an MD5 would cost 1.6 s of CPU a GiB, and no client may read anything into it.
        etag = secrets.token_hex(16)
        self._uploads.put_part(upload, Part(number or 0, content, etag, timestamp()))
        headers = [("ETag", f'"{etag}"'), ("x-goog-hash", f"crc32c={encode_crc32c(content.crc32c)}")]
        return Response(200, headers)

    def _list_parts(self, request: Request, bucket: str, key: str) -> Response:
        upload = self._uploads.multipart(bucket, key, request.query["uploadId"])
        after = integer(request.query, "part-number-marker") or 0
        limit = min(integer(request.query, "max-parts") or 1000, 1000)
        parts = [upload.parts[n] for n in sorted(upload.parts) if n > after]
        page = parts[:limit]
        items = "".join(
            f"<Part><PartNumber>{p.number}</PartNumber><ETag>&quot;{p.etag}&quot;</ETag>"
            f"<Size>{p.content.size}</Size><LastModified>{p.updated}</LastModified></Part>"
            for p in page
        )
        more = len(parts) > len(page)
        body = (
            f"<Bucket>{escape(bucket)}</Bucket><Key>{escape_key(key)}</Key><UploadId>{upload.id}</UploadId>"
            f"<PartNumberMarker>{after}</PartNumberMarker><MaxParts>{limit}</MaxParts>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{items}"
        )
        if more:
            body += f"<NextPartNumberMarker>{page[-1].number}</NextPartNumberMarker>"
        return xml_response("ListPartsResult", body)

    def _complete(self, request: Request, bucket: str, key: str) -> Response:
        upload = self._uploads.multipart(bucket, key, request.query["uploadId"])
        stored: StoredObject = self._uploads.complete(upload, _wanted(request.body()))
        body = (
            f"<Location>{escape(request.base_url)}/{escape(bucket)}/{escape_key(key)}</Location>"
            f"<Bucket>{escape(bucket)}</Bucket><Key>{escape_key(key)}</Key><ETag>&quot;{stored.etag}&quot;</ETag>"
        )
        return xml_response("CompleteMultipartUploadResult", body, write_headers(stored))

    def _abort(self, request: Request, bucket: str, key: str) -> Response:
        self._uploads.abort(self._uploads.multipart(bucket, key, request.query["uploadId"]))
        return Response(204)


def _wanted(body: bytes) -> list[tuple[int, str]]:
    """Read part numbers and entity tags, with or without a namespace."""
    try:
        root = ET.fromstring(body)  # noqa: S314 - a test server on loopback, read by its own tests
        return [
            (int(part.findtext("{*}PartNumber") or ""), part.findtext("{*}ETag") or "")
            for part in root.iterfind("{*}Part")
        ]
    except (ET.ParseError, ValueError):
        raise ApiError(
            400, "The XML you provided was not well-formed.", code="MalformedCompleteMultipartUploadRequest"
        ) from None
