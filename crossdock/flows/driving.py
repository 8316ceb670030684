"""Driving a planned run: shards mapped over a runner, its standing told, its end recorded. Also how it is stopped.

The runner's loop has a thread of its own, so that Ctrl-C reaches this one: it says stop first and then waits for what
is in flight. What a worker has recorded is seen here through the ledger, about every second.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from crossdock.connectors.objects import ObjectSink, ObjectSource
from crossdock.errors import CrossdockError, LedgerError
from crossdock.events import Note, Observer, listening
from crossdock.flows.ledger import read_ledger, read_segment
from crossdock.flows.ownership import Owner
from crossdock.flows.report import Report, build_report
from crossdock.flows.run_directory import REPORT, RunDirectory
from crossdock.flows.shards import Shard
from crossdock.flows.tally import Tally, counts_of
from crossdock.flows.transfer import Hooks, ShardEnd, ShardTransfer
from crossdock.ports import Runner

__all__ = ["Drive"]

ATTEMPTS = 3  # rounds over shards that were lost with their workers, before they are left pending
_POLL_S = 1.0
_POLL_SHARE = 10  # looking at the ledger takes at most a tenth of the time


@dataclass(slots=True, kw_only=True)
class Drive:
    """One driver's work on one run it owns."""

    directory: RunDirectory
    source: ObjectSource
    sink: ObjectSink
    owner: Owner
    runner: Runner
    observer: Observer
    concurrency: int
    _began: float = field(default_factory=time.monotonic)
    _left: dict[int, Shard] = field(default_factory=dict)

    def run(self) -> Report:
        """Move what is left, and report.

        Raises:
            LedgerError: The run directory cannot be read or written, or was taken over.
            KeyboardInterrupt: Stopped by the user; what was in flight has ended, and the state is saved.
        """
        hooks = Hooks(self.observer, Tally(self.directory.summary, self.observer))
        self.directory.update(state="running")
        try:
            self._rounds(hooks)
        except KeyboardInterrupt:
            self._finish("interrupted", hooks)
            raise
        except BaseException as error:
            self._note_end(error)
            raise
        return self._finish(None, hooks)

    def _rounds(self, hooks: Hooks) -> None:
        """Run all shards, then those whose workers were lost, as often as the bound allows."""
        done = self._already_done(hooks)
        shards: Iterator[Shard] = (each for each in self.directory.shards() if each.number not in done)
        for attempt in range(ATTEMPTS):
            lost = self._round(shards, hooks)
            if not lost:
                return
            names = ", ".join(str(shard.number) for shard, _ in lost[:3])
            again = "run again" if attempt + 1 < ATTEMPTS else "left pending: resume the run"
            self.observer(Note(text=f"{len(lost)} shards were lost ({names}): {lost[0][1]}; {again}"))
            shards = iter([shard for shard, _ in lost])

    def _already_done(self, hooks: Hooks) -> set[int]:
        """Shards with nothing left to do, from the ledger of earlier attempts."""
        tally = _tally(hooks)
        sizes = {shard.number: shard.rows for shard in self.directory.shards()}
        done: set[int] = set()
        for number, records in read_ledger(self.directory.files):
            is_left = len(records) < sizes.get(number, 0) or any(
                not record.is_final and record.wants_retry for record in records.values()
            )
            if is_left:
                for record in records.values():
                    if record.is_final or not record.wants_retry:
                        tally.record(record)
            else:
                done.add(number)
                tally.end(number, counts_of(records))
        tally.tell(at_once=True)
        return done

    def _round(self, shards: Iterator[Shard], hooks: Hooks) -> list[tuple[Shard, BaseException]]:
        """One pass over shards; returns those that did not end, with why."""
        transfer = ShardTransfer(
            directory=self.directory,
            manifest=self.directory.manifest,
            source=self.source,
            sink=self.sink,
            session=self.owner.session,
            concurrency=self.concurrency,
            hooks=hooks,
        )
        loop = _Loop(self.runner, transfer, shards, hooks.stop, self.observer)
        poller = _Poller(self.directory, hooks)
        lost: list[tuple[Shard, BaseException]] = []
        tally = _tally(hooks)
        try:
            for item in loop.results():
                self.owner.demand()
                if item is None:
                    poller.look()
                elif isinstance(item, ShardEnd):
                    if not item.stopped:
                        tally.end(item.shard, item.counts)
                else:
                    _demand_passing(item[1])
                    lost.append(item)
        except BaseException:
            self._stop(hooks, loop)
            raise
        return lost

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
        report = build_report(self.directory, state=state or "complete")
        ended = state or ("complete" if report.ok else "incomplete")
        self.directory.update(state=ended)
        report = build_report(self.directory, state=ended) if ended != report.state else report
        self.directory.files.put_json(REPORT, report.to_dict())
        _tally(hooks).tell(at_once=True)
        return report

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
        transfer: ShardTransfer,
        shards: Iterator[Shard],
        stop: threading.Event,
        observer: Observer,
    ) -> None:
        self._runner = runner
        self._transfer = transfer
        self._shards = shards
        self._stop = stop
        self._submitted: dict[int, Shard] = {}
        self._ended: queue.SimpleQueue[ShardEnd | tuple[Shard, BaseException] | None] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._observer = observer
        self._thread = threading.Thread(target=self._run, name="crossdock-driver", daemon=True)

    def results(self) -> Iterator[ShardEnd | tuple[Shard, BaseException] | None]:
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

    def _numbered(self) -> Iterator[Shard]:
        for index, shard in enumerate(self._shards):
            if self._stop.is_set():
                return
            self._submitted[index] = shard
            yield shard

    def _run(self) -> None:
        try:
            # What workers elsewhere report comes out of the runner's loop, so this thread listens.
            with listening(self._observer):
                self._take_all()
        except BaseException as error:  # raised again by results(), on the driver's thread
            self._error = error
        finally:
            self._ended.put(None)  # whatever happened, the driver's thread must not wait for more

    def _take_all(self) -> None:
        results = self._runner.run(self._transfer, self._numbered(), name="transfer")
        try:
            for index, result in results:
                shard = self._submitted.pop(index)
                self._ended.put((shard, result) if isinstance(result, BaseException) else result)
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
