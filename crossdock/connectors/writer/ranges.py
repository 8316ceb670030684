"""Large objects of known size: pinned ranged reads into parallel parts."""

from __future__ import annotations

from dataclasses import replace

from crossdock.connectors import commits
from crossdock.connectors.digests import COMBINABLE, combine_parts, digest_of
from crossdock.connectors.evidence import expect, foresee
from crossdock.connectors.published import compare
from crossdock.connectors.strategy import Method, choose_part_size
from crossdock.connectors.streams import ObjectStream
from crossdock.connectors.writer.job import Job, Written, complete, described, keepable
from crossdock.connectors.writer.ordered import OrderedHasher
from crossdock.connectors.writer.parts import PartsInFlight, part_digests
from crossdock.errors import IntegrityError
from crossdock.model import (
    NO_METADATA,
    ByteRange,
    Digests,
    ObjectInfo,
    Part,
)
from crossdock.ports import Chunk, ObjectReader

__all__ = ["put_ranges"]


def put_ranges(stream: ObjectStream, listed: ObjectInfo, job: Job) -> Written:
    """Ranged reads pinned to one version, into parts, in parallel; complete only if every digest agrees."""
    size = listed.size or 0
    sink = job.store.capabilities
    known = job.learn(listed, stream.store, in_parts=True)
    expect(known, job.options, place=job.place)
    part_size = choose_part_size(
        size,
        job.options.part_size_bytes,
        sink,
        source_parts=known.parts,
        budget_bytes=job.options.max_in_flight_bytes,
    )
    ranges = [*ByteRange(0, size).split(part_size)]
    # What an opened answer buffers counts, too: hundreds of objects may wait for their turn.
    taken = job.budget.acquire(len(ranges[0]))
    unread: list[ObjectReader] = []
    try:
        unread.append(stream.store.read(stream.key, ranges[0], version=listed.version))
        # Its answer may tell metadata; its bytes are the first part's.
        source = described(unread[0].info, known.source, stream.store)
        if known.asked or known.source.digests:
            source = replace(
                source, digests=known.source.digests
            )  # better known than what a range's answer says
        metadata, lost = keepable(source.metadata or NO_METADATA, job.store)
        upload = job.store.begin(job.key, part_size_bytes=part_size, metadata=metadata, size=size)
    except BaseException:
        job.budget.release(taken)
        _close(unread)
        raise
    known = replace(known, source=source)
    names = part_digests(source.digests, sink, cheap=job.is_cheap)
    # MD5 and SHA-256 do not combine: the whole is hashed in order, and so is each of the source's parts.
    whole = OrderedHasher((size,), names - COMBINABLE) if names - COMBINABLE else None
    by_part = OrderedHasher(known.parts, ["md5"]) if known.parts else None
    ordered = [hasher for hasher in (whole, by_part) if hasher is not None]
    parts = PartsInFlight(job, upload, ordered)

    def one(number: int, byte_range: ByteRange) -> Part:
        reader = (
            unread.pop() if number == 1 else stream.store.read(stream.key, byte_range, version=source.version)
        )
        data = _read_range(reader, stream, byte_range)
        digests = digest_of(data, names & COMBINABLE)
        for hasher in ordered:
            hasher.update(byte_range.start, data)
        part = job.store.put_part(upload, number, data, digests=digests)
        return replace(part, digests=digests.merged(part.digests))

    try:
        for number, byte_range in enumerate(ranges, start=1):
            if parts.failed:
                break
            parts.submit(
                lambda n=number, r=byte_range: one(n, r),  # type: ignore[misc]
                len(byte_range),
                taken=taken if number == 1 else None,
            )
        done = parts.collect()
        computed = combine_parts(done).merged(whole.digests()[0] if whole else Digests())
        known = compare(known, computed, by_part.digests() if by_part else [], stream.store)
        foresee(known, computed, job.store, job.options, place=job.place)
        result = complete(job, upload, done, size, computed)
    except BaseException as error:
        parts.close()
        _close(unread)
        commits.abort_unless_unknown(job.store, upload, error)
        raise
    parts.close()
    return Written(
        known=known,
        result=result,
        size=size,
        computed=computed,
        method=Method.PARTS,
        parts=len(done),
        lost=lost,
    )


def _close(readers: list[ObjectReader]) -> None:
    for reader in readers:
        reader.close()


def _read_range(reader: ObjectReader, stream: ObjectStream, byte_range: ByteRange) -> Chunk:
    """Exactly one range, in memory."""
    try:
        data = reader.read_all()
    finally:
        reader.close()
    if len(data) != len(byte_range):
        raise IntegrityError(
            f"{len(data)} of {len(byte_range)} bytes arrived",
            operation="read",
            where=stream.store.url,
            key=stream.key,
        )
    return data
