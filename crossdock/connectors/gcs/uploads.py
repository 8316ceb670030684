"""Uploads in parts: assembled under a reserved temporary key, proven there, then published by a conditional compose.

The XML API's multipart upload knows no preconditions and checks no digest of the whole, so it must not write to the
final key. Nothing is visible to anybody until the parts are complete, and nothing under the final key until the
whole's CRC32C is right. What a crash leaves is an open upload or one temporary object; both say which key they were for,
and ``list_uploads`` finds them. https://docs.cloud.google.com/storage/docs/multipart-uploads
"""

from __future__ import annotations

import hashlib
import re
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import a2b_base64
from collections.abc import Iterator, Sequence
from datetime import datetime
from xml.sax.saxutils import escape, unescape

from crossdock.connectors.digests import digest_of
from crossdock.connectors.gcs.objects import Bucket
from crossdock.connectors.gcs.resources import RESERVED_PREFIX, conflict, encoded, integrity_error, quoted
from crossdock.errors import (
    ConnectionLostError,
    CrossdockError,
    IntegrityError,
    NotFoundError,
    PreconditionError,
    Retry,
)
from crossdock.events import Note, emit
from crossdock.model import Condition, Digests, Metadata, ObjectInfo, Part, Upload
from crossdock.ports import Chunk

__all__ = ["Uploads", "key_of", "temporary_key"]

_TEMPORARY = "temporary"  # the one entry of an upload's state
_NAME = re.compile(re.escape(RESERVED_PREFIX) + r"[0-9a-f]{32}-([0-9a-f]{1,12})/(!?)([\w.=-]+)", re.ASCII)
_ROOM = 1024 - len(RESERVED_PREFIX) - 32 - 1 - 12 - 1
_PAGE = 1000
_ENTITIES = {"&quot;": '"', "&apos;": "'"}


def temporary_key(key: str, part_size_bytes: int) -> str:
    """A new temporary key that says what it is for.

    A key of more than about 700 bytes does not fit, encoded: then its digest and its beginning stand for it.
    """
    raw = key.encode()
    name = urlsafe_b64encode(raw).decode()
    if len(name) > _ROOM:
        digest = hashlib.sha256(raw).hexdigest()
        head = urlsafe_b64encode(raw[: (_ROOM - len(digest) - 2) // 4 * 3]).decode()
        name = f"!{digest}.{head}"
    return f"{RESERVED_PREFIX}{uuid.uuid4().hex}-{part_size_bytes:x}/{name}"


def key_of(temporary: str) -> tuple[str, int] | None:
    """The key (its beginning, of a very long one) and part size that a temporary key stands for; ``None`` if it is none."""
    match = _NAME.fullmatch(temporary)
    if match is None:
        return None
    name = match[3].partition(".")[2] if match[2] else match[3]
    try:
        return urlsafe_b64decode(name).decode(errors="ignore" if match[2] else "strict"), int(match[1], 16)
    except ValueError:
        return None


class Uploads:
    """The multipart verbs on one bucket. Thread-safe; an upload's state is all in its ``Upload``."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._xml = f"/{quoted(bucket.name)}"

    def begin(self, key: str, part_size_bytes: int, metadata: Metadata) -> Upload:
        """Open an upload to a temporary key. One request."""
        place = self._bucket.place("begin", key)
        self._bucket.demand_exact(metadata, place)
        temporary = temporary_key(key, part_size_bytes)
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
        """Forget an upload, its parts and its temporary object. Two requests; what is gone already is fine."""
        if upload.id:
            place = self._bucket.place("abort", upload.key)
            try:
                self._bucket.client.call(place, "DELETE", self._target(upload), accept=(200, 204))
            except NotFoundError as error:
                if error.key is None:
                    raise
        self._bucket.delete(upload.state[_TEMPORARY], operation="abort")

    def find(self, prefix: str) -> Iterator[Upload]:
        """Open uploads, then temporary objects that were left (``id`` is empty): a request per 1,000 of each."""
        yield from self._open(prefix)
        for page in self._bucket.pages(RESERVED_PREFIX, None, "list uploads"):
            for info in page:
                upload = _found(info.key, "", info.modified, prefix)
                if upload is not None:
                    yield upload

    def _open(self, prefix: str) -> Iterator[Upload]:
        first = f"{self._xml}?uploads&prefix={quoted(RESERVED_PREFIX)}&max-uploads={_PAGE}"
        target = first
        while True:
            answer = self._bucket.client.call(self._bucket.place("list uploads"), "GET", target)
            text = answer.data.decode(errors="replace")
            if not text.rstrip().endswith("ListMultipartUploadsResult>"):
                raise ConnectionLostError(
                    "the answer is cut", operation="list uploads", where=self._bucket.url
                )
            for entry in re.findall(r"<Upload>(.*?)</Upload>", text, re.DOTALL):
                begun = _text(entry, "Initiated")
                moment = datetime.fromisoformat(begun) if begun else None
                upload = _found(_text(entry, "Key"), _text(entry, "UploadId"), moment, prefix)
                if upload is not None:
                    yield upload
            if _text(text, "IsTruncated") != "true":
                return
            markers = f"&key-marker={quoted(_text(text, 'NextKeyMarker'))}"
            markers += f"&upload-id-marker={quoted(_text(text, 'NextUploadIdMarker'))}"
            if first + markers == target:
                raise ConnectionLostError(
                    "the listing loops", operation="list uploads", where=self._bucket.url
                )
            target = first + markers

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
        info = self._bucket.put(upload.key, b"", upload.metadata, digests, condition)
        self.abort(upload)
        return info

    def _clear(self, upload: Upload, whole: ObjectInfo) -> None:
        """Remove the temporary object. The commit stands whatever happens here, so a failure is told, not raised."""
        try:
            self._bucket.delete(whole.key, operation="complete")
        except CrossdockError as error:
            emit(Note(text=f"{self._bucket.url}/{upload.key} is complete, but {whole.key} was left: {error}"))

    def _forget(self, upload: Upload, error: CrossdockError) -> None:
        try:
            self.abort(upload)
        except CrossdockError as failure:
            error.add_note(f"the upload {upload.state[_TEMPORARY]} was left: {failure}")


def _found(temporary: str, upload_id: str, begun: datetime | None, prefix: str) -> Upload | None:
    meaning = key_of(temporary)
    if meaning is None:
        return None
    key, part_size_bytes = meaning
    if not key.startswith(prefix) and not prefix.startswith(key):
        return None
    if not key.startswith(prefix) and "/!" not in temporary:
        return None
    return Upload(
        key=key, id=upload_id, part_size_bytes=part_size_bytes, begun=begun, state={_TEMPORARY: temporary}
    )


def _text(xml: str, name: str) -> str:
    """The first element's text. By expression, not by parser: no entity is ever expanded but the five."""
    match = re.search(rf"<{name}>(.*?)</{name}>", xml, re.DOTALL)
    return unescape(match[1], _ENTITIES) if match else ""
