"""How many requests at a time an endpoint takes best: found by trying, cut when it says stop.

Pure: it is told what ended and when, and answers with a limit. It starts low and doubles while that pays, holds what it
found, and probes a step up or down from time to time, keeping the step only if the rate says so. A service that
throttles cuts it at once; then it climbs back, in ever smaller steps, to where that happened. So the same defaults are fast on a laptop, on a 100 Gb/s machine and over a 40 ms link.

The idea is TCP's: additive increase, multiplicative decrease, with the rate of delivery as the signal (as in BBR and in
Netflix's concurrency-limits) because an object store answers more slowly long before it refuses.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

__all__ = ["REQUEST_COST", "Pace", "starting_limit"]

REQUEST_COST = (
    64 * 1024
)  # a request counts as so many bytes of work: small objects are requests, large ones are bytes

_EPOCH_S = 0.2
_ROUNDS = 2  # requests that end in an epoch, in multiples of the limit: fewer say nothing
_WORTH_DOUBLING = 1.15
_WORTH_A_STEP = 1.05
_GOOD_ENOUGH = 0.98  # of the rate held, at fewer requests at a time
_STEP = 1.25
_CUT = 0.7  # as CUBIC: halving leaves too much unused where the limit is known well
_CLIMB = (
    4  # of what is missing, one part so large at a time: as CUBIC, quickly first and with care near the edge
)
_HOLD_EPOCHS = 10
_MAX_HOLD_EPOCHS = 80


_START = 8
_START_TOGETHER = 64


def starting_limit(processes: int) -> int:
    """Where each of so many processes of a run starts: many of them begin with few requests each."""
    return max(1, min(_START, _START_TOGETHER // max(1, processes)))


class _Phase(enum.Enum):
    DOUBLING = "doubling"
    HOLDING = "holding"
    PROBING_UP = "probing up"
    PROBING_DOWN = "probing down"
    CLIMBING = "climbing"


@dataclass(slots=True)
class Pace:
    """One endpoint's limit. Not thread-safe: ``Limiter`` asks under its lock.

    Args:
        limit: Where it starts. Services that throttle now and then, whatever the load, do not hold it far below.
        floor: Never below.
        ceiling: Never above.
    """

    limit: int = _START
    floor: int = 1
    ceiling: int = 256
    _phase: _Phase = _Phase.DOUBLING
    _began: float = -1.0
    _work: float = 0.0
    _ended: int = 0
    _saturated: bool = False
    _held_rate: float = 0.0
    _held_limit: int = _START
    _hold_epochs: int = _HOLD_EPOCHS
    _epochs: int = 0
    _next_probe: _Phase = field(default=_Phase.PROBING_UP)
    _start: int = 0
    _climb_to: int = 0
    _deaf: int = 0  # requests that were under way when it was cut: their throttling is no news

    def __post_init__(self) -> None:
        self._start = self._held_limit = self.limit

    def ended(self, work: float, *, now: float, saturated: bool) -> None:
        """A request ended well.

        Args:
            work: Bytes moved plus ``REQUEST_COST``.
            now: Seconds on any clock that only goes forward.
            saturated: Whether another request was waiting, or every slot was taken: otherwise the limit limits nothing.
        """
        if self._began < 0:
            self._began = now
        self._work += work
        self._ended += 1
        self._saturated = self._saturated or saturated
        self._deaf -= self._deaf > 0
        if self._phase is _Phase.CLIMBING:
            if self._ended >= _ROUNDS * self.limit:
                self._climb()
                self._begin(now)
            return
        elapsed = now - self._began
        if elapsed >= _EPOCH_S and self._ended >= _ROUNDS * self.limit:
            rate = self._work / elapsed
            if self._saturated:
                self._decide(rate)
            self._begin(now)

    def throttled(self, *, now: float) -> None:
        """The service asked for fewer requests."""
        if self._deaf > 0:
            self._deaf -= 1
            return
        self._deaf = self.limit
        self._climb_to = max(self.limit - 1, self._start)
        self._set(int(self.limit * _CUT))
        self._phase = _Phase.CLIMBING
        self._begin(now)

    def settle(self, limit: int) -> None:
        """Somebody else kept it at ``limit`` so far and no longer does: hold there, or where it is if that is less."""
        if limit < self.limit:
            self._set(limit)
            self._hold(0.0)

    def _climb(self) -> None:
        """So many requests went well since the cut: a step back up, and at the end of the climb hold."""
        if self.limit < self._climb_to:
            self._set(self.limit + max(1, (self._climb_to - self.limit) // _CLIMB))
        if self.limit >= min(self._climb_to, self.ceiling):
            self._hold(0.0)

    def _begin(self, now: float) -> None:
        self._began, self._work, self._ended, self._saturated = now, 0.0, 0, False

    def _set(self, limit: int) -> None:
        self.limit = max(self.floor, min(self.ceiling, limit))

    def _hold(self, rate: float) -> None:
        """Stay at this limit for a while; its rate is measured anew if ``rate`` is 0."""
        self._phase, self._epochs = _Phase.HOLDING, 0
        self._held_limit, self._held_rate = self.limit, rate

    def _decide(self, rate: float) -> None:
        if self._phase is _Phase.DOUBLING:
            self._double(rate)
        elif self._phase is _Phase.HOLDING:
            self._epochs += 1
            self._held_rate = 0.7 * self._held_rate + 0.3 * rate if self._held_rate else rate
            if self._epochs >= self._hold_epochs:
                self._probe(self._next_probe)
        elif self._phase is _Phase.PROBING_UP:
            self._judge(paid=rate >= self._held_rate * _WORTH_A_STEP, rate=rate, onward=_Phase.PROBING_UP)
        else:
            self._judge(paid=rate >= self._held_rate * _GOOD_ENOUGH, rate=rate, onward=_Phase.PROBING_DOWN)

    def _double(self, rate: float) -> None:
        if rate >= self._held_rate * _WORTH_DOUBLING:
            self._held_rate, self._held_limit = rate, self.limit
            before = self.limit
            self._set(2 * self.limit)
            if self.limit == before:
                self._hold(rate)
        else:
            self._set(self._held_limit)
            self._hold(self._held_rate)

    def _probe(self, phase: _Phase) -> None:
        self._phase = phase
        up = phase is _Phase.PROBING_UP
        self._set(
            max(self.limit + 1, int(self.limit * _STEP))
            if up
            else min(self.limit - 1, int(self.limit / _STEP))
        )
        if self.limit == self._held_limit:  # at the floor or the ceiling
            self._hold(self._held_rate)
        self._next_probe = _Phase.PROBING_DOWN if up else _Phase.PROBING_UP

    def _judge(self, *, paid: bool, rate: float, onward: _Phase) -> None:
        if paid:
            self._held_limit, self._held_rate = self.limit, max(rate, self._held_rate * _GOOD_ENOUGH)
            self._hold_epochs = _HOLD_EPOCHS
            self._probe(onward)
            return
        self._set(self._held_limit)
        self._hold_epochs = min(2 * self._hold_epochs, _MAX_HOLD_EPOCHS)
        self._hold(self._held_rate)
