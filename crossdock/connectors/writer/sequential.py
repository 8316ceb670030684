"""Streams in order, of unknown length or without ranges: a bounded pipeline of parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from crossdock.connectors import commits, evidence
from crossdock.connectors.digests import COMBINABLE, Hasher
from crossdock.connectors.strategy import Method, choose_part_size
from crossdock.connectors.streams import ObjectStream
from crossdock.connectors.writer.job import Job, Written, complete, described, keepable, put
from crossdock.connectors.writer.parts import PartsInFlight, part_digests
from crossdock.errors import ConnectionLostError, UnsupportedError
from crossdock.events import BytesMoved, emit
from crossdock.model import (
    NO_METADATA,
    Metadata,
    ObjectInfo,
    Part,
)
from crossdock.ports import ByteStream

__all__ = ["write_stream"]


def _pieces(stream: ByteStream, part_size: int, whole: Hasher) -> Iterator[bytearray]:
    """Cut a stream into pieces of exactly ``part_size`` (the last is shorter), hashing as it passes."""
    piece = bytearray()
    for chunk in stream:
        view = memoryview(chunk).cast("B")
        whole.update(view)
        while view:
            room = part_size - len(piece)
            piece += view[:room]
            view = view[room:]
            if len(piece) == part_size:
                yield piece
                piece = bytearray()
    if piece:
        yield piece


def write_stream(stream: ByteStream, job: Job) -> Written:
    """In order, without knowing the length: one put if it ends within a part, else parts while it goes on."""
    with stream:
        listed = stream.info
        source = listed
        if isinstance(stream, ObjectStream):
            source = described(stream.opened().info, listed, stream.store)
        sink = job.store.capabilities
        part_size = choose_part_size(listed.size, job.options.part_size_bytes, sink)
        whole = Hasher(part_digests(source, sink))
        metadata, lost = keepable(source.metadata or NO_METADATA, job.store)
        with job.budget.holding(part_size):
            pieces = _pieces(stream, part_size, whole)
            head = next(pieces, bytearray())
            second = next(pieces, None) if len(head) == part_size else None
            if second is None:
                _whole_or_loud(whole, listed, job)
                source = evidence.check_source(source, whole.digests(), stream.store)
                result = put(job, head, metadata, whole.digests())
                emit(BytesMoved(bytes=len(head)))
                return Written(
                    source=source,
                    result=result,
                    size=len(head),
                    computed=whole.digests(),
                    method=Method.PUT,
                    lost=lost,
                )
        return _stream_parts(stream, source, job, part_size, (head, second, pieces), whole, metadata, lost)


def _whole_or_loud(whole: Hasher, listed: ObjectInfo, job: Job) -> None:
    if listed.size is not None and whole.size != listed.size:
        raise ConnectionLostError(
            f"the source ended after {whole.size} of {listed.size} bytes", operation="read", where=job.place
        )


def _within_limit(number: int, part_size: int, job: Job) -> None:
    if number > job.store.capabilities.max_parts:
        raise UnsupportedError(
            f"a stream of unknown length passed {job.store.capabilities.max_parts} parts of {part_size} bytes",
            operation="put part",
            where=job.place,
            hint="give a larger part_size_bytes",
        )


def _stream_parts(
    stream: ByteStream,
    source: ObjectInfo,
    job: Job,
    part_size: int,
    begun: tuple[bytearray, bytearray, Iterator[bytearray]],
    whole: Hasher,
    metadata: Metadata,
    lost: tuple[str, ...],
) -> Written:
    head, second, rest = begun
    upload = job.store.begin(job.key, part_size_bytes=part_size, metadata=metadata, size=source.size)
    parts = PartsInFlight(job, upload)

    def one(number: int, data: bytearray) -> Part:
        hasher = Hasher(whole.names & COMBINABLE)
        hasher.update(data)
        part = job.store.put_part(upload, number, data, digests=hasher.digests())
        return replace(part, digests=hasher.digests().merged(part.digests))

    def everything() -> Iterator[bytearray]:
        yield head
        yield second
        yield from rest

    try:
        for number, piece in enumerate(everything(), start=1):
            _within_limit(number, part_size, job)
            if parts.failed:
                break
            parts.submit(lambda n=number, d=piece: one(n, d), len(piece))  # type: ignore[misc]
        done = parts.collect()
        _whole_or_loud(whole, source, job)
        computed = whole.digests()
        source = evidence.check_source(source, whole.digests(), stream.store)
        result = complete(job, upload, done, whole.size, computed)
    except BaseException as error:
        parts.close()
        commits.abort_unless_unknown(job.store, upload, error)
        raise
    parts.close()
    return Written(
        source=source,
        result=result,
        size=whole.size,
        computed=computed,
        method=Method.STREAM,
        parts=len(done),
        lost=lost,
    )
