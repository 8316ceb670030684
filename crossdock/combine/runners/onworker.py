"""What runs in a worker: a shard's items on a few threads, and the run's function, unpickled once per process.

The same for Dask workers and for processes of a ``LocalRunner``. Imports no Dask.
"""

from __future__ import annotations

import contextvars
import functools
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import Any

from crossdock.combine.runners.sharding import Recipe, mismatch_text, origin, software
from crossdock.combine.runners.telling import Outbox, Send, telling, told_by
from crossdock.combine.runners.using import telling_use
from crossdock.combine.runners.wire import Answer, decode, encode_answer
from crossdock.errors import ConfigError, CrossdockError
from crossdock.pausing import stop_pauses_with
from crossdock.sharing import obey, set_peers

__all__ = ["free_slot", "function_of", "stop_run", "work_off"]

_REFUSAL_PAUSE_S = 1.0  # a worker that refuses is quick, and would get more and more of the work


@functools.lru_cache(maxsize=16)
def function_of(pickled: bytes) -> Callable[[Any], Any]:
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


def work_off(
    recipe: Recipe,
    items: bytes,
    *,
    worker: str,
    send: Send | None = None,
    leave_pool: Callable[[], None] | None = None,
) -> bytes:
    """Run a shard's items on ``recipe.threads`` threads. Never raises for an item.

    Args:
        recipe: What the run's shards have in common.
        items: The pickled items.
        worker: Where this is, for a person.
        send: Takes what there is to tell before the shard ends.
        leave_pool: Gives this shard's place on the worker back, if it has one; called on this thread.

    Returns:
        A pickled ``Answer``; an error instead of a result where an item raised, ``CancelledError`` where it did not begin.
    """
    started = time.perf_counter()
    stop = _stop_event(recipe.run_id)
    refusal = _refusal(recipe)
    if refusal is not None:
        stop.wait(_REFUSAL_PAUSE_S)
        return encode_answer(Answer(results=[], refusal=refusal))
    values: list[Any] = []
    try:
        peers, words, values = decode(items)
        set_peers(peers)
        obey(recipe.run_id, words)
        if recipe.software != software():
            raise ConfigError(mismatch_text(recipe.software, software()))  # noqa: TRY301 - becomes data below
        function = function_of(recipe.function)
    except Exception as error:
        return encode_answer(Answer(results=[error] * max(1, len(values))))
    level = (
        recipe.log_level if recipe.origin != origin() else None
    )  # a thread of the driver logs there anyway
    with telling_use(recipe.run_id, worker, send), telling(recipe.run_id, worker, send, level) as box:
        results = _run_items(function, values, recipe.threads, stop, box, leave_pool)
        seconds = time.perf_counter() - started
        return encode_answer(Answer(results=results, seconds=seconds, told=box.last()))


def _refusal(recipe: Recipe) -> CrossdockError | None:
    """Why this process may not work for the run; it is looked at once, when the run's first shard comes."""
    if recipe.check is None:
        return None
    from crossdock.combine.runners.preflight import check_here  # a stray worker may lack what it imports

    return check_here(recipe.check, recipe.function)


_slot: contextvars.ContextVar[Callable[[], None]] = contextvars.ContextVar("crossdock_slot")


def free_slot() -> None:
    """Give this shard's place on its worker back: an item is about to wait for other Dask tasks.

    Without it, items that use a runner of their own could fill every worker with waiting. Does nothing elsewhere.
    """
    give = _slot.get(None)
    if give is not None:
        give()


def _run_items(
    function: Callable[[Any], Any],
    values: list[Any],
    threads: int,
    stop: threading.Event,
    box: Outbox,
    leave_pool: Callable[[], None] | None,
) -> list[Any]:
    results: list[Any] = [None] * len(values)
    # What the shard's own thread is asked to do: count an ended item, or leave Dask's pool, which only it can.
    inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
    here = contextvars.copy_context()

    def leave() -> None:
        gone = threading.Event()

        def go() -> None:
            if leave_pool is not None:
                leave_pool()
            gone.set()

        inbox.put(go)
        gone.wait()

    def prepare() -> None:
        for variable, value in here.items():  # among them the worker, for distributed.get_worker()
            variable.set(value)
        _slot.set(leave)
        stop_pauses_with(stop)

    def work(index: int) -> None:
        try:
            if stop.is_set():
                results[index] = CancelledError()
            else:
                with told_by(box):
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
