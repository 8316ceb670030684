"""Metadata, digests and state of an object as S3's headers carry them, exact in both directions."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from email.header import decode_header
from email.utils import parsedate_to_datetime

from crossdock.connectors.native import metadata_of, quoted, unquoted
from crossdock.errors import UnsupportedError
from crossdock.model import Condition, Digests, Metadata, ObjectInfo, Version

__all__ = [
    "checksum_headers",
    "condition_headers",
    "decoded",
    "encoded",
    "info_of",
    "is_encrypted",
    "md5_of_etag",
    "metadata_headers",
    "multipart_count",
    "published",
]

_HEADERS = {
    "content-type": "content_type",
    "cache-control": "cache_control",
    "content-disposition": "content_disposition",
    "content-encoding": "content_encoding",
    "content-language": "content_language",
}
_USER = "x-amz-meta-"
_USER_LIMIT = 2048  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_WORD = re.compile(r"=\?[A-Za-z0-9-]+\?[BbQq]\?[^?]*\?=")
_NO_TYPE = "binary/octet-stream"  # what S3 says of an object that was stored without a Content-Type
_CHECKSUMS = ("crc32c", "crc64nvme", "sha256")
_LENGTHS = {"crc32c": 4, "crc64nvme": 8, "sha256": 32}
_MD5 = re.compile(r"[0-9a-f]{32}")
_MULTIPART = re.compile(r"[0-9a-f]{32}-([1-9]\d{0,4})")


def encoded(metadata: Metadata) -> Metadata:
    """The same metadata as S3 keeps it: user values beyond ASCII as RFC 2047 words, which is how S3 itself returns them.

    Raises:
        UnsupportedError: A name or value is no header, or the user metadata is over S3's 2 KiB.
    """
    user = {name: _word(value) for name, value in metadata.user.items()}
    for name in user:
        if not _NAME.fullmatch(name):
            raise UnsupportedError(
                f"S3 keeps no user metadata named {name!r}: only lower-case header names", operation="put"
            )
    if sum(len(name) + len(value) for name, value in user.items()) > _USER_LIMIT:
        raise UnsupportedError("user metadata is over S3's limit of 2 KiB", operation="put")
    system = {name: getattr(metadata, name) for name in Metadata.FIELDS}
    for name, value in (*system.items(), *user.items()):
        if value is not None and (
            not value.isascii() or not value.isprintable() or value != value.strip(" ")
        ):
            raise UnsupportedError(f"metadata {name} = {value!r} is no header value", operation="put")
    return Metadata(**system, user=user)


def _word(value: str) -> str:
    if value.isascii() and "=?" not in value and value == value.strip(" ") and "  " not in value:
        return value
    if not value.isprintable():
        raise UnsupportedError(f"metadata value {value!r} has control characters", operation="put")
    return f"=?UTF-8?B?{base64.b64encode(value.encode()).decode()}?="


def decoded(attributes: Mapping[str, str]) -> Metadata:
    """Metadata from obstore's attributes."""
    found = metadata_of(attributes)
    return _settled({name: getattr(found, name) for name in Metadata.FIELDS}, found.user)


def _settled(system: Mapping[str, str | None], user: Mapping[str, str]) -> Metadata:
    fields = {name: value or None for name, value in system.items()}
    if fields["content_type"] == _NO_TYPE:
        fields["content_type"] = None
    return Metadata(**fields, user={name: _unword(value) for name, value in sorted(user.items())})


def _unword(value: str) -> str:
    if not _WORD.search(value):
        return value
    try:
        parts = decode_header(value)
        return "".join(
            part if isinstance(part, str) else part.decode(charset or "ascii") for part, charset in parts
        )
    except (UnicodeDecodeError, LookupError, binascii.Error, ValueError):
        return value


def metadata_headers(metadata: Metadata) -> dict[str, str]:
    """Request headers of metadata that was ``encoded``."""
    headers = {name: getattr(metadata, field) for name, field in _HEADERS.items()}
    user = {f"{_USER}{name}": value for name, value in metadata.user.items()}
    return {name: value for name, value in headers.items() if value is not None} | user


