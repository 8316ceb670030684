"""Between the loop that hands out shards and the workers that run them: a small port, and the news that come through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Answered", "Failed", "Gone", "Lost", "News", "Pool", "Told", "Unbegun", "Woken"]


@dataclass(frozen=True, slots=True)
class Answered:
    """A shard ended: its pickled ``wire.Answer``."""

    ticket: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Lost:
    """A shard's worker died, or it was forgotten; ``deaths`` is how many workers may have died of it."""

    ticket: int
    deaths: int
    text: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A shard could not be run at all; trying again makes no sense."""

    ticket: int
    error: BaseException


@dataclass(frozen=True, slots=True)
class Unbegun:
    """A shard came back untouched, because the run was stopped."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Woken:
    """Somebody called ``wake``."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a worker told meanwhile; see ``telling``."""

    message: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Gone:
    """A worker was lost; a line for a person."""

    text: str


News = Answered | Lost | Failed | Unbegun | Told | Gone | Woken


class Pool(Protocol):
    """Workers, as one run sees them. Used by the thread that iterates the run."""

    def slots(self) -> int:
        """How many shards run at once at present; may ask the cluster.

        Raises:
            ConnectionLostError: The cluster is gone.
        """

    def processes(self) -> int:
        """How many processes run them, as of the last ``slots``: what a run may use in all is divided by that."""

    def send(self, ticket: int, items: bytes) -> None:
        """Hand a shard out; every ticket comes back once, as ``Answered``, ``Lost``, ``Failed`` or ``Unbegun``."""

    def share(self, workers: Sequence[str], words: Sequence[tuple[Any, ...]]) -> None:
        """Tell workers, by the names they give themselves, what their processes may use; see ``sharing.obey``.

        Never waits. Who cannot be told now is told something newer later.
        """

    def has_news(self) -> bool:
        """Whether ``receive`` would answer at once."""

    def receive(self, timeout_s: float) -> News | None:
        """The next news; ``None`` if there were none for so long.

        Raises:
            CrossdockError: The pool cannot go on.
        """

    def wake(self) -> None:
        """Let ``receive`` answer ``Woken``; from any thread."""

    def stop(self) -> None:
        """Tell all workers to begin no further item; tickets still come back."""

    def abandon(self) -> None:
        """Let go of everything under way without waiting."""

    def close(self) -> None:
        """The run is over."""
