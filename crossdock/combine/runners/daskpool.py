"""A Dask cluster as a pool: shards are Dask tasks, news come from futures and from the scheduler's own topics.

Imported when a ``DaskRunner`` runs: it imports Dask. Dask is told to retry nothing; what it repeats by itself is tasks of workers
that died, and on the clusters we start not even those (see ``cluster``).
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import weakref
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import distributed as _distributed

from crossdock.combine.runners.cluster import Connection
from crossdock.combine.runners.dask_noise import begin_run, end_run, quiet, telling_workers
from crossdock.combine.runners.dask_shard import SHARE, run_shard
from crossdock.combine.runners.onworker import stop_run
from crossdock.combine.runners.pool import Answered, Failed, Gone, Lost, News, Told, Woken
from crossdock.combine.runners.sharding import Recipe
from crossdock.errors import ConnectionLostError, UnexpectedError

__all__ = ["DaskPool"]

_logger = logging.getLogger("crossdock.dask")

distributed: Any = _distributed  # Dask's calls are untyped

_STOP_S = 10.0  # for workers to hear that nothing more shall begin
_SHARE_S = 5.0  # a word that comes later counts for nothing
_TOPICS = 64  # the scheduler keeps the last messages of every topic there ever was


class _Switchboard:
    """One subscription for all runs of one client: what workers tell, and which workers the scheduler lost."""

    def __init__(self, client: Any) -> None:
        self.topic = f"crossdock-{zlib.crc32(str(client.id).encode()) % _TOPICS}"
        self._runs: dict[str, Callable[[Mapping[str, Any]], None]] = {}
        self._others = getattr(client, "_event_handlers", {}).get(
            "all"
        )  # somebody else listens on this client already
        client.subscribe_topic(self.topic, self._told)
        client.subscribe_topic("all", self._happened)

    def enter(self, run_id: str, hear: Callable[[Mapping[str, Any]], None]) -> None:
        self._runs[run_id] = hear

    def leave(self, run_id: str) -> None:
        self._runs.pop(run_id, None)

    def _told(self, event: tuple[float, Any]) -> None:
        """On Dask's own thread: quick."""
        hear = self._runs.get(event[1].get("run"))
        if hear is not None:
            hear(event[1])

    def _happened(self, event: tuple[float, Any]) -> Any:
        message = event[1]
        if (
            isinstance(message, Mapping)
            and message.get("action") == "remove-worker"
            and not message.get("expected")
        ):
            for hear in list(self._runs.values()):
                hear(message)
        return self._others(event) if self._others is not None else None


_boards: weakref.WeakKeyDictionary[Any, _Switchboard] = weakref.WeakKeyDictionary()
_boards_lock = threading.Lock()


def _board_of(client: Any) -> _Switchboard:
    with _boards_lock:
        if client not in _boards:
            _boards[client] = _Switchboard(client)
        return _boards[client]


