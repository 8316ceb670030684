"""Parts of one upload in flight: bounded, stopped by the first failure, in order where order counts."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from crossdock.connectors.digests import COMBINABLE, choose_digests
from crossdock.connectors.writer.job import Job
from crossdock.connectors.writer.ordered import OrderedHasher, OtherPartFailedError
from crossdock.events import BytesMoved, emit
from crossdock.model import Digests, Part, Upload
from crossdock.ports import Capabilities

__all__ = ["PartsInFlight", "part_digests"]


class PartsInFlight:
    """Parts of one upload in flight: a bounded pool that stops at the first failure and keeps it.

    Args:
        job: What is written.
        upload: Where the parts go.
        ordered: Hashers that parts may wait in for others; after a failure nobody waits.
    """

    def __init__(self, job: Job, upload: Upload, ordered: Iterable[OrderedHasher] = ()) -> None:
        self._ordered = tuple(ordered)
        self._job, self._upload = job, upload
        # One thread takes its work in the order it was handed over; reading goes on meanwhile.
        threads = 1 if job.store.capabilities.ordered_parts else job.options.part_concurrency
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="crossdock-part")
        self._futures: list[Future[Part]] = []
        self._failed = threading.Event()

    def submit(self, work: Callable[[], Part], size: int, *, taken: int | None = None) -> None:
        """Send one part when its bytes fit the budget; raises nothing: ``collect`` does.

        Args:
            work: What sends it.
            size: Its bytes.
            taken: What was taken of the budget for it already; given back here.
        """
        if taken is None:
            self._job.bandwidth.take(size)
            taken = self._job.budget.acquire(size)

        def run() -> Part:
            try:
                part = self._unless_failed(work)
            except BaseException:
                self._break_up()
                raise
            finally:
                self._job.budget.release(taken)
            emit(BytesMoved(bytes=part.size))
            return part

        self._futures.append(self._pool.submit(contextvars.copy_context().run, run))

    def _break_up(self) -> None:
        self._failed.set()
        for hasher in self._ordered:
            hasher.break_up()

    def _unless_failed(self, work: Callable[[], Part]) -> Part:
        if self._failed.is_set():
            raise OtherPartFailedError("another part failed", operation="put part")
        return work()

    @property
    def failed(self) -> bool:
        """Whether there is no point in sending more."""
        return self._failed.is_set()

    def collect(self) -> list[Part]:
        """All parts in order, or the first failure by time."""
        errors = []
        for future in self._futures:
            error = future.exception()
            if error is not None and not isinstance(error, OtherPartFailedError):
                errors.append(error)
        if errors:
            raise errors[0]
        return [future.result() for future in self._futures]

    def close(self) -> None:
        """Wait until no part is in flight: an abort must not race a late part."""
        self._break_up()
        self._pool.shutdown(wait=True)


def part_digests(published: Digests, sink: Capabilities, *, cheap: bool = False) -> frozenset[str]:
    """What to compute over parts: as for a put, and always one that each part can be checked by."""
    names = choose_digests(published, sink.part_checks | sink.complete_checks, sink.publishes, cheap=cheap)
    return names | frozenset(
        sorted(COMBINABLE & sink.part_checks - names)[:1] if not names & COMBINABLE else ()
    )
