"""Driving a planned run: shards mapped over a runner, its standing told, its end recorded. Also how it is stopped.

The runner's loop has a thread of its own, so that Ctrl-C reaches this one: it says stop first and then waits for what
is in flight. What a worker has recorded is seen here through the ledger, about every second.
"""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from crossdock import crash_points
from crossdock.errors import CrossdockError, LedgerError
from crossdock.events import Note, Observer, listening
from crossdock.flows.ledger.again import may_pass, set_aside
from crossdock.flows.ledger.compacting import AUTOMATIC_FROM, compact_ended
from crossdock.flows.ledger.records import best, is_left
from crossdock.flows.ledger.standing import any_passing, read_standings
from crossdock.flows.ledger.tally import Tally
from crossdock.flows.ledger.writing import read_segment, read_shard
from crossdock.flows.moving.handing import Handing
from crossdock.flows.moving.parts.agenda import Agenda, News
from crossdock.flows.moving.parts.words import Answer, ShardEnd
from crossdock.flows.moving.working import Hooks
from crossdock.flows.questions.limits import NO_LIMITS, LimitReachedError, Limits
from crossdock.flows.reporting.report import Report, build_report, write_report
from crossdock.flows.runs.directory import RunDirectory
from crossdock.flows.runs.ownership import Owner
from crossdock.flows.runs.shards import Shard, longest_first
from crossdock.model import Counts
from crossdock.ports import Runner

__all__ = ["Drive", "Work"]

ATTEMPTS = 3  # rounds over shards that were lost with their workers, before they are left pending
_POLL_S = 1.0
_POLL_SHARE = 10  # looking at the ledger takes at most a tenth of the time


class Work(Protocol):
    """What a kind of run does with its shards; the same driver drives all kinds."""

    @property
    def name(self) -> str:
        """What is mapped is called: the prefix of its keys in a scheduler."""

    @property
    def alone_bytes(self) -> int:
        """A shard of one row larger than this begins before the others."""

    def mapped(
        self, directory: RunDirectory, *, session: str, again_only: bool, hooks: Hooks
    ) -> Callable[[Any], Answer]:
        """What a runner maps over shards. Picklable; it records in the ledger how each row ended."""

    def at_end(self, directory: RunDirectory) -> None:
        """What is done once, here, when every shard has ended and before the run counts as complete. May come twice."""


