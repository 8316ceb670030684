"""Shards: many items in one Dask task, sized by how long items take, run on a thread pool inside the worker.

A Dask task costs the scheduler about 2 ms and 10 kB, so items are grouped. What goes to a worker and comes back is
bytes made here: results are data, an item's error never becomes the task's error, and what cannot be pickled is
replaced by an error that says so.
"""

from __future__ import annotations

import contextvars
import functools
import math
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import cloudpickle

from crossdock import __version__
from crossdock.combine.context import stop_pauses_with
from crossdock.combine.retrying import retry_of
from crossdock.errors import ConfigError, UnexpectedError
from crossdock.model import Outcome, State

__all__ = [
    "Recipe",
    "ShardSizer",
    "decode",
    "encode_items",
    "free_slot",
    "mismatch_text",
    "run_shard",
    "software",
    "stop_run",
]

_TARGET_SHARD_S = 0.5  # long against the 2 ms of a Dask task, short against a person's patience
_MAX_SHARD_ITEMS = 2_000
_MAX_GROWTH = 8  # a few quick items are weak evidence for the next ones


def software() -> tuple[str, str]:
    """What must be equal on driver and workers: our version, and Python's minor version (pickles of code)."""
    return __version__, f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What every shard of one run has in common.

    ``function`` is pickled once, before a cluster starts: worker processes inherit the secrets it refers to.
    """

    function: bytes
    run_id: str
    threads: int
    software: tuple[str, str]


class ShardSizer:
    """Decides how many items the next shard takes. Not thread-safe: the loop that submits asks.

    Args:
        fixed: Always this many; ``None`` sizes by observed durations, so that a shard takes about half a second.
        threads: How many items a shard runs at once: fewer than that would leave threads idle.
        slots: How many shards the cluster runs at once.
        total: The number of items if known: no worker gets more than its share of few, and the last shards shrink,
            so that all workers end together.
    """

    def __init__(self, fixed: int | None, *, threads: int, slots: int, total: int | None) -> None:
        self._fixed = fixed
        self._least = max(1, threads)
        self._slots = max(1, slots)
        self._total = total
        self._size = self._least
        self._taken = 0

    def next_size(self) -> int:
        """Items for the next shard, at least 1."""
        if self._fixed is not None:
            return self._fixed
        if self._total is None:
            return self._size
        fair = max(1, math.ceil(self._total / self._slots))
        last = math.ceil((self._total - self._taken) / (2 * self._slots))
        return min(self._size, fair, max(self._least, last))

    def took(self, items: int) -> None:
        """So many items went into the shard."""
        self._taken += items

    def observe(self, items: int, seconds: float) -> None:
        """A shard of ``items`` items took ``seconds`` on its worker."""
        wanted = int(items * _TARGET_SHARD_S / max(seconds, 1e-6))
        self._size = max(self._least, min(wanted, _MAX_GROWTH * self._size, _MAX_SHARD_ITEMS))


# -- bytes ------------------------------------------------------------------------------------------------------------


def encode_items(items: Sequence[Any]) -> bytes:
    """A shard's items as bytes."""
    return cloudpickle.dumps(list(items), protocol=5)  # type: ignore[no-any-return]


def decode(data: bytes) -> Any:
    """The other end of every ``encode``."""
    return cloudpickle.loads(data)


def _encode_results(results: list[Any], seconds: float) -> bytes:
    checked = [_portable(result) if _may_not_travel(result) else result for result in results]
    try:
        return cloudpickle.dumps((checked, seconds), protocol=5)  # type: ignore[no-any-return]
    except Exception:
        return cloudpickle.dumps(([_portable(result) for result in checked], seconds), protocol=5)  # type: ignore[no-any-return]


def _may_not_travel(result: Any) -> bool:
    """Errors pickle well and fail to unpickle: their classes want arguments that the pickle does not carry."""
    return isinstance(result, BaseException) or (isinstance(result, Outcome) and result.error is not None)


def _portable(result: Any) -> Any:
    """The result if it survives the way, otherwise an error that says what did not."""
    trouble = _trouble(result)
    if trouble is None:
        return result
    if isinstance(result, BaseException):
        return _stand_in(result)
    if isinstance(result, Outcome):
        if result.error is not None:
            return replace(result, error=_portable_error(result.error))
        result = replace(result, value=None)
        return replace(result, state=State.FAILED, error=_unpicklable(trouble))
    return _unpicklable(trouble)


