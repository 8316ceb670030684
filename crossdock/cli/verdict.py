"""The last screen: from a report to text. Pure. Counts that add up, bytes, rate, levels, what failed and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from crossdock.cli.output import visible
from crossdock.cli.progress import duration
from crossdock.options import format_size

if TYPE_CHECKING:
    from crossdock.flows import FailureGroup, Report

__all__ = [
    "NOTHING",
    "NOTHING_NOW",
    "UNSEEN",
    "ends_the_same",
    "headline",
    "is_unseen",
    "next_step",
    "verdict",
]

_HEADLINES = {
    "complete": "done: every object is at the destination, proven",
    "planned": "plan: nothing was moved",
    "interrupted": "interrupted: what was done is recorded, the rest can be resumed",
    "limited": "stopped by a limit: what was done is recorded, the rest can be resumed",
    "running": "still running, or its driver was killed: it can be resumed",
    "listing": "still listing, or its driver was killed: nothing was moved",
    "failed": "the run broke off: what was done is recorded, the rest can be resumed",
}

_DONE = {
    "ingest": "done: every row is in the table",
    "export": "done: every row is in the files, proven",
}
"""Where it is not objects that are at the destination."""

UNSEEN = "done: what was copied is proven; what was there already was left as it is, and not compared"
"""With ``--overwrite never``."""

_LASTING = ("archived", "collision", "missing", "refused")  # classes that come out of what was asked
NOTHING = "nothing"
NOTHING_NOW = "nothing; the same command again copies only what changes"


def verdict(report: Report, *, next_command: str, done: str = NOTHING_NOW) -> str:
    """The last screen, several lines, without colour.

    Args:
        report: How the run ended.
        next_command: What to type next; empty if there is nothing to do.
        done: What is said then, if nothing failed.
    """
    lines = [headline(report), *_rows(report)]
    for group in report.failures:
        lines += _failure(group)
    lines.append("")
    if report.run_dir:
        lines.append(_row("record", report.run_dir))
    lines.append(_row("next", next_command or (_what_stays(report) if report.counts.failed else done)))
    return "\n".join(lines)


def _what_stays(report: Report) -> str:
    same = "; the same command again ends the same" if ends_the_same(report) else ""
    return f"see what to do, above{same}"


def headline(report: Report) -> str:
    """One line: how it ended."""
    counts = report.counts
    if report.state in ("complete", "incomplete") and (counts.failed or counts.pending):
        parts = [f"{counts.failed:,} failed"] * bool(counts.failed) + [f"{counts.pending:,} pending"] * bool(
            counts.pending
        )
        return f"not done: of {counts.planned:,} objects {' and '.join(parts)}"
    if report.state == "planned" and counts.failed:
        return f"{_HEADLINES['planned']}; {counts.failed:,} of {counts.planned:,} objects are refused"
    if report.state == "complete" and report.kind not in _DONE and is_unseen(report):
        return UNSEEN
    if report.state == "complete":
        return _DONE.get(report.kind, _HEADLINES["complete"])
    return _HEADLINES.get(report.state, report.state)


def is_unseen(report: Report) -> bool:
    """Whether something was skipped because it is there, and nobody knows if it is the same."""
    return bool(report.counts.skipped) and not report.compared


def next_step(report: Report, *, resume: str, again: str) -> str:
    """The command that makes sense now, of the two that might; empty if nothing is left to do.

    Args:
        report: How the run ended.
        resume: The command that goes on with this run.
        again: The command that starts anew.
    """
    if report.state == "planned":
        return again
    if report.counts.pending or any(group.retryable for group in report.failures):
        return resume
    return again if report.counts.failed and not ends_the_same(report) else ""


def ends_the_same(report: Report) -> bool:
    """Whether nothing is left but failures that neither another attempt nor a new run of the same question mends."""
    return (
        bool(report.counts.failed)
        and not report.counts.pending
        and all(group.reason in _LASTING for group in report.failures)
    )


def _rows(report: Report) -> Iterator[str]:
    counts = report.counts
    yield f"  {visible(report.source)} -> {visible(report.sink)}"
    yield ""
    planned = f"{counts.planned:,} objects = {counts.copied:,} copied + {counts.skipped:,} skipped"
    yield _row("planned", f"{planned} + {counts.failed:,} failed + {counts.pending:,} pending")
    if report.excluded:
        yield _row("left out", f"{report.excluded:,} by the filters")
    if report.state == "planned":
        yield _row("to move", format_size(counts.planned_bytes))
        return
    rate = (
        f", {format_size(counts.copied_bytes / report.duration_s)}/s"
        if report.duration_s and counts.copied
        else ""
    )
    yield _row("moved", f"{format_size(counts.copied_bytes)} in {duration(report.duration_s)}{rate}")
    yield from _made(report)
    if report.levels:
        yield _row("verified", _counted(report.levels, "{count:,} to {name}"))
    if report.methods.get("found"):
        yield _row("found", f"{report.methods['found']:,} copied by an earlier attempt, not sent again")
    if report.retries:
        yield _row("retried", f"{report.retries:,} requests, {format_size(report.resent_bytes)} sent again")
    if report.metadata_lost_objects:
        fields = _counted(report.metadata_lost, "{name} ({count:,})")
        yield _row("lost", f"metadata of {report.metadata_lost_objects:,} objects: {fields}")
    if report.records_gone:
        yield _row(
            "gone",
            f"the ledger lost the records of {report.records_gone:,} objects: resume finds out what they were",
        )
    if report.notifications_failed:
        plural = "notification" if report.notifications_failed == 1 else "notifications"
        yield _row("not told", f"{report.notifications_failed:,} {plural} failed; the log says which")


def _made(report: Report) -> Iterator[str]:
    """What a run that makes tables has made, and what is left of earlier ones."""
    if report.made is None:
        return
    made = report.made
    dropped = f", of {made.rows_read:,} read" if made.rows_read > made.rows else ""
    size = f", {format_size(made.bytes)}" if made.bytes else ""
    if made.outputs:
        outputs = "1 output" if made.outputs == 1 else f"{made.outputs:,} outputs"
        yield _row("made", f"{outputs} with {made.rows:,} rows{dropped}{size}")
    if "published" in report.finished:
        yield _row("visible", _published(report.finished))
    if report.finished.get("orphans"):
        keys = ", ".join(visible(key) for key in report.finished["orphan_keys"])
        more = " at least" if report.finished["may_be_more"] else ""
        yield _row("left over", f"{report.finished['orphans']:,}{more} outputs that nothing leads to: {keys}")


def _failure(group: FailureGroup) -> Iterator[str]:
    keys = ", ".join(visible(key) for key in group.keys)
    more = ", ..." if group.count > len(group.keys) else ""
    yield ""
    yield f"  {group.count:,} {group.reason}: {keys}{more}"
    yield f"    {visible(group.message)}"
    if group.hint:
        yield f"    what to do: {group.hint}"


def _row(name: str, text: str) -> str:
    return f"  {name:<9} {text}"


def _counted(numbers: Mapping[str, int], form: str) -> str:
    return ", ".join(form.format(name=visible(name), count=count) for name, count in numbers.items())


def _published(finished: Mapping[str, Any]) -> str:
    """What became of rows that are to be seen all at once."""
    if not finished["published"]:
        staged = finished.get("staged_rows")
        waiting = (
            f"; {staged:,} rows wait unseen: go on, or remove them with crossdock cleanup" if staged else ""
        )
        return f"no: {finished['why']}{waiting}"
    changed = finished.get("rows_changed")
    table = "" if changed is None else f", {changed:,} of the table changed"
    return f"all {finished['rows']:,} rows at once{table}"
