"""The digests that S3 checks and moto does not.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html. Bodies in ``aws-chunked`` encoding, which
botocore sends by default, are taken apart here, so that moto sees the plain bytes and the trailer's checksum is
checked like one in a header.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable
from functools import reduce
from xml.etree import ElementTree as ET

from awscrt import checksums

from crossdock.testing.wire import Request

_PREFIX = "x-amz-checksum-"
_STREAMING = "STREAMING-"


class DigestError(Exception):
    """S3 would refuse the bytes.

    Args:
        code: S3's error code.
        message: For people.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


CHECKSUMS: dict[str, Callable[[bytes], bytes]] = {
    "crc32": lambda body: zlib.crc32(body).to_bytes(4, "big"),
    "crc32c": lambda body: int(checksums.crc32c(body)).to_bytes(4, "big"),
    "crc64nvme": lambda body: int(checksums.crc64nvme(body)).to_bytes(8, "big"),
    "sha1": lambda body: hashlib.sha1(body, usedforsecurity=False).digest(),
    "sha256": lambda body: hashlib.sha256(body).digest(),
}


def check_body(request: Request) -> None:
    """Decode an ``aws-chunked`` body in place, and compare every digest that the client sent with the body.

    Raises:
        DigestError: One is wrong.
    """
    headers = request.headers
    if headers.get("x-amz-content-sha256", "").startswith(_STREAMING):
        _decode_chunked(request)
    if "uploadId" in request.query and request.method == "POST":
        return  # these headers describe the whole object: see check_complete
    body: bytes | None = None
    if (md5 := headers.get("content-md5")) is not None:
        body = request.body()
        _compare("MD5", md5, hashlib.md5(body, usedforsecurity=False).digest(), "BadDigest")
    for name, compute in CHECKSUMS.items():
        if (claimed := headers.get(_PREFIX + name)) is not None and request.method in {"PUT", "POST"}:
            body = request.body() if body is None else body
            _compare(name.upper(), claimed, compute(body), "BadDigest")
    sha256 = headers.get("x-amz-content-sha256", "")
    if len(sha256) == 64 and request.size and hashlib.sha256(request.body()).hexdigest() != sha256:
        raise DigestError("XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' does not match.")


def check_xml(request: Request) -> None:
    """Refuse a body that is no XML; keys with control characters make one, unless a client writes them as references.

    Raises:
        DigestError: MalformedXML, as S3 says.
    """
    try:
        ET.fromstring(request.body())  # noqa: S314 - a test server on loopback, read by its own tests
    except ET.ParseError:
        raise DigestError("MalformedXML", "The XML you provided was not well-formed.") from None


def check_complete(request: Request, read_parts: Callable[[], dict[int, bytes]]) -> None:
    """Compare a completed object's size and full-object checksum with what the client expects.

    Composite checksums (a digest of the parts' digests, with their number behind a dash) are left to moto.

    Raises:
        DigestError: One is wrong; the upload stays open.
    """
    headers = request.headers
    claimed = {n: headers[_PREFIX + n] for n in ("crc32", "crc32c", "crc64nvme") if _PREFIX + n in headers}
    size = headers.get("x-amz-mp-object-size")
    if not claimed and size is None:
        return
    try:
        root = ET.fromstring(request.body())  # noqa: S314 - a test server on loopback, read by its own tests
        numbers = [int(part.findtext("{*}PartNumber") or 0) for part in root.iterfind("{*}Part")]
    except (ET.ParseError, ValueError):
        return  # moto says MalformedXML
    parts = read_parts()
    chosen = [parts.get(number, b"") for number in numbers]
    if size is not None and int(size) != sum(map(len, chosen)):
        raise DigestError("InvalidRequest", f"The object has {sum(map(len, chosen))} bytes, not {size}.")
    for name, value in claimed.items():
        if "-" in value:
            continue
        actual = reduce(EXTEND[name], chosen, 0).to_bytes(8 if name == "crc64nvme" else 4, "big")
        _compare(name.upper(), value, actual, "BadDigest")


EXTEND: dict[str, Callable[[int, bytes], int]] = {
    "crc32": lambda crc, body: zlib.crc32(body, crc),
    "crc32c": lambda crc, body: int(checksums.crc32c(body, crc)),
    "crc64nvme": lambda crc, body: int(checksums.crc64nvme(body, crc)),
}


def _compare(name: str, claimed: str, actual: bytes, code: str) -> None:
    if claimed.strip() != base64.b64encode(actual).decode():
        raise DigestError(code, f"The {name} you specified did not match the calculated checksum.")


def _decode_chunked(request: Request) -> None:
    """Replace an ``aws-chunked`` body by its payload, and its headers by those of a plain request."""
    body, payload, at = request.body(), [], 0
    while True:
        line_end = body.find(b"\r\n", at)
        if line_end < 0:
            raise DigestError("IncompleteBody", "The aws-chunked body broke off.")
        try:
            length = int(body[at:line_end].split(b";")[0], 16)
        except ValueError:
            raise DigestError("InvalidRequest", "A chunk size is not a number.") from None
        at = line_end + 2
        if length == 0:
            break
        payload.append(body[at : at + length])
        at += length + 2
    headers = request.headers
    for line in body[at:].decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower().startswith(_PREFIX):
            headers[name.lower()] = value.strip()
    request.chunks = (b"".join(payload),) if payload else ()
    expected = headers.pop("x-amz-decoded-content-length", None)
    if expected is not None and int(expected) != request.size:
        raise DigestError("IncompleteBody", f"The body has {request.size} bytes, not {expected}.")
    headers["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD"
    headers.pop("x-amz-trailer", None)
    encodings = [e.strip() for e in headers.pop("content-encoding", "").split(",")]
    if kept := [e for e in encodings if e and e != "aws-chunked"]:
        headers["content-encoding"] = ",".join(kept)