def _trouble(result: Any) -> Exception | None:
    try:
        decode(cloudpickle.dumps(result, protocol=5))
    except Exception as error:
        return error
    return None


def _portable_error(error: BaseException) -> BaseException:
    """A wrapping error keeps its fields; only the cause that cannot travel is replaced."""
    if error.__cause__ is not None:
        error.__cause__ = _stand_in(error.__cause__)
    return error if _trouble(error) is None else _stand_in(error)


def _stand_in(error: BaseException) -> UnexpectedError:
    return UnexpectedError(
        f"{type(error).__name__}: {error}",
        hint="the original error cannot be pickled, so this is its text",
        retry=retry_of(error),
    )


def _unpicklable(trouble: Exception) -> UnexpectedError:
    return UnexpectedError(
        f"the task's result cannot leave the worker: {type(trouble).__name__}: {trouble}",
        hint="return something that can be pickled, such as a receipt or a key",
    )


# -- on the worker ----------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=16)
def _function(pickled: bytes) -> Callable[[Any], Any]:
    """A run's function, unpickled once per process: its clients and connections serve all shards."""
    return decode(pickled)  # type: ignore[no-any-return]


_stops: dict[str, threading.Event] = {}
_stops_lock = threading.Lock()


def _stop_event(run_id: str) -> threading.Event:
    with _stops_lock:
        while len(_stops) > 256:  # runs that ended long ago; a live one is among the newest
            _stops.pop(next(iter(_stops)))
        return _stops.setdefault(run_id, threading.Event())


def stop_run(run_id: str) -> None:
    """Tell this process to begin no further item of a run, and to end its pauses between retries."""
    _stop_event(run_id).set()


def run_shard(recipe: Recipe, items: bytes) -> bytes:
    """Run a shard's items on ``recipe.threads`` threads; the Dask task. Never raises for an item.

    Returns:
        Pickled ``(results in order, seconds)``; an error instead of a result where an item raised.
    """
    started = time.perf_counter()
    stop = _stop_event(recipe.run_id)
    values: list[Any] = []
    try:
        values = decode(items)
        if recipe.software != software():
            raise ConfigError(mismatch_text(recipe.software, software()))  # noqa: TRY301 - becomes data below
        function = _function(recipe.function)
    except Exception as error:
        return _encode_results([error] * max(1, len(values)), 0.0)
    results = _run_items(function, values, recipe.threads, stop)
    return _encode_results(results, time.perf_counter() - started)


def mismatch_text(driver: tuple[str, str], worker: tuple[str, str]) -> str:
    """In words: whose ``software()`` is what."""
    return (
        f"a worker runs crossdock {worker[0]} on Python {worker[1]}, the driver crossdock {driver[0]} on "
        f"Python {driver[1]}"
    )


_slot: contextvars.ContextVar[Callable[[], None]] = contextvars.ContextVar("crossdock_slot")


def free_slot() -> None:
    """Give this shard's place on its worker back: an item is about to wait for other Dask tasks.

    Without it, items that use a runner of their own could fill every worker with waiting. Does nothing elsewhere.
    """
    give = _slot.get(None)
    if give is not None:
        give()


def _run_items(
    function: Callable[[Any], Any], values: list[Any], threads: int, stop: threading.Event
) -> list[Any]:
    results: list[Any] = [None] * len(values)
    # What the shard's own thread is asked to do: count an ended item, or leave Dask's pool, which only it can.
    inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
    here = contextvars.copy_context()

    def leave() -> None:
        gone = threading.Event()

        def secede() -> None:
            _secede()
            gone.set()

        inbox.put(secede)
        gone.wait()

    def prepare() -> None:
        for variable, value in here.items():  # among them the worker, for distributed.get_worker()
            variable.set(value)
        _slot.set(leave)
        stop_pauses_with(stop)

    def work(index: int) -> None:
        try:
            if stop.is_set():
                results[index] = UnexpectedError("cancelled before it began")
            else:
                results[index] = function(values[index])
        except BaseException as error:
            results[index] = error
        inbox.put(None)

    with ThreadPoolExecutor(min(threads, len(values)), "crossdock-shard", prepare) as pool:
        for index in range(len(values)):
            pool.submit(work, index)
        ended = 0
        while ended < len(values):
            request = inbox.get()
            if request is None:
                ended += 1
            else:
                request()
    return results


def _secede() -> None:
    import distributed

    dask: Any = distributed  # Dask's calls are untyped
    try:
        dask.secede()
    except (KeyError, ValueError, AttributeError):
        return  # left already: an earlier item of this shard asked too
