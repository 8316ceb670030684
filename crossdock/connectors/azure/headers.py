"""Digests, conditions and the state of an object as Azure's headers carry them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from crossdock.connectors.azure.metadata import metadata_in
from crossdock.connectors.digests import digest_of
from crossdock.connectors.native import quoted, unquoted
from crossdock.errors import IntegrityError, PreconditionError
from crossdock.model import Condition, Digests, ObjectInfo, Version
from crossdock.ports import Chunk

__all__ = [
    "check_headers",
    "condition_headers",
    "crc64_in",
    "etag_in",
    "info_of",
    "md5_of",
    "pin",
    "to_check",
]


def condition_headers(condition: Condition, **place: str) -> dict[str, str]:
    """If-None-Match or If-Match.

    Raises:
        PreconditionError: The condition names no ETag, and Azure compares nothing else.
    """
    if condition.absent:
        return {"If-None-Match": "*"}
    return pin(condition.version, "If-Match", **place)


def pin(version: Version, header: str, **place: str) -> dict[str, str]:
    """The header that demands one version; none if no version is given."""
    if not version:
        return {}
    if version.etag is None:
        raise PreconditionError("Azure compares ETags only", **place)  # type: ignore[arg-type]
    return {header: quoted(version.etag)}


def etag_in(headers: Mapping[str, str]) -> Version:
    """The version an answer names."""
    return Version(etag=unquoted(headers.get("etag")))


def to_check(data: Chunk, digests: Digests, *, md5: bool, **place: str) -> Digests:
    """The digests of ``data`` to prove it by: the CRC always, the MD5 if it is given or asked for.

    Azure takes one of the two with a request, so the CRC is compared here if both are given.

    Raises:
        IntegrityError: The given CRC-64/NVME is not of these bytes.
    """
    names = ["crc64nvme", "md5"] if md5 and digests.md5 is None else ["crc64nvme"]
    mine = digest_of(data, names)
    if digests.crc64nvme not in (None, mine.crc64nvme) and (md5 or digests.md5 is not None):
        raise IntegrityError("the bytes have another crc64nvme", **place)  # type: ignore[arg-type]
    return Digests(crc64nvme=digests.crc64nvme or mine.crc64nvme, md5=digests.md5 or mine.md5)


def check_headers(digests: Digests) -> dict[str, str]:
    """The one digest the service compares before it keeps anything: the MD5 if there is one, else the CRC-64/NVME."""
    if digests.md5 is not None:
        return {"Content-MD5": base64.b64encode(digests.md5).decode()}
    if digests.crc64nvme is not None:
        return {"x-ms-content-crc64": base64.b64encode(digests.crc64nvme[::-1]).decode()}  # little-endian
    return {}


def crc64_in(headers: Mapping[str, str]) -> bytes | None:
    """The CRC-64/NVME the service computed of what it got."""
    raw = _decoded(headers.get("x-ms-content-crc64"), 8)
    return raw[::-1] if raw is not None else None


def md5_of(text: str | None) -> bytes | None:
    """A Content-MD5."""
    return _decoded(text, 16)


def _decoded(text: str | None, length: int) -> bytes | None:
    try:
        raw = base64.b64decode(text, validate=True) if text else None
    except binascii.Error:
        return None
    return raw if raw is not None and len(raw) == length else None


def info_of(key: str, size: int, headers: Mapping[str, str], *, is_range: bool = False) -> ObjectInfo:
    """An object as the headers of HEAD or GET describe it.

    Of a range, Content-MD5 would be the range's; the whole object's has another name there.
    """
    try:
        modified = parsedate_to_datetime(headers["last-modified"])
    except (KeyError, ValueError):
        modified = None
    md5 = headers.get("x-ms-blob-content-md5") or ("" if is_range else headers.get("content-md5"))
    return ObjectInfo(
        key=key,
        size=size,
        version=etag_in(headers),
        digests=Digests(md5=md5_of(md5)),
        metadata=metadata_in(headers),
        modified=modified,
        storage_class=headers.get("x-ms-access-tier"),
    )
