"""Parts of one upload in flight: bounded, stopped by the first failure, in order where order counts."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from crossdock.connectors.digests import COMBINABLE, choose_digests
from crossdock.connectors.writer.job import Job
from crossdock.errors import ConnectionLostError
from crossdock.events import BytesMoved, emit
from crossdock.model import (
    ObjectInfo,
    Part,
    Upload,
)
from crossdock.ports import Capabilities

__all__ = ["InOrder", "PartsInFlight", "part_digests"]


class _OtherPartFailedError(ConnectionLostError):
    """This part was not sent because another one failed; never what is reported."""


class InOrder:
    """Lets threads that finish in any order do one step in the order of their numbers (MD5 over parallel parts)."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._next = 1
        self._broken = False

    def step(self, number: int, action: Callable[[], None]) -> None:
        """Do ``action`` when all smaller numbers have done theirs; raises if one of them failed."""
        with self._condition:
            self._condition.wait_for(lambda: self._broken or self._next == number)
            if self._broken:
                raise _OtherPartFailedError("another part failed", operation="put part")
        action()
        with self._condition:
            self._next += 1
            self._condition.notify_all()

    def break_up(self) -> None:
        """Let nobody wait for a number that will not come."""
        with self._condition:
            self._broken = True
            self._condition.notify_all()


class PartsInFlight:
    """Parts of one upload in flight: a bounded pool that stops at the first failure and keeps it."""

    def __init__(self, job: Job, upload: Upload) -> None:
        self._job, self._upload = job, upload
        self._pool = ThreadPoolExecutor(job.options.part_concurrency, thread_name_prefix="crossdock-part")
        self._futures: list[Future[Part]] = []
        self._failed = threading.Event()
        self.order = InOrder()

    def submit(self, work: Callable[[], Part], size: int) -> None:
        """Send one part when its bytes fit the budget; raises nothing: ``collect`` does."""
        taken = self._job.budget.acquire(size)

        def run() -> Part:
            try:
                part = self._unless_failed(work)
            except BaseException:
                self._failed.set()
                self.order.break_up()
                raise
            finally:
                self._job.budget.release(taken)
            emit(BytesMoved(bytes=part.size))
            return part

        self._futures.append(self._pool.submit(contextvars.copy_context().run, run))

    def _unless_failed(self, work: Callable[[], Part]) -> Part:
        if self._failed.is_set():
            raise _OtherPartFailedError("another part failed", operation="put part")
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
            if error is not None and not isinstance(error, _OtherPartFailedError):
                errors.append(error)
        if errors:
            raise errors[0]
        return [future.result() for future in self._futures]

    def close(self) -> None:
        """Wait until no part is in flight: an abort must not race a late part."""
        self._failed.set()
        self.order.break_up()
        self._pool.shutdown(wait=True)


def part_digests(source: ObjectInfo, sink: Capabilities) -> frozenset[str]:
    """What to compute over parts: as for a put, and always one that each part can be checked by."""
    names = choose_digests(source.digests, sink.part_checks | sink.complete_checks, sink.publishes)
    return names | frozenset(
        sorted(COMBINABLE & sink.part_checks - names)[:1] if not names & COMBINABLE else ()
    )
