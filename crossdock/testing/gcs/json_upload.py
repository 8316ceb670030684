"""Uploads of the JSON API: media, multipart and resumable.

https://docs.cloud.google.com/storage/docs/uploads-downloads and, for the protocol of resumable uploads,
https://docs.cloud.google.com/storage/docs/performing-resumable-uploads
"""

from __future__ import annotations

import re
from dataclasses import replace
from email.message import Message
from urllib.parse import quote

from crossdock.testing.gcs.errors import ApiError
from crossdock.testing.gcs.json_api import answer_resource
from crossdock.testing.gcs.objects import Content, Store, StoredObject
from crossdock.testing.gcs.resources import (
    digests_of,
    integer,
    merged,
    metadata_of,
    parse_json,
    preconditions_of,
)
from crossdock.testing.gcs.uploads import QUANTUM_BYTES, Session, Uploads
from crossdock.testing.wire import Handler, Headers, Request, Response, Route, decode_key

_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


class UploadApi:
    """Routes and handlers below ``/upload/storage/v1``."""

    def __init__(self, store: Store, uploads: Uploads) -> None:
        self._store = store
        self._uploads = uploads

    def route(self, request: Request, segments: list[str]) -> Route:
        """Find the handler of the raw path segments after ``/upload/storage/v1``."""
        match segments:
            case ["b", raw, "o"]:
                bucket = decode_key(raw)
            case _:
                raise ApiError(404, "Not Found")
        query = request.query
        key = query.get("name", "")
        if "upload_id" in query:
            return self._route_session(request, bucket, key)
        handlers: dict[str, tuple[str, Handler]] = {
            "media": ("object.insert", lambda r: self._media(r, bucket)),
            "multipart": ("object.insert", lambda r: self._multipart(r, bucket)),
            "resumable": ("upload.begin", lambda r: self._begin(r, bucket)),
        }
        kind = query.get("uploadType", "")
        if request.method != "POST" or kind not in handlers:
            raise ApiError(400, f"Unknown upload: {request.method} with uploadType={kind!r}.")
        operation, handler = handlers[kind]
        return Route(operation, _guarded(handler), bucket, key)

    def _route_session(self, request: Request, bucket: str, key: str) -> Route:
        upload_id = request.query["upload_id"]
        if request.method == "DELETE":
            return Route("upload.abort", _guarded(lambda _: self._cancel(upload_id)), bucket, key)
        if request.method not in {"PUT", "POST"}:
            raise ApiError(405, f"The method {request.method} is not allowed here.")
        header = request.headers.get("content-range", "")
        match = _CONTENT_RANGE.fullmatch(header)
        if match is not None and match[1] is None:
            operation = "upload.status"
        elif (match is not None and match[3] == "*") or (
            match is not None and int(match[2]) + 1 < int(match[3])
        ):
            operation = "chunk.put"
        else:
            operation = "chunk.final"
        run = _guarded(lambda r: self._advance(r, upload_id, match))
        return Route(operation, run, bucket, key, takes_partial=operation.startswith("chunk."))

    def _media(self, request: Request, bucket: str) -> Response:
        content = Content.of(request.chunks)
        digests_of(request).check(content)
        metadata = metadata_of(
            {"contentType": request.headers["content-type"]} if "content-type" in request.headers else {}
        )
        key = _name(request, {})
        stored = self._store.put(bucket, key, content, metadata, preconditions_of(request.query))
        return answer_resource(request, stored, bucket)

    def _multipart(self, request: Request, bucket: str) -> Response:
        head, media_type, media = _parse_related(request)
        resource = parse_json(head)
        metadata = metadata_of(resource)
        if metadata.content_type is None and media_type is not None:
            metadata = replace(metadata, content_type=media_type)
        content = Content.of([media])
        digests_of(request, resource).check(content)
        key = _name(request, resource)
        stored = self._store.put(bucket, key, content, metadata, preconditions_of(request.query))
        return answer_resource(request, stored, bucket)

    def _begin(self, request: Request, bucket: str) -> Response:
        resource = parse_json(request.body())
        metadata = metadata_of(resource)
        if metadata.content_type is None and (given := request.headers.get("x-upload-content-type")):
            metadata = replace(metadata, content_type=given)
        key = _name(request, resource)
        session = self._uploads.begin_session(
            bucket,
            key,
            metadata=metadata,
            digests=digests_of(request, resource),
            preconditions=preconditions_of(request.query),
            total=integer(request.headers, "x-upload-content-length"),
        )
        url = f"{request.base_url}/upload/storage/v1/b/{quote(bucket, safe='')}/o"
        location = f"{url}?uploadType=resumable&name={quote(key, safe='')}&upload_id={session.id}"
        if only := request.query.get("fields"):
            location += f"&fields={quote(only, safe='')}"
        return Response(200, [("Location", location), ("X-GUploader-UploadID", session.id)])

    def _cancel(self, upload_id: str) -> Response:
        session = self._uploads.session(upload_id)
        with session.lock:
            if session.done is None:
                self._uploads.cancel(session)
        return Response(499)

    def _advance(self, request: Request, upload_id: str, match: re.Match[str] | None) -> Response:
        session = self._uploads.session(upload_id)
        header = request.headers.get("content-range")
        if header is not None and match is None:
            raise ApiError(400, f"Failed to parse Content-Range header: {header!r}.")
        # Hashing needs no lock; that is why a chunk is made of the body before.
        content = Content.of(request.chunks)
        start, total = _span(request, match, content)
        with session.lock:
            self._uploads.session(upload_id)
            if session.done is None:
                done = self._accept(session, request, content, start, total)
                if done is None:
                    return _resume_incomplete(request, session)
            assert session.done is not None
            return answer_resource(request, session.done, session.bucket)

    def _accept(
        self, session: Session, request: Request, content: Content, start: int | None, total: int | None
    ) -> StoredObject | None:
        """Take what arrived; returns the object if that completed it."""
        if total is not None and session.total is not None and session.total != total:
            raise ApiError(400, f"The upload has {session.total} bytes in total, not {total}.")
        if total is not None:
            session.total = total
        if start is None:  # a status query; it also ends an upload of which every byte is persisted
            is_last = total is not None and session.content.size == total
        else:
            whole = request.is_complete and not request.is_truncated
            is_last = whole and total is not None and start + content.size == total
            if whole and not is_last and content.size < QUANTUM_BYTES:
                raise ApiError(
                    400,
                    "Invalid request.  The number of bytes uploaded is required to be equal or greater than 262144, "
                    "except for the final request (it's recommended to be the exact multiple of 262144).  The "
                    f"received request contained {content.size} bytes, which does not meet this requirement.",
                )
            self._uploads.append(session, start, content, is_last=is_last)
        return (
            self._uploads.finish(session, merged(session.digests, digests_of(request))) if is_last else None
        )


