"""Caching by input hash: if we already saw the input, we already have the output.

PLACEHOLDER interface: the real module replaces this one; the names and signatures below are what execution relies on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from crossdock.tasks import Task

__all__ = ["Cache", "Kept", "Step", "Work", "cache_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One function of the work and its real arguments; in a pair the second's open place is ``OPEN``."""

    task: Task
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Work:
    """What is done with which inputs: one step, or two and what stitches them."""

    steps: tuple[Step, ...]
    stitch_function: Callable[[Any], Any] | None = None
    values: Mapping[str, Any]


class Kept(Protocol):
    """An answer of the cache: a hit with its value, or a miss that can be kept."""

    hit: bool
    value: Any

    def keep(self, value: Any) -> None: ...


class Cache:
    """Where results are kept by their inputs."""

    def recall(self, name: str, work: Work) -> Kept:
        raise NotImplementedError


def cache_of(given: Any) -> Cache | None:
    """A cache from what an option says."""
    return given
