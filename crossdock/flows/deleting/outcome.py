"""What a flow that copies and then deletes came to: the run's own report, and the deletions beside it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

from crossdock.errors import Retry, TaskFailed
from crossdock.flows.deleting.removing import RemovalReport
from crossdock.flows.reporting.report import Report
from crossdock.flows.reporting.telling import Telling

__all__ = ["CopiedAndDeleted", "told"]

NOTHING_DELETED = RemovalReport()


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedAndDeleted:
    """Copies and deletions of one run. ``copies.counts`` are of the copies alone: deletions are counted separately."""

    copies: Report
    deletes: RemovalReport = NOTHING_DELETED

    @property
    def ok(self) -> bool:
        """Whether everything was done, or for a dry run can be."""
        return self.copies.ok and (self.deletes.ok or self.copies.state == "planned")

    @property
    def exit_code(self) -> int:
        """What a command should end with (CONTRACT section 4)."""
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
                hint="repeat the same call: what is done is not done again",
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


def _not_deleted(deletes: RemovalReport) -> str:
    if deletes.not_begun:
        return f"nothing was deleted: {deletes.not_begun}"
    left = deletes.planned - deletes.deleted
    text = f"{left:,} of {deletes.planned:,} objects were not deleted"
    if deletes.examples:
        text += f"; first {deletes.examples[0].key!r}: {deletes.examples[0].reason}"
    return text
