"""Copies inside the service: CopyObject, and UploadPartCopy above its 5 GiB; pinned to the observed version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from crossdock.connectors.native import quoted, unquoted
from crossdock.connectors.s3 import headers, uploads
from crossdock.connectors.s3.client import Client
from crossdock.errors import CrossdockError, Retry, UnsupportedError
from crossdock.model import (
    GIB,
    MIB,
    ByteRange,
    Condition,
    Digests,
    Metadata,
    ObjectInfo,
    Part,
    Upload,
    Version,
)

__all__ = ["copy_parts", "copy_whole"]

COPY_LIMIT = 5 * GIB  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
_PART = 1 * GIB


def _source_headers(bucket: str, key: str, info: ObjectInfo) -> dict[str, str]:
    sent = {"x-amz-copy-source": quote(f"{bucket}/{key}", safe="/~-._")}
    if info.version.etag is not None:
        sent["x-amz-copy-source-if-match"] = quoted(info.version.etag)
    return sent


def copy_whole(
    client: Client,
    bucket: str,
    source_key: str,
    key: str,
    *,
    info: ObjectInfo,
    metadata: Metadata,
    condition: Condition,
) -> Version:
    """CopyObject, the metadata replaced by exactly ``metadata``; one request."""
    sent = _source_headers(bucket, source_key, info) | {"x-amz-metadata-directive": "REPLACE"}
    sent |= headers.metadata_headers(headers.encoded(metadata)) | headers.condition_headers(condition)
    answer = client.call("copy", "PUT", key, headers=sent)
    page = uploads.document(client, "copy", key, answer, "CopyObjectResult")
    return Version(etag=unquoted(page.root.get("ETag")))


def copy_parts(
    client: Client,
    bucket: str,
    source_key: str,
    upload: Upload,
    *,
    info: ObjectInfo,
    finish: Callable[[list[Part]], Any],
    abandon: Callable[[BaseException], None],
) -> Any:
    """UploadPartCopy of every range, in order, then ``finish``; ``abandon`` cleans up after whatever fails."""
    if info.size is None:
        raise UnsupportedError("the size is not known", operation="copy", where=client.where, key=upload.key)
    part_size = max(_PART, -(-info.size // 10_000 // MIB) * MIB)
    parts = []
    try:
        for number, span in enumerate(ByteRange(0, info.size).split(part_size), start=1):
            sent = _source_headers(bucket, source_key, info)
            sent["x-amz-copy-source-range"] = f"bytes={span.start}-{span.end - 1}"
            answer = client.call(
                "copy",
                "PUT",
                upload.key,
                query={"partNumber": str(number), "uploadId": upload.id},
                headers=sent,
            )
            page = uploads.document(client, "copy", upload.key, answer, "CopyPartResult")
            etag = unquoted(page.root.get("ETag")) or ""
            parts.append(Part(number=number, size=len(span), etag=etag, digests=Digests()))
    except BaseException as error:
        abandon(error)
        raise
    try:
        return finish(parts)
    except CrossdockError as error:
        if (
            error.retry is Retry.NEVER
        ):  # a refusal; otherwise it may have been done, and what may be is not aborted
            abandon(error)
        raise
