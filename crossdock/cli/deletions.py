"""How a run that copies and then deletes ends on screen: the copies' verdict, with the deletions in it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from crossdock.cli.ending import failure_row, show, when_done
from crossdock.cli.output import json_line, line, visible
from crossdock.cli.verdict import NOTHING, ends_the_same, verdict
from crossdock.options import format_size

if TYPE_CHECKING:
    from crossdock.flows import Report
    from crossdock.flows.deleting.outcome import CopiedAndDeleted
    from crossdock.flows.deleting.removing import RemovalReport

__all__ = ["deletion_rows", "show_both", "show_run"]

_KEYS_SHOWN = 5
_LIMITED = 7


def show_both(
    report: CopiedAndDeleted, *, json: bool, quiet: bool, resume: str, again: str, done: str, repeats: bool
) -> None:
    """Print it as ``cp`` does: with ``json`` failures, deletions that did not happen, the summary; for people the verdict.

    Args:
        report: How it ended.
        json: Whether stdout is for programs.
        quiet: Whether the verdict is left out if all is well.
        resume: The command that goes on with this run.
        again: The command that starts anew: the same.
        done: The headline if everything was done.
        repeats: Whether the same command makes sense after that; a move leaves no source.
    """
    if json:
        for record in report.copies.failed:
            json_line(failure_row(record))
        for each in report.deletes.examples:
            json_line(
                {"type": "not deleted", "key": each.key, "fate": each.fate.value, "reason": each.reason}
            )
        json_line({"type": "summary", **report.to_dict()})
    if quiet and not report.exit_code:
        return
    again = resume if _goes_on(report) else again
    text = _text(report, again=again, done=done, nothing=when_done(report.copies) if repeats else NOTHING)
    if json or quiet:
        sys.stderr.write(f"{text}\n")
        return
    head, _, rest = text.partition("\n")
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        head = click.style(head, bold=True, fg="red" if report.exit_code else "green")
    line(f"{head}\n{rest}")


def show_run(
    report: Report | CopiedAndDeleted, *, json: bool, quiet: bool, resume: str, again: str = ""
) -> int:
    """Print how a run stands, with its deletions if it is of a flow that deletes; the exit code.

    Args:
        report: As ``resume`` returns it, or of the copies alone.
        json: As ``show_both``.
        quiet: Likewise.
        resume: Likewise.
        again: Likewise.
    """
    from crossdock.flows.deleting.outcome import CopiedAndDeleted, with_deletions

    whole = report if isinstance(report, CopiedAndDeleted) else with_deletions(report)
    if isinstance(whole, CopiedAndDeleted):
        done = "done: everything was copied and deleted as it was asked"
        show_both(whole, json=json, quiet=quiet, resume=resume, again=again, done=done, repeats=False)
    else:
        show(whole, json=json, quiet=quiet, resume=resume, again=again)
    return whole.exit_code


def _goes_on(report: CopiedAndDeleted) -> bool:
    """Whether going on with the run does what is left, so that nothing need be listed again. Pure."""
    copies, deletes = report.copies, report.deletes
    if copies.state == "planned":
        return False
    if copies.counts.pending or any(group.retryable for group in copies.failures):
        return True
    return copies.ok and bool(deletes.pending or deletes.failed)


def _text(report: CopiedAndDeleted, *, again: str, done: str, nothing: str) -> str:
    """The copies' verdict, the deletions before its last rows."""
    planned = report.copies.state == "planned"
    is_over = report.ok or (
        ends_the_same(report.copies) and (report.deletes.ok or bool(report.deletes.not_begun))
    )
    next_command = "" if is_over and not planned else again
    lines = verdict(report.copies, next_command=next_command, done=nothing).split("\n")
    if report.copies.ok and not planned:
        deletes = report.deletes
        left = f"{deletes.planned - deletes.deleted:,} of {deletes.planned:,} objects were not deleted"
        lines[0] = (
            done
            if report.ok
            else f"stopped by a limit: {left}"
            if report.exit_code == _LIMITED
            else f"not done: {left}"
        )
    end = len(lines) - 1 - lines[::-1].index("")
    return "\n".join([*lines[:end], *deletion_rows(report.deletes), *lines[end:]])


def deletion_rows(deletes: RemovalReport) -> Iterator[str]:
    """Deletions as rows of a verdict; none if none were planned. Pure."""
    if not deletes.planned:
        return
    if deletes.not_begun:
        yield f"  deletes   none of {deletes.planned:,} objects: {visible(deletes.not_begun)}"
        return
    numbers = f"{deletes.planned:,} objects = {deletes.deleted:,} deleted + {deletes.changed:,} changed"
    numbers += f" + {deletes.kept:,} kept + {deletes.failed:,} failed + {deletes.pending:,} pending"
    yield f"  deletes   {numbers}"
    if deletes.limited:
        yield f"            {visible(deletes.limited)}"
    if deletes.deleted:
        yield f"  freed     {format_size(deletes.deleted_bytes)}"
    if deletes.unconditional:
        words = (
            "without a condition: the store cannot delete one version only, so each was looked at just before"
        )
        yield f"            {deletes.unconditional:,} of them {words}"
    for each in deletes.examples[:_KEYS_SHOWN]:
        yield f"            {each.fate.value}: {visible(each.key)}: {visible(each.reason)}"