def _span(request: Request, match: re.Match[str] | None, content: Content) -> tuple[int | None, int | None]:
    """Return where a chunk starts (None for a status query) and the total, if told."""
    if match is None:
        broke_off = not request.is_complete or request.is_truncated
        return 0, (None if broke_off else content.size)
    total = None if match[3] == "*" else int(match[3])
    if match[1] is None:
        return None, total
    start, last = int(match[1]), int(match[2])
    if request.is_complete and not request.is_truncated and content.size != last + 1 - start:
        raise ApiError(400, f"Content-Range says {last + 1 - start} bytes, the request has {content.size}.")
    return start, total


def _resume_incomplete(request: Request, session: Session) -> Response:
    headers: Headers = [("X-GUploader-UploadID", session.id)]
    if session.content.size:
        headers.append(("Range", f"bytes=0-{session.content.size - 1}"))
    if request.headers.get("x-guploader-no-308", "").lower() == "yes":
        # Google's Go client, in rclone for one, asks for this: Go's HTTP client takes a 308 for a redirect.
        return Response(200, [*headers, ("X-HTTP-Status-Code-Override", "308")])
    return Response(308, headers)


def _name(request: Request, resource: dict[str, object]) -> str:
    key = request.query.get("name") or resource.get("name")
    if not isinstance(key, str) or not key:
        raise ApiError(400, "Required: an object name.", reason="required")
    return key


def _parse_related(request: Request) -> tuple[bytes, str | None, memoryview]:
    """Take a ``multipart/related`` body apart: the resource, the media's type and the media.

    A delimiter inside the media ends it, as MIME says: a client with a constant boundary is found out here. Lines end
    as the first one does, because gcsfs writes bare line feeds, which GCS accepts, before payloads that may end with a
    carriage return.
    """
    message = Message()
    message["content-type"] = request.headers.get("content-type", "")
    boundary = message.get_param("boundary")
    if not isinstance(boundary, str):
        raise ApiError(400, "A multipart upload needs a boundary.")
    body = request.body()
    opening = b"--" + boundary.encode("latin-1")
    first = body.find(opening)
    end_of_line = b"\n" if body.startswith(b"\n", first + len(opening)) else b"\r\n"
    delimiter = end_of_line + opening
    second = body.find(delimiter, first + 1)
    third = body.find(delimiter, second + 1)
    if first < 0 or second < 0 or third < 0:
        raise ApiError(400, "Malformed multipart body.")
    if not body.startswith(b"--", third + len(delimiter)):
        raise ApiError(400, "Malformed multipart body: it must have exactly two parts.")
    _, resource = _split_part(body, first + len(opening), second, end_of_line)
    media_type, media = _split_part(body, second + len(delimiter), third, end_of_line)
    return bytes(resource), media_type, media


def _split_part(body: bytes, start: int, end: int, end_of_line: bytes) -> tuple[str | None, memoryview]:
    """Take one part apart: its type and its content. ``start`` is where the delimiter's line ends."""
    blank = end_of_line * 2
    head_end = body.find(blank, start, end + len(blank))
    if head_end < 0:
        raise ApiError(400, "Malformed multipart body: a part without an empty line.")
    content_type = None
    for line in body[start:head_end].decode("latin-1").splitlines():
        name, _, value = line.partition(":")
        if name.lower() == "content-type":
            content_type = value.strip()
    return content_type, memoryview(body)[head_end + len(blank) : end]


def _guarded(handler: Handler) -> Handler:
    def run(request: Request) -> Response:
        try:
            return handler(request)
        except ApiError as error:
            # Long-standing habit of the upload server: text where it speaks for itself, JSON for the API's errors.
            return error.as_text() if error.status in {410, 503} else error.as_json()

    return run
