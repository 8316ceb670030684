"""One limit of requests in flight for each endpoint of a run, and what each worker process may have of it. Pure.

The driver hears what each process makes of an endpoint (``sharing.Use``) and answers with one level for all of them: nobody has
more than the level, and the level is the highest at which all together keep the limit. So the share follows demand: what an idle
process does not want goes to the busy ones, and the busy ones have the same.

The limit is found as TCP finds one: it doubles until the service throttles, is cut at once and once for all requests that were
under way, climbs back to just below where that happened, holds, and tries a step more from time to time, ever more seldom while
that is refused. Whether more requests would help a process at all is its own to judge, by its rate (``connectors.pace``); a limit
that limits nobody is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from typing import Any

from crossdock.sharing import Place, Use, Word, interval_s, lapse_s

__all__ = ["Allotter", "CommonLimit", "level_for"]

_START = 64  # of all processes together
_START_EACH = 8  # what a process that was not heard yet may have
_CEILING_EACH = 256
_LEAST_AIM = 8  # a service that throttles now and then, whatever the load, does not hold a run far below
_CUT = 0.7  # at least; to as much as went well if that is less, so that a start far too high is over soon
_DEEPEST_CUT = 0.3
_CLIMB = 4  # of what is missing, one part so large at a time
_MAX_CLIMBS = 4  # between two looks
_HOLD = 4  # looks
_MAX_HOLD = 64
_STEP = 16  # of the limit, one part so large
_AGAIN_S = 1.0  # a level that did not change is told again


def level_for(limit: int, wishes: Sequence[int]) -> float:
    """The highest level, at least 1, at which those who want so much have no more than ``limit`` together.

    If all have what they want, the rest is divided: a process that wants more all at once gets its part of that.
    """
    left, count = limit, len(wishes)
    for wish in sorted(wishes):
        if wish * count > left:
            return max(1.0, round(left / count, 2))
        left -= wish
        count -= 1
    return max(1.0, round(max(wishes, default=0) + left / max(1, len(wishes)), 2))


@dataclass(slots=True)
class _Heard:
    """One process's last use of a place."""

    use: Use
    at: float


