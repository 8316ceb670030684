"""How many requests at a time this process may have at one place: what its own ``Pace`` found, and what a run's driver says.

Pure: it is told what happens and when. The smaller of the two counts. While a driver's word is fresh, throttling cuts that word
here at once and is told to the driver, who cuts it for all; the own pace goes on judging by the rate alone. A word that nobody
renews lapses: the own pace takes over where it stood and goes on as in a process that is alone, so a driver that is lost
neither holds its workers back nor lets them loose.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from crossdock.connectors.pace import Pace
from crossdock.sharing import Use, Word, lapse_s

__all__ = ["Ration"]

_CUT = 0.7  # as the pace's
_WINDOW_S = 0.5  # a wish is the most that was wanted in this window or the last
_MAX_RUNS = 16


@dataclass(slots=True)
class _Told:
    """One run's driver, as heard here."""

    level: int | None = None  # None: nothing heard, or it lapsed
    cuts: int = 0
    heard_at: float = 0.0
    since: int = 0  # requests that began at this mark or later began under the present level
    refused_under: int = -1


@dataclass(slots=True)
class _Peak:
    """The most of something in this window and the one before."""

    began: float = 0.0
    now: int = 0
    before: int = 0

    def note(self, value: int, at: float) -> None:
        self.turn(at)
        self.now = max(self.now, value)

    def turn(self, at: float) -> None:
        if at - self.began >= _WINDOW_S:
            self.before = self.now if at - self.began < 2 * _WINDOW_S else 0
            self.now, self.began = 0, at

    def most(self, at: float) -> int:
        self.turn(at)
        return max(self.now, self.before)


@dataclass(slots=True)
class Ration:
    """One place's limit in one process. Not thread-safe: ``Limiter`` asks under its lock.

    Args:
        pace: The own limit.
    """

    pace: Pace
    _told: dict[str, _Told] = field(default_factory=dict)
    _mark: int = 0
    _ended: int = 0
    _refused_at: float = float("-inf")
    _wanted: _Peak = field(default_factory=_Peak)
    _used: _Peak = field(default_factory=_Peak)

    def allowed(self, *, now: float, processes: int) -> int:
        """How many requests may be under way now; at least 1.

        Args:
            now: Seconds on any clock that only goes forward.
            processes: How many the run has: the more there are, the longer a word counts.
        """
        for told in self._told.values():
            if told.level is not None and now - told.heard_at > lapse_s(processes):
                self.pace.settle(told.level)
                told.level = None
        return max(1, min([self.pace.limit, *self._levels()]))

    def _levels(self) -> list[int]:
        return [told.level for told in self._told.values() if told.level is not None]

    def wanted(self, under_way: int, waiting: int, *, now: float) -> int:
        """So many requests are under way and so many wait; the mark to give back when one that begins now ends."""
        self._wanted.note(under_way + waiting, now)
        self._used.note(under_way, now)
        return self._mark

    def ended(self, work: float, *, now: float, saturated: bool) -> None:
        """A request ended well; see ``Pace.ended``. What a driver's word limits says nothing about the own limit."""
        self._ended += 1
        binds = all(level >= self.pace.limit for level in self._levels())
        self.pace.ended(work, now=now, saturated=saturated and binds)

    def throttled(self, mark: int, under_way: int, *, now: float) -> None:
        """The service asked for fewer requests; the request began at ``mark``."""
        self._refused_at = now
        fresh = [told for told in self._told.values() if told.level is not None]
        if not fresh:
            self.pace.throttled(now=now)
            return
        begun_under = [told for told in fresh if mark >= told.since]
        if begun_under:
            self._mark += 1
        for told in begun_under:
            told.refused_under = told.cuts
            told.level = max(1, int(min(told.level or 1, self.pace.limit, max(1, under_way)) * _CUT))
            told.since = self._mark

    def obey(self, run_id: str, word: Word, *, now: float) -> None:
        """Take a driver's word. One that was sent before the driver heard of a refusal here raises nothing."""
        told = self._told_by(run_id, now)
        if word.cuts < told.cuts:
            return  # overtaken
        if word.cuts > told.cuts:
            self._mark += 1
            told.cuts, told.since = word.cuts, self._mark
        unanswered = told.level is not None and told.refused_under >= word.cuts
        told.level = min(told.level or 1, word.level) if unanswered else max(1, word.level)
        told.heard_at = now

    def use(self, run_id: str, *, now: float, wait_s: float = 0.0) -> Use | None:
        """What to tell the driver of a run; ``None`` if nothing was wanted lately."""
        told = self._told_by(run_id, now)
        wanted = self._wanted.most(now)
        if not wanted:
            return None
        return Use(
            wish=min(wanted, self.pace.limit),
            used=self._used.most(now),
            ended=self._ended,
            refused_under=told.refused_under,
            wait_s=wait_s,
        )

    def _told_by(self, run_id: str, now: float) -> _Told:
        if run_id not in self._told:
            while len(self._told) >= _MAX_RUNS:  # runs that ended long ago
                self._told.pop(next(iter(self._told)))
            recent = now - self._refused_at <= _WINDOW_S  # before anybody asked, but news all the same
            self._told[run_id] = _Told(refused_under=0 if recent else -1)
        return self._told[run_id]
