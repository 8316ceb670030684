"""What Amazon's answers say and moto's do not: checksums that were checked, parts of an object, uploads that are gone.

Requests are prepared for moto and its answers completed, around one call each; what moto cannot answer at all (the list
of open uploads with hostile keys, in pages) is answered here. The S3 documentation of HeadObject, PutObject,
UploadPart and ListMultipartUploads is the reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape

from crossdock.testing.s3_digests import CHECKSUMS
from crossdock.testing.wire import Headers, Request, Response

__all__ = ["NO_PART", "NO_UPLOAD", "completed", "list_uploads", "part_sizes", "prepare", "select_part"]

NO_UPLOAD = ("NoSuchUpload", "The specified upload does not exist. It may have been aborted or completed.")
NO_PART = ("InvalidPartNumber", "The requested partnumber is not satisfiable")
_PREFIX = "x-amz-checksum-"
_ALGORITHM = "x-amz-sdk-checksum-algorithm"
_ENCRYPTION = "x-amz-server-side-encryption"
_PAGE = 1000


def prepare(request: Request, operation: str, *, encryption: str | None) -> None:
    """Make a request say what moto needs to hear: which checksum it carries, and how its bucket encrypts by default."""
    headers = request.headers
    if operation in {"object.insert", "part.put"} and _ALGORITHM not in headers:
        sent = [name for name in CHECKSUMS if _PREFIX + name in headers]
        if sent:
            headers[_ALGORITHM] = sent[0].upper()
    if operation in {"object.insert", "object.copy", "upload.begin"} and encryption is not None:
        headers.setdefault(_ENCRYPTION, encryption)


def part_sizes(record: Any) -> list[int]:
    """The sizes of the parts an object was completed from; none if it was put whole, or copied (moto keeps them then)."""
    sizes = list(getattr(record.multipart, "completed_sizes", ()))
    return sizes if record.etag.strip('"').endswith(f"-{len(sizes)}") else []


def select_part(request: Request, record: Any) -> int | None:
    """Turn ``partNumber`` of a GET or HEAD into the range of that part; returns how many parts there are, 0 for a whole.

    ``None``: the object has no such part.
    """
    number = request.query.pop("partNumber")
    sizes = part_sizes(record)
    index = int(number) - 1 if number.isdigit() else -1
    if not 0 <= index < max(1, len(sizes)):
        return None
    pairs = "&".join(f"{quote(name)}={quote(value)}" for name, value in request.query.items())
    request.target = f"{request.path}?{pairs}" if pairs else request.path
    start = sum(sizes[:index])
    length = sizes[index] if sizes else int(record.size)
    if length:
        request.headers["range"] = f"bytes={start}-{start + length - 1}"
    return len(sizes)


def completed(request: Request, operation: str, headers: Headers, record: Any, parts: int | None) -> Headers:
    """The headers of a good answer as Amazon would send them.

    Args:
        request: As ``prepare`` left it.
        operation: Its name.
        headers: moto's.
        record: The object as moto holds it, for a GET or HEAD of one.
        parts: What ``select_part`` said, for a GET or HEAD of a part.
    """
    kept = [(name, value) for name, value in headers if name.lower() != _ALGORITHM]
    if operation in {"object.insert", "part.put"}:
        kept += _echo(request, kept)
    if operation in {"object.get", "object.stat"} and record is not None:
        kept = _of_whole(request, kept, record, is_part=parts is not None)
        if parts:
            kept.append(("x-amz-mp-parts-count", str(parts)))
    return kept


def _echo(request: Request, headers: Headers) -> Headers:
    """Amazon repeats the checksum it has compared with the bytes."""
    said = {name.lower() for name, _ in headers}
    names = [_PREFIX + name for name in CHECKSUMS if _PREFIX + name in request.headers]
    echoed = [(name, request.headers[name]) for name in names if name not in said]
    if names and "partNumber" not in request.query and _PREFIX + "type" not in said:
        echoed.append((_PREFIX + "type", "FULL_OBJECT"))
    return echoed


def _of_whole(request: Request, headers: Headers, record: Any, *, is_part: bool) -> Headers:
    """The object's checksum if it was asked for, never with a range; moto's HEAD forgets its type and number of parts."""
    kept = [(name, value) for name, value in headers if not name.lower().startswith(_PREFIX)]
    algorithm, value = record.checksum_algorithm, getattr(record, "checksum_value", None)
    asked = request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED"
    if not asked or is_part or "range" in request.headers or not algorithm or not value:
        return kept
    kind = getattr(record, "checksum_type", None) or "FULL_OBJECT"
    text = value.decode() if isinstance(value, bytes) else str(value)
    suffix = f"-{record.checksum_parts}" if kind == "COMPOSITE" else ""
    return [*kept, (_PREFIX + algorithm.lower(), text + suffix), (_PREFIX + "type", kind)]


def list_uploads(request: Request, bucket: str, uploads: Mapping[str, Any]) -> Response:
    """A page of open uploads, by key and then by age; keys encoded if that was asked for."""
    query = request.query
    encode = quote if query.get("encoding-type") == "url" else str
    marker = (query.get("key-marker", ""), query.get("upload-id-marker", ""))
    limit = min(int(query.get("max-uploads") or _PAGE), _PAGE)
    waiting = sorted(
        (upload.key_name, upload.begun, upload.id)
        for upload in uploads.values()
        if upload.key_name.startswith(query.get("prefix", ""))
    )
    rows = [row for row in waiting if row[0].encode() >= marker[0].encode()]
    at = next((n for n, row in enumerate(rows, 1) if (row[0], row[2]) == marker), 0)
    if (
        not at and marker[0]
    ):  # the upload it stood at has ended, or only a key was given: go on after that key
        rows = [row for row in rows if row[0] != marker[0]]
    rows, more = rows[at : at + limit], len(rows) > at + limit
    listed = "".join(
        f"<Upload><Key>{escape(encode(key))}</Key><UploadId>{uid}</UploadId>"
        f"<StorageClass>STANDARD</StorageClass><Initiated>{begun:%Y-%m-%dT%H:%M:%S.000Z}</Initiated></Upload>"
        for key, begun, uid in rows
    )
    following = ""
    if more:
        key, _, uid = rows[-1]
        following = f"<NextKeyMarker>{escape(encode(key))}</NextKeyMarker><NextUploadIdMarker>{uid}</NextUploadIdMarker>"
    encoding = "<EncodingType>url</EncodingType>" if encode is quote else ""
    return Response.text(
        200,
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Bucket>{escape(bucket)}</Bucket>{encoding}<MaxUploads>{limit}</MaxUploads>"
        f"<IsTruncated>{str(more).lower()}</IsTruncated>{following}{listed}</ListMultipartUploadsResult>",
        "application/xml",
    )
