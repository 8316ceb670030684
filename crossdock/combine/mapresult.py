"""The outcomes of a map: driven by a thread of its own, read in any order, as often as one likes.

Outcomes are kept (they are small: values of combined tasks are guarded), inputs are not.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import thread as _futures_first  # noqa: F401 - its exit hook must be registered before ours
from typing import Any, Literal

from crossdock.combine.columns import Columns, OutcomesInOrder, UpstreamFailure
from crossdock.combine.execution import Execution
from crossdock.combine.inputs import inputs_text
from crossdock.errors import ConfigError, TaskFailed
from crossdock.model import Outcome, State
from crossdock.ports import Runner

__all__ = ["MapResult"]

_logger = logging.getLogger("crossdock.map")
ItemRun = Callable[[tuple[int, tuple[Any, ...]]], Outcome]


class _Items:
    """The items of a map, as a runner sees them: iterated once, with a length if it is known."""

    def __init__(self, items: Iterator[Any], total: int | None) -> None:
        self._items = items
        self._total = total

    def __iter__(self) -> Iterator[Any]:
        return self._items

    def __length_hint__(self) -> int:
        return NotImplemented if self._total is None else self._total


class MapResult(OutcomesInOrder):
    """The outcomes of a map, as they come and when all are there. Thread-safe.

    Iterating yields each ``Outcome`` in completion order, from the first, as often as one likes. Ctrl-C while waiting
    cancels what has not begun, waits for what runs, and goes on as ``KeyboardInterrupt``. Outcomes, not inputs, stay
    in memory.
    """

    def __init__(
        self,
        function: ItemRun,
        columns: Columns,
        *,
        name: str,
        runner: Runner | None,
        window: int | None,
        stop_on_failure: bool,
    ) -> None:
        self.name = name
        self._columns = columns
        self._stop_on_failure = stop_on_failure
        self._changed = threading.Condition()
        self._arrived: list[Outcome] = []
        self._by_index: dict[int, Outcome] = {}
        self._under_way: dict[int, tuple[int, tuple[Any, ...]]] = {}  # the runner's position: the item
        self._cancelled = threading.Event()
        self._ended = False
        self._error: BaseException | None = None
        self._clock = time.perf_counter()
        self._duration_s: float | None = None
        # In the caller's context: inside a Dask worker that is how a runner finds the worker.
        self._driver = threading.Thread(
            target=contextvars.copy_context().run,
            args=(self._drive, function, runner, window),
            name=f"map-{name}",
        )
        _finish_before_exit(self)
        self._driver.start()

    # -- driving, on the map's own thread ------------------------------------------------------------------------

    def _drive(self, function: ItemRun, given: Runner | None, window: int | None) -> None:
        runner: Runner | None = given
        try:
            if runner is None:
                from crossdock.combine.runners.local import LocalRunner

                runner = LocalRunner(window=window)
            self._consume(runner, function)
        except BaseException as error:
            self._error = error
        finally:
            if given is None and runner is not None:
                runner.close()
            self._end()

    def _consume(self, runner: Runner, function: ItemRun) -> None:
        ended = runner.run(function, _Items(self._items(), self._columns.total), name=self.name)
        try:
            for position, result in ended:
                outcome = self._outcome(position, result)
                self._arrive(outcome)
                if self._stop_on_failure and not outcome.ok:
                    self._cancelled.set()
                if self._cancelled.is_set():
                    return
        finally:
            if isinstance(ended, Generator):  # every runner of ours; the port promises an iterator only
                ended.close()

    def _items(self) -> Iterator[tuple[int, tuple[Any, ...]]]:
        position = 0
        for index, row in enumerate(self._columns.rows()):
            if self._cancelled.is_set():
                return
            upstream = next((cell.outcome for cell in row if isinstance(cell, UpstreamFailure)), None)
            if upstream is not None:
                self._arrive(self._upstream_failed(index, row, upstream))
                continue
            self._under_way[position] = index, row
            position += 1
            yield index, row

    def _upstream_failed(self, index: int, row: tuple[Any, ...], upstream: Outcome) -> Outcome:
        whole = {
            name: cell
            for name, cell in zip(self._columns.names, row, strict=True)
            if not isinstance(cell, UpstreamFailure)
        }
        error = TaskFailed(
            f"not run, because the item it depends on (number {upstream.index}) ended as {upstream.state.value}",
            task=self.name,
            inputs=inputs_text(whole),
        )
        error.__cause__ = upstream.error
        return Outcome(index=index, state=State.UPSTREAM_FAILED, error=error, inputs=error.inputs)

    def _outcome(self, position: int, result: Any) -> Outcome:
        """What a runner yielded, as an outcome: its own trouble (a lost worker) is the item's failure."""
        index, row = self._under_way.pop(position)
        if isinstance(result, Outcome):
            return result
        values = {**self._columns.constants, **dict(zip(self._columns.names, row, strict=True))}
        failure = Execution(name=self.name, inputs=values).failed(result)
        failure.__cause__ = result
        return Outcome(index=index, state=State.FAILED, error=failure, inputs=failure.inputs)

    def _arrive(self, outcome: Outcome) -> None:
        with self._changed:
            self._arrived.append(outcome)
            self._by_index[outcome.index] = outcome
            self._changed.notify_all()

    def _end(self) -> None:
        """Account for what was cancelled, say what failed, wake everybody."""
        if self._cancelled.is_set():
            begun = [index for index, _ in self._under_way.values()]
            known = range(self._columns.total) if self._columns.total is not None else begun
            for index in known:
                if index not in self._by_index:
                    text = "cancelled; it may have begun" if index in begun else "cancelled before it began"
                    error = TaskFailed(text, task=self.name)
                    self._arrive(Outcome(index=index, state=State.CANCELLED, error=error))
        self._under_way.clear()
        with self._changed:
            self._duration_s = time.perf_counter() - self._clock
            self._ended = True
            self._changed.notify_all()
        if any(not outcome.ok for outcome in self._arrived):
            _logger.warning("%s", self._summary())

    # -- waiting -------------------------------------------------------------------------------------------------

    def _wait_until(self, ready: Callable[[], bool]) -> None:
        try:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or ready())
        except KeyboardInterrupt:
            self.cancel()
            self._driver.join()
            raise

    def wait(self) -> MapResult:
        """Wait until every item ended.

        Raises:
            BaseException: What the input iterator or the runner itself raised, after what had begun ended.
        """
        self._wait_until(lambda: False)
        self._driver.join()
        if self._error is not None:
            raise self._error
        return self

    def cancel(self) -> None:
        """Start no further items; what runs goes on to its end. Returns at once."""
        self._cancelled.set()

    def __iter__(self) -> Iterator[Outcome]:
        """Outcomes in completion order, each as soon as it is known."""
        position = 0
        while True:
            self._wait_until(lambda at=position: len(self._arrived) > at)  # type: ignore[misc]
            until = len(self._arrived)
            if until == position:
                self.wait()
                return
            yield from self._arrived[position:until]
            position = until

    def in_order(self) -> Iterator[Outcome]:
        """Outcomes in input order, each as soon as it and all before it are known."""
        index = 0
        while True:
            self._wait_until(lambda at=index: at in self._by_index)  # type: ignore[misc]
            outcome = self._by_index.get(index)
            if outcome is None:
                self.wait()
                return
            yield outcome
            index += 1

    def results(self, failed: Literal["raise", "drop", "none"] = "raise") -> list[Any]:
        """All values in input order; waits.

        Args:
            failed: ``raise`` an ``ExceptionGroup`` if any item failed, ``drop`` failed items, or put ``None``
                (``"none"``) in their place.
        """
        if failed not in ("raise", "drop", "none"):
            raise ConfigError(f"failed is 'raise', 'drop' or 'none', not {failed!r}")
        if failed == "raise":
            self.raise_if_failed()
        return [outcome.value for outcome in self._sorted() if outcome.ok or failed == "none"]

    def failed(self) -> list[Outcome]:
        """Outcomes of all items without a value, in input order; waits."""
        return [outcome for outcome in self._sorted() if not outcome.ok]

    def raise_if_failed(self) -> None:
        """Wait, and raise all failures as one group.

        Raises:
            ExceptionGroup: Some item failed, was cancelled, or depends on one that did; one ``TaskFailed`` each.
        """
        failed = self.failed()
        if failed:
            text = f"{len(failed)} of {len(self._arrived)} items of {self.name!r} failed"
            raise ExceptionGroup(text, [_as_exception(outcome) for outcome in failed])

    @property
    def counts(self) -> dict[State, int]:
        """How many items ended in which state, so far. Does not wait."""
        with self._changed:
            return dict(Counter(outcome.state for outcome in self._arrived))

    def summary(self) -> str:
        """One line for a person: how many items, how they ended, how long it took, the causes; waits."""
        self.wait()
        return self._summary()

    def _summary(self) -> str:
        states = ", ".join(
            f"{count} {state.value}"
            for state, count in sorted(self.counts.items(), key=lambda each: -each[1])
        )
        text = f"{self.name}: {len(self._arrived)} items in {self._duration_s or 0.0:.2f} s"
        if states:
            text += f": {states}"
        causes = Counter(
            type(outcome.error.__cause__ or outcome.error).__name__
            for outcome in self._arrived
            if outcome.state is State.FAILED and outcome.error is not None
        )
        if causes:
            text += f" ({', '.join(f'{count} x {cause}' for cause, count in causes.most_common(5))})"
        return text

    def _sorted(self) -> list[Outcome]:
        self.wait()
        return [self._by_index[index] for index in sorted(self._by_index)]

    def __len__(self) -> int:
        """How many items there were; waits."""
        self.wait()
        return len(self._arrived)

    def __bool__(self) -> bool:
        """Always true: an empty map is still a result."""
        return True

    def __repr__(self) -> str:
        return f"<map of {self.name}: {len(self._arrived)} items ended{'' if self._ended else ', running'}>"


def _as_exception(outcome: Outcome) -> Exception:
    if isinstance(outcome.error, Exception):
        return outcome.error
    return TaskFailed(f"ended as {outcome.state.value}", inputs=dict(outcome.inputs))


_running: weakref.WeakSet[MapResult] = weakref.WeakSet()
_exit_hook = threading.Lock()
_exit_hook_set = False


def _finish_before_exit(result: MapResult) -> None:
    """A script whose last line is a map shall not lose it.

    Thread pools refuse work once the interpreter begins to exit, so waiting must come before that: the same hook
    that ``concurrent.futures`` uses, run in reverse order of registration.
    """
    global _exit_hook_set  # noqa: PLW0603 - registered once a process
    with _exit_hook:
        _running.add(result)
        if not _exit_hook_set:
            threading._register_atexit(_wait_for_all)  # type: ignore[attr-defined]  # noqa: SLF001 - see above
            _exit_hook_set = True


def _wait_for_all() -> None:
    for result in list(_running):
        result._driver.join()  # noqa: SLF001 - its own module
