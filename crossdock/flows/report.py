"""What happened to every object, in numbers that add up, and what to do about the rest.

A report is derived from manifest and ledger and nothing else, so it can be rebuilt at any time, by anybody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from crossdock.errors import LedgerError, Retry, TaskFailed
from crossdock.flows.failures import REFUSED, hint_for
from crossdock.flows.ledger import read_ledger
from crossdock.flows.manifest import ManifestSummary
from crossdock.flows.planning import Row
from crossdock.flows.records import Failure, Record, RecordState
from crossdock.flows.run_directory import RunDirectory
from crossdock.model import Counts

__all__ = ["FailureGroup", "Report", "build_report"]

_KEYS_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureGroup:
    """Failures of one class: how many, the first keys, the first message, what to do."""

    reason: str
    count: int
    keys: tuple[str, ...]
    message: str
    hint: str
    retryable: int  # how many of them resuming tries again


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A run in numbers. ``counts.planned = copied + skipped + failed + pending`` always holds.

    ``state`` is ``complete``, ``incomplete`` (something failed or is pending), ``interrupted``, ``running``, ``empty``
    or, for a dry run, ``planned``. ``levels`` counts copied objects by verification level, ``methods`` by how they were
    written (``found``: an earlier attempt had written them), ``metadata_lost`` objects by the field that was lost.
    ``started`` is when the run was created; notifications are counted over all its ends.
    """

    run_id: str
    run_dir: str
    state: str
    source: str
    sink: str
    counts: Counts
    duration_s: float = 0.0
    levels: Mapping[str, int] = field(default_factory=dict)
    methods: Mapping[str, int] = field(default_factory=dict)
    retries: int = 0
    resent_bytes: int = 0
    metadata_lost: Mapping[str, int] = field(default_factory=dict)
    metadata_lost_objects: int = 0
    failures: tuple[FailureGroup, ...] = ()
    excluded: int = 0
    started: datetime | None = None
    notifications_sent: int = 0
    notifications_failed: int = 0
    directory: RunDirectory | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        counts = self.counts
        if min(counts.copied, counts.skipped, counts.failed, counts.pending) < 0:
            raise LedgerError(
                f"the numbers do not add up: {counts}",
                operation="report",
                where=self.run_dir,
                hint="the ledger has records of rows that the manifest does not have",
            )

    @property
    def ok(self) -> bool:
        """Whether every planned object is copied or skipped with evidence."""
        return self.counts.failed == 0 and (self.counts.pending == 0 or self.state == "planned")

    @property
    def exit_code(self) -> int:
        """What a command should end with (CONTRACT section 4): 0, 3, 5 or 130."""
        if self.state == "interrupted":
            return 130
        if not self.ok:
            return 5
        return 0 if self.counts.planned else 3

    @property
    def failed(self) -> Iterator[Record]:
        """The record of each failed object, by row, refused ones first; read anew each time, a shard at a time."""
        if self.directory is None or not self.counts.failed:
            return
        for row in self.directory.manifest.refused():
            yield _refused(row)
        for _, records in read_ledger(self.directory.files):
            for _, record in sorted(records.items()):
                if record.state is RecordState.FAILED:
                    yield record

    def raise_for_failures(self) -> None:
        """Raise if anything failed or is left.

        Raises:
            TaskFailed: With the counts, and the commonest reason as its hint.
        """
        if self.ok:
            return
        counts = self.counts
        first = self.failures[0] if self.failures else None
        retryable = counts.pending > 0 or any(group.retryable for group in self.failures)
        cause = f"{counts.failed} of {counts.planned} objects failed, {counts.pending} are pending"
        if first is not None:
            cause += f"; {first.count} {first.reason}, first {first.keys[0]!r}: {first.message}"
        raise TaskFailed(
            cause,
            task="transfer",
            phase="sink",
            where=self.run_dir,
            retry=Retry.LATER if retryable else Retry.NEVER,
            hint=(first.hint if first is not None else "") or f"resume {self.run_id}",
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, ready for JSON; what ``report.json`` holds."""
        counts = self.counts
        return {
            "run_id": self.run_id,
            "run_dir": self.run_dir,
            "state": self.state,
            "exit_code": self.exit_code,
            "source": self.source,
            "sink": self.sink,
            "planned": counts.planned,
            "copied": counts.copied,
            "skipped": counts.skipped,
            "failed": counts.failed,
            "pending": counts.pending,
            "excluded": self.excluded,
            "planned_bytes": counts.planned_bytes,
            "copied_bytes": counts.copied_bytes,
            "duration_s": round(self.duration_s, 3),
            "levels": dict(self.levels),
            "methods": dict(self.methods),
            "retries": self.retries,
            "resent_bytes": self.resent_bytes,
            "metadata_lost_objects": self.metadata_lost_objects,
            "metadata_lost": dict(self.metadata_lost),
            "failures": [asdict(group) | {"keys": list(group.keys)} for group in self.failures],
            "notifications_sent": self.notifications_sent,
            "notifications_failed": self.notifications_failed,
        }


class _Sums:
    """Adds up records, one at a time."""

    def __init__(self) -> None:
        self.states: Counter[RecordState] = Counter()
        self.levels: Counter[str] = Counter()
        self.methods: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.lost_objects = self.retries = self.resent_bytes = self.copied_bytes = 0
        self._groups: dict[str, FailureGroup] = {}

    def add(self, record: Record) -> None:
        self.states[record.state] += 1
        receipt, failure = record.receipt, record.failure
        if receipt is not None:
            self.copied_bytes += receipt.size
            self.levels[receipt.verification.name] += 1
            self.methods[receipt.method] += 1
            self.retries += receipt.retries
            self.resent_bytes += receipt.resent_bytes
            self.lost.update(receipt.metadata_lost)
            self.lost_objects += bool(receipt.metadata_lost)
        if failure is not None:
            self._group(record.key, failure)

    def _group(self, key: str, failure: Failure) -> None:
        held = self._groups.get(failure.reason)
        self._groups[failure.reason] = FailureGroup(
            reason=failure.reason,
            count=(held.count if held else 0) + 1,
            keys=((held.keys if held else ()) + (key,))[:_KEYS_SHOWN],
            message=held.message if held else failure.message,
            hint=failure.hint,
            retryable=(held.retryable if held else 0) + failure.retryable,
        )

    @property
    def failures(self) -> tuple[FailureGroup, ...]:
        """The commonest first."""
        return tuple(sorted(self._groups.values(), key=lambda group: (-group.count, group.reason)))


def _refused(row: Row) -> Record:
    failure = Failure(
        reason=REFUSED, error="UnsupportedError", message=row.reason, hint=hint_for(REFUSED), retryable=False
    )
    return Record(
        shard=-1,
        row=row.number,
        state=RecordState.FAILED,
        key=row.source.key,
        size=row.source.size or 0,
        failure=failure,
    )


def build_report(directory: RunDirectory, *, state: str | None = None) -> Report:
    """Derive the report of a run from what its directory holds.

    Memory: the ledger of one shard. Requests: one a ledger segment, and the manifest's parts if anything was refused.

    Args:
        directory: The run.
        state: How the run ended, if the caller knows; else what ``run.json`` says.

    Raises:
        LedgerError: The directory is damaged, or its numbers do not add up.
    """
    document = directory.read()
    summary = ManifestSummary(**document.get("plan", {}))
    sums = _Sums()
    if summary.refuse:
        for row in directory.manifest.refused():
            sums.add(_refused(row))
    for _, records in read_ledger(directory.files):
        for record in records.values():
            sums.add(record)
    counts = Counts(
        planned=summary.planned,
        copied=sums.states[RecordState.COPIED],
        skipped=summary.skip + sums.states[RecordState.SKIPPED],
        failed=sums.states[RecordState.FAILED],
        planned_bytes=summary.copy_bytes,
        copied_bytes=sums.copied_bytes,
    )
    asked = document["asked"]
    notifications = document.get("notifications", {})
    return Report(
        run_id=document["run_id"],
        run_dir=directory.url,
        state=state or document["state"],
        source=f"{asked['source']['store']}/{asked['one'] or asked['source']['prefix']}",
        sink=f"{asked['sink']['store']}/{asked['exact'] or asked['sink']['prefix']}",
        counts=counts,
        duration_s=document.get("duration_s", 0.0),
        levels=dict(sorted(sums.levels.items())),
        methods=dict(sorted(sums.methods.items())),
        retries=sums.retries,
        resent_bytes=sums.resent_bytes,
        metadata_lost=dict(sorted(sums.lost.items())),
        metadata_lost_objects=sums.lost_objects,
        failures=sums.failures,
        excluded=document.get("excluded", 0),
        started=datetime.fromisoformat(document["created"]),
        notifications_sent=notifications.get("sent", 0),
        notifications_failed=notifications.get("failed", 0),
        directory=directory,
    )
