"""What a driver hands out next: shards as the plan cut them, and the steps of objects that are cut over workers as they become due.

Driven by the thread that runs the runner's loop: it takes items here and tells here what came of them. What was begun comes
before what was not, so that few uploads are open at a time: no more than the runner's window.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from statistics import median

from crossdock.errors import ConnectionLostError
from crossdock.flows.ledger.failures import failure_of
from crossdock.flows.ledger.records import Failure
from crossdock.flows.ledger.tally import ShardCounts
from crossdock.flows.moving.parts.words import (
    Answer,
    Closing,
    Item,
    Opened,
    Opening,
    PartsEnd,
    Sending,
    ShardEnd,
    cut_tasks,
)
from crossdock.flows.runs.shards import Shard

__all__ = ["Agenda"]

STRAGGLING_S = 60.0  # what takes less is never taken from its worker
_STRAGGLING_TIMES = 5  # as long as a shard takes
_ATTEMPTS = 3  # at one object, before what makes its uploads vanish is a failure

News = ShardEnd | tuple[Shard, BaseException]


@dataclass(slots=True, kw_only=True)
class _Cut:
    """One object under way: which upload of it, how many of its steps are out, and what went wrong with one."""

    shard: Shard
    upload: str
    attempt: int
    out: int = 0
    retries: int = 0
    failure: Failure | None = None
    gone: bool = False
    stopped: bool = False
    lost: BaseException | None = None

    @property
    def is_broken(self) -> bool:
        """Whether there is no point in sending more."""
        return self.gone or self.stopped or self.failure is not None or self.lost is not None


class Agenda:
    """An iterator of items that learns from their results; what a runner calls paced: it says whether the next is there.

    Belongs to one thread, but for ``stop``. Memory: what is under way, and the steps of objects that are open.

    Args:
        shards: In the order in which they are to begin.
        stop: Nothing more begins once it is set.
        clock: Seconds that only go forward.
    """

    def __init__(
        self,
        shards: Iterator[Shard],
        stop: threading.Event,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shards = shards
        self._stop = stop
        self._due: deque[Item] = deque()
        self._next: Shard | None = None
        self._more = True
        self._cut: dict[int, _Cut] = {}
        self._out: dict[int, Item] = {}
        self._count = 0
        self._clock = clock
        self._took_s: deque[float] = deque(maxlen=1000)  # by the workers' clocks
        self._last = clock()  # when something went out or came back
        self._let_go: Callable[[int], None] = lambda _: None
        self._handed: set[int] = set()  # asked for, once each
        self._asked: set[int] = set()  # and not let go yet
        self._wake: Callable[[], None] = lambda: None
        self.stopped = False

    # -- what a runner asks ----------------------------------------------------------------------------------------

    def listen(self, wake: Callable[[], None]) -> None:
        """Who is told that an item is due, or that it is time to stop."""
        self._wake = wake

    def stop(self) -> None:
        """Begin nothing more; from any thread."""
        self.stopped = True
        self._stop.set()
        self._wake()

    def ready(self) -> bool:
        """Whether there is an item, or there will be none; false while one may yet become due."""
        return bool(self._due) or self._peek() is not None or not self._out or self._stop.is_set()

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        """The next item. The end is one for now only: see ``has_more``."""
        if self._stop.is_set():
            raise StopIteration
        item: Item | None = self._due.popleft() if self._due else self._peek()
        if item is None:
            raise StopIteration
        if item is self._next:
            self._next = None
        self._out[self._count] = item
        self._count += 1
        self._last = self._clock()
        return item

    # -- what its driver tells -------------------------------------------------------------------------------------

    def new_pass(self) -> None:
        """The runner counts from 0 again."""
        self._count = 0
        self._out.clear()

    @property
    def has_more(self) -> bool:
        """Whether a runner that took an end for final left something: it knows nothing of items that become due."""
        return not self._stop.is_set() and (bool(self._due) or self._peek() is not None)

    def heard(self, index: int, result: Answer | BaseException) -> News | None:
        """Take what came of item ``index``; news for the driver if a shard has ended or was lost."""
        item = self._out.pop(index)
        self._last = self._clock()
        if isinstance(item, Sending):
            return self._sent(self._cut[item.shard.number], result)
        shard = item if isinstance(item, Shard) else item.shard
        if isinstance(result, ShardEnd) and not result.stopped:
            self._took_s.append(result.seconds)
        elif isinstance(result, ShardEnd) and shard.number in self._asked and not self._stop.is_set():
            self._asked.discard(shard.number)
            self._let_go(shard.number)
            self._put(shard)
            return None
        if isinstance(result, BaseException):
            self._cut.pop(shard.number, None)
            return shard, result
        if isinstance(result, Opened):
            self._begin(result)
            return None
        if isinstance(result, PartsEnd):  # a completion found that it has to be begun anew
            attempt = item.attempt if isinstance(item, Closing) else 0
            del self._cut[shard.number]
            self._put(Opening(shard, attempt + 1))
            return None
        self._cut.pop(shard.number, None)
        return result

    # -- what takes too long ---------------------------------------------------------------------------------------

    def when_let_go(self, tell: Callable[[int], None]) -> None:
        """Who is told that a worker gave a straggling shard up, before it begins again; on the loop's thread."""
        self._let_go = tell

    def stragglers(self) -> list[Shard]:
        """Shards to be taken from the workers that have them, once each; from any thread.

        Only when there is nothing else to begin and nothing has ended for five times as long as shards take: then whoever has
        one crawls. Objects that are cut over workers are none: what is left of them goes to whoever is free in any case.
        """
        is_tail = not self._more and self._next is None and not self._due
        if not is_tail or not self._took_s:
            return []
        if self._clock() - self._last < max(STRAGGLING_S, _STRAGGLING_TIMES * median(self._took_s)):
            return []
        out = [item for item in list(self._out.values()) if isinstance(item, Shard)]
        found = [each for each in out if each.number not in self._handed | self._cut.keys()]
        self._handed.update(shard.number for shard in found)
        self._asked.update(shard.number for shard in found)
        return found

    def _begin(self, opened: Opened) -> None:
        cut = _Cut(shard=opened.shard, upload=opened.upload, attempt=opened.attempt)
        self._cut[opened.shard.number] = cut
        tasks = [
            Sending(opened.shard, opened.upload, first, stop)
            for first, stop in cut_tasks(opened.missing, opened.part_size_bytes)
        ]
        cut.out = len(tasks)
        if not tasks:
            self._put(Closing(opened.shard, opened.upload, opened.attempt))
        self._due.extendleft(reversed(tasks))
        self._wake()

    def _sent(self, cut: _Cut, result: Answer | BaseException) -> News | None:
        cut.out -= 1
        if isinstance(result, PartsEnd):
            cut.retries += result.retries
            cut.gone = cut.gone or result.gone
            cut.stopped = cut.stopped or result.stopped
            cut.failure = cut.failure or result.failure
        elif isinstance(result, CancelledError):
            cut.stopped = True
        elif isinstance(result, BaseException):
            cut.lost = cut.lost or result
        if cut.is_broken:
            kept = [
                item for item in self._due if not (isinstance(item, Sending) and item.upload == cut.upload)
            ]
            cut.out -= len(self._due) - len(kept)
            self._due = deque(kept)
        return None if cut.out else self._all_sent(cut)

    def _all_sent(self, cut: _Cut) -> News | None:
        """Nothing of this upload is out any more: complete it, or whatever what went wrong asks for."""
        number = cut.shard.number
        if cut.lost is not None:
            del self._cut[number]
            return cut.shard, cut.lost
        if cut.stopped:
            del self._cut[number]
            return ShardEnd(number, ShardCounts(), stopped=True)
        if cut.gone and cut.failure is None:
            if cut.attempt + 1 < _ATTEMPTS:
                del self._cut[number]
                self._put(Opening(cut.shard, cut.attempt + 1))
                return None
            cut.failure = failure_of(
                ConnectionLostError(
                    f"its upload vanished {_ATTEMPTS} times",
                    operation="put part",
                    hint="does a rule of the bucket abort uploads, or another run clean up?",
                )
            )
        self._put(Closing(cut.shard, cut.upload, cut.attempt, cut.retries, cut.failure))
        return None

    def _put(self, item: Item) -> None:
        self._due.appendleft(item)
        self._wake()

    def _peek(self) -> Shard | None:
        if self._next is None and self._more:
            self._next = next(self._shards, None)
            self._more = self._next is not None
        return self._next
