"""What a flow that copies and then deletes came to: the run's own report, and the deletions beside it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

from crossdock.errors import Retry, TaskFailed
from crossdock.flows.deleting.doomed import Journal
from crossdock.flows.deleting.removing import RemovalReport, removal_report
from crossdock.flows.reporting.report import Report
from crossdock.flows.reporting.telling import Telling
from crossdock.model import Counts

__all__ = ["MOVE", "CopiedAndDeleted", "told", "with_deletions"]

NOTHING_DELETED = RemovalReport()
MOVE = "move"


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedAndDeleted:
    """Copies and deletions of one run. ``copies.counts`` are of the copies alone: deletions are counted separately."""

    copies: Report
    deletes: RemovalReport = NOTHING_DELETED

    @property
    def counts(self) -> Counts:
        """Of the copies, as a ``Report`` has them: what goes on with any run can read either."""
        return self.copies.counts

    @property
    def state(self) -> str:
        """Of the copies, likewise."""
        return self.copies.state

    @property
    def run_id(self) -> str:
        """Of the run."""
        return self.copies.run_id

    @property
    def run_dir(self) -> str:
        """Where the run is kept."""
        return self.copies.run_dir

    @property
    def ok(self) -> bool:
        """Whether everything was done, or for a dry run can be."""
        return self.copies.ok and (self.deletes.ok or self.copies.state == "planned")

    @property
    def exit_code(self) -> int:
        """What a command should end with (CONTRACT section 4)."""
        if not self.copies.exit_code and self.deletes.limited:
            return 7
        return self.copies.exit_code or (0 if self.ok else 5)

    def raise_for_failures(self) -> None:
        """Raise if anything failed, is left, or was not deleted.

        Raises:
            TaskFailed: With the numbers, and the first reason.
        """
        self.copies.raise_for_failures()
        if not self.ok:
            raise TaskFailed(
                _not_deleted(self.deletes),
                task="delete",
                where=self.copies.run_dir,
                retry=Retry.LATER,
                hint=f"resume {self.run_id}, or repeat the same call: what is done is not done again",
            )

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, ready for JSON: the report of the copies, ``deleted``, and ``deletes``."""
        return self.copies.to_dict() | {
            "exit_code": self.exit_code,
            "deleted": self.deletes.deleted,
            "deletes": self.deletes.to_dict(),
        }


Ended = TypeVar("Ended", bound=CopiedAndDeleted)


def told(report: Ended, telling: Telling) -> Ended:
    """Tell of the end, which is a failure too if something was not deleted; the same report, with how many were told."""
    error = None
    if report.copies.ok and not report.ok:
        error = TaskFailed(_not_deleted(report.deletes), task="delete")
    return replace(report, copies=telling.ended(report.copies, error))


def with_deletions(report: Report) -> Report | CopiedAndDeleted:
    """The report of a run with what it has deleted so far, if it is of a flow that deletes; otherwise as it is.

    Requests: run.json, and what was written down of the deletions.

    Raises:
        LedgerError: They cannot be read.
    """
    directory = report.directory
    then = None if directory is None else directory.read().get("then")
    if directory is None or then is None:
        return report
    journal = Journal(directory.files)
    is_listed = journal.about() is not None
    deletes = removal_report(journal, not_begun="" if is_listed else "it has not begun")
    if then["flow"] == MOVE:  # it writes down what may go when all has arrived
        arrived = report.counts.copied + report.counts.skipped
        deletes = replace(deletes, planned=max(deletes.planned, arrived))
    return CopiedAndDeleted(copies=report, deletes=deletes)


def _not_deleted(deletes: RemovalReport) -> str:
    if deletes.not_begun:
        return f"nothing was deleted: {deletes.not_begun}"
    left = deletes.planned - deletes.deleted
    text = f"{left:,} of {deletes.planned:,} objects were not deleted"
    if deletes.limited:
        return f"{text}: {deletes.limited}"
    if deletes.examples:
        text += f"; first {deletes.examples[0].key!r}: {deletes.examples[0].reason}"
    return text
