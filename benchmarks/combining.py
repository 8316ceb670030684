"""What combining and mapping cost by themselves: trivial work, so that only the layer is left.

``overhead``: a combined task beside the two plain function calls, microseconds an item. ``shards``: a map over two
Dask worker processes beside a hand-written ``Client.map`` of the same function on the same cluster, items a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import crossdock as xd

__all__ = ["overhead", "shards"]

CALLS = 20_000
MAPPED = 100_000
HAND_MAPPED = 10_000  # two milliseconds each: more would only take longer to say the same
ROUNDS = 3


def add_one(number: int) -> int:
    """The trivial first half."""
    return number + 1


def double(number: int) -> int:
    """The trivial second half."""
    return 2 * number


def both(number: int) -> int:
    """The two plain calls."""
    return double(add_one(number))


def _microseconds(function: Callable[..., Any]) -> float:
    function(number=1)
    began = time.perf_counter()
    for number in range(CALLS):
        function(number=number)
    return (time.perf_counter() - began) / CALLS * 1e6


def overhead() -> None:
    """Calling a combined task, in each form, beside the two plain calls."""
    first, second = xd.task(add_one), xd.task(double)
    with xd.one_task("block") as block:
        second(first(xd.param("number")))

    @xd.one_task
    def decorated(number: int) -> int:
        return second(first(number))

    forms: dict[str, Callable[..., Any]] = {
        "two plain calls": both,
        "with one_task()": block,
        "CombinedTask": xd.CombinedTask(first.bind(xd.param("number")), second),
        "@one_task": decorated,
    }
    print(f"a combined task beside two plain calls, {CALLS:,} calls, median of {ROUNDS}")
    for name, form in forms.items():
        print(f"  {name:<18} {median(_microseconds(form) for _ in range(ROUNDS)):8.2f} us a call")
    began = time.perf_counter()
    block.map(number=range(CALLS)).raise_if_failed()
    print(f"  {'.map on threads':<18} {(time.perf_counter() - began) / CALLS * 1e6:8.2f} us an item")


def shards() -> None:
    """A map of trivial items on two Dask workers, beside ``Client.map``."""
    from distributed import Client

    first, second = xd.task(add_one), xd.task(double)
    with xd.one_task("block") as block:
        second(first(xd.param("number")))
    ours, theirs = [], []
    with xd.DaskRunner(n_workers=2) as runner:
        block.map(number=range(1000), runner=runner).raise_if_failed()  # starts the cluster
        client = Client(runner.cluster, set_as_default=False)
        client.gather(client.map(both, range(200), pure=False))
        for _ in range(ROUNDS):
            began = time.perf_counter()
            result = block.map(number=range(MAPPED), runner=runner)
            result.raise_if_failed()
            ours.append(MAPPED / (time.perf_counter() - began))
            began = time.perf_counter()
            client.gather(client.map(both, range(HAND_MAPPED), pure=False))
            theirs.append(HAND_MAPPED / (time.perf_counter() - began))
        client.close()
    a, b = median(ours), median(theirs)
    print(
        f"trivial items on two Dask workers: {MAPPED:,} mapped, {HAND_MAPPED:,} by Client.map, median of {ROUNDS}"
    )
    print(f"  items a second: crossdock {a:10,.0f} | Client.map {b:10,.0f} | ratio {a / b:5.1f}")