@dataclass(slots=True, kw_only=True)
class Drive:
    """One driver's work on one run it owns."""

    directory: RunDirectory
    work: Work
    owner: Owner
    runner: Runner
    observer: Observer
    again_only: bool = False  # only what was set aside to be tried again
    limits: Limits = NO_LIMITS
    _began: float = field(default_factory=time.monotonic)
    _before: Counts = field(default_factory=Counts)  # what earlier drives did

    def run(self) -> Report:
        """Move what is left, and report.

        Raises:
            LedgerError: The run directory cannot be read or written, or was taken over.
            KeyboardInterrupt: Stopped by the user; what was in flight has ended, and the state is saved.
        """
        hooks = self._hooks()
        self.directory.update(state="running")
        try:
            self._rounds(hooks)
            if self._gives_another_chance(hooks):
                self.again_only = True  # what was lost with its workers, as often as it may be, stays pending
                hooks = self._hooks()
                self._rounds(hooks)
            self.work.at_end(self.directory)
        except KeyboardInterrupt:
            self._finish("interrupted", hooks)
            raise
        except LimitReachedError as reached:
            self.observer(Note(text=f"stopped: {reached}"))
            return self._finish("limited", hooks)
        except BaseException as error:
            self._note_end(error)
            raise
        return self._finish(None, hooks)

    def _hooks(self) -> Hooks:
        return Hooks(self.observer, Tally(self.directory.summary, self.observer))

    def _gives_another_chance(self, hooks: Hooks) -> bool:
        """Whether objects failed of what may pass by itself: these, and nothing else, are set aside for one more attempt."""
        failed = _tally(hooks).counts.failed - self.directory.summary.refuse
        if self.again_only or not failed or not any_passing(self.directory.files):
            return False
        marked = set_aside(self.directory.files, may_pass)
        self.observer(
            Note(text=f"{marked:,} of {failed:,} failed objects are tried once more: that may have passed")
        )
        return True

    def _rounds(self, hooks: Hooks) -> None:
        """Run all shards, then those whose workers were lost, as often as the bound allows."""
        done = self._already_done(hooks)
        self._before = self._before if self._before.planned else _tally(hooks).counts
        ordered = longest_first(self.directory.shards, self.work.alone_bytes)
        shards: Iterator[Shard] = (each for each in ordered if each.number not in done)
        for attempt in range(ATTEMPTS):
            lost = self._round(shards, hooks)
            if not lost or hooks.stop.is_set():
                return
            names = ", ".join(str(shard.number) for shard, _ in lost[:3])
            again = "run again" if attempt + 1 < ATTEMPTS else "left pending: resume the run"
            self.observer(Note(text=f"{len(lost)} shards were lost ({names}): {lost[0][1]}; {again}"))
            shards = iter([shard for shard, _ in lost])

    def _already_done(self, hooks: Hooks) -> set[int]:
        """Shards with nothing left to do, from the ledger of earlier attempts."""
        tally = _tally(hooks)
        done: set[int] = set()
        seen: set[int] = set()
        sizes = {shard.number: shard.rows for shard in self.directory.shards()}
        for number, standing in read_standings(self.directory.files):
            seen.add(number)
            if standing.is_done(sizes.get(number, 0)) or (self.again_only and not standing.again):
                done.add(number)
                tally.end(number, standing.counts)
                continue
            for record in best(read_shard(self.directory.files, number)).values():
                if not is_left(record, again_only=self.again_only):
                    tally.record(record)
        tally.tell(at_once=True)
        return done | (sizes.keys() - seen) if self.again_only else done

    def _round(self, shards: Iterator[Shard], hooks: Hooks) -> list[tuple[Shard, BaseException]]:
        """One pass over shards; returns those that did not end, with why."""
        mapped = self.work.mapped(
            self.directory, session=self.owner.session, again_only=self.again_only, hooks=hooks
        )
        loop = _Loop(self.runner, mapped, self.work.name, shards, hooks.stop, self.observer)
        poller = _Poller(self.directory, hooks)
        handing = Handing(self.directory, self.owner.session, loop.agenda, hooks, self.observer)
        lost: list[tuple[Shard, BaseException]] = []
        tally = _tally(hooks)
        try:
            for item in loop.results():
                self.owner.demand()
                self._demand_limits(tally)
                if item is None:
                    poller.look()
                    handing.look()
                elif isinstance(item, ShardEnd):
                    if not item.stopped:
                        tally.end(item.shard, item.counts)
                else:
                    _demand_passing(item[1])
                    lost.append(item)
        except BaseException:
            self._stop(hooks, loop)
            raise
        handing.end()
        return lost

    def _demand_limits(self, tally: Tally) -> None:
        """Look at the user's limits, by what was done since this drive began.

        Raises:
            LimitReachedError: One is reached.
        """
        if self.limits == NO_LIMITS:
            return
        counts = tally.counts
        reached = self.limits.reached(
            failed=counts.failed - self._before.failed,
            copied_bytes=counts.copied_bytes - self._before.copied_bytes,
            now=datetime.now(UTC),
        )
        if reached is not None and counts.pending:
            raise LimitReachedError(reached)

    def _stop(self, hooks: Hooks, loop: _Loop) -> None:
        """Begin nothing more, anywhere, and wait for what is in flight."""
        hooks.stop.set()
        if not hooks.used:
            try:
                self.directory.ask_to_stop(self.owner.session)
            except CrossdockError as error:
                self.observer(Note(text=f"the workers could not be told to stop: {error}"))
        loop.wait()
        if not hooks.used:
            try:
                self.directory.forget_stop(self.owner.session)
            except CrossdockError as error:
                self.observer(Note(text=f"{self.directory.url}/stop was left: {error}"))

    def _finish(self, state: str | None, hooks: Hooks) -> Report:
        document = self.directory.read()
        duration_s = document.get("duration_s", 0.0) + time.monotonic() - self._began
        self.directory.update(duration_s=duration_s)
        if state is None:  # whoever pressed Ctrl-C wants to leave
            self._compact()
        report = build_report(self.directory, state=state or "complete")
        ended = state or ("complete" if report.ok else "incomplete")
        self.directory.update(state=ended, counts=report.counts_by_name)
        report = replace(report, state=ended)
        write_report(self.directory, report)
        crash_points.reached("report-written")
        _tally(hooks).tell(at_once=True)
        return report

    def _compact(self) -> None:
        """Fewer segments for whoever reads the run later; the ledger is whole without it, so its failure ends nothing."""
        try:
            compact_ended(self.directory, at_least=AUTOMATIC_FROM)
        except CrossdockError as error:
            self.observer(Note(text=f"the ledger stays in small segments: {error}"))

    def _note_end(self, error: BaseException) -> None:
        try:
            self.directory.update(state="failed", error=str(error))
        except CrossdockError as failure:
            error.add_note(f"the run's state could not be saved: {failure}")


