"""Uploads in parts: assembled under a reserved temporary key, proven there, then published by a conditional compose.

The XML API's multipart upload knows no preconditions and checks no digest of the whole, so it must not write to the
final key. Nothing is visible to anybody until the parts are complete, and nothing under the final key until the
whole's CRC32C is right. What a crash leaves is an open upload or one temporary object; both say which key they were for,
and ``list_uploads`` finds them. https://docs.cloud.google.com/storage/docs/multipart-uploads
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from xml.sax.saxutils import escape, unescape

from crossdock.connectors.digests import digest_of
from crossdock.connectors.gcs.objects import Bucket
from crossdock.connectors.gcs.resources import RESERVED_PREFIX, conflict, encoded, integrity_error, quoted
from crossdock.connectors.gcs.temporary import (
    Temporary,
    marked_key,
    marker_metadata,
    new_temporary,
    parse_temporary,
)
from crossdock.connectors.layers import attempt
from crossdock.errors import (
    ConnectionLostError,
    CrossdockError,
    IntegrityError,
    NotFoundError,
    PreconditionError,
    Retry,
)
from crossdock.events import Note, emit
from crossdock.model import ABSENT, NO_DIGESTS, Condition, Digests, Metadata, ObjectInfo, Part, Upload
from crossdock.ports import Chunk

__all__ = ["Uploads"]

_TEMPORARY = "temporary"  # the one entry of an upload's state
_PAGE = 1000
_CLEARING_ATTEMPTS = 3  # a second or two at most between the commit and its receipt
_ENTITIES = {"&quot;": '"', "&apos;": "'"}


class Uploads:
    """The multipart verbs on one bucket. Thread-safe; an upload's state is all in its ``Upload``."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._xml = f"/{quoted(bucket.name)}"

    def begin(self, key: str, part_size_bytes: int, metadata: Metadata) -> Upload:
        """Open an upload to a temporary key. One request; two for a key so long that it needs a marker."""
        place = self._bucket.place("begin", key)
        self._bucket.demand_exact(metadata, place)
        made = new_temporary(key, part_size_bytes)
        temporary = made.name
        if made.marker is not None:
            self._bucket.put(made.marker, b"", marker_metadata(key), NO_DIGESTS, ABSENT)
        headers = {"Content-Type": "application/octet-stream"}
        answer = self._bucket.client.call(
            place, "POST", f"{self._xml}/{quoted(temporary)}?uploads", headers=headers
        )
        upload_id = _text(answer.data.decode(errors="replace"), "UploadId")
        if not upload_id:
            raise ConnectionLostError(
                "the answer names no upload", operation="begin", where=self._bucket.url, key=key
            )
        return Upload(
            key=key,
            id=upload_id,
            part_size_bytes=part_size_bytes,
            metadata=metadata,
            state={_TEMPORARY: temporary},
        )

    def put_part(self, upload: Upload, number: int, data: Chunk, digests: Digests) -> Part:
        """Send one part with its CRC32C, which the service checks. One request, no copy of the bytes."""
        view = memoryview(data).cast("B")
        crc32c = digests.crc32c or digest_of(view, ("crc32c",)).crc32c or b""
        hashes = f"crc32c={encoded(crc32c)}"
        if digests.md5 is not None:
            hashes += f",md5={encoded(digests.md5)}"
        place = self._bucket.place("put part", upload.key)
        target = f"{self._target(upload)}&partNumber={number}"
        answer = self._bucket.client.call(place, "PUT", target, headers={"x-goog-hash": hashes}, body=(view,))
        stored = re.search(r"crc32c=([\w+/=]+)", answer.headers.get("x-goog-hash", ""))
        if stored is not None and a2b_base64(stored[1]) != crc32c:
            raise integrity_error(
                f"part {number} was stored with another crc32c", "put part", place.where, upload.key
            )
        etag = answer.headers.get("etag", "").strip('"')
        if not etag:
            raise ConnectionLostError(
                f"the answer to part {number} has no ETag",
                operation="put part",
                where=place.where,
                key=upload.key,
            )
        return Part(
            number=number, size=view.nbytes, etag=etag, digests=digests.merged(Digests(crc32c=crc32c))
        )

    def complete(
        self, upload: Upload, parts: Sequence[Part], *, size: int, digests: Digests, condition: Condition
    ) -> ObjectInfo:
        """Assemble, prove, publish, and remove the temporary object: four requests, none of which moves bytes.

        After an error that is worth trying again (``retry`` is LATER) the upload still stands and ``complete`` may be
        called again: it goes on where it was. After any other error upload and temporary object are removed.
        """
        if not parts:
            return self._complete_empty(upload, size=size, digests=digests, condition=condition)
        try:
            whole, was_assembled = self._assembled(upload, parts)
            flaw = conflict(whole, size, digests)
            if flaw is not None:
                raise integrity_error(flaw, "complete", self._bucket.url, upload.key)
            info = self._published(upload, whole, condition, may_have_been=was_assembled)
        except CrossdockError as error:
            if isinstance(error, IntegrityError) or error.retry is not Retry.LATER:
                self._forget(upload, error)
            raise
        self._clear(upload, whole)
        return info

    def abort(self, upload: Upload) -> None:
        """Forget an upload, its parts and its temporary objects. Two requests; what is gone already is fine."""
        if upload.id:
            place = self._bucket.place("abort", upload.key)
            try:
                self._bucket.client.call(place, "DELETE", self._target(upload), accept=(200, 204))
            except NotFoundError as error:
                if error.key is None:
                    raise
        self._remove(upload.state[_TEMPORARY], "abort")

    def find(self, prefix: str) -> Iterator[Upload]:
        """Temporary objects that were left (``id`` is empty), then open uploads: a request per 1,000 of each."""
        markers: dict[str, ObjectInfo] = {}
        left: list[tuple[Temporary, ObjectInfo]] = []
        for page in self._bucket.pages(RESERVED_PREFIX, None, "list uploads"):
            for info in page:
                found = parse_temporary(info.key)
                if found is not None and found.is_marker:
                    markers[found.directory] = info
                elif found is not None:
                    left.append((found, info))
        for temporary, info in left:
            yield from self._described(temporary, "", info.modified, markers, prefix)
            markers.pop(temporary.directory, None)
        for temporary, upload_id, begun in self._open():
            yield from self._described(temporary, upload_id, begun, markers, prefix)
            markers.pop(temporary.directory, None)
        for marker in list(markers.values()):  # of uploads that ended before they began
            alone = parse_temporary(marker.key)
            if alone is not None:
                yield from self._described(alone, "", marker.modified, markers, prefix)

    def _described(
        self,
        temporary: Temporary,
        upload_id: str,
        begun: datetime | None,
        markers: Mapping[str, ObjectInfo],
        prefix: str,
    ) -> Iterator[Upload]:
        """The upload a temporary key belongs to, if its final key starts with ``prefix``."""
        key = temporary.final_key
        if key is None:
            marker = markers.get(temporary.directory)
            # Without its marker an upload is still found, under its own name, by whoever asks for all.
            key = (marked_key(marker) if marker is not None else None) or temporary.name
        if key.startswith(prefix):
            yield Upload(
                key=key,
                id=upload_id,
                part_size_bytes=temporary.part_size_bytes,
                begun=begun,
                state={_TEMPORARY: temporary.name},
            )

    def _open(self) -> Iterator[tuple[Temporary, str, datetime | None]]:
        first = f"{self._xml}?uploads&prefix={quoted(RESERVED_PREFIX)}&max-uploads={_PAGE}"
        target = first
        while True:
            answer = self._bucket.client.call(self._bucket.place("list uploads"), "GET", target)
            text = answer.data.decode(errors="replace")
            if not text.rstrip().endswith("ListMultipartUploadsResult>"):
                raise ConnectionLostError(
                    "the answer is cut", operation="list uploads", where=self._bucket.url
                )
            for entry in text.split("<Upload>")[1:]:
                begun = _text(entry, "Initiated")
                temporary = parse_temporary(_text(entry, "Key"))
                if temporary is not None:
                    yield (
                        temporary,
                        _text(entry, "UploadId"),
                        datetime.fromisoformat(begun) if begun else None,
                    )
            if _text(text, "IsTruncated") != "true":
                return
            markers = f"&key-marker={quoted(_text(text, 'NextKeyMarker'))}"
            markers += f"&upload-id-marker={quoted(_text(text, 'NextUploadIdMarker'))}"
            if first + markers == target:
                raise ConnectionLostError(
                    "the listing loops", operation="list uploads", where=self._bucket.url
                )
            target = first + markers

    def _remove(self, temporary: str, operation: str) -> None:
        """Delete a temporary object, and then its marker if it has one."""
        self._bucket.delete(temporary, operation=operation)
        parsed = parse_temporary(temporary)
        if parsed is not None and parsed.marker is not None and not parsed.is_marker:
            self._bucket.delete(parsed.marker, operation=operation)

    def _target(self, upload: Upload) -> str:
        return f"{self._xml}/{quoted(upload.state[_TEMPORARY])}?uploadId={quoted(upload.id)}"

    def _assembled(self, upload: Upload, parts: Sequence[Part]) -> tuple[ObjectInfo, bool]:
        """The temporary object, and whether an earlier call had assembled it already."""
        place = self._bucket.place("complete", upload.key)
        listed = "".join(
            f"<Part><PartNumber>{part.number}</PartNumber><ETag>&quot;{escape(part.etag)}&quot;</ETag></Part>"
            for part in parts
        )
        body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
        temporary = upload.state[_TEMPORARY]
        missing: NotFoundError | None = None
        try:
            answer = self._bucket.client.call(
                place, "POST", self._target(upload), headers={"Content-Type": "application/xml"}, body=(body,)
            )
            if b"<Error>" in answer.data:  # a long assembly may fail after the status was sent
                raise ConnectionLostError(
                    "the service failed to assemble the parts",
                    operation="complete",
                    where=place.where,
                    key=upload.key,
                )
        except NotFoundError as error:
            if error.key is None:
                raise
            missing = error
        try:
            return self._bucket.stat(temporary, operation="complete"), missing is not None
        except NotFoundError:
            raise NotFoundError(
                "the upload is gone", operation="complete", where=place.where, key=upload.key
            ) from missing

    def _published(
        self, upload: Upload, whole: ObjectInfo, condition: Condition, *, may_have_been: bool
    ) -> ObjectInfo:
        """The object under its final key.

        If an earlier call of ours may have published it, a failed condition or a lost answer is resolved by looking at
        the destination and comparing digests.
        """
        try:
            return self._bucket.compose(whole, upload.key, upload.metadata, condition, "complete")
        except CrossdockError as error:
            is_uncertain = error.retry is Retry.LATER or (
                may_have_been and isinstance(error, PreconditionError)
            )
            if not is_uncertain or condition.is_any:
                raise
            try:
                found = self._bucket.stat(upload.key, operation="complete")
            except CrossdockError:
                raise error from None
            # The condition held before, so whatever satisfies it no longer was written since: by us if it is equal.
            is_new = found.version != condition.version
            is_equal = conflict(found, whole.size or 0, whole.digests) is None
            if not (is_new and is_equal and found.metadata == upload.metadata):
                raise
            return found

    def _complete_empty(
        self, upload: Upload, *, size: int, digests: Digests, condition: Condition
    ) -> ObjectInfo:
        """An upload without parts is the empty object, which multipart uploads cannot make."""
        if size:
            error = integrity_error(f"no parts, but {size} bytes", "complete", self._bucket.url, upload.key)
            self._forget(upload, error)
            raise error
        # Whether it is still open: one that was aborted is dead. https://cloud.google.com/storage/docs/xml-api/get-object-multipart
        self._bucket.client.call(self._bucket.place("complete", upload.key), "GET", self._target(upload))
        info = self._bucket.put(upload.key, b"", upload.metadata, digests, condition)
        self.abort(upload)
        return info

    def _clear(self, upload: Upload, whole: ObjectInfo) -> None:
        """Remove the temporary object. The commit stands whatever happens here, so a failure is told, not raised.

        Tried again here, because nobody above knows of this request: what is left is as large as the object.
        """
        try:
            attempt(
                lambda: self._remove(whole.key, "complete"),
                operation="delete",
                place=f"{self._bucket.url}/{whole.key}",
                attempts=_CLEARING_ATTEMPTS,
            )
        except CrossdockError as error:
            emit(Note(text=f"{self._bucket.url}/{upload.key} is complete, but {whole.key} was left: {error}"))

    def _forget(self, upload: Upload, error: CrossdockError) -> None:
        try:
            self.abort(upload)
        except CrossdockError as failure:
            error.add_note(f"the upload {upload.state[_TEMPORARY]} was left: {failure}")


def _text(xml: str, name: str) -> str:
    """The first element's text. By search, not by parser: no entity is ever expanded but the five, in linear time."""
    text, closed, _ = xml.partition(f"<{name}>")[2].partition(f"</{name}>")
    return unescape(text, _ENTITIES) if closed else ""
