"""The loop between a driver and its workers: items into shards, shards under way, outcomes back in completion order.

Runs on the thread that iterates it. Imported when a ``DaskRunner`` runs: it imports Dask.
"""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import distributed as _distributed

from crossdock.combine.runners.cluster import quiet
from crossdock.combine.sharding import Recipe, ShardSizer, decode, encode_items, run_shard, software, stop_run
from crossdock.errors import ConnectionLostError, CrossdockError, Retry, UnexpectedError

__all__ = ["ShardLoop"]

distributed: Any = _distributed  # Dask's calls are untyped

_SHARDS_PER_SLOT = 4  # one runs, the others are queued so that no worker waits for the driver
_PATIENCE_S = 0.05  # an unfinished shard waits no longer for its next item
_CENSUS_S = 2.0  # how often the workers are counted: clusters grow and shrink
_MAX_LOSSES = 3  # a shard that was lost so often, and not because its worker died, is given up

Ended = tuple[int, Any]


@dataclass(slots=True, eq=False)
class _Shard:
    """Items under way: their positions, themselves (to send again), and how often they were lost."""

    numbers: list[int]
    items: list[Any]
    losses: int = 0

    def halves(self) -> tuple[_Shard, _Shard]:
        middle = len(self.items) // 2
        return (
            _Shard(self.numbers[:middle], self.items[:middle]),
            _Shard(self.numbers[middle:], self.items[middle:]),
        )


