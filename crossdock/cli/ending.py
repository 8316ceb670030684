"""How a run ends on screen: failures and summary on stdout for programs, the verdict for people, the exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import click

from crossdock.cli.output import json_line, line
from crossdock.cli.verdict import NOTHING, NOTHING_NOW, next_step, verdict
from crossdock.errors import NotFoundError

if TYPE_CHECKING:
    from crossdock.flows import Report
    from crossdock.flows.ledger.records import Record

__all__ = ["address", "carry_out", "failure_row", "interrupted", "show", "when_done"]


def show(report: Report, *, json: bool, quiet: bool, resume: str, again: str) -> None:
    """Print a report: with ``json`` each failure and then the summary, and for people the verdict.

    The verdict is data (stdout) unless stdout has JSON; then it goes to stderr. ``quiet`` drops it if all is well.
    """
    if json:
        for record in report.failed:
            json_line(failure_row(record))
        json_line({"type": "summary", **report.to_dict()})
    if quiet and not report.exit_code:
        return
    text = verdict(report, next_command=next_step(report, resume=resume, again=again), done=when_done(report))
    if json or quiet:
        sys.stderr.write(f"{text}\n")
        return
    head, _, rest = text.partition("\n")
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        head = click.style(head, bold=True, fg="red" if report.exit_code else "green")
    line(f"{head}\n{rest}")


def interrupted(
    run: str | None, *, since: datetime, options: Mapping[str, str] | None = None
) -> Report | None:
    """The report of the run that Ctrl-C has just ended; ``None`` if it had not begun to move anything.

    Args:
        run: Its directory, if that was given; otherwise the user's runs are looked at.
        since: When the command began.
        options: Of the store that holds the directory.
    """
    from crossdock.flows import build_report, list_runs, open_run

    if run is None:
        ended = [
            document
            for document in list_runs(strict=False)
            if document["state"] == "interrupted" and datetime.fromisoformat(document["updated"]) >= since
        ]
        if not ended:
            return None
        run = max(ended, key=lambda document: str(document["updated"]))["url"]
    try:
        directory = open_run(run, options)
    except NotFoundError:
        return None
    return build_report(directory) if "plan" in directory.read() else None


def address(report: Report) -> str:
    """What ``runs resume`` and ``runs show`` find this run by: its id if it is among the user's own, else its URL."""
    from crossdock.flows import default_runs_url

    return report.run_id if report.run_dir == f"{default_runs_url()}/{report.run_id}" else report.run_dir


def when_done(report: Report) -> str:
    """What is said where nothing is left to do: a directory that was given holds one run, and takes no second one."""
    repeats = report.kind != "export" and address(report) == report.run_id  # an export refuses what is there
    return NOTHING_NOW if repeats else NOTHING


def carry_out(report: Report) -> str:
    """The command that carries out a plan that was written and not begun; empty for a run."""
    return f"crossdock cp --plan {report.run_dir}" if report.state == "planned" else ""


def failure_row(record: Record) -> dict[str, object]:
    """What ``--json`` says of one object that failed."""
    failure = record.failure
    row: dict[str, object] = {"type": "failure", "key": record.key, "size": record.size}
    if failure is not None:
        row |= {
            "reason": failure.reason,
            "error": failure.error,
            "message": failure.message,
            "hint": failure.hint,
            "retryable": failure.retryable,
            "attempts": failure.attempts,
        }
    return row
