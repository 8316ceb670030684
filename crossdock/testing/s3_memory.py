"""How moto holds bytes, replaced: no temporary files, no copies, and a CRC32C that is one.

moto writes each object and each part to a spooled temporary file and reads it whole for every range of it; thirty-two ranges of
a 512 MiB object cost sixteen GiB of copying. Completing a multipart upload makes four copies. And without a package that
nobody installs, what moto calls CRC32C is a CRC32.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import moto.s3.models
import moto.s3.responses
from moto.s3.exceptions import EntityTooSmall, InvalidPart, MalformedXML
from moto.s3.models import FakeKey, FakeMultipart
from moto.settings import S3_UPLOAD_PART_MIN_SIZE

from crossdock.testing.s3_digests import CHECKSUMS, EXTEND


class HeldBytes:
    """As much of a temporary file as moto's objects use: one immutable value, held by reference."""

    def __init__(self, max_size: int = 0) -> None:
        del max_size
        self._data: bytes = b""
        self._at = 0

    def seek(self, offset: int) -> None:
        """Move to an offset from the start."""
        self._at = offset

    def truncate(self) -> None:
        """Forget what is behind the current offset."""
        self._data = self._data[: self._at]

    def write(self, data: bytes) -> None:
        """Take a value over; append it, in the case that moto never makes."""
        self._data = bytes(data) if self._at == 0 else self._data[: self._at] + data
        self._at = len(self._data)

    def read(self, size: int = -1) -> bytes:
        """Return what follows, without a copy if that is everything."""
        end = len(self._data) if size < 0 else min(self._at + size, len(self._data))
        whole = self._at == 0 and end == len(self._data)
        piece = self._data if whole else self._data[self._at : end]
        self._at = end
        return piece

    def close(self) -> None:
        """Free the value."""
        self._data = b""


class PartsChecksum:
    """The checksum of a multipart upload: of the whole object, or of its parts' digests."""

    def __init__(self, checksum_algorithm: str | None, checksum_type: str | None) -> None:
        self._name = (checksum_algorithm or "CRC64NVME").lower()
        self._type = checksum_type or ("FULL_OBJECT" if self._name == "crc64nvme" else "COMPOSITE")
        self._crc = 0
        self._digests = io.BytesIO()
        self._count = 0

    def add(self, part: bytes) -> None:
        """Add the next part."""
        if self._type == "FULL_OBJECT" and self._name in EXTEND:
            self._crc = EXTEND[self._name](self._crc, part)
        else:
            self._digests.write(CHECKSUMS[self._name](part))
        self._count += 1

    def build(self) -> tuple[str, str, int]:
        """Return the kind of checksum, its value in base64, and of how many parts it is made."""
        if self._type == "FULL_OBJECT" and self._name in EXTEND:
            digest = self._crc.to_bytes(8 if self._name == "crc64nvme" else 4, "big")
            return self._type, base64.b64encode(digest).decode(), 1
        digest = CHECKSUMS[self._name](self._digests.getvalue())
        return self._type, base64.b64encode(digest).decode(), self._count


def compute_checksum(body: bytes, algorithm: str, encode_base64: bool = True) -> bytes:
    """Compute one of S3's checksums; moto calls it with these arguments."""
    digest = CHECKSUMS[algorithm.lower()](body)
    return base64.b64encode(digest) if encode_base64 else digest


def complete(
    self: FakeMultipart, body: Iterator[tuple[int, str]]
) -> tuple[bytes, str, tuple[str, str, int] | None]:
    """Complete a multipart upload as moto does, with its errors, and with one copy of the bytes instead of four."""
    metadata = self.metadata
    checksum = PartsChecksum(metadata.get("x-amz-checksum-algorithm"), metadata.get("x-amz-checksum-type"))
    digests = b""
    values: list[bytes] = []
    for number, etag in body:
        part: Any = self.parts.get(number)
        part_etag = part.etag.strip('"') if part is not None else None
        if part_etag is None or part_etag != etag.strip('"'):
            raise InvalidPart
        if values and len(values[-1]) < S3_UPLOAD_PART_MIN_SIZE:
            raise EntityTooSmall
        digests += bytes.fromhex(part_etag)
        values.append(part.value)
        checksum.add(values[-1])
    if not values:
        raise MalformedXML
    self.completed_sizes = [len(value) for value in values]  # type: ignore[attr-defined]
    whole = hashlib.md5(digests, usedforsecurity=False).hexdigest()
    return b"".join(values), f"{whole}-{len(values)}", checksum.build()


def _replace_etags() -> None:
    """Of what is encrypted with a key of KMS the ETag is no MD5, though it looks like one: here the MD5 of that text."""
    plain: Any = FakeKey.etag.fget  # type: ignore[attr-defined]

    def etag(self: Any) -> str:
        text: str = plain(self)
        if not str(self.encryption or "").startswith("aws:"):
            return text
        _, dash, count = text.strip('"').partition("-")
        return f'"{hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()}{dash}{count}"'

    FakeKey.etag = property(etag)  # type: ignore[method-assign,assignment]


def _remember_beginnings() -> None:
    """An upload knows when it was begun; moto says 2010 of all."""
    plain = FakeMultipart.__init__

    def begin(self: Any, *args: Any, **kwargs: Any) -> None:
        plain(self, *args, **kwargs)
        self.begun = datetime.now(UTC)

    FakeMultipart.__init__ = begin  # type: ignore[method-assign]


def replace_storage() -> None:
    """Put the replacements where moto looks for them; for the whole process, and harmless to moto's own decorators."""
    models: Any = moto.s3.models
    responses: Any = moto.s3.responses
    models.tempfile = SimpleNamespace(SpooledTemporaryFile=HeldBytes)
    models.FakeMultipart.complete = complete
    _replace_etags()
    _remember_beginnings()
    for module in (models, responses):
        if hasattr(module, "compute_checksum"):
            module.compute_checksum = compute_checksum
