"""How rows reach a runner: one at a time, never further ahead than it has room, and without holding up what ended.

A runner pulls its items on the thread that also reports what ended, so a row that takes a while (another map's next
outcome, a generator that waits for a network) would hold reports up, and with them the maps that wait for those. Rows
that may take a while are therefore pulled on a thread of their own, each after the runner asked for it.
"""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Iterator, Sized

from crossdock.combine.mapping.columns import Columns, Row

__all__ = ["Intake"]


def _nobody() -> None:
    """Nobody listens yet."""


class Intake:
    """An iterator of rows which also says whether the next one is there.

    A runner may ``listen`` once, with a function that may be called from any thread; then, as long as something else is
    under way, it takes an item only if ``ready()``. The function is called when that may have changed, and when
    ``stopped`` becomes true: then nothing more shall begin. A runner that knows nothing of this just iterates.

    Args:
        columns: Where rows come from.
        admit: Whether a row goes to the runner; those that do not have ended already. Called by who iterates.
        under_way: What was admitted and did not end yet.
    """

    def __init__(self, columns: Columns, admit: Callable[[Row], bool], under_way: Sized) -> None:
        self._total = columns.total
        self._admit = admit
        self._under_way = under_way
        self._peak = 0
        self._wake: Callable[[], None] = _nobody
        self._next: Row | None = None
        self._end: BaseException | None = None
        rows = columns.rows()
        self._pull: _Pull = _ThreadPull(rows, self._call_wake) if columns.may_wait else _Pull(rows)
        self.stopped = False

    def listen(self, wake: Callable[[], None]) -> None:
        """Who is told that an item may be ready, or that it is time to stop."""
        self._wake = wake

    def ready(self) -> bool:
        """Whether ``next`` returns or raises at once; if not, the next row is being pulled."""
        # As many as there was room for before are pulled in one go: never more than were under way at once.
        self._peak = max(self._peak, len(self._under_way))
        room = max(1, self._peak - len(self._under_way))
        while self._next is None and self._end is None and not self.stopped:
            if not self._pull.ready(room):
                return False
            try:
                row = self._pull.take()
            except BaseException as error:  # the end, or an error: ``next`` raises it
                self._end = error
            else:
                if self._admit(row):
                    self._next = row
        return True

    def __iter__(self) -> Iterator[Row]:
        return self

    def __next__(self) -> Row:
        while not self.stopped:
            row, self._next = self._next, None
            if row is not None:
                return row
            if self._end is not None:
                raise self._end
            row = self._pull.take()
            if self._admit(row):
                return row
        raise StopIteration

    def __length_hint__(self) -> int:
        return NotImplemented if self._total is None else self._total

    def stop(self) -> None:
        """Give out no further rows. Returns at once, from any thread."""
        self.stopped = True
        self._pull.stop()
        self._wake()

    def left_over(self) -> list[Row]:
        """After the end: rows that were pulled and never given out."""
        held = [] if self._next is None else [self._next]
        return [*held, *self._pull.left_over()]

    def rest(self) -> Iterator[Row]:
        """After the end: the rows that were never pulled, lazily."""
        return self._pull.rest()

    def close(self) -> None:
        """After the end: let go of where the rows came from."""
        self._pull = _Pull(iter(()))

    def _call_wake(self) -> None:
        self._wake()


class _Pull:
    """Rows that never take long: pulled by who takes them."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows

    def ready(self, room: int) -> bool:  # noqa: ARG002 - it needs no preparation
        return True

    def take(self) -> Row:
        """The next row.

        Raises:
            BaseException: ``StopIteration`` at the end, or what the rows raise; again each time.
        """
        return next(self._rows)

    def stop(self) -> None:
        """Nothing waits."""

    def left_over(self) -> list[Row]:
        return []

    def rest(self) -> Iterator[Row]:
        return self._rows


class _Ended:
    """What comes after the last row: why there are no more."""

    __slots__ = ("why",)

    def __init__(self, why: BaseException) -> None:
        self.why = why


class _ThreadPull(_Pull):
    """Rows that may take long: pulled by a thread of their own, as many as were asked for.

    The thread starts with the first row. It is a daemon: told to stop, it may still wait in somebody's iterator, and
    must not keep the process.
    """

    def __init__(self, rows: Iterator[Row], wake: Callable[[], None]) -> None:
        super().__init__(rows)
        self._wake = wake
        # Two queues, because they are the quickest way to hand something to a thread: a third of a condition's time.
        self._asked: queue.SimpleQueue[bool] = queue.SimpleQueue()  # True: one row more; False: stop
        self._pulled: queue.SimpleQueue[Row | _Ended] = queue.SimpleQueue()
        self._outstanding = 0  # asked for and not yet taken
        self._waits = False  # somebody wants to be told of the next row
        self._stopped = False
        self._pulling = threading.Lock()  # held while the iterator runs
        self._thread: threading.Thread | None = None

    def ready(self, room: int) -> bool:
        self._ask(room)
        self._waits = True  # before the queue is looked at: the thread puts first and looks then
        return not self._pulled.empty()

    def take(self) -> Row:
        self._ask(1)
        row = self._pulled.get()
        if isinstance(row, _Ended):
            self._pulled.put(row)  # it stays the end
            raise row.why
        self._outstanding -= 1
        return row

    def _ask(self, room: int) -> None:
        for _ in range(room - self._outstanding):
            self._asked.put(True)
        self._outstanding = max(room, self._outstanding)
        if self._thread is None:
            self._thread = threading.Thread(
                target=contextvars.copy_context().run, args=(self._run,), name="map-input", daemon=True
            )
            self._thread.start()

    def _run(self) -> None:
        more = True
        while more and self._asked.get() and not self._stopped:
            with self._pulling:
                more = self._pull_one()
            if self._waits:
                self._waits = False
                self._wake()

    def _pull_one(self) -> bool:
        """One row more, or the end. Holds none back: an item is let go when it ended, not when the next one comes."""
        try:
            self._pulled.put(next(self._rows))
        except BaseException as error:  # who takes the row raises it
            self._pulled.put(_Ended(error))
            return False
        return True

    def stop(self) -> None:
        self._stopped = True
        self._asked.put(False)
        self._pulled.put(_Ended(StopIteration()))

    def left_over(self) -> list[Row]:
        held = []
        while not self._pulled.empty():
            row = self._pulled.get()
            if not isinstance(row, _Ended):
                held.append(row)
        return held

    def rest(self) -> Iterator[Row]:
        while True:
            with self._pulling:  # one row may still be on its way
                try:
                    row = next(self._rows) if self._pulled.empty() else self._pulled.get()
                except StopIteration:
                    return
            if not isinstance(row, _Ended):
                yield row
