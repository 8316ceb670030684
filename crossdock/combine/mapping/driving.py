"""A map under way: a thread of its own feeds the runner, takes what comes back, and ends it.

Everything of one map happens on that thread: rows are admitted, outcomes accounted for, hooks called. Only rows that
may take a while are pulled elsewhere (``intake``), and only ``cancel`` comes from outside.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from crossdock.combine.hooks import Hooks, RunHooks, Told
from crossdock.combine.mapping.again import KeptRows
from crossdock.combine.mapping.collected import Collected
from crossdock.combine.mapping.columns import Columns, Row
from crossdock.combine.mapping.destinations import Destinations
from crossdock.combine.mapping.given import Unkept, UpstreamFailure
from crossdock.combine.mapping.intake import Intake
from crossdock.combine.mapping.leaving import finish_before_exit
from crossdock.combine.mapping.summary import headline
from crossdock.combine.mapping.tolerance import Tolerance
from crossdock.combine.mapping.unrun import Unrun
from crossdock.errors import ConfigError
from crossdock.model import Outcome, State
from crossdock.notifications.record import ended_map
from crossdock.ports import Runner

__all__ = ["Drive", "ItemRun", "MapJob"]

_logger = logging.getLogger("crossdock.map")

ItemRun = Callable[[Row], Outcome]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapJob:
    """What ``map`` was asked to do.

    Attributes:
        function: What the runner calls for each row.
        columns: Where the rows come from.
        name: The task's name.
        run_id: The map's own id.
        tags: The task's.
        runner: Where to run; ``None`` is threads in this process.
        window: For the default runner.
        tolerance: After which failures to go on.
        hooks: Who hears of each item's end.
        run_hooks: Who hears of the map's end.
        destinations: Who writes where, if the task can say so.
    """

    function: ItemRun
    columns: Columns
    name: str
    run_id: str
    tags: tuple[str, ...]
    runner: Runner | None
    window: int | None
    tolerance: Tolerance
    hooks: Hooks
    run_hooks: RunHooks
    destinations: Destinations | None


class Drive:
    """One map under way.

    Attributes:
        collected: The outcomes so far.
        kept: The arguments of items without a value.
        total: How many items there will be, if known.
        started: When it began, in UTC.
        duration_s: How long it took; ``None`` as long as it lasts.
        interrupted: Whether Ctrl-C ended it.
        told: How many notifications of its end arrived.
    """

    def __init__(self, job: MapJob) -> None:
        self.name = job.name
        self.run_id = job.run_id
        self.total = job.columns.total
        self.collected = Collected(job.columns.indices)
        self.kept = KeptRows(job.columns.names, job.columns.constants, job.destinations)
        self.started = datetime.now(UTC)
        self.duration_s: float | None = None
        self.interrupted = False
        self.told = Told()
        self._clock = time.perf_counter()
        self._unrun = Unrun(task=job.name, run_id=job.run_id, tags=job.tags)
        self._tolerance = job.tolerance
        self._hooks = job.hooks
        self._run_hooks = job.run_hooks
        self._destinations = job.destinations
        self._indices = job.columns.indices
        self._under_way: dict[int, Row] = {}  # by the position at which the runner took it
        self._taken = 0
        self._failures = 0
        self._stopping = threading.Lock()
        self._finished = threading.Event()
        self._why = ""  # it stops; not empty once it does
        self._intake = Intake(job.columns, self._admit, self._under_way)
        # In the caller's context: inside a Dask worker that is how a runner finds the worker.
        thread = threading.Thread(
            target=contextvars.copy_context().run,
            args=(self._drive, job.function, job.runner, job.window),
            name=f"map-{job.name}",
        )
        finish_before_exit(self)
        thread.start()

    def cancel(self, why: str = "cancelled") -> None:
        """Begin no further items; what runs goes on to its end, its retries do not. Returns at once; from any thread."""
        with self._stopping:
            self._why = self._why or why
        self._intake.stop()

    def interrupt(self) -> None:
        """Cancel, because a person wants it to end."""
        self.interrupted = True
        self.cancel()

    def join(self) -> None:
        """Wait until everything ended and everybody was told."""
        self._finished.wait()  # a thread's own join, interrupted once, takes the thread for ended (bpo-46726)

    # -- on the map's own thread -----------------------------------------------------------------------------------

    def _drive(self, function: ItemRun, given: Runner | None, window: int | None) -> None:
        runner: Runner | None = given
        try:
            if runner is None:
                from crossdock.combine.runners.local import LocalRunner

                runner = LocalRunner(window=window)
            self._consume(runner, function)
        except BaseException as error:
            self.collected.error = error
        finally:
            try:
                if given is None and runner is not None:
                    runner.close()
                self._end()
            finally:
                self._finished.set()

    def _consume(self, runner: Runner, function: ItemRun) -> None:
        ended = runner.run(function, self._intake, name=self.name)
        try:
            for position, result in ended:
                row = self._under_way.pop(position)
                self._arrive(self._outcome(row, result), row)
        finally:
            if isinstance(ended, Generator):  # every runner of ours; the port promises an iterator only
                ended.close()

    def _admit(self, row: Row) -> bool:
        """Whether an item goes to the runner. One that must not begin has its outcome at once."""
        outcome = self._refused(row)
        if outcome is not None:
            self._arrive(outcome, row)
            return False
        self._under_way[self._taken] = row
        self._taken += 1
        return True

    def _refused(self, row: Row) -> Outcome | None:
        index, cells = row
        for cell in cells:
            if isinstance(cell, UpstreamFailure):
                return self._unrun.upstream_failed(index, self._known(row), cell.outcome)
            if isinstance(cell, Unkept):
                error = ConfigError(
                    cell.text, operation="map", hint="map it again with its arguments written out"
                )
                return self._unrun.refused(index, self._known(row), error)
        if self._destinations is None:
            return None
        values = {**self.kept.constants, **dict(zip(self.kept.names, cells, strict=True))}
        refusal = self._destinations.refusal(index, values)
        return None if refusal is None else self._unrun.refused(index, self._known(row), refusal)

    def _outcome(self, row: Row, result: Any) -> Outcome:
        """What a runner yielded, as an outcome: its own trouble (a lost worker) is the item's failure."""
        if isinstance(result, Outcome):
            return result
        if isinstance(result, CancelledError):
            return self._unrun.cancelled(row[0], self._known(row), self._not_begun())
        return self._unrun.lost(row[0], {**self.kept.constants, **self._known(row)}, result)

    def _known(self, row: Row) -> Mapping[str, Any]:
        pairs = zip(self.kept.names, row[1], strict=True)
        return {name: cell for name, cell in pairs if not isinstance(cell, UpstreamFailure | Unkept)}

    def _arrive(self, outcome: Outcome, row: Row | None) -> None:
        if not outcome.ok and row is not None:
            self.kept.keep(row)
        self.collected.add(outcome)
        self._hooks.fire(outcome)
        if outcome.ok or outcome.state is State.CANCELLED:
            return
        self._failures += 1
        why = self._tolerance.verdict(outcome, self._failures)
        if why and not self._why:
            _logger.warning("%s begins nothing more: %s", self.name, why)
            self.cancel(why)

    def _not_begun(self) -> str:
        return "cancelled before it began" if self._why == "cancelled" else f"not begun: {self._why}"

    def _end(self) -> None:
        """Account for what was not begun, wake everybody, tell who wants to know."""
        try:
            if self._intake.stopped:
                if not self._why:  # not by us, so by a runner that was interrupted
                    self.interrupt()
                self._cancel_the_rest()
            self._intake.close()
        finally:
            self._under_way.clear()
            self.duration_s = time.perf_counter() - self._clock
            self.collected.end()
        outcomes = self.collected.arrived
        if all(outcome.ok for outcome in outcomes):
            self.kept.destinations = self._destinations = None  # nothing will be mapped again
        else:
            failed = any(not outcome.ok and outcome.state is not State.CANCELLED for outcome in outcomes)
            line = headline(self.name, outcomes, self.duration_s)
            _logger.log(logging.WARNING if failed else logging.INFO, "%s", line)
        if self._run_hooks:
            record = ended_map(
                outcomes,
                name=self.name,
                run_id=self.run_id,
                started=self.started,
                duration_s=self.duration_s,
                error=self.collected.error,
                interrupted=self.interrupted,
            )
            self.told = self._run_hooks.fire(record)

    def _cancel_the_rest(self) -> None:
        # Under way with a runner that broke, or admitted and never taken; then pulled; then known by number only.
        for row in [*self._under_way.values(), *self._intake.left_over()]:
            self._arrive(self._unrun.cancelled(row[0], self._known(row), self._not_begun()), row)
        if self.total is None:
            return
        for index in self._indices if self._indices is not None else range(self.total):
            if index not in self.collected.by_index:
                self._arrive(self._unrun.cancelled(index, {}, self._not_begun()), None)
        self.kept.keep_rest(self._intake.rest())
