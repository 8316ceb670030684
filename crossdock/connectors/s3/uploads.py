"""The multipart verbs, signed by botocore and sent by urllib3: exact, conditional, each part checked by the server.

A part carries CRC-64/NVME. A server that does not confirm it has to confirm the part's MD5 (as its ETag) instead, so
that no part is taken on trust.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from urllib.parse import unquote_plus

from crossdock.connectors.digests import combine_parts, digest_of, expected_multipart_etag
from crossdock.connectors.native import unquoted
from crossdock.connectors.s3 import documents, headers
from crossdock.connectors.s3.client import Answer, Client
from crossdock.connectors.s3.connection import Learned
from crossdock.connectors.service_errors import error_of
from crossdock.errors import ConnectionLostError, IntegrityError, NotFoundError
from crossdock.model import NO_DIGESTS, Condition, Digests, Metadata, Part, Upload, Version
from crossdock.ports import Chunk

__all__ = ["abort", "begin", "complete", "confirmed", "document", "list_uploads", "put_part", "to_send"]

_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]|&#x?[0-9A-Fa-f]{1,2};")
_CHECKSUM = {"x-amz-checksum-algorithm": "CRC64NVME", "x-amz-checksum-type": "FULL_OBJECT"}


def document(
    client: Client, operation: str, key: str | None, answer: Answer, root: str, row: str = ""
) -> documents.Page:
    """The XML of an answer; a 200 that carries an error is the error it carries.

    Raises:
        ConnectionLostError: The body is cut or no such document: the outcome is unknown.
    """
    # Amazon and moto put keys into these documents as they are, and no parser takes control characters; listings are
    # asked for encoded, and the other documents are not asked for keys.
    body = answer.body if row else _CONTROL.sub(b"", answer.body)
    try:
        return documents.parse(body, root, row)
    except documents.MalformedError as error:
        text = answer.body[:4096].decode("utf-8", "replace")
        if "<Error>" in text:
            raise error_of(answer.status, text, operation=operation, where=client.where, key=key) from None
        raise ConnectionLostError(str(error), operation=operation, where=client.where, key=key) from error


def begin(client: Client, learned: Learned, key: str, *, part_size_bytes: int, metadata: Metadata) -> Upload:
    """CreateMultipartUpload; asks for a full-object CRC-64/NVME unless the server is known not to check it."""
    sent = headers.metadata_headers(headers.encoded(metadata))
    if learned.checks_crc64nvme is not False:
        sent |= _CHECKSUM
    answer = client.call("begin", "POST", key, query={"uploads": ""}, headers=sent, document=b"")
    page = document(client, "begin", key, answer, "InitiateMultipartUploadResult")
    if not page.root.get("UploadId"):
        raise ConnectionLostError(
            "the answer names no upload", operation="begin", where=client.where, key=key
        )
    state = {"crc64nvme": "1"} if learned.checks_crc64nvme is not False else {}
    return Upload(
        key=key, id=page.root["UploadId"], part_size_bytes=part_size_bytes, metadata=metadata, state=state
    )


def put_part(
    client: Client, learned: Learned, upload: Upload, number: int, data: Chunk, digests: Digests
) -> Part:
    """UploadPart, checked by the server."""
    place = {"operation": "put part", "where": client.where, "key": upload.key}
    sent = to_send(learned, data, digests, **place)
    answer = client.call(
        "put part",
        "PUT",
        upload.key,
        query={"partNumber": str(number), "uploadId": upload.id},
        headers=headers.checksum_headers(sent),
        payload=data,
    )
    proven = confirmed(learned, data, sent, answer, **place)
    if proven:
        proven = proven.merged(digests)
    return Part(
        number=number,
        size=memoryview(data).nbytes,
        etag=unquoted(answer.headers.get("etag")) or "",
        digests=proven,
    )


def to_send(learned: Learned, data: Chunk, digests: Digests, **place: str) -> Digests:
    """The digests that go along: CRC-64/NVME where the server checks it or may, MD5 where it does not.

    Raises:
        IntegrityError: The given CRC-64/NVME is not of these bytes, and the server would not find out.
    """
    if learned.checks_crc64nvme is True and digests.crc64nvme is not None:
        return Digests(crc64nvme=digests.crc64nvme, md5=digests.md5)
    crc = digest_of(data, ["crc64nvme"]).crc64nvme
    if digests.crc64nvme not in (None, crc):
        raise IntegrityError("the bytes have another crc64nvme", **place)  # type: ignore[arg-type]
    if learned.checks_crc64nvme is not False:
        return Digests(crc64nvme=crc, md5=digests.md5)
    return Digests(md5=digests.md5 or digest_of(data, ["md5"]).md5)


def confirmed(learned: Learned, data: Chunk, sent: Digests, answer: Answer, **place: str) -> Digests:
    """What the answer proves of the bytes sent; learns how this server proves it.

    A server that checked CRC-64/NVME says so in the same header. Otherwise its ETag must be the MD5 of the bytes, unless
    it is no MD5 at all (encryption): then nothing is proven.

    Raises:
        IntegrityError: The server holds other bytes.
    """
    theirs = headers.published(answer.headers, checksums=False).md5
    learned.etag_is_md5 = theirs is not None
    crc = headers.raw_checksum(answer.headers.get("x-amz-checksum-crc64nvme"))
    if sent.crc64nvme is not None and learned.checks_crc64nvme is None:
        learned.checks_crc64nvme = crc is not None
    if crc is not None and sent.crc64nvme is not None and crc != sent.crc64nvme:
        raise IntegrityError("the server computed another crc64nvme", **place)  # type: ignore[arg-type]
    if learned.checks_crc64nvme and None not in (crc, sent.crc64nvme):
        return Digests(crc64nvme=sent.crc64nvme, md5=theirs)
    # Not confirmed, also by a server that does so otherwise: something between may have dropped the header.
    if theirs is None:
        return NO_DIGESTS
    if theirs != (sent.md5 or digest_of(data, ["md5"]).md5):
        raise IntegrityError("the server holds bytes of another md5", **place)  # type: ignore[arg-type]
    return Digests(md5=theirs, crc64nvme=sent.crc64nvme)


def complete(
    client: Client,
    learned: Learned,
    upload: Upload,
    parts: Sequence[Part],
    *,
    size: int,
    digests: Digests,
    condition: Condition,
) -> tuple[Version, Digests]:
    """CompleteMultipartUpload; says the version and what is proven of the whole.

    Where the server checks CRC-64/NVME, it compares the whole object's before anything is visible. Where every part was
    proven by MD5, the answer must be the MD5 of these MD5s.

    Raises:
        IntegrityError: The whole is not what was sent.
    """
    place = {"operation": "complete", "where": client.where, "key": upload.key}
    _demand_parts(parts, size, digests, place)
    # Not known where another process sent the parts: then it is asked for, as at the beginning, and the answer tells.
    checked = learned.checks_crc64nvme is not False
    sent = headers.condition_headers(condition)
    if checked:
        sent |= {"x-amz-mp-object-size": str(size)}
    if checked and digests.crc64nvme is not None and "crc64nvme" in upload.state:
        sent |= headers.checksum_headers(Digests(crc64nvme=digests.crc64nvme))
        sent |= {"x-amz-checksum-type": "FULL_OBJECT"}
    answer = client.call(
        "complete",
        "POST",
        upload.key,
        query={"uploadId": upload.id},
        headers=sent,
        document=documents.part_list(parts),
    )
    page = document(client, "complete", upload.key, answer, "CompleteMultipartUploadResult")
    etag = unquoted(page.root.get("ETag"))
    by_md5 = all(part.digests.md5 is not None for part in parts)
    if by_md5 and etag is not None and "-" in etag and etag != expected_multipart_etag(parts):
        raise IntegrityError("the server made the object of other parts", **place)  # type: ignore[arg-type]
    theirs = headers.raw_checksum(page.root.get("ChecksumCRC64NVME"))
    if checked and None not in (theirs, digests.crc64nvme) and theirs != digests.crc64nvme:
        raise IntegrityError("the server computed another crc64nvme", **place)  # type: ignore[arg-type]
    is_proven = learned.checks_crc64nvme is True or by_md5 or theirs is not None
    return Version(etag=etag), Digests(crc64nvme=digests.crc64nvme if is_proven else None)


def _demand_parts(parts: Sequence[Part], size: int, digests: Digests, place: dict[str, str]) -> None:
    """Compare what can be compared before anything is visible, whatever the server checks itself.

    Raises:
        IntegrityError: The parts are not of this size, or their checksums do not combine to the whole's.
    """
    held = sum(part.size for part in parts)
    if held != size:
        raise IntegrityError(f"the parts hold {held} of {size} bytes", **place)  # type: ignore[arg-type]
    conflict = combine_parts(parts).conflict(digests)
    if conflict is not None:
        raise IntegrityError(f"the parts combine to another {conflict}", **place)  # type: ignore[arg-type]


def abort(client: Client, upload: Upload) -> None:
    """AbortMultipartUpload; an upload that is gone is fine."""
    try:
        client.call("abort", "DELETE", upload.key, query={"uploadId": upload.id})
    except NotFoundError as error:
        if "NoSuchBucket" in error.cause:
            raise


def list_uploads(client: Client, prefix: str) -> Iterator[Upload]:
    """ListMultipartUploads, page by page, in the server's order; a page that does not advance raises."""
    marker: tuple[str, str] = ("", "")
    while True:
        query = {"uploads": "", "encoding-type": "url"} | ({"prefix": prefix} if prefix else {})
        if marker != ("", ""):
            query |= {"key-marker": marker[0], "upload-id-marker": marker[1]}
        try:
            answer = client.call("list uploads", "GET", None, query=query)
        except NotFoundError as error:
            if "NoSuchUpload" in error.cause:  # rclone's server, of a bucket that never had one
                return
            raise
        page = document(client, "list uploads", None, answer, "ListMultipartUploadsResult", "Upload")
        plain = unquote_plus if page.root.get("EncodingType", "").lower() == "url" else str
        for row in page.rows:
            key = plain(row.get("Key", ""))
            if key.startswith(prefix):
                yield Upload(
                    key=key,
                    id=row.get("UploadId", ""),
                    part_size_bytes=0,
                    begun=documents.parse_time(row.get("Initiated")),
                )
        if page.root.get("IsTruncated", "false").lower() != "true":
            return
        following = (plain(page.root.get("NextKeyMarker", "")), page.root.get("NextUploadIdMarker", ""))
        if following in (marker, ("", "")):
            raise ConnectionLostError(
                "the listing of uploads goes in circles", operation="list uploads", where=client.where
            )
        marker = following
