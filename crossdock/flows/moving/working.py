"""What every kind of shard's work shares: its pool of threads, its ledger, how a row's end is written down."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from crossdock import crash_points
from crossdock.errors import CrossdockError
from crossdock.events import Observer, ignore
from crossdock.flows.ledger.records import Record
from crossdock.flows.ledger.tally import Tally
from crossdock.flows.ledger.writing import LedgerWriter
from crossdock.flows.runs.directory import RunDirectory

__all__ = ["Hooks", "Pools", "keep", "ledger_of", "movers", "run_all"]

T = TypeVar("T")


class Hooks:
    """What a shard shares with the driver if both run in one process; never pickled."""

    def __init__(self, observer: Observer = ignore, tally: Tally | None = None) -> None:
        self.observer = observer
        self.tally = tally
        self.stop = threading.Event()
        self.used = False


def ledger_of(
    directory: RunDirectory, shard: int, session: str, hooks: Hooks, *, is_driver: bool, label: str = ""
) -> LedgerWriter:
    """The writer of one attempt at a shard; on a worker elsewhere it looks for the driver's sign to stop, too."""

    def look() -> None:
        # Advisory: a store that fails to answer is met again, loudly, when the ledger is written.
        try:
            if directory.is_asked_to_stop(session, shard):
                hooks.stop.set()
        except CrossdockError:
            return

    on_tick = (lambda: None) if is_driver else look
    return LedgerWriter(directory.files, shard, on_tick=on_tick, label=label)


def keep(ended: Sequence[Record], ledger: LedgerWriter, hooks: Hooks, known: dict[int, Record]) -> None:
    """Write down how rows ended, all of them in one segment; unless they failed because they were stopped, or might have.

    Those stay pending.
    """
    records = [replace(record, worker=ledger.worker, time=ledger.now()) for record in ended]
    if hooks.stop.is_set():
        records = [record for record in records if record.is_final]
    if not records:
        return
    crash_points.reached("before-record")
    known.update((record.row, record) for record in records)
    ledger.record(*records)
    if hooks.tally is not None:
        for record in records:
            hooks.tally.record(record)


def run_all(
    pool: ThreadPoolExecutor, work: Callable[[T], None], items: Sequence[T], stop: threading.Event
) -> None:
    """Run ``work`` for each item and wait; the first error of the machinery itself stops what has not begun."""
    futures: list[Future[None]] = [pool.submit(contextvars.copy_context().run, work, item) for item in items]
    broken: BaseException | None = None
    for future in as_completed(futures):
        if future.cancelled():
            continue
        error = future.exception()
        if error is not None and broken is None:
            broken = error
            for each in futures:
                each.cancel()
    if broken is not None and not stop.is_set():
        raise broken


class Pools:
    """One pool of threads a size, shared by all shards this process works on; gone when the last of them ends.

    Work in a pool may wait for work in another one of these, never for work in the same.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._held: dict[int, tuple[ThreadPoolExecutor, int]] = {}

    @contextmanager
    def taken(self, size: int) -> Iterator[ThreadPoolExecutor]:
        """The pool of so many threads, for the length of a block."""
        with self._lock:
            pool, users = self._held.get(size) or (ThreadPoolExecutor(size, self._name), 0)
            self._held[size] = (pool, users + 1)
        try:
            yield pool
        finally:
            self._give_back(size)

    def _give_back(self, size: int) -> None:
        with self._lock:
            pool, users = self._held.pop(size)
            if users > 1:
                self._held[size] = (pool, users - 1)
        if users == 1:
            pool.shutdown(wait=True)


movers = Pools("crossdock-move")
"""For the objects and units of shards."""
