"""Removing from a destination what its source does not have: found by a whole merge, limited, written down, done last.

What ``sync`` adds to ``migrate``. Nothing here is deleted but what one complete listing of both ends showed only at the
destination, in the version it showed, and after a last look at the source.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from crossdock.connectors.objects import ObjectSink, ObjectSource
from crossdock.errors import ConfigError, NotFoundError, UnsafeError
from crossdock.events import Observer
from crossdock.flows.deleting.doomed import Doomed, Journal
from crossdock.flows.deleting.removing import Look, RemovalReport, removal_report, remove
from crossdock.flows.deleting.safety import DeleteLimit, demand_apart
from crossdock.flows.planning.merging import Merge
from crossdock.flows.planning.question import Question
from crossdock.flows.questions.endpoints import Ends
from crossdock.flows.reporting.report import Report, build_report
from crossdock.flows.runs.directory import RunDirectory, run_files
from crossdock.flows.runs.files import RunFiles
from crossdock.flows.runs.ownership import Owner
from crossdock.ports import ObjectStore

__all__ = ["Pruning", "SyncPlan", "spooled"]

_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncPlan:
    """What two complete listings say, before anything is done: to be shown, and asked about.

    ``new`` are only at the source, ``both`` at both ends (what of them differs is found next), ``delete`` only at the
    destination; ``examples`` are the first of these.
    """

    source: str
    sink: str
    new: int = 0
    both: int = 0
    delete: int = 0
    delete_bytes: int = 0
    examples: tuple[str, ...] = ()


@contextmanager
def spooled() -> Iterator[Journal]:
    """A list on this machine's disk: what is to be deleted may be more than fits in memory, and the run comes later."""
    with tempfile.TemporaryDirectory(prefix="crossdock-sync-") as place:
        yield Journal(run_files(f"file://{place}/"))


class Pruning:
    """The deleting half of one sync."""

    def __init__(
        self,
        ends: Ends,
        question: Question,
        limit: DeleteLimit,
        *,
        delete_excluded: bool,
        backup: ObjectSink | None,
        runs: RunFiles,
        observer: Observer,
    ) -> None:
        if ends.one is not None:
            raise ConfigError(
                "delete needs a prefix as source, and this is one object",
                operation="sync",
                where=f"{ends.source.store.url}/{ends.one.key}",
            )
        if backup is not None:
            if backup.prefix and not backup.prefix.endswith("/"):
                backup = ObjectSink(backup.store, f"{backup.prefix}/", transfer=backup.transfer)
            for name, end in (("source", ends.source), ("destination", ends.sink)):
                demand_apart(
                    (backup.store, backup.prefix),
                    (end.store, end.prefix),
                    operation="sync",
                    names=("backup directory", name),
                )
        demand_apart(
            (runs.store, runs.prefix),
            (ends.sink.store, ends.sink.prefix),
            operation="sync",
            names=("run directory", "destination"),
        )
        self._ends = ends
        self._question = question
        self._filters = question.filters()
        self._limit = limit
        self._delete_excluded = delete_excluded
        self._backup = backup
        self._runs = runs
        self._observer = observer

    def plan(self, spool: Journal) -> SyncPlan:
        """List both ends whole, and write down what is only at the destination.

        Raises:
            UnsafeError: The source is empty, or they are too many.
        """
        ends = self._ends
        merge = Merge(ends, self._filters, self._observer, filtered_sink=not self._delete_excluded)
        examples: list[str] = []
        both = new = 0

        def doomed() -> Iterator[Doomed]:
            nonlocal both, new
            number = 0
            for pair in merge:
                if pair.sink is None:
                    new += 1
                elif pair.source is not None:
                    both += 1
                else:
                    if len(examples) < _SHOWN:
                        examples.append(pair.sink.key)
                    yield Doomed(number=number, name=pair.name, info=pair.sink)
                    number += 1

        count = spool.plan(doomed())
        about = spool.about() or {}
        if count and not merge.source_objects:
            raise UnsafeError(
                f"the source has no object that the filters take, and all {count:,} of the destination would be deleted; "
                "nothing was done",
                operation="sync",
                where=ends.source.url,
                hint="is this the right source? to empty a destination, use crossdock rm",
            )
        self._limit.demand(count, merge.sink_objects, where=ends.sink.url)
        return SyncPlan(
            source=ends.source.url,
            sink=ends.sink.url,
            new=new,
            both=both,
            delete=count,
            delete_bytes=about.get("planned_bytes", 0),
            examples=tuple(examples),
        )

    def begun(self) -> Report | None:
        """The report of the run at this place, if its copies are complete and its deletions, of this question, are not."""
        directory = RunDirectory(self._runs)
        try:
            document = directory.read()
        except NotFoundError:
            return None
        journal = Journal(directory.files)
        about = journal.about()
        if document["state"] != "complete" or about is None or about.get("sync") != self._asked():
            return None
        return None if removal_report(journal).ok else build_report(directory)

    def run(self, copies: Report, spool: Journal | None) -> RemovalReport:
        """Delete what was planned, if every copy succeeded; without ``spool`` go on with what the run has written down.

        Raises:
            LedgerError: The run's directory cannot be used, or another driver has it.
        """
        about = spool.about() if spool is not None else None
        if spool is not None and (about is None or not about["planned"]):
            return RemovalReport()
        if about is not None and (not copies.ok or copies.directory is None):
            counts = copies.counts
            reason = f"{counts.failed:,} copies failed, {counts.pending:,} are pending"
            return RemovalReport(
                planned=about["planned"], planned_bytes=about["planned_bytes"], not_begun=reason
            )
        directory = _directory_of(copies)
        with Owner(directory.files) as owner:
            journal = Journal(directory.files)
            if spool is not None and about is not None:
                journal.plan(spool.doomed(about["parts"]), sync=self._asked())
            deletes = remove(self._ends.sink.store, journal, owner, self._look(), observer=self._observer)
            directory.update(deletes=deletes.to_dict())
        return deletes

    def _look(self) -> Look:
        """Just before a deletion: is it still missing at the source? Then a copy is put aside, if that is wanted."""
        source, sink, filters, backup = self._ends.source, self._ends.sink, self._filters, self._backup
        old = ObjectSource(sink.store, sink.prefix)

        def look(doomed: Doomed) -> str | None:
            key = source.prefix + doomed.name
            if source.store.refusal(key) is None:
                try:
                    here = source.store.stat(key)
                except NotFoundError:
                    pass
                else:
                    if not self._delete_excluded or filters.decide(doomed.name, here).taken:
                        return "it is at the source again"
            if backup is not None:
                backup.run(old.run(doomed.name, info=doomed.info), key=doomed.name)
            return None

        return look

    def _asked(self) -> dict[str, Any]:
        """What the deletions were asked; equal for equal questions."""
        ends = self._ends
        return {
            "source": [_service(ends.source.store), ends.source.url],
            "sink": [_service(ends.sink.store), ends.sink.url],
            "delete_excluded": self._delete_excluded,
            **self._question.as_dict(),
        }


def _service(store: ObjectStore) -> str:
    """Its endpoint, without what may tell credentials apart."""
    return store.endpoint.partition("#")[0]


def _directory_of(report: Report) -> RunDirectory:
    if report.directory is None:  # pragma: no cover - a run that ended has one
        raise ConfigError("a plan has no run to record deletions in", operation="sync")
    return report.directory
