"""An upload in parts as three steps that need not happen in one place: begin, one part, complete.

``ranges`` takes them in one process, ``cut`` on several workers; how an object is proven and committed is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from crossdock import crash_points
from crossdock.connectors.digests import COMBINABLE, digest_of
from crossdock.connectors.evidence import expect, foresee
from crossdock.connectors.published import Published, compare
from crossdock.connectors.strategy import Method, choose_part_size
from crossdock.connectors.writer import job as jobs
from crossdock.connectors.writer.job import Job, Written
from crossdock.connectors.writer.parts import part_digests
from crossdock.errors import IntegrityError
from crossdock.model import NO_METADATA, ByteRange, Digests, ObjectInfo, Part, Upload, Version
from crossdock.ports import Chunk, ObjectReader, ObjectStore

__all__ = ["Begun", "begin", "complete", "described", "learned", "names_for", "put_part", "read_part"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """An upload of one version of one source object: all that a worker needs to send a part of it. Picklable, small.

    Attributes:
        source_key: The object's key, and ``version`` the state of it that every read is pinned to.
        names: Digests of the whole that are wanted.
        by_part: Whether each part is one of the source's own, whose MD5 belongs to its proof.
        lost: Metadata that the destination cannot carry.
    """

    source_key: str
    version: Version
    size: int
    upload: Upload
    names: frozenset[str]
    by_part: bool = False
    lost: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many parts there are."""
        return -(-self.size // self.upload.part_size_bytes)

    def range_of(self, number: int) -> ByteRange:
        """The bytes of part ``number``, from 1."""
        start = (number - 1) * self.upload.part_size_bytes
        return ByteRange(start, min(start + self.upload.part_size_bytes, self.size))


def learned(source: ObjectStore, listed: ObjectInfo, job: Job) -> tuple[Published, int]:
    """What the source publishes, and the part size that follows. Requests: see ``published.learn``.

    Raises:
        UnprovenError: It publishes nothing to compare with, and that is required.
    """
    known = job.learn(listed, source, in_parts=True)
    expect(known, job.options, place=job.place)
    part_size = choose_part_size(
        listed.size or 0,
        job.options.part_size_bytes,
        job.store.capabilities,
        source_parts=known.parts,
        budget_bytes=job.options.max_in_flight_bytes,
    )
    return known, part_size


def described(source: ObjectStore, known: Published, answer: ObjectInfo) -> Published:
    """What is known, with what a read (or ``stat``) of the pinned version said: metadata, and digests if none were better."""
    told = jobs.described(answer, known.source, source)
    if known.asked or known.source.digests:
        told = replace(told, digests=known.source.digests)  # better known than what a range's answer says
    return replace(known, source=replace(told, key=known.source.key))


def names_for(known: Published, job: Job) -> frozenset[str]:
    """Digests of the whole that are wanted."""
    return part_digests(known.source.digests, job.store.capabilities, cheap=job.is_cheap)


def begin(known: Published, part_size: int, job: Job) -> Begun:
    """Begin the upload of a ``described`` source. One request."""
    source = known.source
    metadata, lost = jobs.keepable(source.metadata or NO_METADATA, job.store)
    size = source.size or 0
    upload = job.store.begin(job.key, part_size_bytes=part_size, metadata=metadata, size=size)
    crash_points.reached("upload-begun")
    return Begun(
        source_key=source.key,
        version=source.version,
        size=size,
        upload=upload,
        names=names_for(known, job),
        lost=lost,
    )


def read_part(source: ObjectStore, begun: Begun, number: int, opened: ObjectReader | None = None) -> Chunk:
    """Exactly one part's bytes of the pinned version, in memory. One request, unless it was ``opened`` before.

    Raises:
        IntegrityError: There were fewer, or more.
    """
    reader = opened or source.read(begun.source_key, begun.range_of(number), version=begun.version)
    try:
        data = reader.read_all()
    finally:
        reader.close()
    expected = len(begun.range_of(number))
    if len(data) != expected:
        raise IntegrityError(
            f"{len(data)} of {expected} bytes arrived",
            operation="read",
            where=source.url,
            key=begun.source_key,
        )
    return data


def put_part(store: ObjectStore, begun: Begun, number: int, data: Chunk) -> Part:
    """Send one part with what combines of ``begun.names``; the answer carries these digests. One request."""
    digests = digest_of(data, begun.names & COMBINABLE)
    part = store.put_part(begun.upload, number, data, digests=digests)
    crash_points.reached("part-sent")
    return replace(part, digests=digests.merged(part.digests))


def complete(
    known: Published,
    begun: Begun,
    done: Sequence[Part],
    computed: Digests,
    stretches: Sequence[Digests],
    *,
    source: ObjectStore,
    job: Job,
) -> Written:
    """Compare what was read with what the source publishes, and commit.

    Args:
        known: What the source publishes.
        begun: The upload.
        done: Every part, in order.
        computed: Digests of the whole.
        stretches: The MD5 of each of ``known.parts``.
        source: Where it was read.
        job: The destination and its condition.

    Raises:
        IntegrityError: The bytes are not what the source published, or not what arrived.
        UnprovenError: They cannot reach the required level; nothing was written.
        PreconditionError: The destination is in another state.
    """
    known = compare(known, computed, stretches, source)
    foresee(known, computed, job.store, job.options, place=job.place)
    result = jobs.complete(job, begun.upload, [*done], begun.size, computed)
    return Written(
        known=known,
        result=result,
        size=begun.size,
        computed=computed,
        method=Method.PARTS,
        parts=len(done),
        lost=begun.lost,
    )