class DaskPool:
    """The workers of one client, for one run; implements ``pool.Pool``.

    Args:
        connection: A connected client, and its cluster if that is ours.
        recipe: What the run's shards have in common.
    """

    def __init__(self, connection: Connection, recipe: Recipe) -> None:
        self._connection = connection
        self._client = client = connection.client
        self._processes = 1
        self._sharing = False
        self._recipe = recipe
        self._prefix = f"{recipe.name}-{recipe.run_id[:12]}-"
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._tickets: dict[Any, int] = {}  # future: ticket
        self._board = _board_of(client)
        self._board.enter(recipe.run_id, self._hear)
        begin_run(self._prefix)

    def slots(self) -> int:
        """Threads of all workers; one small message to the scheduler. A cluster of ours is mended if it needs that."""
        self._demand_scheduler()
        self._connection.mend()
        try:
            threads = self._client.nthreads()
        except (OSError, TimeoutError) as error:  # CommClosedError is an OSError
            raise self._gone() from error
        self._processes = len(threads)
        return sum(threads.values())

    def processes(self) -> int:
        """See the port."""
        return self._processes

    def send(self, ticket: int, items: bytes) -> None:
        """Submit a shard: its own key, never shared with an equal one, not retried."""
        future = self._client.submit(
            run_shard,
            self._recipe,
            self._board.topic,
            items,
            key=f"{self._prefix}{ticket}",
            pure=False,
            retries=0,
        )
        self._tickets[future] = ticket
        self._client.loop.add_callback(self._bring, future)

    async def _bring(self, future: Any) -> None:
        """On Dask's own thread: wait for a shard and fetch its answer. If its worker dies meanwhile, it is made again."""
        try:
            self._inbox.put((future, await future))
        except BaseException as error:
            self._inbox.put((future, error))

    def share(self, workers: Sequence[str], words: Sequence[tuple[Any, ...]]) -> None:
        """One message to the scheduler, which passes it to each worker; while it is on its way, nothing newer is sent."""
        if not self._sharing and self._client.status == "running":
            self._sharing = True
            self._client.loop.add_callback(self._share, list(workers), list(words))

    async def _share(self, workers: list[str], words: list[tuple[Any, ...]]) -> None:
        """On Dask's own thread. Not ``Client.run``: workers log each of those."""
        message = {"op": SHARE, "run": self._recipe.run_id, "words": words}
        told = self._client.scheduler.broadcast(msg=message, workers=workers, on_error="ignore")
        try:
            with telling_workers(workers):
                await asyncio.wait_for(told, _SHARE_S)
        except (OSError, TimeoutError):  # CommClosedError is one: whoever waits for an answer finds out
            _logger.debug("workers could not be told what they may use", exc_info=True)
        finally:
            self._sharing = False

    def has_news(self) -> bool:
        """See the port."""
        return not self._inbox.empty()

    def receive(self, timeout_s: float) -> News | None:
        """See the port."""
        try:
            found = self._inbox.get(timeout=timeout_s)
        except queue.Empty:
            return None
        return self._ended(*found) if isinstance(found, tuple) else found

    def _hear(self, message: Mapping[str, Any]) -> None:
        """On Dask's own thread."""
        if message.get("action") != "remove-worker":
            self._inbox.put(Told(message))
            return
        mine = sum(str(key).startswith(self._prefix) for key in message.get("processing-tasks", ()))
        what = (
            f"with {mine} shard{'s' if mine > 1 else ''} of {self._recipe.name!r}, which will run elsewhere"
        )
        text = f"worker {message.get('worker')} was lost{f' {what}' if mine else ''}"
        self._inbox.put(Gone(text))

    def _ended(self, future: Any, found: bytes | BaseException) -> News | None:
        ticket = self._tickets.pop(future, None)
        if ticket is None:  # abandoned
            return None
        future.release()
        if isinstance(found, bytes):
            return Answered(ticket, found)
        if isinstance(found, distributed.KilledWorker):
            return Lost(ticket, found.allowed_failures + 1, f"{found.last_worker.address} last")
        self._demand_scheduler()
        if isinstance(found, distributed.CancelledError | asyncio.CancelledError):
            return Lost(ticket, 1, "the scheduler forgot it")
        trouble = UnexpectedError(
            f"the shard failed on its worker: {type(found).__name__}: {found}", operation="run"
        )
        trouble.__cause__ = found
        return Failed(ticket, trouble)

    def _demand_scheduler(self) -> None:
        if self._client.status != "running":
            raise self._gone()

    def _gone(self) -> ConnectionLostError:
        return ConnectionLostError(
            "the Dask scheduler is gone; what ended before was reported",
            operation="run",
            hint="start the cluster and run again",
        )

    def wake(self) -> None:
        """See the port."""
        self._inbox.put(Woken())

    def stop(self) -> None:
        """Tell every worker; what is queued there then ends at once."""
        self._demand_scheduler()
        with quiet():
            self._connection.ask_all(stop_run, self._recipe.run_id, timeout_s=_STOP_S)

    def abandon(self) -> None:
        """Cancel all shards; what runs on workers ends its items and is forgotten."""
        if self._client.status == "running":
            with quiet():
                self._connection.ask_all(stop_run, self._recipe.run_id, timeout_s=_STOP_S)
                self._client.cancel(list(self._tickets))
        self._tickets.clear()

    def close(self) -> None:
        """Listen no longer."""
        self._board.leave(self._recipe.run_id)
        end_run(self._prefix)
