"""The XML API, path style: ``/bucket/key``, with Google's own headers. obstore speaks it, and signed URLs do.

The key is everything after ``/bucket/``, percent-decoded and otherwise untouched: no slash is merged, no dot resolved.
https://docs.cloud.google.com/storage/docs/xml-api/reference-headers
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote
from xml.sax.saxutils import escape

from crossdock.testing.gcs.errors import ApiError, precondition_failed
from crossdock.testing.gcs.listing import PAGE_LIMIT, Page, Query, decode_token, encode_token, list_page
from crossdock.testing.gcs.media import media_response
from crossdock.testing.gcs.objects import Bucket, Content, Store, StoredObject
from crossdock.testing.gcs.resources import digests_of, integer
from crossdock.testing.gcs.xml_documents import (
    escape_key,
    header_conditions,
    header_metadata,
    write_headers,
    xml_response,
)
from crossdock.testing.gcs.xml_multipart import MultipartApi
from crossdock.testing.wire import Handler, Request, Response, Route, decode_key


class XmlApi:
    """Routes and handlers of everything that is not the JSON API."""

    def __init__(self, store: Store, multipart: MultipartApi) -> None:
        self._store = store
        self._multipart = multipart

    def route(self, request: Request) -> Route:
        """Find the handler of a request."""
        raw_bucket, slash, raw_key = request.path[1:].partition("/")
        try:
            bucket, key = decode_key(raw_bucket), decode_key(raw_key)
        except ValueError:
            raise ApiError(400, "Invalid UTF-8 in the request's path.", code="InvalidURI") from None
        if not bucket:
            operation, handler = self._pick(request.method, {"GET": ("bucket.list", self._list_buckets)})
        elif not slash or not key:
            operation, handler = self._pick(request.method, self._bucket_handlers(request, bucket))
        else:
            operation, handler = self._pick(request.method, self._object_handlers(request, bucket, key))
        return Route(operation, _guarded(handler), bucket, key)

    @staticmethod
    def _pick(method: str, handlers: Mapping[str, tuple[str, Handler]]) -> tuple[str, Handler]:
        if method not in handlers:
            raise ApiError(405, f"The method {method} is not allowed here.")
        return handlers[method]

    def _bucket_handlers(self, request: Request, bucket: str) -> dict[str, tuple[str, Handler]]:
        handlers: dict[str, tuple[str, Handler]] = {
            "GET": ("object.list", lambda r: self._list(r, bucket)),
            "HEAD": ("bucket.get", lambda _: self._head_bucket(bucket)),
            "PUT": ("bucket.insert", lambda _: self._create_bucket(bucket)),
            "DELETE": ("bucket.delete", lambda _: self._delete_bucket(bucket)),
        }
        if "uploads" in request.query:
            handlers["GET"] = ("upload.list", lambda r: self._multipart.list_uploads(r, bucket))
        elif "location" in request.query:
            handlers["GET"] = ("bucket.get", lambda _: self._location(bucket))
        return handlers

    def _object_handlers(self, request: Request, bucket: str, key: str) -> dict[str, tuple[str, Handler]]:
        query = request.query
        if "uploads" in query or "uploadId" in query:
            return self._multipart.handlers(request, bucket, key)
        handlers: dict[str, tuple[str, Handler]] = {
            "GET": ("object.get", lambda r: self._read(r, bucket, key)),
            "HEAD": ("object.stat", lambda r: self._read(r, bucket, key)),
            "PUT": ("object.insert", lambda r: self._put(r, bucket, key)),
            "DELETE": ("object.delete", lambda r: self._delete(r, bucket, key)),
        }
        if "x-goog-copy-source" in request.headers:
            handlers["PUT"] = ("object.copy", lambda r: self._copy(r, bucket, key))
        return handlers

    def _list_buckets(self, request: Request) -> Response:
        del request
        items = "".join(
            f"<Bucket><Name>{b.name}</Name><CreationDate>{b.created}</CreationDate></Bucket>"
            for b in self._store.buckets()
        )
        return xml_response("ListAllMyBucketsResult", f"<Buckets>{items}</Buckets>")

    def _head_bucket(self, bucket: str) -> Response:
        self._store.bucket(bucket)
        return Response(200)

    def _location(self, bucket: str) -> Response:
        self._store.bucket(bucket)
        return xml_response("LocationConstraint", "US")

    def _create_bucket(self, bucket: str) -> Response:
        self._store.create_bucket(bucket)
        return Response(200)

    def _delete_bucket(self, bucket: str) -> Response:
        self._store.delete_bucket(bucket)
        return Response(204)

    def _list(self, request: Request, bucket: str) -> Response:
        asked = request.query
        is_v2 = asked.get("list-type") == "2"
        if is_v2:
            after = decode_token(asked["continuation-token"]) if asked.get("continuation-token") else ""
            after = after or asked.get("start-after", "")
        else:
            after = asked.get("marker", "")
        limit = integer(asked, "max-keys")
        query = Query(
            prefix=asked.get("prefix", ""),
            delimiter=asked.get("delimiter", ""),
            after=after,
            limit=PAGE_LIMIT if limit is None else min(limit, PAGE_LIMIT),
        )
        with self._store.lock:
            home: Bucket = self._store.bucket(bucket)
            page = list_page(home, query) if query.limit else Page()
        return _render_page(request, bucket, query, page, is_v2=is_v2)

    def _read(self, request: Request, bucket: str, key: str) -> Response:
        headers = request.headers
        stored = self._store.get(
            bucket,
            key,
            generation=integer(request.query, "generation"),
            preconditions=header_conditions(headers),
        )
        _check_etag(headers, stored)
        return media_response(request, stored, shows_custom=True)

    def _put(self, request: Request, bucket: str, key: str) -> Response:
        content = Content.of(request.chunks)
        digests_of(request).check(content)
        conditions = header_conditions(request.headers)
        stored = self._store.put(bucket, key, content, header_metadata(request.headers), conditions)
        return Response(200, write_headers(stored))

    def _copy(self, request: Request, bucket: str, key: str) -> Response:
        headers = request.headers
        raw_bucket, _, raw_key = headers["x-goog-copy-source"].removeprefix("/").partition("/")
        found = self._store.get(
            decode_key(raw_bucket),
            decode_key(raw_key),
            generation=integer(headers, "x-goog-copy-source-generation"),
            preconditions=header_conditions(headers, "x-goog-copy-source-if-"),
        )
        replaces = headers.get("x-goog-metadata-directive", "COPY").upper() == "REPLACE"
        stored = self._store.put(
            bucket,
            key,
            found.content,
            header_metadata(headers) if replaces else found.metadata,
            header_conditions(headers),
            component_count=found.component_count,
            has_md5=found.has_md5,
        )
        body = f"<LastModified>{stored.updated}</LastModified><ETag>&quot;{stored.etag}&quot;</ETag>"
        return xml_response("CopyObjectResult", body, write_headers(stored))

    def _delete(self, request: Request, bucket: str, key: str) -> Response:
        generation = integer(request.query, "generation")
        self._store.delete(
            bucket, key, generation=generation, preconditions=header_conditions(request.headers)
        )
        return Response(204)


def _check_etag(headers: Mapping[str, str], stored: StoredObject) -> None:
    wanted, unwanted = headers.get("if-match"), headers.get("if-none-match")
    if wanted is not None and not _names(wanted, stored.etag):
        raise precondition_failed()
    if unwanted is not None and _names(unwanted, stored.etag):
        raise ApiError(304, "Not Modified")


def _names(header: str, etag: str) -> bool:
    tags = {tag.strip().removeprefix("W/").strip('"') for tag in header.split(",")}
    return "*" in tags or etag in tags


def _render_page(request: Request, bucket: str, query: Query, page: Page, *, is_v2: bool) -> Response:
    encodes = request.query.get("encoding-type") == "url"

    def text(key: str) -> str:
        return quote(key, safe="/") if encodes else escape_key(key)

    parts = [
        f"<Name>{escape(bucket)}</Name><Prefix>{text(query.prefix)}</Prefix>",
        f"<MaxKeys>{query.limit}</MaxKeys><IsTruncated>{str(bool(page.next_after)).lower()}</IsTruncated>",
    ]
    if query.delimiter:
        parts.append(f"<Delimiter>{text(query.delimiter)}</Delimiter>")
    if encodes:
        parts.append("<EncodingType>url</EncodingType>")
    if is_v2:
        parts.append(f"<KeyCount>{len(page.objects) + len(page.prefixes)}</KeyCount>")
        if page.next_after:
            parts.append(f"<NextContinuationToken>{encode_token(page.next_after)}</NextContinuationToken>")
    else:
        parts.append(f"<Marker>{text(query.after)}</Marker>")
        if page.next_after:
            parts.append(f"<NextMarker>{text(page.next_after)}</NextMarker>")
    parts += [
        f"<Contents><Key>{text(o.key)}</Key><Generation>{o.generation}</Generation>"
        f"<MetaGeneration>{o.metageneration}</MetaGeneration><LastModified>{o.updated}</LastModified>"
        f"<ETag>&quot;{o.etag}&quot;</ETag><Size>{o.size}</Size><StorageClass>{o.metadata.storage_class}</StorageClass>"
        "</Contents>"
        for o in page.objects
    ]
    parts += [f"<CommonPrefixes><Prefix>{text(p)}</Prefix></CommonPrefixes>" for p in page.prefixes]
    return xml_response("ListBucketResult", "".join(parts))


def _guarded(handler: Handler) -> Handler:
    def run(request: Request) -> Response:
        try:
            return handler(request)
        except ApiError as error:
            return error.as_xml()
        except UnicodeError:
            return ApiError(400, "Invalid UTF-8.", code="InvalidURI").as_xml()

    return run
