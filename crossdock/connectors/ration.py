"""How many requests at a time this process may have at one place: what its own ``Pace`` found, and what a run's driver says.

Pure: it is told what happens and when. The smaller of the two counts. While a driver's word is fresh, throttling cuts that word
here at once and is told to the driver, who cuts it for all; the own pace goes on judging by the rate alone. A word that nobody
renews lapses: the own pace takes over where it stood and goes on as in a process that is alone, so a driver that is lost
neither holds its workers back nor lets them loose.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from crossdock.connectors.pace import Pace
from crossdock.sharing import Use, Word, lapse_s

__all__ = ["Ration"]

_CUT = 0.7  # as the pace's
_GRACE_S = (
    0.5  # after a cut of all: until then others may not have heard, and what was under way may not have ended
)
_WINDOW_S = 0.5  # a wish is the most that was wanted in this window or the last
_MAX_RUNS = 16
_NEVER, _FOREVER = float("-inf"), float("inf")
_NO_CAP = sys.maxsize


@dataclass(slots=True)
class _Told:
    """One run's driver, as heard here."""

    level: float | None = None  # None: nothing heard, or it lapsed
    cuts: int = 0
    lapses_at: float = 0.0
    since: int = 0  # requests that began at this mark or later began under the present level
    deaf_until: float = _NEVER
    refused_under: int = -1
    ended_before: int = 0
    refused_before: int = 0


@dataclass(slots=True)
class _Peaks:
    """The most that was wanted and that was under way, in this window and the one before."""

    began: float = 0.0
    wanted: int = 0
    used: int = 0
    before: tuple[int, int] = (0, 0)

    def note(self, under_way: int, waiting: int, at: float) -> None:
        if at - self.began >= _WINDOW_S:
            self.before = (self.wanted, self.used) if at - self.began < 2 * _WINDOW_S else (0, 0)
            self.wanted, self.used, self.began = 0, 0, at
        self.wanted = max(self.wanted, under_way + waiting)
        self.used = max(self.used, under_way)

    def most(self) -> tuple[int, int]:
        return max(self.wanted, self.before[0]), max(self.used, self.before[1])


@dataclass(slots=True)
class Ration:
    """One place's limit in one process. Not thread-safe: ``Limiter`` asks under its lock.

    Args:
        pace: The own limit.
        rounding: What is added to a level before it is cut to a whole number; another in each process, so that together they
            have what the driver means.

    Attributes:
        limit: How many requests may be under way, as of the last call.
    """

    pace: Pace
    rounding: float = 0.0
    limit: int = 1
    _told: dict[str, _Told] = field(default_factory=dict)
    _cap: int = _NO_CAP  # what the words together say
    _lapses_at: float = _FOREVER  # the first of them
    _mark: int = 0
    _ended: int = 0
    _refused: int = 0
    _refused_at: float = _NEVER
    _peaks: _Peaks = field(default_factory=_Peaks)

    def __post_init__(self) -> None:
        self.follow(self.pace)

    def follow(self, pace: Pace) -> None:
        """Take another own limit."""
        self.pace = pace
        self.limit = min(pace.limit, self._cap)

    def allowed(self, *, now: float) -> int:
        """How many requests may be under way at ``now``, seconds on any clock that only goes forward; at least 1."""
        if now > self._lapses_at:
            self._lapse(now)
        return self.limit

    def _lapse(self, now: float) -> None:
        for told in self._told.values():
            if told.level is not None and now > told.lapses_at:
                self.pace.settle(self._whole(told.level))
                told.level = None
        self._sum_up()

    def _sum_up(self) -> None:
        fresh = [told for told in self._told.values() if told.level is not None]
        self._cap = min((self._whole(told.level or 1.0) for told in fresh), default=_NO_CAP)
        self._lapses_at = min((told.lapses_at for told in fresh), default=_FOREVER)
        self.limit = min(self.pace.limit, self._cap)

    def _whole(self, level: float) -> int:
        return max(1, int(level + self.rounding))

    def wanted(self, under_way: int, waiting: int, *, now: float) -> int:
        """So many requests are under way and so many wait; the mark to give back when one that begins now ends."""
        peaks = self._peaks
        if under_way + waiting > peaks.wanted or under_way > peaks.used or now - peaks.began >= _WINDOW_S:
            peaks.note(under_way, waiting, now)
        return self._mark

    def ended(self, work: float, *, now: float, saturated: bool) -> None:
        """A request ended well; see ``Pace.ended``. What a driver's word limits says nothing about the own limit."""
        self._ended += 1
        self.pace.ended(work, now=now, saturated=saturated and self._cap >= self.pace.limit)
        self.limit = min(self.pace.limit, self._cap)

    def throttled(self, mark: int, under_way: int, *, now: float) -> None:
        """The service asked for fewer requests; the request began at ``mark``."""
        self._refused += 1
        self._refused_at = now
        fresh = [told for told in self._told.values() if told.level is not None]
        if not fresh:
            self.pace.throttled(now=now)
            self.limit = min(self.pace.limit, self._cap)
            return
        begun_under = [told for told in fresh if mark >= told.since]
        if begun_under:
            self._mark += 1
        for told in begun_under:
            if now >= told.deaf_until:
                told.refused_under = told.cuts
            told.level = max(1.0, min(told.level or 1.0, self.pace.limit, max(1, under_way)) * _CUT)
            told.since = self._mark
        self._sum_up()

    def begin(self, run_id: str, *, now: float) -> None:
        """A run begins in this process: what was counted before is none of its."""
        told = self._told_by(run_id, now)
        told.ended_before, told.refused_before = self._ended, self._refused

    def obey(self, run_id: str, word: Word, *, now: float, processes: int) -> None:
        """Take a driver's word. One that was sent before the driver heard of a refusal here raises nothing.

        Args:
            run_id: Whose driver's.
            word: What it says.
            now: See ``allowed``.
            processes: How many the run has: the more there are, the longer a word counts.
        """
        told = self._told_by(run_id, now)
        if word.cuts < told.cuts:
            return  # overtaken
        if word.cuts > told.cuts:
            self._mark += 1
            told.cuts, told.since, told.deaf_until = word.cuts, self._mark, now + _GRACE_S
        unanswered = told.level is not None and told.refused_under >= word.cuts
        told.level = min(told.level or 1.0, word.level) if unanswered else max(1.0, word.level)
        told.lapses_at = now + lapse_s(processes)
        self._sum_up()

    def forget(self, run_id: str) -> None:
        """A run has ended here. What it learned of throttling stays; being one of many is no reason to stay slow."""
        told = self._told.pop(run_id, None)
        if told is not None and told.level is not None and (told.cuts or told.refused_under >= 0):
            self.pace.settle(self._whole(told.level))
        self._sum_up()

    def use(self, run_id: str, *, now: float, wait_s: float = 0.0) -> Use | None:
        """What to tell the driver of a run; ``None`` if nothing was wanted lately."""
        told = self._told_by(run_id, now)
        self._peaks.note(0, 0, now)
        wanted, used = self._peaks.most()
        if not wanted:
            return None
        return Use(
            wish=min(wanted, self.pace.limit),
            used=used,
            ended=self._ended - told.ended_before,
            refused=self._refused - told.refused_before,
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
