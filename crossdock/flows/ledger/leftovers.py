"""What a crash leaves open, whose it is, and what was done with it: values and decisions, no I/O.

An upload is a run's own if the run announced it (its ledger has an intent for that destination key) and it was begun
while the run was at work. Nothing else identifies it: the process that knew its id is dead.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from crossdock.errors import TaskFailed
from crossdock.flows.ledger.records import Record, RecordState
from crossdock.model import Upload

__all__ = [
    "CleanupReport",
    "Fate",
    "Leftover",
    "Untouched",
    "common_prefix",
    "intents_of",
    "not_old",
    "not_ours",
    "same_upload",
]

CLOCK_SKEW = timedelta(minutes=5)  # between our clocks and the store's, which dates the upload


class Fate(enum.Enum):
    """What became of an open upload."""

    REMOVED = "removed"
    REMOVABLE = "would be removed"  # a dry run
    KEPT = "kept"
    FAILED = "failed"  # to be removed; the reason says why it is still there


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """One upload that was open: where, since when, what became of it and, unless it was removed, why."""

    store: str
    key: str
    id: str
    begun: datetime | None
    fate: Fate
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "store": self.store,
            "key": self.key,
            "id": self.id,
            "begun": self.begun.isoformat() if self.begun else None,
            "fate": self.fate.value,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Untouched:
    """A run of several that was left alone; ``live`` if because a driver is at work on it, which is no failure."""

    run: str
    reason: str
    live: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupReport:
    """What was found open and what became of it. Visible objects are not in it: none is ever touched.

    ``place`` is the run's directory, the directory of all runs, or the destination that was looked at.
    """

    place: str
    dry_run: bool
    leftovers: tuple[Leftover, ...] = ()
    untouched: tuple[Untouched, ...] = ()

    @property
    def removed(self) -> tuple[Leftover, ...]:
        """What was removed, or would have been but for the dry run."""
        return tuple(each for each in self.leftovers if each.fate in (Fate.REMOVED, Fate.REMOVABLE))

    @property
    def kept(self) -> tuple[Leftover, ...]:
        """What was left on purpose; each says why."""
        return tuple(each for each in self.leftovers if each.fate is Fate.KEPT)

    @property
    def failed(self) -> tuple[Leftover, ...]:
        """What could not be removed."""
        return tuple(each for each in self.leftovers if each.fate is Fate.FAILED)

    @property
    def exit_code(self) -> int:
        """What a command should end with: 0, or 5 if something is left that was to be removed."""
        return 5 if self.failed or any(not each.live for each in self.untouched) else 0

    def raise_for_failures(self) -> None:
        """Raise if something is left that was to be removed.

        Raises:
            TaskFailed: With the first reason.
        """
        reasons = [each.reason for each in self.failed]
        reasons += [each.reason for each in self.untouched if not each.live]
        if reasons:
            raise TaskFailed(
                f"{len(reasons)} were not cleaned up, the first because: {reasons[0]}", task="cleanup"
            )

    def to_dict(self) -> dict[str, Any]:
        """The numbers, for JSON."""
        counts = Counter(each.fate for each in self.leftovers)
        return {
            "place": self.place,
            "dry_run": self.dry_run,
            **{fate.name.lower(): counts[fate] for fate in Fate},
            "untouched": len(self.untouched),
            "exit_code": self.exit_code,
        }


def intents_of(records: Iterable[Record]) -> Mapping[int, datetime]:
    """By row: when each upload was first announced."""
    times: dict[int, datetime] = {}
    for record in records:
        if record.state is RecordState.INTENT and record.time is not None:
            times[record.row] = min(record.time, times.get(record.row, record.time))
    return times


def not_ours(upload: Upload, announced: datetime, until: datetime | None = None) -> str | None:
    """Why an upload to a key that a run announced is not the run's; ``None`` if it is.

    Args:
        upload: It.
        announced: When the run said that it may begin one.
        until: The run's last sign of life, if it is over.
    """
    if upload.begun is None:
        return "the store does not say when it was begun, so whose it is cannot be told"
    if upload.begun < announced - CLOCK_SKEW:
        return "it was begun before this run announced its own"
    if until is not None and upload.begun > until + CLOCK_SKEW:
        return "it was begun after this run's last sign of life"
    return None


def same_upload(begun: Upload, listed: Upload) -> bool:
    """Whether a listing shows the upload that was begun; one that is assembled and not published has no id any more."""
    if listed.key != begun.key:
        return False
    return listed.id == begun.id or (not listed.id and dict(listed.state) == dict(begun.state))


def not_old(upload: Upload, before: datetime) -> str | None:
    """Why an upload is not old enough to be removed, whoever left it; ``None`` if it is."""
    if upload.begun is None:
        return "the store does not say when it was begun"
    return "it is younger than asked for" if upload.begun > before else None


def common_prefix(one: str, other: str) -> str:
    """What both begin with: as characters, because keys have no segments here."""
    shared = zip(one, other, strict=False)
    return one[
        : next((at for at, (mine, theirs) in enumerate(shared) if mine != theirs), min(len(one), len(other)))
    ]