class ShardLoop:
    """One run of one function over a cluster.

    Args:
        client: A connected Dask client.
        function: The pickled function.
        numbered: ``(position, item)``, taken as shards are made.
        total: How many items there are, if known.
        name: Prefix of the Dask keys.
        threads: Items at once per worker process.
        shard_size: Items per shard; ``None`` sizes by duration.
        window: Shards under way; ``None`` follows the cluster's size.
    """

    def __init__(
        self,
        client: Any,
        function: bytes,
        numbered: Iterator[tuple[int, Any]],
        *,
        total: int | None,
        name: str,
        threads: int,
        shard_size: int | None,
        window: int | None,
    ) -> None:
        self._client = client
        self._numbered = numbered
        self._name = name
        self._fixed_window = window
        self._run_id = uuid.uuid4().hex
        counts = list(client.nthreads().values()) or [1]
        # Worker processes with several Dask threads run several shards at once; together they use ``threads``.
        threads = max(1, threads // max(counts))
        self._recipe = Recipe(function=function, run_id=self._run_id, threads=threads, software=software())
        self._sizer = ShardSizer(shard_size, threads=threads, slots=sum(counts), total=total)
        self._slots: int = sum(counts)
        self._counted = time.monotonic()
        self._completed = distributed.as_completed(loop=client.loop)
        self._under_way: dict[Any, _Shard] = {}  # future: its shard
        self._again: deque[_Shard] = deque()
        self._more = True
        self._broken: Exception | None = None
        self._submitted = 0

    def outcomes(self) -> Iterator[Ended]:
        """Position and result or error of each item, as shards end.

        Raises:
            Exception: What taking an item raised, after everything that had begun ended.
            ConnectionLostError: The scheduler is gone.
        """
        try:
            while True:
                self._fill()
                if not self._under_way:
                    break
                future = next(self._completed)
                yield from self._ended(future, self._under_way.pop(future))
        except KeyboardInterrupt:
            self._abandon()
            raise
        finally:
            self._stop()
        if self._broken is not None:
            raise self._broken

    # -- sending -------------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        while len(self._under_way) < self._window():
            shard = self._again.popleft() if self._again else self._next_shard()
            if shard is None:
                return
            self._submit(shard)
            if self._completed.has_ready():
                return  # what ended is yielded before more input is waited for: it may depend on the consumer

    def _window(self) -> int:
        if self._fixed_window is not None:
            return self._fixed_window
        if time.monotonic() - self._counted > _CENSUS_S:
            self._slots = sum(self._client.nthreads().values()) or self._slots
            self._counted = time.monotonic()
        return _SHARDS_PER_SLOT * self._slots

    def _next_shard(self) -> _Shard | None:
        """Take items until the shard is full, the input ends, or items come too slowly to wait for."""
        shard = _Shard([], [])
        size = self._sizer.next_size()
        until = None
        while self._more and len(shard.items) < size:
            try:
                number, item = next(self._numbered)
            except StopIteration:
                self._more = False
            except Exception as error:
                self._more, self._broken = False, error
            else:
                shard.numbers.append(number)
                shard.items.append(item)
                until = until or time.monotonic() + _PATIENCE_S
                if time.monotonic() > until:
                    break
        self._sizer.took(len(shard.items))
        return shard if shard.items else None

    def _submit(self, shard: _Shard) -> None:
        key = f"{self._name}-{self._run_id[:12]}-{self._submitted}"
        self._submitted += 1
        future = self._client.submit(
            run_shard, self._recipe, encode_items(shard.items), key=key, pure=False, retries=0
        )
        self._under_way[future] = shard
        self._completed.add(future)

    # -- receiving -----------------------------------------------------------------------------------------------

    def _ended(self, future: Any, shard: _Shard) -> Iterator[Ended]:
        status = future.status
        try:
            if status == "finished":
                yield from self._results(future.result(), shard)
            elif status == "error":
                yield from self._failed(future.exception(), shard)
            else:
                yield from self._lost(shard, status)
        finally:
            future.release()

    def _results(self, data: bytes, shard: _Shard) -> Iterator[Ended]:
        try:
            results, seconds = decode(data)
        except Exception as error:
            trouble = UnexpectedError(f"a worker's answer cannot be read: {type(error).__name__}: {error}")
            trouble.__cause__ = error
            results, seconds = [trouble] * len(shard.numbers), 0.0
        if len(results) < len(shard.numbers):  # the shard's items could not even be read there
            results = results[:1] * len(shard.numbers)
        if seconds:
            self._sizer.observe(len(results), seconds)
        yield from zip(shard.numbers, results, strict=True)

    def _failed(self, error: Any, shard: _Shard) -> Iterator[Ended]:
        """The Dask task itself failed: its workers died under it, or it could not be loaded there."""
        if isinstance(error, distributed.KilledWorker):
            if len(shard.items) > 1:
                self._again.extend(shard.halves())
                return
            if shard.losses == 0:  # it may only have stood beside the culprit: once more, alone
                shard.losses = 1
                self._again.append(shard)
                return
            cause: CrossdockError = ConnectionLostError(
                f"every worker that ran this item died ({error.last_worker.address} last)",
                operation="run",
                retry=Retry.EXHAUSTED,
                hint="look for its memory use, or for what kills the process, in the worker's log",
            )
        else:
            cause = UnexpectedError(
                f"the shard failed on its worker: {type(error).__name__}: {error}", operation="run"
            )
            cause.__cause__ = error
        for number in shard.numbers:
            yield number, cause

    def _lost(self, shard: _Shard, status: str) -> Iterator[Ended]:
        """The scheduler forgot the shard (it was restarted, or the connection to it broke)."""
        if self._client.status != "running":
            raise ConnectionLostError(
                "the Dask scheduler is gone; what ended before was reported",
                operation="run",
                hint="start the cluster and run again",
            )
        shard.losses += 1
        if shard.losses <= _MAX_LOSSES:
            self._again.append(shard)
            return
        for number in shard.numbers:
            yield (
                number,
                ConnectionLostError(
                    f"the scheduler lost this item {shard.losses} times ({status})",
                    operation="run",
                    retry=Retry.EXHAUSTED,
                ),
            )

    # -- stopping ------------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        """Begin nothing more on any worker, wait for what runs, forget the rest."""
        if not self._under_way or self._client.status != "running":
            return
        with quiet():
            try:
                self._client.run(stop_run, self._run_id, on_error="ignore")
                with self._client.as_current():  # it may not be the process's default client
                    distributed.wait(list(self._under_way))
            finally:
                self._abandon()

    def _abandon(self) -> None:
        """Forget everything under way without waiting."""
        if self._under_way and self._client.status == "running":
            with quiet():
                self._client.run(stop_run, self._run_id, on_error="ignore")
                self._client.cancel(list(self._under_way))
        self._under_way.clear()
