"""The one writer of all object sinks: how a byte stream becomes an object, exactly once, proven.

It relies on the verbs of ``ObjectStore`` and nothing else, and promises CONTRACT section 1: reads pinned to one
version, digests compared before the object becomes visible where the store can, conditional commits, nothing left
behind after a failure.
"""

from __future__ import annotations

from dataclasses import replace

from crossdock.connectors import evidence
from crossdock.connectors.published import learn
from crossdock.connectors.strategy import Method, TransferOptions, choose_method
from crossdock.connectors.streams import ObjectStream
from crossdock.connectors.writer.job import Job, Written, job_of
from crossdock.connectors.writer.ranges import put_ranges
from crossdock.connectors.writer.receipts import Count, counting, receipt_of, weaknesses
from crossdock.connectors.writer.sequential import write_stream
from crossdock.connectors.writer.whole import copy_inside, put_whole
from crossdock.errors import IntegrityError, UnsupportedError
from crossdock.events import Retried, emit
from crossdock.model import Condition, Receipt, Verification
from crossdock.ports import ByteStream, ObjectStore

__all__ = ["INTEGRITY_ATTEMPTS", "method_for", "write"]

INTEGRITY_ATTEMPTS = 3  # a bit that flips again and again is loud, not patient


def write(
    stream: ByteStream, store: ObjectStore, key: str, *, condition: Condition, options: TransferOptions
) -> Receipt:
    """Write one stream to ``key`` and prove it.

    Memory: at most ``options.max_in_flight_bytes`` per process over all writes, plus a constant. Requests: two for an
    object of one part (one GET, one PUT), one GET and one PUT a part plus begin and complete for larger ones, and what
    ``published.learn`` asks of the source.

    Raises:
        PreconditionError: Source replaced, or destination not in the state ``condition`` demands.
        IntegrityError: Bytes were not what a digest said, also after trying again; nothing wrong was left behind, but for
            a destination that publishes no digest and was found wrong when it was read back.
        UnprovenError: Less was proven than ``options.require``; the text says whether anything was written.
        StrictError: ``options.strict``, and an end is weaker than the promise; nothing was written.
        UnsupportedError: The destination cannot hold this key or size.
        StorageError: Anything else; the destination key is as it was.
    """
    job = job_of(store, key, condition=condition, options=options)
    with counting() as count:
        return receipt_of(stream, job, _write_any(stream, job, count), count)


def _write_any(stream: ByteStream, job: Job, count: Count) -> Written:
    """Choose a way and take it; a stored object whose bytes disagree with a digest is read and sent once more."""
    if not isinstance(stream, ObjectStream):
        evidence.demand_strict(weaknesses(stream, job.store), job.options, place=job.place)
        return write_stream(stream, job)
    stored, tries = stream, 0
    while True:
        try:
            return _write_stored(stored, replace(job, attempt=tries) if tries else job)
        except IntegrityError as error:
            tries += 1
            if tries >= INTEGRITY_ATTEMPTS:
                raise
            count.resent_bytes += stored.info.size or 0
            emit(Retried(operation="copy", place=job.place, cause=str(error), attempt=tries, delay_s=0.0))
            stored = _anew(stored)


def _anew(stream: ObjectStream) -> ObjectStream:
    return ObjectStream(stream.store, stream.key, name=stream.name or "", info=stream.info)


def method_for(stream: ObjectStream, size: int | None, job: Job, *, passing: bool = False) -> Method:
    """Which of the four ways this object takes; with ``passing`` one whose bytes pass here.

    Raises:
        UnsupportedError: The destination cannot hold it in any way.
    """
    source = stream.store.capabilities
    inside = stream.store.endpoint == job.store.endpoint and source.server_side_copy
    return choose_method(
        size,
        same_endpoint=inside and not passing,
        ranged=source.ranged_reads and source.pinned_reads and bool(stream.info.version),
        sink=job.store.capabilities,
        part_size_bytes=job.options.part_size_bytes,
    )


def _write_stored(stream: ObjectStream, job: Job) -> Written:
    info = stream.info  # first: of a web server the first answer tells what it can do
    evidence.demand_strict(weaknesses(stream, job.store), job.options, place=job.place)
    method = method_for(stream, info.size, job)
    if method is Method.COPY:
        stream.close()
        wanted = job.options.wanted
        # What the copy is compared with has to be known, whatever level is asked for: its cost is a question or none.
        asking = None if job.is_cheap else wanted
        known = learn(info, stream.store, wanted=asking, in_parts=True)
        if known.has_digest or wanted is None or wanted < Verification.V2:
            try:
                return copy_inside(stream, known, job)
            except UnsupportedError:
                if job.store.capabilities.server_side_copy:
                    raise
                # The store has just learned that its server copies no metadata.
        # Or nothing the source publishes would tell of the copy whether it is right; bytes that pass here do.
        stream = _anew(stream)
        method = method_for(stream, info.size, job, passing=True)
    if method is Method.PUT:
        return put_whole(stream, job)
    if method is Method.PARTS:
        stream.close()
        return put_ranges(stream, info, job)
    return write_stream(stream, job)
