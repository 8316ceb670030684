"""One object in one request, checked by the server: through obstore once the server is known, signed by us before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from crossdock.connectors import native
from crossdock.connectors.digests import digest_of
from crossdock.connectors.s3 import headers, uploads
from crossdock.connectors.s3.connection import Connection, Learned
from crossdock.errors import CrossdockError, IntegrityError, PreconditionError
from crossdock.model import MIB, Condition, Digests, Metadata, ObjectInfo, Version
from crossdock.ports import Chunk

__all__ = ["put", "written"]

_NATIVE_LIMIT = MIB  # above it the signed route costs no more, and judges a slow line by progress


def put(
    connection: Connection,
    learned: Learned,
    key: str,
    data: Chunk,
    *,
    metadata: Metadata,
    digests: Digests,
    condition: Condition,
    discard: Callable[[str, Version], None],
) -> ObjectInfo:
    """PutObject with CRC-64/NVME where the server checks that, with MD5 otherwise; one request.

    Raises:
        IntegrityError: ``digests`` are not of these bytes, or the server stored others, which ``discard`` then removed.
    """
    where = connection.client.where
    size, kept = memoryview(data).nbytes, headers.encoded(metadata)
    known = learned.checks_crc64nvme and learned.etag_is_md5 is not None  # the first put, signed, shows both
    plain = native.addressable(key) and native.expressible(kept)
    if known and plain and digests.md5 is None and size <= _NATIVE_LIMIT:
        crc = digest_of(data, ["crc64nvme"])
        if crc.conflict(digests) is not None:
            raise IntegrityError("the bytes have another crc64nvme", operation="put", where=where, key=key)
        store = connection.native(checksum=True)
        version = native.put(store, key, data, metadata=kept, condition=condition, where=where)
        md5 = headers.md5_of_etag(version.etag) if learned.etag_is_md5 else None
        return written(key, size, version, metadata, replace(crc, md5=md5))
    sent = uploads.to_send(learned, data, digests, operation="put", where=where, key=key)
    answer = connection.client.call(
        "put",
        "PUT",
        key,
        headers=headers.metadata_headers(kept)
        | headers.checksum_headers(sent)
        | headers.condition_headers(condition),
        payload=data,
    )
    version = Version(etag=native.unquoted(answer.headers.get("etag")))
    try:
        proven = uploads.confirmed(learned, data, sent, answer, operation="put", where=where, key=key)
    except IntegrityError as error:
        _discarded(discard, key, version, error)
        raise
    return written(key, size, version, metadata, proven)


def _discarded(
    discard: Callable[[str, Version], None], key: str, version: Version, error: IntegrityError
) -> None:
    """Remove what a server stored that does not check its input, unless somebody replaced it."""
    try:
        discard(key, version)
    except PreconditionError:
        error.add_note("the wrong object was already replaced by somebody else")
    except CrossdockError as failure:
        error.add_note(f"the wrong object could not be removed: {failure}")


def written(key: str, size: int, version: Version, metadata: Metadata, proven: Digests) -> ObjectInfo:
    """What is at the destination now, as far as the answer proves it."""
    return ObjectInfo(key=key, size=size, version=version, digests=proven, metadata=metadata)
