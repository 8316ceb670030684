"""A large object cut over several workers: begun by one, its parts sent by any, completed by one.

The same steps as ``ranges`` takes in one process, so the object is proven to the same level and committed on the same
condition. An object whose proof needs all its bytes in order (nothing published but an MD5 of the whole, or parts at the source that
are not ours) is not cut, and neither is one for a destination that takes parts from one process only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from crossdock.connectors import commits, evidence
from crossdock.connectors.digests import COMBINABLE, combine_parts, digest_of
from crossdock.connectors.published import Published
from crossdock.connectors.strategy import Method
from crossdock.connectors.streams import ObjectStream
from crossdock.connectors.writer import parted
from crossdock.connectors.writer.job import Job
from crossdock.connectors.writer.parted import Begun
from crossdock.connectors.writer.parts import PartsInFlight
from crossdock.connectors.writer.receipts import counting, receipt_of, weaknesses
from crossdock.connectors.writer.write import INTEGRITY_ATTEMPTS, method_for
from crossdock.errors import CrossdockError, IntegrityError, Retry
from crossdock.events import Retried, emit
from crossdock.model import Digests, Part, Receipt
from crossdock.ports import ObjectStore

__all__ = ["begin_cut", "complete_cut", "send_parts"]


def begin_cut(stream: ObjectStream, job: Job) -> Begun | None:
    """Begin an upload that several workers will send; ``None``, and nothing begun, if the object is not to be cut.

    Requests: what ``published.learn`` asks, a ``stat`` and the beginning. Order and duplicates do not matter: a second
    call begins a second upload.

    Raises:
        UnsupportedError: The destination cannot hold it in any way.
        UnprovenError: The source publishes nothing to compare with, and that is required.
        StorageError: One of the ends failed; nothing is left open.
    """
    info = stream.info
    if info.size is None or info.size <= job.options.split_above_bytes:
        return None
    evidence.demand_strict(weaknesses(stream, job.store), job.options, place=job.place)
    if method_for(stream, info.size, job) is not Method.PARTS:
        return None
    known, part_size = _known(stream, job)
    by_part = bool(known.parts)
    if parted.names_for(known, job) - COMBINABLE or (by_part and not _are_ours(known.parts, part_size)):
        return None
    return replace(parted.begin(known, part_size, job), by_part=by_part)


def send_parts(
    begun: Begun,
    numbers: Iterable[int],
    *,
    source: ObjectStore,
    job: Job,
    taken: Callable[[Part], None],
    stopped: Callable[[], bool],
) -> None:
    """Send some parts, several at a time, and say of each when the store has acknowledged it. The upload stays open.

    Memory: within the budget of ``job``. Requests: a GET and a PUT a part. The same part twice changes nothing.

    Args:
        begun: The upload.
        numbers: Of the parts, from 1.
        source: Where they are read.
        job: Where they go.
        taken: Called on the part's own thread, before another part takes its place.
        stopped: Whether to begin no further part.

    Raises:
        NotFoundError: The upload is gone: completed or aborted by somebody. Or the source is.
        PreconditionError: The source was replaced.
        IntegrityError: A part was wrong again and again.
        StorageError: Anything else; parts that ``taken`` was told of are there.
    """
    parts = PartsInFlight(job, begun.upload)

    def one(number: int) -> Part:
        part = _sent(begun, number, source, job)
        taken(part)
        return part

    try:
        for number in numbers:
            if parts.failed or stopped():
                break
            parts.submit(lambda n=number: one(n), len(begun.range_of(number)))  # type: ignore[misc]
        parts.collect()
    finally:
        parts.close()


def complete_cut(
    begun: Begun,
    done: Mapping[int, Part],
    *,
    stream: ObjectStream,
    job: Job,
    retries: int = 0,
    resent_bytes: int = 0,
) -> Receipt:
    """Prove and commit what was sent, once; called again after it succeeded it gives the same receipt where the store tells digests.

    A failure that another attempt may mend leaves the upload; any other aborts it.

    Args:
        begun: The upload.
        done: Every part by number, as acknowledged.
        stream: The source object.
        job: The destination and its condition.
        retries: What was tried again while the parts were sent.
        resent_bytes: What was sent to uploads of this object that came to nothing.

    Raises:
        IntegrityError: The bytes are not what the source published, or not what arrived.
        UnprovenError: Less was proven than required.
        NotFoundError: The upload is gone, and the destination does not provably hold this object.
        PreconditionError: The destination is in another state.
    """
    with counting() as count:
        count.retries, count.resent_bytes = retries, resent_bytes
        try:
            known, _ = _known(stream, job)
            parts = [done[number] for number in range(1, begun.count + 1)]
            stretches = [Digests(md5=part.digests.md5) for part in parts] if begun.by_part else []
            written = parted.complete(
                known, begun, parts, combine_parts(parts), stretches, source=stream.store, job=job
            )
        except CrossdockError as error:
            if error.retry is Retry.NEVER or isinstance(error, IntegrityError):
                commits.abort_unless_unknown(job.store, begun.upload, error)
            raise
        return receipt_of(stream, job, written, count)


def _known(stream: ObjectStream, job: Job) -> tuple[Published, int]:
    """What the source publishes, asked for by name: no range was read here whose answer would tell."""
    known, part_size = parted.learned(stream.store, stream.info, job)
    answer = stream.store.stat(stream.info.key, version=known.source.version)
    return parted.described(stream.store, known, answer), part_size


def _are_ours(sizes: tuple[int, ...], part_size: int) -> bool:
    """Whether the source's parts are those we send."""
    return {*sizes[:-1]} <= {part_size} and 0 < sizes[-1] <= part_size


def _sent(begun: Begun, number: int, source: ObjectStore, job: Job) -> Part:
    """One part, read and sent once more if it was damaged on the way."""
    tries = 0
    while True:
        try:
            data = parted.read_part(source, begun, number)
            own = digest_of(data, ["md5"]) if begun.by_part else Digests()
            part = parted.put_part(job.store, begun, number, data)
            return replace(part, digests=own.merged(part.digests))
        except IntegrityError as error:
            tries += 1
            if tries >= INTEGRITY_ATTEMPTS:
                raise
            emit(Retried(operation="put part", place=job.place, cause=str(error), attempt=tries, delay_s=0.0))
