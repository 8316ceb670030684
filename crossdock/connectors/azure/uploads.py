"""Uploads in parts: checked blocks beside the final key, committed at once on a condition (docs/decisions/0008).

Azure has no upload that can be named, listed or aborted, so each has a record: an empty blob under a reserved prefix that
says which key and part size. An upload lives as long as its record. Blocks of one that is dead are invisible and cannot
be removed without touching the object; the service drops them with the next commit to that key, or after a week.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence

from crossdock.connectors.azure.blocks import commit, id_bytes_for, list_blocks, new_id
from crossdock.connectors.azure.client import Client
from crossdock.connectors.azure.errors import container_is_missing
from crossdock.connectors.azure.headers import check_headers, crc64_in, to_check
from crossdock.connectors.azure.listing import Bookmarks, list_pages
from crossdock.connectors.azure.metadata import encoded, metadata_headers
from crossdock.connectors.azure.names import MAX_BLOCKS, RESERVED_PREFIX
from crossdock.connectors.digests import combine_parts
from crossdock.errors import CrossdockError, DeniedError, IntegrityError, NotFoundError, PreconditionError
from crossdock.events import Note, emit
from crossdock.model import Condition, Digests, Metadata, ObjectInfo, Part, Upload, Version
from crossdock.ports import Chunk

__all__ = ["Uploads"]

_KEY, _PART_SIZE = "crossdock_key", "crossdock_part_size"
_ID_BYTES = "id_bytes"  # the one entry of an upload's state
_REMEMBERED = 10_000


class _Ended:
    """Uploads this process has completed or aborted: their late parts are refused without asking. Thread-safe."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, upload_id: str) -> None:
        with self._lock:
            self._ids[upload_id] = None
            if len(self._ids) > _REMEMBERED:
                self._ids.popitem(last=False)

    def __contains__(self, upload_id: str) -> bool:
        return upload_id in self._ids


_ended = _Ended()


