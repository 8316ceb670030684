"""Runs at a glance: for each its question, its true state and its numbers, from one small file and, if it may be at work, its lease."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from crossdock.flows.runs.directory import RunDirectory, list_runs, run_files
from crossdock.flows.runs.ownership import current_owner

__all__ = ["KILLED", "RunOverview", "overview"]

KILLED = "killed"  # it says that it is at work, and nobody is
_AT_WORK = ("listing", "running")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOverview:
    """One run.

    Attributes:
        name: The last segment of its URL; below the user's state directory that is its id.
        url: Its directory.
        state: As ``run.json`` says, but ``killed`` if that is of work that nobody does any more.
        created: When it began.
        updated: When it was heard of last.
        planned: How many objects; ``None`` if it has no plan.
        counts: Copied, skipped, failed and pending as its last end counted them; empty before that.
        document: All of ``run.json``.
    """

    name: str
    url: str
    state: str
    created: datetime
    updated: datetime
    planned: int | None
    counts: Mapping[str, int]
    document: Mapping[str, Any]

    def age(self, now: datetime) -> timedelta:
        """How long ago it began."""
        return now - self.created

    def to_dict(self) -> dict[str, Any]:
        """What ``run.json`` says, with the true state and the numbers."""
        return {
            **self.document,
            "url": self.url,
            "state": self.state,
            "planned": self.planned,
            **{name: self.counts.get(name) for name in ("copied", "skipped", "failed", "pending")},
        }


def overview(url: str | None = None, options: Mapping[str, Any] | None = None) -> Iterator[RunOverview]:
    """The runs below a URL, oldest first; by default the user's own.

    Requests: one listing and one read a run, and one more for each that says it is at work. Memory: one run.

    Args:
        url: Where run directories are; any prefix.
        options: Options of the store.
    """
    for document in list_runs(url, options):
        place = document["url"]
        state = document["state"]
        if state in _AT_WORK:
            directory = RunDirectory(run_files(place, options))
            state = state if current_owner(directory.files) is not None else KILLED
        yield RunOverview(
            name=place.rstrip("/").rpartition("/")[2],
            url=place,
            state=state,
            created=datetime.fromisoformat(document["created"]),
            updated=datetime.fromisoformat(document["updated"]),
            planned=document["plan"]["planned"] if "plan" in document else None,
            counts=document.get("counts", {}),
            document=document,
        )
