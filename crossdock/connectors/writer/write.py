"""The one writer of all object sinks: how a byte stream becomes an object, exactly once, proven.

It relies on the verbs of ``ObjectStore`` and nothing else, and promises CONTRACT section 1: reads pinned to one
version, digests compared before the object becomes visible where the store can, conditional commits, nothing left
behind after a failure.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from crossdock.connectors import evidence
from crossdock.connectors.budget import process_budget
from crossdock.connectors.published import learn
from crossdock.connectors.strategy import Method, TransferOptions, choose_method
from crossdock.connectors.streams import ObjectStream
from crossdock.connectors.writer.job import Job, Written
from crossdock.connectors.writer.ranges import put_ranges
from crossdock.connectors.writer.sequential import write_stream
from crossdock.connectors.writer.whole import copy_inside, put_whole
from crossdock.errors import IntegrityError, UnsupportedError
from crossdock.events import Event, Retried, emit, listening
from crossdock.model import (
    Condition,
    Receipt,
    Verification,
)
from crossdock.ports import ByteStream, ObjectStore

__all__ = ["write"]

INTEGRITY_ATTEMPTS = 3  # a bit that flips again and again is loud, not patient


class _Count:
    """Counts what the layers retry below this write, and passes every event on."""

    def __init__(self) -> None:
        self.retries = 0
        self.resent_bytes = 0
        self.forward: Callable[[Event], None] = lambda _: None

    def __call__(self, event: Event, /) -> None:
        if isinstance(event, Retried):
            self.retries += 1
        self.forward(event)


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
    refusal = store.refusal(key)
    if refusal:
        raise UnsupportedError(refusal, operation="put", where=store.url, key=key)
    job = Job(
        store=store,
        key=key,
        condition=condition,
        options=options,
        budget=process_budget(options.max_in_flight_bytes),
    )
    count, began = _Count(), time.monotonic()
    with listening(count) as before:
        count.forward = before
        written = _write_any(stream, job, count)
        known = written.known
        level, words = evidence.judge(
            known, written.result, written.computed, written.size, store.capabilities
        )
        if options.wanted is Verification.V3:
            level, words = evidence.read_back(
                known,
                words,
                source=stream.store,
                sink=store,
                written=written.result,
                computed=written.computed,
            )
        evidence.demand(level, words, options, place=job.place)
    weaker = _weaknesses(stream, store)
    words = f"{words}; weaker: {', '.join(weaker)}" if weaker else words
    source = f"{stream.store.url}/{known.source.key}" if stream.store is not None else ""
    return Receipt(
        source=source,
        destination=job.place,
        key=key,
        size=written.size,
        version=written.result.version,
        source_version=known.source.version,
        digests=written.computed.merged(written.result.digests),
        verification=level,
        evidence=words,
        method=written.method.value,
        parts=written.parts,
        metadata_lost=written.lost,
        retries=count.retries,
        resent_bytes=count.resent_bytes,
        duration_s=time.monotonic() - began,
    )


def _write_any(stream: ByteStream, job: Job, count: _Count) -> Written:
    """Choose a way and take it; a stored object whose bytes disagree with a digest is read and sent once more."""
    if not isinstance(stream, ObjectStream):
        evidence.demand_strict(_weaknesses(stream, job.store), job.options, place=job.place)
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


def _weaknesses(stream: ByteStream, store: ObjectStore) -> tuple[str, ...]:
    stored = stream if isinstance(stream, ObjectStream) else None
    return evidence.weaknesses(
        stored.store.capabilities if stored is not None else None,
        stored.info.version if stored is not None else None,
        store.capabilities,
    )


def _write_stored(stream: ObjectStream, job: Job) -> Written:
    info = stream.info  # first: of a web server the first answer tells what it can do
    evidence.demand_strict(_weaknesses(stream, job.store), job.options, place=job.place)
    source, sink = stream.store.capabilities, job.store.capabilities
    choose = partial(
        choose_method,
        info.size,
        ranged=source.ranged_reads and source.pinned_reads and bool(info.version),
        sink=sink,
        part_size_bytes=job.options.part_size_bytes,
    )
    method = choose(same_endpoint=stream.store.endpoint == job.store.endpoint and source.server_side_copy)
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
        stream, method = _anew(stream), choose(same_endpoint=False)
    if method is Method.PUT:
        return put_whole(stream, job)
    if method is Method.PARTS:
        stream.close()
        return put_ranges(stream, info, job)
    return write_stream(stream, job)