class Uploads:
    """The multipart verbs on one container. Thread-safe; an upload's state is its ``Upload``, its record and its blocks."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def begin(self, key: str, part_size_bytes: int, metadata: Metadata) -> Upload:
        """Look at the blob's blocks, whose ids ours must be as long as, and write the record: two requests."""
        encoded(metadata)  # what cannot be kept is said before a byte is sent
        id_bytes = id_bytes_for(self._client, key, operation="begin")
        upload_id = secrets.token_hex(16)
        about = {_KEY: base64.urlsafe_b64encode(key.encode()).decode(), _PART_SIZE: str(part_size_bytes)}
        headers = {"x-ms-blob-type": "BlockBlob", "If-None-Match": "*"} | metadata_headers(
            Metadata(user=about)
        )
        self._client.call("begin", "PUT", _record(upload_id), headers=headers)
        return Upload(
            key=key,
            id=upload_id,
            part_size_bytes=part_size_bytes,
            metadata=metadata,
            state={_ID_BYTES: str(id_bytes)},
        )

    def put_part(self, upload: Upload, number: int, data: Chunk, digests: Digests) -> Part:
        """Put Block under a new id, with the CRC-64/NVME (or the MD5, if given), which the service compares."""
        place = self._place("put part", upload.key)
        if upload.id in _ended:
            raise NotFoundError("the upload is gone", **place)  # type: ignore[arg-type]
        checked = to_check(data, digests, md5=False, **place)
        block = new_id(int(upload.state[_ID_BYTES]))
        answer = self._client.call(
            "put part",
            "PUT",
            upload.key,
            query={"comp": "block", "blockid": block},
            headers=check_headers(checked),
            payload=data,
        )
        theirs = crc64_in(answer.headers)
        if theirs is not None and theirs != checked.crc64nvme:
            raise IntegrityError("the service computed another crc64nvme", **place)  # type: ignore[arg-type]
        return Part(number=number, size=memoryview(data).nbytes, etag=block, digests=checked.merged(digests))

    def complete(
        self, upload: Upload, parts: Sequence[Part], *, size: int, digests: Digests, condition: Condition
    ) -> ObjectInfo:
        """Compare record, sizes and digests, then commit: four requests, none of which moves bytes.

        May be called again after an error whose ``retry`` is LATER: block ids are drawn at random, so that a blob made of
        exactly ours is what an earlier call committed.
        """
        place = self._place("complete", upload.key)
        whole = self._demand_parts(parts, size, digests, place)
        self.demand_alive(upload)
        version = self._committed(upload, parts, digests.md5, condition, place)
        self.close(upload)
        return ObjectInfo(
            key=upload.key,
            size=size,
            version=version,
            digests=Digests(crc64nvme=whole.crc64nvme),
            metadata=upload.metadata,
        )

    def abort(self, upload: Upload) -> None:
        """Remove the record. One request. The blocks cannot be removed: they are never committed by anybody."""
        _ended.add(upload.id)
        self._forget(upload)

    def close(self, upload: Upload) -> None:
        """Remove the record of an upload whose object is there; a failure is told, not raised: the commit stands."""
        _ended.add(upload.id)
        try:
            self._forget(upload)
        except CrossdockError as error:
            where = f"{self._client.where}/{upload.key}"
            emit(Note(text=f"{where} is complete, but its record {_record(upload.id)} was left: {error}"))

    def find(self, prefix: str) -> Iterator[Upload]:
        """Uploads whose record is there, of any process; a request per 1,000."""
        for page in list_pages(self._client, RESERVED_PREFIX, None, Bookmarks(), operation="list uploads"):
            for info in page:
                upload = _upload_of(info)
                if upload is not None and upload.key.startswith(prefix):
                    yield upload

    def _demand_parts(
        self, parts: Sequence[Part], size: int, digests: Digests, place: dict[str, str]
    ) -> Digests:
        """The digests the blocks combine to, if they and the sizes are what was asked for."""
        held = sum(part.size for part in parts)
        if held != size:
            raise IntegrityError(f"the parts hold {held} of {size} bytes", **place)  # type: ignore[arg-type]
        if len(parts) > MAX_BLOCKS:
            raise IntegrityError(f"{len(parts)} parts; Azure takes {MAX_BLOCKS}", **place)  # type: ignore[arg-type]
        whole = combine_parts(parts)
        conflict = whole.conflict(digests)
        if conflict is not None:
            raise IntegrityError(f"the parts combine to another {conflict}", **place)  # type: ignore[arg-type]
        return whole

    def demand_alive(self, upload: Upload) -> None:
        """Raise ``NotFoundError`` if the upload was completed or aborted, by whatever process. One request."""
        try:
            self._client.call("complete", "HEAD", _record(upload.id))
        except NotFoundError as error:
            if container_is_missing(error):
                raise
            raise NotFoundError("the upload is gone", **self._place("complete", upload.key)) from error  # type: ignore[arg-type]

    def _committed(
        self,
        upload: Upload,
        parts: Sequence[Part],
        md5: bytes | None,
        condition: Condition,
        place: dict[str, str],
    ) -> Version:
        """The version of the object made of exactly these parts, now or by an earlier call."""
        blocks, version = list_blocks(self._client, upload.key, operation="complete")
        if _is_made_of(blocks.committed, parts):
            return version
        staged = dict(blocks.uncommitted)
        if any(part.etag not in staged for part in parts):
            raise self._dropped(version, condition, place)
        wrong = next((part for part in parts if staged[part.etag] != part.size), None)
        if wrong is not None:
            cause = f"the service holds {staged[wrong.etag]} of the {wrong.size} bytes of part {wrong.number}"
            raise IntegrityError(cause, **place)  # type: ignore[arg-type]
        try:
            return commit(
                self._client,
                upload.key,
                [part.etag for part in parts],
                operation="complete",
                metadata=upload.metadata,
                md5=md5,
                condition=condition,
            )
        except DeniedError:
            raise
        except CrossdockError as error:
            # The answer may have been lost, or be the answer to the same request delivered twice.
            return self._found_after(error, upload, parts)

    def _found_after(self, error: CrossdockError, upload: Upload, parts: Sequence[Part]) -> Version:
        try:
            blocks, version = list_blocks(self._client, upload.key, operation="complete")
        except CrossdockError:
            raise error from None
        if not _is_made_of(blocks.committed, parts):
            raise error
        return version

    def _dropped(self, there: Version, condition: Condition, place: dict[str, str]) -> CrossdockError:
        """Somebody wrote the key since our blocks were staged, which drops them."""
        hint = "another writer wrote the object meanwhile: list again, and run the same command again"
        changed = there if condition.absent else there != condition.version
        if not condition.is_any and changed:
            return PreconditionError("the object changed, and the parts with it", hint=hint, **place)  # type: ignore[arg-type]
        return NotFoundError("the parts are gone", hint=hint, **place)  # type: ignore[arg-type]

    def _forget(self, upload: Upload) -> None:
        try:
            self._client.call("abort", "DELETE", _record(upload.id))
        except NotFoundError as error:
            if container_is_missing(error):
                raise

    def _place(self, operation: str, key: str) -> dict[str, str]:
        return {"operation": operation, "where": self._client.where, "key": key}


def _record(upload_id: str) -> str:
    return f"{RESERVED_PREFIX}{upload_id}"


def _is_made_of(committed: Sequence[tuple[str, int]], parts: Sequence[Part]) -> bool:
    return bool(parts) and tuple(committed) == tuple((part.etag, part.size) for part in parts)


def _upload_of(record: ObjectInfo) -> Upload | None:
    """The upload a record is of; ``None`` for a blob that is no record of ours."""
    about = record.metadata.user if record.metadata is not None else {}
    try:
        key = base64.urlsafe_b64decode(about[_KEY]).decode()
        part_size = int(about[_PART_SIZE])
    except (KeyError, ValueError, binascii.Error):
        return None
    return Upload(
        key=key,
        id=record.key.removeprefix(RESERVED_PREFIX),
        part_size_bytes=part_size,
        begun=record.modified,
    )