def _demand_passing(error: BaseException) -> None:
    """Raise what no other worker could do better: a run directory that cannot be used."""
    if isinstance(error, LedgerError):
        raise error


def _tally(hooks: Hooks) -> Tally:
    if hooks.tally is None:  # pragma: no cover - a driver's hooks always have one
        raise LedgerError("a driver without a tally", operation="drive run")
    return hooks.tally


class _Loop:
    """The runner's loop on a thread of its own; results come through a queue."""

    def __init__(
        self,
        runner: Runner,
        mapped: Callable[[Any], Answer],
        name: str,
        shards: Iterator[Shard],
        stop: threading.Event,
        observer: Observer,
    ) -> None:
        self._runner = runner
        self._mapped = mapped
        self._name = name
        self.agenda = Agenda(shards, stop)
        self._stop = stop
        self._ended: queue.SimpleQueue[News | None] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._observer = observer
        self._thread = threading.Thread(target=self._run, name="crossdock-driver", daemon=True)

    def results(self) -> Iterator[News | None]:
        """What each shard came to, as they end; ``None`` when a second passed without news.

        Raises:
            BaseException: What the runner itself raised.
        """
        self._thread.start()
        while True:
            try:
                item = self._ended.get(timeout=_POLL_S)
            except queue.Empty:
                yield None
                continue
            if item is None:
                break
            yield item
        if self._error is not None:
            raise self._error

    def wait(self) -> None:
        """Until the runner's loop has ended."""
        while self._thread.is_alive():
            self._thread.join(_POLL_S)

    def _run(self) -> None:
        # Ctrl-C is for the driver's main thread. A terminal sends it to every process of the command, and processes that a
        # runner starts from here inherit this: else they would die of it, with a traceback each, while they still import.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            # What workers elsewhere report comes out of the runner's loop, so this thread listens.
            with listening(self._observer):
                self._take_all()
                while self.agenda.has_more:  # a runner that does not ask whether items may yet become due
                    self._take_all()
        except BaseException as error:  # raised again by results(), on the driver's thread
            self._error = error
        finally:
            self._ended.put(None)  # whatever happened, the driver's thread must not wait for more

    def _take_all(self) -> None:
        self.agenda.new_pass()
        results = self._runner.run(self._mapped, self.agenda, name=self._name)
        try:
            for index, result in results:
                news = self.agenda.heard(index, result)
                if news is not None:
                    self._ended.put(news)
                if self._stop.is_set():
                    break
        finally:
            close = getattr(results, "close", None)
            if close is not None:
                close()


class _Poller:
    """Sees what workers elsewhere have recorded: new segments of the ledger since the last look."""

    def __init__(self, directory: RunDirectory, hooks: Hooks) -> None:
        self._files = directory.files
        self._hooks = hooks
        self._seen = set(self._files.names("ledger/"))
        self._next = 0.0

    def look(self) -> None:
        """Read new segments into the tally, unless shards run in this process and report by themselves."""
        now = time.monotonic()
        if self._hooks.used or now < self._next:
            return
        for name in self._files.names("ledger/"):
            if name not in self._seen:
                self._seen.add(name)
                for record in read_segment(self._files, name):
                    _tally(self._hooks).record(record)
        self._next = time.monotonic() + _POLL_SHARE * (time.monotonic() - now)
