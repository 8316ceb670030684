"""What happened to every object, in numbers that add up, and what to do about the rest.

A report is derived from manifest and ledger and nothing else, so it can be rebuilt at any time, by anybody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from crossdock.errors import ConfigError, CrossdockError, LedgerError, Retry, TaskFailed
from crossdock.flows.ledger.ends import MAX_ROWS, ends_reader, ends_table
from crossdock.flows.ledger.records import Record, RecordState
from crossdock.flows.ledger.segments import read_tables
from crossdock.flows.ledger.standing import in_state, winners
from crossdock.flows.ledger.summing import MADE_COLUMNS, SUM_COLUMNS, FailureGroup, Sums, refused_record
from crossdock.flows.ledger.writing import records_of
from crossdock.flows.reporting.report_page import page
from crossdock.flows.runs.directory import REPORT, REPORT_PAGE, RunDirectory
from crossdock.flows.runs.manifest import ManifestSummary
from crossdock.model import Counts

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["FailureGroup", "Report", "TableCounts", "build_report", "write_report"]

MIGRATE = "migrate"
_READINGS = 3
_ENDED_EARLY = {"interrupted": 130, "limited": 7}


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCounts:
    """What a run that makes tables has made, besides counting objects.

    Attributes:
        rows: Rows at the destination.
        rows_read: Rows that its objects gave, as far as their workers lived to count them; more where steps drop some.
        outputs: Objects written, or batches.
        bytes: Their bytes; 0 for a database.
    """

    rows: int = 0
    rows_read: int = 0
    outputs: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A run in numbers. ``counts.planned = copied + skipped + failed + pending`` always holds.

    ``state`` is ``complete``, ``incomplete`` (something failed or is pending), ``interrupted``, ``limited``, ``running``, ``empty``
    or, for a dry run, ``planned``. ``levels`` counts copied objects by verification level, ``methods`` by how they were
    written (``found``: an earlier attempt had written them), ``metadata_lost`` objects by the field that was lost.
    ``records_gone`` objects were recorded once and are not any more: somebody removed segments of the ledger; they are
    pending, and a resume recognises them at the destination. Of a run that makes tables, ``kind`` says which sort it is and ``made`` what came of it. ``retried`` is what this call of ``retry`` tried again. ``compared`` is false if ``overwrite`` was ``never``: what was skipped is there, whatever it is. ``started`` is when the run was created; notifications are counted over all its ends.
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
    records_gone: int = 0
    retried: int | None = None
    compared: bool = True
    started: datetime | None = None
    notifications_sent: int = 0
    notifications_failed: int = 0
    kind: str = MIGRATE
    made: TableCounts | None = None
    finished: Mapping[str, Any] = field(default_factory=dict)
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
        """What a command should end with (CONTRACT section 4): 0, 3, 5, 7 or 130."""
        if self.state in _ENDED_EARLY:
            return _ENDED_EARLY[self.state]
        if not self.ok:
            return 5
        return 0 if self.counts.planned else 3

    @property
    def failed(self) -> Iterator[Record]:
        """The record of each failed object, by row, refused ones first; read anew each time, a shard at a time."""
        if self.directory is None or not self.counts.failed:
            return
        if self.directory.summary.refuse:
            for row in self.directory.manifest.refused():
                yield refused_record(row)
        for _, table in read_tables(self.directory.files):
            yield from records_of(in_state(winners(table), RecordState.FAILED))

    def batches(self) -> pa.RecordBatchReader:
        """Every object's end as a stream of record batches in the manifest's order, read while it is pulled.

        Columns: ``ends.SCHEMA``. Memory: one part of the manifest (50,000 rows), with the records of its shards.

        Raises:
            ConfigError: This is the report of a plan: nothing was recorded.
        """
        return ends_reader(self._recorded_in())

    def to_arrow(self, *, max_rows: int = MAX_ROWS) -> pa.Table:
        """Every object's end as one table, in the manifest's order: key, destination, state, level, digests, reason, ...

        Memory: the whole table, some 300 bytes an object; ``batches`` has the same as a stream.

        Args:
            max_rows: A run of more objects is refused rather than held in memory.

        Raises:
            ConfigError: The run has more objects, or is a plan.
        """
        return ends_table(self._recorded_in(), max_rows=max_rows)

    def to_pandas(self, *, max_rows: int = MAX_ROWS) -> pd.DataFrame:
        """``to_arrow`` as a data frame, which takes about three times that memory."""
        return self.to_arrow(max_rows=max_rows).to_pandas()

    def to_html(self) -> str:
        """One page that needs nothing else: no script, no font, no image from anywhere; every text is escaped."""
        return page(self)

    def _recorded_in(self) -> RunDirectory:
        if self.directory is None:
            raise ConfigError("a plan has no record of what became of its objects", operation="report")
        return self.directory

    @property
    def counts_by_name(self) -> dict[str, int]:
        """Copied, skipped, failed and pending: what ``planned`` is the sum of."""
        counts = self.counts
        return {
            "copied": counts.copied,
            "skipped": counts.skipped,
            "failed": counts.failed,
            "pending": counts.pending,
        }

    @property
    def level_shares(self) -> dict[str, float]:
        """The share of copied objects that reached each level of verification; they add up to 1."""
        return {level: count / self.counts.copied for level, count in self.levels.items()}

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
            **self.counts_by_name,
            "excluded": self.excluded,
            "planned_bytes": counts.planned_bytes,
            "copied_bytes": counts.copied_bytes,
            "duration_s": round(self.duration_s, 3),
            "levels": dict(self.levels),
            "level_shares": self.level_shares,
            "methods": dict(self.methods),
            "retries": self.retries,
            "resent_bytes": self.resent_bytes,
            "metadata_lost_objects": self.metadata_lost_objects,
            "metadata_lost": dict(self.metadata_lost),
            "records_gone": self.records_gone,
            "failures": [asdict(group) | {"keys": list(group.keys)} for group in self.failures],
            "notifications_sent": self.notifications_sent,
            "notifications_failed": self.notifications_failed,
            **self._made_values(),
        }

    def _made_values(self) -> dict[str, Any]:
        if self.made is None:
            return {}
        return {
            "kind": self.kind,
            "rows": self.made.rows,
            "rows_read": self.made.rows_read,
            "outputs": self.made.outputs,
            "output_bytes": self.made.bytes,
            "finished": dict(self.finished),
        }


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
    kind = document["asked"].get("kind", MIGRATE)
    sums = _summed(directory, summary, SUM_COLUMNS if kind == MIGRATE else MADE_COLUMNS)
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
    lost = max(0, counts.pending) if state is None and document["state"] == "complete" else 0
    return Report(
        run_id=document["run_id"],
        run_dir=directory.url,
        state=state or ("incomplete" if lost else document["state"]),
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
        records_gone=lost,
        compared=asked.get("overwrite") != "never",
        started=datetime.fromisoformat(document["created"]),
        notifications_sent=notifications.get("sent", 0),
        notifications_failed=notifications.get("failed", 0),
        kind=kind,
        made=None if kind == MIGRATE else _made(sums),
        finished=document.get("finished", {}),
        directory=directory,
    )


def write_report(directory: RunDirectory, report: Report) -> None:
    """Write ``report.json`` and ``report.html`` into the run's directory; two requests.

    Raises:
        LedgerError: They could not be written.
    """
    try:
        directory.files.put_json(REPORT, report.to_dict())
        directory.files.put(REPORT_PAGE, page(report).encode("utf-8", "backslashreplace"))
    except CrossdockError as error:
        raise directory.files.failed(error, "write report", REPORT) from error


def _made(sums: Sums) -> TableCounts:
    return TableCounts(rows=sums.made_rows, rows_read=sums.rows, outputs=sums.outputs, bytes=sums.made_bytes)


def _summed(directory: RunDirectory, summary: ManifestSummary, columns: Sequence[str]) -> Sums:
    """Manifest and ledger added up; again if somebody compacted the ledger meanwhile."""
    for attempt in range(_READINGS):
        sums = Sums()
        try:
            if summary.refuse:
                sums.add_refused(directory.manifest.refused())
            for _, table in read_tables(directory.files, columns):
                sums.add(table)
        except LedgerError as error:
            if error.retry is not Retry.LATER or attempt + 1 == _READINGS:
                raise
        else:
            break
    return sums
