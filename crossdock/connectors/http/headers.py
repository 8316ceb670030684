"""What the headers of an answer say of an object: size, version, digests, metadata. Pure functions.

A strong ETag pins reads. A weak one, or a date of change with its seconds, only tells most changes: such a version is
called ``weak:...``, so that receipts show what they rest on.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from crossdock.errors import IntegrityError, RangeError, UnsupportedError
from crossdock.model import NO_VERSION, ByteRange, Digests, Metadata, ObjectInfo, Version

__all__ = [
    "Extent",
    "condition_headers",
    "digests_in",
    "extent_of",
    "info_of",
    "length_in",
    "metadata_in",
    "same_version",
    "version_in",
]

_FIELDS = {
    "content_type": "content-type",
    "cache_control": "cache-control",
    "content_disposition": "content-disposition",
    "content_encoding": "content-encoding",
    "content_language": "content-language",
}
_USER = ("x-amz-meta-", "x-goog-meta-", "x-ms-meta-")
_LENGTHS = {"md5": 16, "crc32c": 4, "crc64nvme": 8, "sha256": 32}
_STRONG = re.compile(r'"([^"\x00-\x20\x7f]*)"')
_WEAK = "weak: "
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)", re.IGNORECASE)


def version_in(headers: Mapping[str, str], size: int | None) -> Version:
    """What pins a read of the object that answered so; ``NO_VERSION`` if it has neither ETag nor date."""
    etag, modified = headers.get("etag", "").strip(), headers.get("last-modified", "").strip()
    strong = _STRONG.fullmatch(etag)
    if strong is not None:
        return Version(etag=strong[1])
    said = [part for part in (etag, modified) if part]
    if not said:
        return NO_VERSION
    return Version(generation=f"{_WEAK}{'; '.join(said)}; {'?' if size is None else size} bytes")


def same_version(wanted: Version, said: Version) -> bool:
    """Whether an answer is of the version that was asked for, as far as its words go.

    Of a weak version every part must be the same; only the length may be missing, in a chunked answer.
    """
    if wanted.etag is not None:
        return said.etag == wanted.etag
    mine, theirs = ((v.generation or "").rpartition("; ") for v in (wanted, said))
    return mine[0] == theirs[0] and (mine[2] == theirs[2] or "? bytes" in (mine[2], theirs[2]))


def condition_headers(version: Version) -> dict[str, str]:
    """What makes the server itself refuse another version, as far as HTTP has words for it."""
    if version.etag is not None:
        return {"If-Match": f'"{version.etag}"'}
    for part in (version.generation or "").removeprefix(_WEAK).split("; "):
        if part.endswith(" GMT"):
            return {"If-Unmodified-Since": part}
    return {}


def metadata_in(headers: Mapping[str, str]) -> Metadata:
    """The fields that describe the object, and the user metadata of the clouds' public URLs."""
    user = {
        name.lower()[len(prefix) :]: _utf8(value)
        for name, value in headers.items()
        for prefix in _USER
        if name.lower().startswith(prefix)
    }
    fields = {field: _utf8(headers[name]) for field, name in _FIELDS.items() if headers.get(name)}
    return Metadata(**fields, user=user)


def _utf8(value: str) -> str:
    """http.client reads headers as Latin-1; servers send UTF-8."""
    try:
        return value.encode("latin-1").decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return value


def digests_in(headers: Mapping[str, str], *, whole: bool) -> Digests:
    """Digests of the whole object that an answer publishes beyond doubt.

    ``Repr-Digest`` (RFC 9530) and ``x-goog-hash`` are of the whole also when a part is sent. ``Content-MD5``, ``Digest``
    (RFC 3230) and ``x-amz-checksum-*`` have been read both ways, so they count on whole answers only, and checksums of
    parts (``COMPOSITE``) never.
    """
    found: dict[str, bytes] = {}

    def note(name: str, text: str) -> None:
        try:
            raw = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            return
        if len(raw) == _LENGTHS[name]:
            found.setdefault(name, raw)

    for name, text in _pairs(headers.get("repr-digest", "")):
        if name in ("md5", "sha-256", "crc32c") and len(text) > 1 and text[0] == text[-1] == ":":
            note(name.replace("-", ""), text[1:-1])
    for name, text in _pairs(headers.get("x-goog-hash", "")):
        if name in ("md5", "crc32c"):
            note(name, text)
    for name, text in _of_whole_answers(headers) if whole else ():
        note(name, text)
    return Digests(**found)  # type: ignore[arg-type]


