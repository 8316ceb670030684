"""Objects that move in one request: a copy inside the service, or one read and one put."""

from __future__ import annotations

from dataclasses import replace

from crossdock.connectors import commits
from crossdock.connectors.digests import choose_digests, digest_of
from crossdock.connectors.evidence import expect, foresee
from crossdock.connectors.published import Published, compare
from crossdock.connectors.strategy import Method
from crossdock.connectors.streams import ObjectStream
from crossdock.connectors.writer.job import Job, Written, described, keepable, put
from crossdock.connectors.writer.ordered import OrderedHasher
from crossdock.errors import IntegrityError
from crossdock.events import BytesMoved, emit
from crossdock.model import NO_METADATA, Digests, Verification
from crossdock.ports import Chunk

__all__ = ["copy_inside", "put_whole"]


def copy_inside(stream: ObjectStream, known: Published, job: Job) -> Written:
    """Let the service copy: no bytes pass here. What is known of the source is compared with what was made of it."""
    info = known.source
    if info.metadata is None:
        asked = stream.store.stat(stream.key, version=info.version)
        info = replace(info, metadata=asked.metadata, digests=asked.digests)
    metadata, lost = keepable(info.metadata or NO_METADATA, job.store)
    result = commits.commit(
        lambda: job.store.copy(
            stream.store.url, stream.key, job.key, info=info, metadata=metadata, condition=job.condition
        ),
        store=job.store,
        key=job.key,
        size=info.size or 0,
        digests=info.digests,
    )
    emit(BytesMoved(bytes=info.size or 0))
    common = info.digests.common(result.digests)
    return Written(
        known=replace(known, source=info, proof=common[0] if common else ""),
        result=result,
        size=info.size or 0,
        computed=Digests(),
        method=Method.COPY,
        lost=lost,
    )


def put_whole(stream: ObjectStream, job: Job) -> Written:
    """One read, one put: the common case, so nothing here asks for more than it must."""
    size = stream.info.size or 0
    asked = None
    if job.options.required > Verification.V1:
        asked = job.learn(stream.info, stream.store, in_parts=False)
        expect(asked, job.options, place=job.place)
    job.bandwidth.take(size)
    with job.budget.holding(size):
        reader = stream.opened()
        try:
            data = reader.read_all()
        finally:
            reader.close()
        source = described(reader.info, stream.info, stream.store)
        if len(data) != size:
            raise IntegrityError(  # an answer that says it is whole; a broken one was asked for again below
                f"{len(data)} of {size} bytes arrived",
                operation="read",
                where=stream.store.url,
                key=stream.key,
            )
        metadata, lost = keepable(source.metadata or NO_METADATA, job.store)
        known = asked or job.learn(source, stream.store, in_parts=False)
        known = replace(known, source=replace(source, digests=known.source.digests))
        known, computed = _compared(known, data, stream, job)
        foresee(known, computed, job.store, job.options, place=job.place)
        result = put(job, data, metadata, computed)
    emit(BytesMoved(bytes=size))
    return Written(known=known, result=result, size=size, computed=computed, method=Method.PUT, lost=lost)


def _compared(known: Published, data: Chunk, stream: ObjectStream, job: Job) -> tuple[Published, Digests]:
    """The digests of bytes in memory, equal to what the source publishes of them."""
    sink = job.store.capabilities
    by_part = OrderedHasher(known.parts or (len(data),), ["md5"] if known.parts else ())
    by_part.update(0, data)
    stretches = by_part.digests() if known.parts else []
    names = choose_digests(known.source.digests, sink.put_checks, sink.publishes, cheap=job.is_cheap)
    computed = digest_of(data, names)
    known = compare(known, computed, stretches, stream.store)
    if not known.proof and known.has_digest and not job.is_cheap:
        # The ETag was no digest after all, but asked for it, the source named another: the bytes are still here.
        names = choose_digests(known.source.digests, sink.put_checks, sink.publishes)
        computed = digest_of(data, names)
        known = compare(known, computed, [], stream.store)
    return known, computed