def metadata_in(headers: Mapping[str, str]) -> Metadata:
    """Metadata from answer headers; values that are raw UTF-8 are read as such."""
    system = {field: headers.get(name) for name, field in _HEADERS.items()}
    user = {
        name.lower().removeprefix(_USER): _utf8(value)
        for name, value in headers.items()
        if name.lower().startswith(_USER)
    }
    return _settled(system, user)


def _utf8(value: str) -> str:
    """http.client reads headers as Latin-1; some servers send UTF-8."""
    try:
        return value.encode("latin-1").decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return value


def condition_headers(condition: Condition) -> dict[str, str]:
    """If-None-Match or If-Match."""
    if condition.absent:
        return {"If-None-Match": "*"}
    return {"If-Match": quoted(condition.version.etag)} if condition.version.etag else {}


def checksum_headers(digests: Digests) -> dict[str, str]:
    """CRC-64/NVME and MD5 for the server to check."""
    headers = {}
    if digests.crc64nvme is not None:
        headers["x-amz-checksum-crc64nvme"] = base64.b64encode(digests.crc64nvme).decode()
    if digests.md5 is not None:
        headers["Content-MD5"] = base64.b64encode(digests.md5).decode()
    return headers


def md5_of_etag(etag: str | None) -> bytes | None:
    """The MD5 that an ETag of a single put is, by its form."""
    return bytes.fromhex(etag) if etag is not None and _MD5.fullmatch(etag) else None


def multipart_count(etag: str | None) -> int:
    """Of how many parts an ETag says the object was made; 0 if it was put whole."""
    found = _MULTIPART.fullmatch(etag or "")
    return int(found[1]) if found else 0


def is_encrypted(headers: Mapping[str, str]) -> bool:
    """Whether the object is encrypted with a key of KMS or of the customer's: then its ETag is no digest."""
    return headers.get("x-amz-server-side-encryption", "").startswith("aws:") or (
        "x-amz-server-side-encryption-customer-algorithm" in headers
    )


def published(headers: Mapping[str, str], *, checksums: bool = True) -> Digests:
    """The digests an answer publishes of the whole object.

    The ETag is an MD5 only for one put without KMS or customer keys; checksums count only if they are of the full object.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html

    Args:
        headers: Of a HEAD, GET, PUT or copy.
        checksums: Whether the server is trusted to have computed ``x-amz-checksum-*`` itself.
    """
    etag = unquoted(headers.get("etag"))
    encrypted = is_encrypted(headers)
    multipart = etag if multipart_count(etag) else None
    found: dict[str, bytes] = {}
    if checksums and headers.get("x-amz-checksum-type", "FULL_OBJECT") == "FULL_OBJECT":
        for name in _CHECKSUMS:
            raw = raw_checksum(headers.get(f"x-amz-checksum-{name}"))
            if raw is not None and len(raw) == _LENGTHS[name]:
                found[name] = raw
    return Digests(
        md5=None if encrypted else md5_of_etag(etag),
        multipart_etag=None if encrypted else multipart,
        crc32c=found.get("crc32c"),
        crc64nvme=found.get("crc64nvme"),
        sha256=found.get("sha256"),
    )


def raw_checksum(text: str | None) -> bytes | None:
    """The bytes of a checksum header; ``None`` for one that is absent or of parts (``...-3``)."""
    try:
        return base64.b64decode(text, validate=True) if text else None
    except binascii.Error:
        return None


def info_of(key: str, size: int, headers: Mapping[str, str], *, checksums: bool = True) -> ObjectInfo:
    """An object as the headers of HEAD or GET describe it."""
    try:
        modified = parsedate_to_datetime(headers["last-modified"])
    except (KeyError, ValueError):
        modified = None
    return ObjectInfo(
        key=key,
        size=size,
        version=Version(etag=unquoted(headers.get("etag"))),
        digests=published(headers, checksums=checksums),
        metadata=metadata_in(headers),
        modified=modified,
        storage_class=headers.get("x-amz-storage-class"),
    )
