"""Telling of a run's end: once, to hooks and notifiers, whatever ended it, with what its directory knows.

A run that came to move something is told of while it is still owned, so that its report says how many were told. One
that could not begin is told of all the same: a job that never starts is what nobody notices.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from crossdock.combine.hooks import RunHooks, Told
from crossdock.errors import CrossdockError, LedgerError
from crossdock.events import Note, Observer
from crossdock.flows.reporting.report import Report, build_report, write_report
from crossdock.flows.runs.directory import RunDirectory, default_runs_url
from crossdock.notifications.record import CAUSES_TOLD, FailureCause, RunEnded, RunStatus, error_text

__all__ = ["Telling", "ended_of"]


class Telling:
    """Tells of one run's end, once: a ``with`` block around everything from the plan on.

    An error that leaves the block before anything moved is told as ``refused``. Belongs to one thread. Costs nothing
    if nobody is to be told.

    Args:
        hooks: Who is told; their references were checked.
        name: What the flow is called.
        observer: Hears what could not be recorded.
    """

    def __init__(self, hooks: RunHooks, name: str, observer: Observer) -> None:
        self._hooks = hooks
        self._name = name
        self._observer = observer
        self._told = not hooks
        self._started = datetime.now(UTC)
        self._clock = time.monotonic()
        self.source = self.sink = self.run_id = ""

    def about(self, *, run_id: str = "", source: str = "", sink: str = "") -> None:
        """What is known of the run so far, for a message about one that could not begin."""
        self.run_id, self.source, self.sink = run_id or self.run_id, source or self.source, sink or self.sink

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not self._told:
            self._fire(self._without_run(error))

    def driven(self, directory: RunDirectory, run: Callable[[], Report]) -> Report:
        """Drive the run, and tell of its end while it is owned.

        Returns:
            What ``run`` returned, with how many were told.

        Raises:
            BaseException: What ``run`` raised; it was told.
        """
        if self._told:
            return run()
        directory.update(notify=[repr(each) for each in self._hooks.notify])
        try:
            report = run()
        except BaseException as error:
            self._broken_off(directory, error)
            raise
        return self.ended(report)

    def ended(self, report: Report, error: BaseException | None = None) -> Report:
        """Tell of a run that came to its end; the same report, with how many were told.

        Args:
            report: How it ended.
            error: What went wrong besides what the report tells of.
        """
        if self._told:
            return report
        told = self._fire(ended_of(report, self._name, error))
        return self._recorded(report, told)

    def _broken_off(self, directory: RunDirectory, error: BaseException) -> None:
        interrupted = isinstance(error, KeyboardInterrupt)
        try:
            report = build_report(directory, state="interrupted" if interrupted else "failed")
        except CrossdockError:  # a directory that cannot be read is perhaps what ended the run: tell of that
            self._fire(replace(self._without_run(error), status="interrupted" if interrupted else "failed"))
            return
        told = self._fire(ended_of(report, self._name, error))
        if not isinstance(error, LedgerError):  # then the directory is lost, or another driver's
            self._recorded(report, told)

    def _fire(self, record: RunEnded) -> Told:
        self._told = True
        return self._hooks.fire(record)

    def _recorded(self, report: Report, told: Told) -> Report:
        """Add how many were told to what earlier ends of this run told."""
        directory = report.directory
        if directory is None or told == Told():
            return report
        report = replace(
            report,
            notifications_sent=report.notifications_sent + told.sent,
            notifications_failed=report.notifications_failed + told.failed,
        )
        try:
            directory.update(
                notifications={"sent": report.notifications_sent, "failed": report.notifications_failed}
            )
            write_report(directory, report)
        except CrossdockError as failure:
            self._observer(Note(text=f"how many were notified could not be recorded: {failure}"))
        return report

    def _without_run(self, error: BaseException) -> RunEnded:
        interrupted = isinstance(error, KeyboardInterrupt)
        return RunEnded(
            name=self._name,
            run_id=self.run_id,
            status="interrupted" if interrupted else "refused",
            started=self._started,
            duration_s=time.monotonic() - self._clock,
            source=self.source,
            sink=self.sink,
            error="" if interrupted else error_text(error),
        )


def ended_of(report: Report, name: str, error: BaseException | None = None) -> RunEnded:
    """The record of a run's end from its report. Pure but for the user's state directory, which names runs.

    Args:
        report: How the run stands.
        name: What the flow is called.
        error: What broke it off.
    """
    counts = report.counts
    status: RunStatus = "done" if report.ok and error is None else "failed"
    if report.state == "interrupted":
        status = "interrupted"
    created = report.started
    return RunEnded(
        name=name,
        run_id=report.run_id,
        status=status,
        counts={
            "planned": counts.planned,
            "copied": counts.copied,
            "skipped": counts.skipped,
            "failed": counts.failed,
            "pending": counts.pending,
        },
        bytes=counts.copied_bytes,
        objects=counts.copied,
        started=created,
        duration_s=report.duration_s,
        failures=tuple(
            FailureCause(
                reason=group.reason,
                count=group.count,
                sample=f"{group.keys[0]}: {group.message}",
                hint=group.hint,
            )
            for group in report.failures[:CAUSES_TOLD]
        ),
        source=report.source,
        sink=report.sink,
        run_dir=report.run_dir,
        next_command=_next(report, status),
        error="" if error is None or status == "interrupted" else error_text(error),
    )


def _next(report: Report, status: RunStatus) -> str:
    if status == "done":
        return ""
    own = report.run_dir == f"{default_runs_url()}/{report.run_id}"
    run = shlex.quote(report.run_id if own else report.run_dir)
    if report.counts.pending or any(group.retryable for group in report.failures):
        return f"crossdock runs resume {run}"
    return f"crossdock runs show {run}"
