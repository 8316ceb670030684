"""Large objects of known size: pinned ranged reads into parallel parts."""

from __future__ import annotations

from crossdock.connectors import commits
from crossdock.connectors.digests import COMBINABLE, combine_parts
from crossdock.connectors.streams import ObjectStream
from crossdock.connectors.writer import parted
from crossdock.connectors.writer.job import Job, Written
from crossdock.connectors.writer.ordered import OrderedHasher
from crossdock.connectors.writer.parts import PartsInFlight
from crossdock.model import ByteRange, Digests, ObjectInfo, Part
from crossdock.ports import ObjectReader

__all__ = ["put_ranges"]


def put_ranges(stream: ObjectStream, listed: ObjectInfo, job: Job) -> Written:
    """Ranged reads pinned to one version, into parts, in parallel; complete only if every digest agrees."""
    known, part_size = parted.learned(stream.store, listed, job)
    first = ByteRange(0, min(part_size, listed.size or 0))
    # What an opened answer buffers counts, too: hundreds of objects may wait for their turn.
    job.bandwidth.take(len(first))
    taken = job.budget.acquire(len(first))
    unread: list[ObjectReader] = []
    try:
        # Its answer may tell metadata; its bytes are the first part's.
        unread.append(stream.store.read(stream.key, first, version=listed.version))
        known = parted.described(stream.store, known, unread[0].info)
        begun = parted.begin(known, part_size, job)
    except BaseException:
        job.budget.release(taken)
        _close(unread)
        raise
    # MD5 and SHA-256 do not combine: the whole is hashed in order, and so is each of the source's parts.
    alone = begun.names - COMBINABLE
    whole = OrderedHasher((begun.size,), alone) if alone else None
    by_part = OrderedHasher(known.parts, ["md5"]) if known.parts else None
    ordered = [hasher for hasher in (whole, by_part) if hasher is not None]
    parts = PartsInFlight(job, begun.upload, ordered)

    def one(number: int) -> Part:
        data = parted.read_part(stream.store, begun, number, unread.pop() if number == 1 else None)
        for hasher in ordered:
            hasher.update(begun.range_of(number).start, data)
        return parted.put_part(job.store, begun, number, data)

    try:
        for number in range(1, begun.count + 1):
            if parts.failed:
                break
            size = len(begun.range_of(number))
            parts.submit(lambda n=number: one(n), size, taken=taken if number == 1 else None)  # type: ignore[misc]
        done = parts.collect()
        computed = combine_parts(done).merged(whole.digests()[0] if whole else Digests())
        stretches = by_part.digests() if by_part else []
        written = parted.complete(known, begun, done, computed, stretches, source=stream.store, job=job)
    except BaseException as error:
        parts.close()
        _close(unread)
        commits.abort_unless_unknown(job.store, begun.upload, error)
        raise
    parts.close()
    return written


def _close(readers: list[ObjectReader]) -> None:
    for reader in readers:
        reader.close()
