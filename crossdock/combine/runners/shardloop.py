"""The loop between a driver and its workers: items into shards, shards under way, outcomes back in completion order.

Runs on the thread that iterates it; what workers tell meanwhile is said again there. One for all kinds of workers: see ``pool``.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError
from typing import Any

from crossdock.combine.runners.allotting import Allotter
from crossdock.combine.runners.feed import Feed
from crossdock.combine.runners.pool import Answered, Failed, Gone, Lost, News, Pool, Told, Unbegun, Woken
from crossdock.combine.runners.sharding import MAX_REFUSALS, Shard, ShardSizer, after_loss
from crossdock.combine.runners.telling import retell
from crossdock.combine.runners.wire import Answer, decode, encode_items, unpicklable
from crossdock.errors import ConnectionLostError, CrossdockError, Retry, UnexpectedError
from crossdock.events import Note, emit

__all__ = ["ShardLoop", "refused_ahead"]

_logger = logging.getLogger("crossdock.runner")

_PATIENCE_S = 0.05  # an unfinished shard waits no longer for its next item
_CENSUS_S = 2.0  # how often the workers are counted: clusters grow and shrink
_IDLE_S = 1.0

Ended = tuple[int, Any]


class ShardLoop:
    """One run of one function over a pool of workers.

    Args:
        pool: The workers.
        feed: The items, taken as shards are made; as long as some are under way, only those that are there.
        sizer: Items per shard.
        shards_per_slot: How many shards are under way for each that can run.
        window: Shards under way; ``None`` follows the pool's size.
        item_window: Items under way; ``None`` leaves it to the shards.
        no_workers_timeout_s: How long there may be no worker at all.
    """

    def __init__(
        self,
        pool: Pool,
        feed: Feed[Any],
        *,
        sizer: ShardSizer,
        shards_per_slot: int,
        window: int | None,
        item_window: int | None = None,
        no_workers_timeout_s: float = 120.0,
    ) -> None:
        self._pool = pool
        self._allotter = Allotter()
        self._feed = feed
        self._sizer = sizer
        self._shards_per_slot = shards_per_slot
        self._fixed_window = window
        self._item_window = item_window
        self._no_workers_timeout_s = no_workers_timeout_s
        self._slots = 1
        self._counted = 0.0
        self._last_seen = time.monotonic()
        self._under_way: dict[int, Shard] = {}  # ticket: shard
        self._items_under_way = 0
        self._again: deque[Shard] = deque()
        self._suspects: deque[Shard] = deque()  # one of them is under way at a time
        self._said: set[str] = set()
        self._more = True
        self._stopped = False
        self._broken: Exception | None = None
        self._sent = 0

    def outcomes(self) -> Iterator[Ended]:
        """Position and result or error of each item, as shards end.

        Raises:
            Exception: What taking an item raised, after everything that had begun ended.
            ConnectionLostError: The cluster is gone, or no worker is left and none comes.
        """
        self._feed.listen(self._pool.wake)
        try:
            self._census()
            while True:
                if self._feed.stopped and not self._stopped:
                    yield from self._begin_nothing_more()
                yield from self._fill()
                if not self._under_way:
                    break
                news = self._pool.receive(_IDLE_S)
                if news is None:
                    self._census()
                else:
                    yield from self._hear(news)
        finally:
            self._stop()
        if self._broken is not None:
            raise self._broken

    def _begin_nothing_more(self) -> Iterator[Ended]:
        """The input was called off: items that were taken and did not begin come back as ``CancelledError``."""
        self._stopped, self._more = True, False
        if self._under_way:
            self._pool.stop()
        for shard in (*self._again, *self._suspects):
            yield from self._given_up(shard, CancelledError())
        self._again.clear()
        self._suspects.clear()

    # -- sending -------------------------------------------------------------------------------------------------

    def _fill(self) -> Iterator[Ended]:
        """Send shards until the window is full; items that cannot be pickled end here, alone."""
        while len(self._under_way) < self._window():
            shard = self._next_again() or self._next_shard()
            if shard is None:
                return
            try:
                words = self._allotter.words()
                data = encode_items(shard.items, peers=self._pool.processes(), words=words)
            except Exception as error:
                yield from self._refuse_some(shard, error)
                continue
            ticket, self._sent = self._sent, self._sent + 1
            self._pool.send(ticket, data)
            # Only now: a shard that was never handed out would be waited for for ever.
            self._under_way[ticket] = shard
            self._items_under_way += len(shard.items)
            if self._pool.has_news():
                return  # what ended is yielded before more input is waited for: it may depend on the consumer

    def _refuse_some(self, shard: Shard, error: Exception) -> Iterator[Ended]:
        """A shard that cannot be pickled: without those items that cannot be, it is to be sent again."""
        refused = unpicklable(zip(shard.numbers, shard.items, strict=True))
        if not refused:  # each by itself can: nobody knows which it is
            yield from self._given_up(shard, error)
            return
        rest = [each for each in zip(shard.numbers, shard.items, strict=True) if each[0] not in refused]
        shard.numbers, shard.items = [number for number, _ in rest], [item for _, item in rest]
        if rest:
            self._again.append(shard)
        yield from refused.items()

    def _window(self) -> int:
        if time.monotonic() - self._counted > _CENSUS_S:
            self._census()
        return self._fixed_window or self._shards_per_slot * max(self._slots, 1)

    def _next_again(self) -> Shard | None:
        if self._again:
            return self._again.popleft()
        if self._suspects and not any(shard.is_suspect for shard in self._under_way.values()):
            return self._suspects.popleft()
        return None

    def _next_shard(self) -> Shard | None:
        """Take items until the shard is full, the input ends, or items come too slowly to wait for."""
        shard = Shard([], [])
        size = self._sizer.next_size()
        if self._item_window is not None:
            size = min(size, self._item_window - self._items_under_way)
        until = float("inf")
        while self._more and len(shard.items) < size and (left := until - time.monotonic()) > 0:
            if (shard.items or self._under_way) and not self._feed.ready(left if shard.items else 0.0):
                break
            try:
                number, item = next(self._feed)
            except StopIteration:
                self._more = False
            except Exception as error:
                self._more, self._broken = False, error
            else:
                shard.numbers.append(number)
                shard.items.append(item)
                until = min(until, time.monotonic() + _PATIENCE_S)
        self._sizer.took(len(shard.items))
        return shard if shard.items else None

    def _census(self) -> None:
        """Count the workers.

        Raises:
            ConnectionLostError: There has been none for too long, or the cluster is gone.
        """
        self._slots = self._pool.slots()
        self._counted = now = time.monotonic()
        if self._slots:
            self._last_seen = now
        elif now - self._last_seen > self._no_workers_timeout_s:
            raise ConnectionLostError(
                f"no worker is left, and none came back within {self._no_workers_timeout_s:.0f} s; "
                "what ended before was reported",
                operation="run",
                hint="look at the cluster's own logs; no_workers_timeout_s waits longer",
            )

    # -- receiving -----------------------------------------------------------------------------------------------

    def _hear(self, news: News) -> Iterator[Ended]:
        if isinstance(news, Told):
            self._told(news.message)
        elif isinstance(news, Gone):
            self._say(news.text)
        elif not isinstance(news, Woken):
            shard = self._under_way.pop(news.ticket)
            self._items_under_way -= len(shard.items)
            if isinstance(news, Answered):
                yield from self._answered(news.data, shard)
            elif isinstance(news, Failed):
                yield from self._given_up(shard, news.error)
            elif isinstance(news, Unbegun):
                yield from self._given_up(shard, CancelledError())
            else:
                yield from self._lost(news, shard)

    def _told(self, message: Mapping[str, Any]) -> None:
        """Say again what a worker tells, or let its use of the endpoints count for what all may use."""
        if "uses" not in message:
            retell(message)
            return
        now, processes = time.monotonic(), self._pool.processes()
        self._allotter.heard(message, now=now, processes=processes)
        said = self._allotter.due(now=now, processes=processes)
        if said is not None:
            self._pool.share(*said)

    def _answered(self, data: bytes, shard: Shard) -> Iterator[Ended]:
        answer = _read(data)
        if isinstance(answer, UnexpectedError):
            yield from self._given_up(shard, answer)
            return
        if answer.refusal is not None:
            yield from self._refused(answer.refusal, shard)
            return
        results = answer.results
        if len(results) < len(
            shard.numbers
        ):  # the items could not even be read there; one of them is to blame
            if not self._stopped:
                self._again.extend(shard.halves())
                return
            results = results[:1] * len(shard.numbers)
        if answer.seconds:
            self._sizer.observe(len(results), answer.seconds)
        yield from zip(shard.numbers, results, strict=True)

    def _refused(self, error: CrossdockError, shard: Shard) -> Iterator[Ended]:
        """A worker that came late is not fit; others may be."""
        if str(error) not in self._said:
            self._said.add(str(error))
            self._say(f"a worker that came late cannot take part: {error}")
        shard.refusals += 1
        if self._stopped:
            yield from self._given_up(shard, CancelledError())
        elif shard.refusals < MAX_REFUSALS:
            self._again.append(shard)
        else:
            yield from self._given_up(shard, error)

    def _lost(self, lost: Lost, shard: Shard) -> Iterator[Ended]:
        if self._stopped:
            text = f"its worker was lost while the run was being stopped ({lost.text})"
            yield from self._given_up(shard, ConnectionLostError(text, operation="run"))
            return
        again = after_loss(shard, lost.deaths)
        for each in again:
            (self._suspects if each.is_suspect else self._again).append(each)
        if not again:
            cause = ConnectionLostError(
                f"every worker that ran this item died ({lost.text})",
                operation="run",
                attempts=shard.losses,
                retry=Retry.EXHAUSTED,
                hint="look for its memory use, or for what kills the process, in the worker's log",
            )
            yield from self._given_up(shard, cause)

    def _given_up(self, shard: Shard, error: BaseException) -> Iterator[Ended]:
        for number in shard.numbers:
            yield number, error

    def _say(self, text: str) -> None:
        _logger.warning("%s", text)
        emit(Note(text=text))

    # -- stopping ------------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        """Begin nothing more on any worker, wait for what runs, forget the rest."""
        if (
            sys.is_finalizing()
        ):  # the threads that would bring news are gone, and the workers go with this process
            return
        try:
            if self._under_way and not self._stopped:
                self._pool.stop()
            while self._under_way:
                news = self._pool.receive(_IDLE_S)
                if isinstance(news, Told):
                    self._told(news.message)
                elif isinstance(news, Answered | Lost | Failed | Unbegun):
                    del self._under_way[news.ticket]
                    if isinstance(news, Answered):
                        _read(news.data)
                elif news is None and not self._pool.slots():
                    break  # nobody is left to answer
        except CrossdockError:  # it is gone: nothing runs that could be waited for
            _logger.debug("the workers were gone when the run was stopped", exc_info=True)
        finally:
            if self._under_way:
                self._pool.abandon()
                self._under_way.clear()
            self._pool.close()


def refused_ahead(feed: Feed[Any], most: int) -> Iterator[Ended]:
    """Pickle the first items before workers start: those inherit the secrets in them. Ends at some that can be sent.

    Items that cannot be pickled end here, each with its ``ConfigError``; if none can, no worker needs to start.
    """
    while head := feed.look(most):
        refused = unpicklable(head)
        feed.drop(refused)
        is_enough = len(refused) < len(head)
        del head  # items are let go of when they ended
        yield from refused.items()
        if is_enough:
            return


def _read(data: bytes) -> Answer | UnexpectedError:
    """A worker's answer; what it told is said again at once."""
    try:
        answer: Answer = decode(data)
    except Exception as error:
        trouble = UnexpectedError(f"a worker's answer cannot be read: {type(error).__name__}: {error}")
        trouble.__cause__ = error
        return trouble
    if answer.told is not None:
        retell(answer.told)
    return answer
