"""From what was written to a receipt: how far it is proven, what was weaker than the promise, what was tried again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from crossdock.connectors import evidence
from crossdock.connectors.streams import ObjectStream
from crossdock.connectors.writer.job import Job, Written
from crossdock.events import Event, Retried, listening
from crossdock.model import Receipt, Verification
from crossdock.ports import ByteStream, ObjectStore

__all__ = ["Count", "counting", "receipt_of", "weaknesses"]


class Count:
    """Counts what the layers retry below one write, and passes every event on."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.retries = 0
        self.resent_bytes = 0
        self.forward: Callable[[Event], None] = lambda _: None

    def __call__(self, event: Event, /) -> None:
        """Hear one event."""
        if isinstance(event, Retried):
            self.retries += 1
        self.forward(event)


@contextmanager
def counting() -> Iterator[Count]:
    """Count for the length of a block."""
    count = Count()
    with listening(count) as before:
        count.forward = before
        yield count


def receipt_of(stream: ByteStream, job: Job, written: Written, count: Count) -> Receipt:
    """Judge what was written, read it back if that is wanted, and say what it came to.

    Raises:
        IntegrityError: The destination holds something else.
        UnprovenError: Less was proven than is required.
    """
    store, options, known = job.store, job.options, written.known
    level, words = evidence.judge(known, written.result, written.computed, written.size, store.capabilities)
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
    weaker = weaknesses(stream, store)
    words = f"{words}; weaker: {', '.join(weaker)}" if weaker else words
    return Receipt(
        source=f"{stream.store.url}/{known.source.key}" if stream.store is not None else "",
        destination=job.place,
        key=job.key,
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
        duration_s=time.monotonic() - count.began,
    )


def weaknesses(stream: ByteStream, store: ObjectStore) -> tuple[str, ...]:
    """In words, where the promise takes a weaker form for this stream and this destination."""
    stored = stream if isinstance(stream, ObjectStream) else None
    return evidence.weaknesses(
        stored.store.capabilities if stored is not None else None,
        stored.info.version if stored is not None else None,
        store.capabilities,
    )
