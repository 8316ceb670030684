"""Deletions that were listed, shown and agreed to: kept in a sync's run before anything moves, carried out last.

The list is whole before the run's plan counts, so that a run that goes on later, by the same command or by a resume, deletes
what was agreed to and nothing else: each object in the version that was listed, after a last look at the source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from crossdock.connectors.objects import ObjectSink, ObjectSource
from crossdock.errors import ConfigError, LedgerError, NotFoundError
from crossdock.events import Observer, ignore
from crossdock.flows.deleting.doomed import Doomed, Journal
from crossdock.flows.deleting.removing import Look, RemovalReport, removal_report, remove
from crossdock.flows.planning.question import kept_filters
from crossdock.flows.questions.endpoints import describe_sink, rebuilt_sink
from crossdock.flows.questions.filters import NO_FILTERS, Filters
from crossdock.flows.questions.limits import NO_LIMITS, Limits
from crossdock.flows.reporting.report import Report
from crossdock.flows.runs.directory import RunDirectory
from crossdock.flows.runs.ownership import Owner

__all__ = ["SYNC", "Agreed", "SyncPlan", "not_begun"]

SYNC = "sync"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreed:
    """How the listed objects are deleted. Opens nothing.

    ``backup`` is where each is copied first; ``backup_kept`` the options of its store, without secrets. ``filters`` matter with
    ``delete_excluded``: what they leave out goes although the source has it.
    """

    source: ObjectSource
    sink: ObjectSink
    delete_excluded: bool = False
    filters: Filters = NO_FILTERS
    backup: ObjectSink | None = None
    backup_kept: Mapping[str, Any] = field(default_factory=dict)
    limits: Limits = NO_LIMITS
    observer: Observer = ignore

    def kept(self) -> dict[str, Any]:
        """What a run keeps of this, without secrets."""
        backup = None if self.backup is None else describe_sink(self.backup, self.backup_kept)
        return {"flow": SYNC, "delete_excluded": self.delete_excluded, "backup": backup}

    @classmethod
    def of(
        cls,
        document: Mapping[str, Any],
        source: ObjectSource,
        sink: ObjectSink,
        *,
        sink_options: Mapping[str, Any] | None,
        limits: Limits,
        observer: Observer,
    ) -> Agreed:
        """The same as a run kept it; ``sink_options`` go on top for the backup too, as when it was begun."""
        then = document["then"]
        backup = None if then["backup"] is None else rebuilt_sink({"sink": then["backup"]}, sink_options)
        return cls(
            source=source,
            sink=sink,
            delete_excluded=then["delete_excluded"],
            filters=kept_filters(document["asked"]),
            backup=backup,
            limits=limits,
            observer=observer,
        )

    def slowed(self, bandwidth_bytes_per_s: int | None) -> Agreed:
        """The same, with a bound for the bytes of what is put aside."""
        if self.backup is None or bandwidth_bytes_per_s is None:
            return self
        return replace(self, backup=self.backup.verifying(bandwidth_bytes_per_s=bandwidth_bytes_per_s))

    def left(self, directory: RunDirectory) -> SyncPlan:
        """What of the list is not done yet, to be shown before a run goes on.

        Raises:
            LedgerError: The list was never finished: its writer was killed.
        """
        journal = Journal(directory.files)
        about = journal.about()
        if about is None:
            raise LedgerError(
                "the list of what is to be deleted was never finished",
                operation="resume",
                where=directory.url,
                hint="give the command again that began the run: crossdock sync --delete",
            )
        done = removal_report(journal)
        shown = about.get("shown", {})
        return SyncPlan(
            source=self.source.url,
            sink=self.sink.url,
            new=shown.get("new", 0),
            both=shown.get("both", 0),
            delete=done.planned - done.deleted - done.changed,
            delete_bytes=done.planned_bytes - done.deleted_bytes,
            examples=() if done.deleted or done.changed else tuple(shown.get("examples", ())),
        )

    def run(self, copies: Report) -> RemovalReport:
        """Delete what the run has listed, if every copy succeeded.

        Raises:
            LedgerError: The run's directory cannot be used, or another driver has it.
        """
        directory = directory_of(copies)
        journal = Journal(directory.files)
        about = journal.about()
        if about is None or not about["planned"]:
            return RemovalReport()
        reason = not_begun(copies)
        if reason:
            planned, size = about["planned"], about["planned_bytes"]
            return RemovalReport(planned=planned, planned_bytes=size, not_begun=reason)
        with Owner(directory.files) as owner:
            deletes = remove(
                self.sink.store, journal, owner, self._look(), observer=self.observer, limits=self.limits
            )
            directory.update(deletes=deletes.to_dict())
        return deletes

    def _look(self) -> Look:
        """Just before a deletion: is it still missing at the source? Then a copy is put aside, if that is wanted."""
        source, sink, filters, backup = self.source, self.sink, self.filters, self.backup
        old = ObjectSource(sink.store, sink.prefix)

        def look(doomed: Doomed) -> str | None:
            key = source.prefix + doomed.name
            if source.store.refusal(key) is None:
                try:
                    here = source.store.stat(key)
                except NotFoundError:
                    pass
                else:
                    if not self.delete_excluded or filters.decide(doomed.name, here).taken:
                        return "it is at the source again"
            if backup is not None:
                backup.run(old.run(doomed.name, info=doomed.info), key=doomed.name)
            return None

        return look


def not_begun(copies: Report) -> str:
    """Why nothing may be deleted after copies like these; empty if it may."""
    counts = copies.counts
    if copies.state == "limited":
        return f"a limit stopped the copies: {counts.failed:,} failed, {counts.pending:,} are pending"
    return "" if copies.ok else f"{counts.failed:,} copies failed, {counts.pending:,} are pending"


def directory_of(copies: Report) -> RunDirectory:
    """Where a run that ended is kept."""
    if copies.directory is None:  # pragma: no cover - a run that ended has one
        raise ConfigError("a plan has no run to record deletions in", operation="delete")
    return copies.directory
