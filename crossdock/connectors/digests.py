"""Digests computed while bytes pass: one pass per algorithm, in parallel over parts where the algorithm combines.

CRC32C and CRC-64/NVME come from awscrt (native, releases the GIL, takes any buffer) and combine over parts; MD5 is
hashlib's and needs the bytes in order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from awscrt import checksums

from crossdock.model import Digests, Part
from crossdock.ports import Chunk

__all__ = [
    "COMBINABLE",
    "Hasher",
    "choose_digests",
    "combine_parts",
    "digest_of",
    "expected_multipart_etag",
    "multipart_etag",
]

COMBINABLE = frozenset({"crc32c", "crc64nvme"})
"""Digests of a whole that follow from the digests and lengths of its parts."""

_MD5_LENGTH = 16


class Hasher:
    """Running digests of a sequence of chunks. Not thread-safe."""

    __slots__ = ("_crc32c", "_crc64nvme", "_md5", "_sha256", "names", "size")

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)
        self.size = 0
        self._crc32c = 0
        self._crc64nvme = 0
        self._md5 = hashlib.md5(usedforsecurity=False) if "md5" in self.names else None
        self._sha256 = hashlib.sha256() if "sha256" in self.names else None

    def update(self, chunk: Chunk) -> None:
        """Take the next chunk."""
        view = memoryview(chunk)
        self.size += view.nbytes
        if "crc32c" in self.names:
            self._crc32c = checksums.crc32c(view, self._crc32c)
        if "crc64nvme" in self.names:
            self._crc64nvme = checksums.crc64nvme(view, self._crc64nvme)
        if self._md5 is not None:
            self._md5.update(view)
        if self._sha256 is not None:
            self._sha256.update(view)

    def digests(self) -> Digests:
        """Digests of what was taken so far."""
        return Digests(
            md5=self._md5.digest() if self._md5 else None,
            sha256=self._sha256.digest() if self._sha256 else None,
            crc32c=self._crc32c.to_bytes(4, "big") if "crc32c" in self.names else None,
            crc64nvme=self._crc64nvme.to_bytes(8, "big") if "crc64nvme" in self.names else None,
        )


def digest_of(data: Chunk, names: Iterable[str]) -> Digests:
    """Digests of one piece of memory."""
    hasher = Hasher(names)
    hasher.update(data)
    return hasher.digests()


def combine_parts(parts: Sequence[Part]) -> Digests:
    """Digests of the whole from the digests of its parts, in order: those that combine and that every part has."""
    crc32c = crc64nvme = 0
    names = COMBINABLE.intersection(*({*part.digests.as_dict()} for part in parts)) if parts else frozenset()
    for part in parts:
        if part.digests.crc32c is not None and "crc32c" in names:
            crc32c = checksums.combine_crc32c(crc32c, int.from_bytes(part.digests.crc32c, "big"), part.size)
        if part.digests.crc64nvme is not None and "crc64nvme" in names:
            crc64nvme = checksums.combine_crc64nvme(
                crc64nvme, int.from_bytes(part.digests.crc64nvme, "big"), part.size
            )
    return Digests(
        crc32c=crc32c.to_bytes(4, "big") if "crc32c" in names else None,
        crc64nvme=crc64nvme.to_bytes(8, "big") if "crc64nvme" in names else None,
    )


def expected_multipart_etag(parts: Sequence[Part]) -> str | None:
    """S3's ETag of an object made of these parts, ``md5(md5s)-N``, if every part's ETag is an MD5.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
    """
    try:
        md5s = [bytes.fromhex(part.etag) for part in parts]
    except ValueError:
        return None
    return multipart_etag(md5s)


def multipart_etag(md5s: Sequence[bytes | None]) -> str | None:
    """``md5(md5s)-N`` of the MD5s of N parts, if each is known."""
    known = [md5 for md5 in md5s if md5 is not None and len(md5) == _MD5_LENGTH]
    if len(known) != len(md5s):
        return None
    return f"{hashlib.md5(b''.join(known), usedforsecurity=False).hexdigest()}-{len(known)}"


def choose_digests(
    published: Digests, checks: frozenset[str], publishes: frozenset[str], *, cheap: bool = False
) -> frozenset[str]:
    """What to compute while bytes pass: one digest the source published, and one the destination checks or publishes.

    Never nothing: a read-back needs something to compare with. The cheapest of each: a CRC before MD5; one pass serves
    both ends where they share an algorithm. MD5 costs some 1.5 s of CPU per GiB, the CRCs a hundredth of that; with
    ``cheap`` it is not computed only to prove the source.
    """
    order = ("crc32c", "crc64nvme", "md5", "sha256")
    known = published.as_dict()
    source = [name for name in order if name in known and (name in COMBINABLE or not cheap)]
    sink = [name for name in order if name in checks] or [name for name in order if name in publishes]
    shared = [name for name in source if name in sink]
    if shared:
        return frozenset(shared[:1])
    return frozenset(source[:1] + sink[:1]) or frozenset({"crc32c"})