@dataclass(slots=True)
class CommonLimit:
    """The limit of one place, for all processes of a run. Not thread-safe: the driver's loop asks.

    Attributes:
        limit: Requests under way in all processes together.
        cuts: How often it was cut.
    """

    limit: int = _START
    cuts: int = 0
    _rises: bool = True  # the service never throttled
    _aim: int = 0  # climbing to this; 0: not climbing
    _held: int = 0
    _hold: int = _HOLD
    _steps: int = 1
    _ended: int = 0  # since the last look
    _refused: int = 0
    _wait_until: float = 0.0
    _processes: dict[str, _Heard] = field(default_factory=dict)

    def heard(self, process: str, use: Use, *, now: float, processes: int) -> bool:
        """Take one process's use; whether it was cut for it, which everybody should hear at once."""
        known = self._processes.get(process)
        before = known.use if known is not None else Use(0, 0, 0)
        self._ended += max(0, use.ended - before.ended)
        self._refused += max(0, use.refused - before.refused)
        self._processes[process] = _Heard(use, now)
        self._wait_until = max(self._wait_until, now + use.wait_s)
        if use.refused_under < self.cuts:
            return False
        self._cut(max(0, processes - len(self._processes)))
        return True

    def _cut(self, silent: int) -> None:
        used = sum(each.use.used for each in self._processes.values())
        top = min(self.limit, max(1, used + silent * _START_EACH))
        answered = self._ended + self._refused
        went_well = self._ended / answered if answered else 1.0
        self.limit = max(1, int(top * max(_DEEPEST_CUT, min(_CUT, went_well))))
        self._aim = max(top - 1, _LEAST_AIM)
        self.cuts += 1
        if not self._rises:
            self._hold = min(2 * self._hold, _MAX_HOLD)
        self._rises, self._held, self._steps = False, 0, 1

    def look(self, *, now: float, processes: int) -> None:
        """Once an interval: forget who is silent, and let the limit grow if it holds somebody back and nothing was refused."""
        self._forget(now, processes)
        ended, self._ended, self._refused = self._ended, 0, 0
        wishes = self._wishes()
        if sum(wishes) < (self.limit // 2 if self._rises else self.limit):
            return
        ceiling = _CEILING_EACH * max(1, processes)
        if self._rises:
            self.limit = min(ceiling, 2 * self.limit)
        elif self._aim:
            self._climb(ended)
        else:
            self._held += 1
            if self._held >= self._hold:
                self._held = 0
                self._hold = _HOLD if self._steps > 1 else self._hold  # the step before was taken well
                self.limit = min(ceiling, self.limit + max(1, self.limit * self._steps // _STEP))
                self._steps = min(2 * self._steps, _STEP)

    def _climb(self, ended: int) -> None:
        """So many requests went well since the last look: a step for each two rounds of them."""
        for _ in range(min(_MAX_CLIMBS, ended // (2 * self.limit))):
            self.limit += max(1, (self._aim - self.limit) // _CLIMB) if self.limit < self._aim else 0
        if self.limit >= self._aim:
            self._aim, self._held = 0, 0

    def _forget(self, now: float, processes: int) -> None:
        until = now - lapse_s(processes)
        for process in [name for name, each in self._processes.items() if each.at < until]:
            del self._processes[process]

    def _wishes(self) -> list[int]:
        return [each.use.wish for each in self._processes.values()]

    def word(self, *, now: float) -> Word:
        """What to tell every process."""
        wait_s = round(max(0.0, self._wait_until - now), 3)
        return Word(level=level_for(self.limit, self._wishes()), cuts=self.cuts, wait_s=wait_s)


class Allotter:
    """All places of one run. Not thread-safe: the driver's loop asks."""

    def __init__(self) -> None:
        self.limits: dict[Place, CommonLimit] = {}
        self._listeners: dict[str, float] = {}  # where a process is told: when it was heard
        self._looked_at = float("-inf")
        self._said_at = float("-inf")
        self._said: dict[Place, Word] = {}
        self._was_cut = False
        self._newcomers: list[str] = []  # they began without a word

    def heard(self, message: Mapping[str, Any], *, now: float, processes: int) -> None:
        """Take a worker's message: ``worker`` is where it is told, ``origin`` its process, ``uses`` what ``sharing.uses`` said."""
        worker = str(message["worker"])
        if worker not in self._listeners:
            self._newcomers.append(worker)
        self._listeners[worker] = now
        for endpoint, kind, *fields in message["uses"]:
            limit = self.limits.setdefault((endpoint, kind), CommonLimit())
            self._was_cut |= limit.heard(str(message["origin"]), Use(*fields), now=now, processes=processes)

    def due(self, *, now: float, processes: int) -> tuple[list[str], list[tuple[Any, ...]]] | None:
        """Whom to tell what now; ``None`` if there is nothing new.

        A newcomer is told at once, all after a cut, and all once an interval if something changed. One cut follows another only
        when workers have heard of it and obeyed it for a while, so that is seldom, too.
        """
        every_s = interval_s(processes)
        looks = now - self._looked_at >= every_s
        if not self.limits or not (looks or self._was_cut or self._newcomers):
            return None
        if looks:
            self._looked_at = now
            for limit in self.limits.values():
                limit.look(now=now, processes=processes)
            silent = now - lapse_s(processes)
            self._listeners = {worker: at for worker, at in self._listeners.items() if at >= silent}
        said = {place: limit.word(now=now) for place, limit in self.limits.items()}
        is_old = now - self._said_at >= max(_AGAIN_S, every_s)
        to_all = self._was_cut or (looks and (said != self._said or is_old))
        told = list(self._listeners) if to_all else self._newcomers
        if to_all:
            self._said, self._said_at, self._was_cut = said, now, False
        self._newcomers = []
        return (told, _plain(said.items())) if told else None

    def words(self) -> list[tuple[Any, ...]]:
        """What was said last, as plain values for ``sharing.obey``; a newcomer is told it with its first shard.

        Without the time to wait: nobody knows how long ago that was.
        """
        return _plain((place, replace(word, wait_s=0.0)) for place, word in self._said.items())


def _plain(words: Iterable[tuple[Place, Word]]) -> list[tuple[Any, ...]]:
    return [(*place, *astuple(word)) for place, word in words]
