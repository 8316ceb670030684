"""Streams in order, of unknown length or without ranges: a bounded pipeline of parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from crossdock import crash_points
from crossdock.connectors import commits
from crossdock.connectors.digests import COMBINABLE, Hasher, digest_of
from crossdock.connectors.evidence import expect, foresee
from crossdock.connectors.published import Published, compare
from crossdock.connectors.strategy import Method, choose_part_size
from crossdock.connectors.streams import ObjectStream
from crossdock.connectors.writer.job import Job, Written, complete, described, keepable, put
from crossdock.connectors.writer.ordered import OrderedHasher
from crossdock.connectors.writer.parts import PartsInFlight, part_digests
from crossdock.errors import IntegrityError, UnsupportedError
from crossdock.events import BytesMoved, emit
from crossdock.model import (
    NO_METADATA,
    Digests,
    Metadata,
    Part,
)
from crossdock.ports import ByteStream

__all__ = ["write_stream"]


class _Passing:
    """The stream's bytes, counted and hashed as they pass: the whole, and the source's parts if those prove it."""

    def __init__(self, stream: ByteStream, known: Published, names: frozenset[str]) -> None:
        self._stream = stream
        self.known = known
        self.whole = Hasher(names)
        self._by_part = OrderedHasher(known.parts, ["md5"]) if known.parts else None

    def pieces(self, part_size: int) -> Iterator[bytearray]:
        """Cut into pieces of exactly ``part_size``; the last is shorter."""
        piece = bytearray()
        for chunk in self._stream:
            view = memoryview(chunk).cast("B")
            if self._by_part is not None:
                self._by_part.update(self.whole.size, view)
            self.whole.update(view)
            while view:
                room = part_size - len(piece)
                piece += view[:room]
                view = view[room:]
                if len(piece) == part_size:
                    yield piece
                    piece = bytearray()
        if piece:
            yield piece

    def proven(self, job: Job) -> tuple[Published, Digests]:
        """What the bytes that passed are, and what they prove of the source.

        Raises:
            IntegrityError: They are not all, or not what the source published.
            UnprovenError: They prove less than was required.
        """
        size, computed = self.known.source.size, self.whole.digests()
        if size is not None and self.whole.size != size:
            raise IntegrityError(
                f"the source ended after {self.whole.size} of {size} bytes", operation="read", where=job.place
            )
        stretches = self._by_part.digests() if self._by_part is not None else []
        known = compare(self.known, computed, stretches, self._stream.store)
        foresee(known, computed, job.store, job.options, place=job.place)
        return known, computed


def write_stream(stream: ByteStream, job: Job) -> Written:
    """In order, without knowing the length: one put if it ends within a part, else parts while it goes on."""
    with stream:
        listed = stream.info
        source = listed
        if isinstance(stream, ObjectStream):
            source = replace(described(stream.opened().info, listed, stream.store), size=listed.size)
        sink = job.store.capabilities
        part_size = choose_part_size(listed.size, job.options.part_size_bytes, sink)
        known = job.learn(source, stream.store, in_parts=listed.size is None or listed.size > part_size)
        expect(known, job.options, place=job.place)
        passing = _Passing(stream, known, part_digests(known.source.digests, sink, cheap=job.is_cheap))
        metadata, lost = keepable(source.metadata or NO_METADATA, job.store)
        with job.budget.holding(part_size):
            pieces = passing.pieces(part_size)
            head = next(pieces, bytearray())
            second = next(pieces, None) if len(head) == part_size else None
            if second is None:
                known, computed = passing.proven(job)
                job.bandwidth.take(len(head))
                result = put(job, head, metadata, computed)
                emit(BytesMoved(bytes=len(head)))
                return Written(
                    known=known,
                    result=result,
                    size=len(head),
                    computed=computed,
                    method=Method.PUT,
                    lost=lost,
                )
        return _stream_parts(passing, job, part_size, (head, second, pieces), metadata, lost)


def _within_limit(number: int, part_size: int, job: Job) -> None:
    if number > job.store.capabilities.max_parts:
        raise UnsupportedError(
            f"a stream of unknown length passed {job.store.capabilities.max_parts} parts of {part_size} bytes",
            operation="put part",
            where=job.place,
            hint="give a larger part_size_bytes",
        )


def _stream_parts(
    passing: _Passing,
    job: Job,
    part_size: int,
    begun: tuple[bytearray, bytearray, Iterator[bytearray]],
    metadata: Metadata,
    lost: tuple[str, ...],
) -> Written:
    head, second, rest = begun
    names = passing.whole.names & COMBINABLE
    upload = job.store.begin(
        job.key, part_size_bytes=part_size, metadata=metadata, size=passing.known.source.size
    )
    crash_points.reached("upload-begun")
    parts = PartsInFlight(job, upload)

    def one(number: int, data: bytearray) -> Part:
        digests = digest_of(data, names)
        part = job.store.put_part(upload, number, data, digests=digests)
        crash_points.reached("part-sent")
        return replace(part, digests=digests.merged(part.digests))

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
        known, computed = passing.proven(job)
        result = complete(job, upload, done, passing.whole.size, computed)
    except BaseException as error:
        parts.close()
        commits.abort_unless_unknown(job.store, upload, error)
        raise
    parts.close()
    return Written(
        known=known,
        result=result,
        size=passing.whole.size,
        computed=computed,
        method=Method.STREAM,
        parts=len(done),
        lost=lost,
    )
