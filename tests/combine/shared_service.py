"""A simulated service that is full at some number of requests, the worker processes before it, and the driver between them."""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import astuple, dataclass, field

from crossdock.combine.runners.allotting import Allotter
from crossdock.connectors.pace import REQUEST_COST, Pace, starting_limit
from crossdock.connectors.ration import Ration
from crossdock.sharing import Use, Word, interval_s

PLACE = ("s3", "write")
RUN = "run"


@dataclass
class Worker:
    """A process: so many threads that want to send, and its ration."""

    name: str
    ration: Ration
    threads: int
    under_way: int = 0
    resting: int = 0  # threads that wait before another attempt
    ended: int = 0
    tells_at: float = -1.0

    @property
    def waiting(self):
        return max(0, self.threads - self.under_way - self.resting)


@dataclass
class Service:
    """Workers, service and driver on one simulated clock.

    Args:
        workers: How many processes.
        threads: How many requests each would like to have under way.
        room: More than so many requests under way are refused.
        shared: Whether there is a driver that shares one limit.
        delay_s: How long a message between worker and driver takes.
        lost: The share of messages that never arrive.
        refuses: The share of requests refused whatever the load.
    """

    workers: int = 4
    threads: int = 64
    room: int = 40
    shared: bool = True
    delay_s: float = 0.01
    lost: float = 0.0
    refuses: float = 0.0
    latency_s: float = 0.04
    seed: int = 1
    now: float = 0.0
    refused: int = 0
    over_s: float = 0.0  # the longest time for which more than the limit and one each was under way
    _over_since: float | None = None
    _events: list = field(default_factory=list)

    def __post_init__(self):
        self.dice = random.Random(self.seed)
        self.numbers = itertools.count()
        self.allotter = Allotter()
        self.everyone = [
            Worker(
                f"w{n}", Ration(Pace(limit=starting_limit(self.workers)), self.dice.random()), self.threads
            )
            for n in range(self.workers)
        ]
        for worker in self.everyone:
            self.later(0.2 + self.dice.random() * 0.1, self.tell, worker)

    def later(self, delay, function, *args):
        heapq.heappush(self._events, (self.now + delay, next(self.numbers), function, args))

    def run(self, seconds):
        until = self.now + seconds
        for worker in self.everyone:
            self.fill(worker)
        while self._events and self._events[0][0] <= until:
            self.now, _, function, args = heapq.heappop(self._events)
            function(*args)
            self.watch()
        self.now = until
        return self

    @property
    def ended(self):
        return sum(worker.ended for worker in self.everyone)

    @property
    def under_way(self):
        return sum(worker.under_way for worker in self.everyone)

    def allowed(self, worker):
        return worker.ration.allowed(now=self.now)

    def watch(self):
        """How long the processes together have more under way than the limit and one each."""
        limit = self.allotter.limits.get(PLACE)
        if limit is None:
            return
        if self.under_way <= limit.limit + self.workers:
            self._over_since = None
            return
        self._over_since = self.now if self._over_since is None else self._over_since
        self.over_s = max(self.over_s, self.now - self._over_since)

    # -- requests ----------------------------------------------------------------------------------------------------

    def fill(self, worker):
        while worker.waiting and worker.under_way < self.allowed(worker):
            is_full = self.under_way >= self.room or self.dice.random() < self.refuses
            worker.under_way += 1
            mark = worker.ration.wanted(worker.under_way, worker.waiting, now=self.now)
            took = 0.005 if is_full else self.latency_s * self.dice.uniform(0.8, 1.2)
            self.later(took, self.answer, worker, mark, is_full)
        worker.ration.wanted(worker.under_way, worker.waiting, now=self.now)

    def answer(self, worker, mark, is_refused):
        if is_refused:
            self.refused += 1
            worker.ration.throttled(mark, worker.under_way, now=self.now)
            worker.resting += 1
            self.later(self.dice.uniform(0.2, 0.4), self.rested, worker)
            if self.shared and worker.tells_at < self.now:
                worker.tells_at = self.now + 0.2
                self.later(0.2, self.tell, worker, False)
        else:
            saturated = worker.waiting > 0 or worker.under_way >= self.allowed(worker)
            worker.ration.ended(REQUEST_COST, now=self.now, saturated=saturated)
            worker.ended += 1
        worker.under_way -= 1
        self.fill(worker)

    def rested(self, worker):
        worker.resting -= 1
        self.fill(worker)

    # -- messages ----------------------------------------------------------------------------------------------------

    def tell(self, worker, again=True):
        if again:
            self.later(interval_s(self.workers), self.tell, worker)
        use = worker.ration.use(RUN, now=self.now)
        if self.shared and use is not None and self.dice.random() >= self.lost:
            self.later(self.delay_s, self.hear, worker, use)

    def hear(self, worker, use: Use):
        message = {"worker": worker.name, "origin": worker.name, "uses": [(*PLACE, *astuple(use))]}
        self.allotter.heard(message, now=self.now, processes=self.workers)
        due = self.allotter.due(now=self.now, processes=self.workers)
        if due is None:
            return
        names, words = due
        for each in self.everyone:
            if each.name in names and self.dice.random() >= self.lost:
                for _, _, *word in words:
                    self.later(self.delay_s, self.obey, each, Word(*word))

    def obey(self, worker, word):
        worker.ration.obey(RUN, word, now=self.now, processes=self.workers)
        self.fill(worker)
