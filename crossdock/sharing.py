"""What the processes of one run share: its bandwidth, and how many requests an endpoint has at a time.

A runner says how many processes there are with every shard it hands to a worker, so that the share of each follows a cluster
that grows or shrinks. While they work it carries two kinds of small message: each process tells the driver what it makes of
each endpoint (``Use``), and the driver tells all of them the same ``Word``: how much of it each may use. The root of the
project's rooms holds this so that neither the runners nor the connectors need know the other; deciding is done at both ends.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from typing import Any, Protocol

__all__ = [
    "Place",
    "Shared",
    "Use",
    "Word",
    "begin",
    "forget",
    "interval_s",
    "join",
    "lapse_s",
    "obey",
    "peers",
    "refused",
    "ringing",
    "set_peers",
    "uses",
]

Place = tuple[str, str]  # an endpoint, and ``read`` or ``write``

_INTERVAL_S = 0.5
_INTERVAL_PER_PROCESS_S = (
    0.01  # a scheduler spends about 1 ms on a message to a worker: a tenth of its time at most
)
_LAPSE_S = 5.0
_LAPSE_INTERVALS = 5
_MAX_RUNS = 16  # whose words are kept for endpoints this process has not met yet

_peers = 1


def peers() -> int:
    """How many worker processes the run has, as of the last shard that came here; 1 or more."""
    return _peers


def set_peers(count: int) -> None:
    """Called where a shard begins."""
    global _peers  # noqa: PLW0603 - of this process there is one
    _peers = max(1, count)


def interval_s(processes: int) -> float:
    """How often each of so many processes tells its use, and is told its word: twice a second, less often above 50."""
    return max(_INTERVAL_S, processes * _INTERVAL_PER_PROCESS_S)


def lapse_s(processes: int) -> float:
    """How long a word counts, and a use: after that, nobody is thought to be there to renew it."""
    return max(_LAPSE_S, _LAPSE_INTERVALS * interval_s(processes))


@dataclass(frozen=True, slots=True)
class Use:
    """What one process makes of one place, lately.

    Attributes:
        wish: How many requests it would have under way if nobody else limited it.
        used: The most it had.
        ended: How many ended well, since the run began here.
        refused: How many were throttled, since the run began here.
        refused_under: The number of cuts it had been told of when a request began that was then throttled, the latest such;
            -1 for none. A request that began before a cut was heard of says nothing about the limit after it.
        wait_s: How much longer the service asked it to send nothing.
    """

    wish: int
    used: int
    ended: int
    refused: int = 0
    refused_under: int = -1
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Word:
    """What every process of a run is told about one place.

    Attributes:
        level: No process has more requests under way than this, or 1; of a fraction, some round up and some down.
        cuts: How often the run's limit was cut because the service throttled.
        wait_s: How much longer the service wants no request at all.
    """

    level: float
    cuts: int = 0
    wait_s: float = 0.0


class Shared(Protocol):
    """One place's limit in this process. Thread-safe, quick."""

    def begin(self, run_id: str) -> None:
        """A run begins here: what was before is none of its."""

    def use(self, run_id: str) -> Use | None:
        """What to tell the run's driver; ``None`` if the place was not used lately."""

    def obey(self, run_id: str, word: Word) -> None:
        """Take the driver's word."""

    def forget(self, run_id: str) -> None:
        """The run has ended here: its word counts no longer."""


_lock = threading.Lock()
_shared: dict[Place, Shared] = {}
_words: dict[str, dict[Place, Word]] = {}
_bells: set[threading.Event] = set()


def join(place: Place, shared: Shared) -> None:
    """A place is used here from now on; it is told at once what its runs were told before it came."""
    with _lock:
        _shared[place] = shared
        known = [(run_id, words[place]) for run_id, words in _words.items() if place in words]
    for run_id, word in known:
        shared.obey(run_id, word)


def uses(run_id: str) -> list[tuple[Any, ...]]:
    """The uses of all places that were used lately, as plain values for a message: place, then the fields of ``Use``."""
    with _lock:
        every = list(_shared.items())
    found = [(place, shared.use(run_id)) for place, shared in every]
    return [(*place, *astuple(use)) for place, use in found if use is not None]


def obey(run_id: str, words: Iterable[Iterable[Any]]) -> None:
    """Take a driver's words, plain values as they came: place, then the fields of ``Word``."""
    told = {(endpoint, kind): Word(*fields) for endpoint, kind, *fields in words}
    if not told:
        return
    with _lock:
        _words[run_id] = _words.pop(run_id, {}) | told
        while len(_words) > _MAX_RUNS:
            _words.pop(next(iter(_words)))
        present = [(_shared[place], word) for place, word in told.items() if place in _shared]
    for shared, word in present:
        shared.obey(run_id, word)


def begin(run_id: str) -> None:
    """A run begins in this process."""
    with _lock:
        every = list(_shared.values())
    for shared in every:
        shared.begin(run_id)


def forget(run_id: str) -> None:
    """A run has ended in this process, or rests."""
    with _lock:
        _words.pop(run_id, None)
        every = list(_shared.values())
    for shared in every:
        shared.forget(run_id)


def refused() -> None:
    """A service throttled: whoever tells uses does so soon."""
    with _lock:
        bells = list(_bells)
    for bell in bells:
        bell.set()


@contextmanager
def ringing(bell: threading.Event) -> Iterator[None]:
    """Set ``bell`` at each ``refused`` for the length of the block."""
    with _lock:
        _bells.add(bell)
    try:
        yield
    finally:
        with _lock:
            _bells.discard(bell)
