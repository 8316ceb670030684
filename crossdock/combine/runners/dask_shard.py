"""The Dask task: one shard on a Dask worker. Importable on every worker, because tasks are sent by name."""

from __future__ import annotations

from typing import Any

import distributed as _distributed

from crossdock.combine.runners.onworker import work_off
from crossdock.combine.runners.sharding import Recipe
from crossdock.sharing import obey

__all__ = ["SHARE", "run_shard"]

SHARE = "crossdock-share"  # a worker's handler, for what its driver tells through the scheduler

distributed: Any = _distributed  # Dask's calls are untyped


def run_shard(recipe: Recipe, topic: str, items: bytes) -> bytes:
    """Run a shard's items; never raises for an item. What there is to tell meanwhile goes to the scheduler's ``topic``.

    Returns:
        A pickled ``Answer``.
    """
    worker = distributed.get_worker()
    worker.handlers.setdefault(SHARE, _share)

    def send(message: dict[str, Any]) -> None:
        worker.log_event(topic, {**message, "run": recipe.run_id})

    return work_off(recipe, items, worker=str(worker.address), send=send, leave_pool=_secede)


async def _share(run: str, words: list[list[Any]]) -> str:
    """On the worker's own event loop: quick."""
    obey(run, words)
    return "OK"


def _secede() -> None:
    try:
        distributed.secede()
    except (KeyError, ValueError, AttributeError):
        return  # left already: an earlier item of this shard asked too