def _of_whole_answers(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, text in _pairs(headers.get("digest", "")):
        if name in ("md5", "sha-256"):
            yield name.replace("-", ""), text
    yield "md5", headers.get("content-md5", "")
    if headers.get("x-amz-checksum-type", "FULL_OBJECT").upper() == "FULL_OBJECT":
        for name in ("crc32c", "crc64nvme", "sha256"):
            yield name, headers.get(f"x-amz-checksum-{name}", "")


def _pairs(text: str) -> list[tuple[str, str]]:
    """``name=value`` of a comma-separated header; base64 has no comma."""
    pairs = (item.strip().partition("=") for item in text.split(","))
    return [(name.strip().lower(), value.strip()) for name, _, value in pairs if value]


def info_of(key: str, size: int | None, headers: Mapping[str, str], *, whole: bool) -> ObjectInfo:
    """An object as the headers of a HEAD or GET describe it."""
    try:
        modified = parsedate_to_datetime(headers["last-modified"])
    except (KeyError, ValueError):
        modified = None
    return ObjectInfo(
        key=key,
        size=size,
        version=version_in(headers, size),
        digests=digests_in(headers, whole=whole),
        metadata=metadata_in(headers),
        modified=modified,
    )


@dataclass(frozen=True, slots=True)
class Extent:
    """What of an object an answer's body holds.

    ``size`` is the whole object's; ``skip`` bytes come before what was asked for; ``length`` is how much was asked for
    and is there. ``None``: the server does not say, and the body ends where its framing ends.
    """

    size: int | None
    skip: int
    length: int | None


def extent_of(status: int, headers: Mapping[str, str], wanted: ByteRange | None) -> Extent:
    """Judge an answer to ``wanted`` by its headers.

    Raises:
        IntegrityError: It is another range than was asked for.
        RangeError: The range starts after the last byte.
        UnsupportedError: The answer cannot be told from a cut one, or ignores the range and hides its length.
    """
    length = length_in(headers)
    if status == 206:
        return _partial(headers, length, wanted)
    if wanted is None:
        if length is None and "chunked" not in headers.get("transfer-encoding", "").lower():
            raise UnsupportedError(
                "the server says neither how long the body is nor where it ends, so a cut could not be told from the end",
                hint="fetch it by other means, or have the server send Content-Length",
            )
        return Extent(length, 0, length)
    if length is None:
        raise UnsupportedError("the server ignores ranges and does not say how long the object is")
    if wanted.start >= length:
        raise RangeError("the range starts after the last byte")
    return Extent(length, wanted.start, min(wanted.end, length) - wanted.start)


def _partial(headers: Mapping[str, str], length: int | None, wanted: ByteRange | None) -> Extent:
    said = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
    if wanted is None or said is None:
        raise IntegrityError("the server sent a part that was not asked for, or does not say which")
    start, end = int(said[1]), int(said[2]) + 1
    size = None if said[3] == "*" else int(said[3])
    expected = wanted.end if size is None else min(wanted.end, size)
    if start != wanted.start or end != expected or (length is not None and length != end - start):
        raise IntegrityError(f"the server sent another range than was asked for: {said[0]}")
    return Extent(size, 0, end - start)


def length_in(headers: Mapping[str, str]) -> int | None:
    """How long the body is, by Content-Length; ``None`` if it does not say."""
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return None  # RFC 9112 section 6.3: then Content-Length means nothing
    text = headers.get("content-length", "").strip()
    return int(text) if text.isascii() and text.isdigit() else None
