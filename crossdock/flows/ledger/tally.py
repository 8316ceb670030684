"""Where a run stands while it runs: counts that add up at every moment, whoever reports and how often.

Shards that ended are numbers; only those under way are remembered row by row, so that a row reported twice (a second
attempt, a segment read again) counts once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from crossdock.events import Observer, Progress
from crossdock.flows.ledger.records import Record, RecordState
from crossdock.flows.runs.manifest import ManifestSummary
from crossdock.model import Counts

__all__ = ["ShardCounts", "Tally", "counts_of"]

_EMIT_INTERVAL_S = 0.1


@dataclass(frozen=True, slots=True)
class ShardCounts:
    """How the rows of one shard stand. Rows that are to be tried again are in none of these."""

    copied: int = 0
    skipped: int = 0
    failed: int = 0
    copied_bytes: int = 0

    def plus(self, other: ShardCounts) -> ShardCounts:
        """Both together."""
        return ShardCounts(
            self.copied + other.copied,
            self.skipped + other.skipped,
            self.failed + other.failed,
            self.copied_bytes + other.copied_bytes,
        )


def counts_of(records: Mapping[int, Record]) -> ShardCounts:
    """The counts of one shard from the record of each of its rows."""
    copied = skipped = failed = copied_bytes = 0
    for record in records.values():
        if record.state is RecordState.COPIED:
            copied, copied_bytes = copied + 1, copied_bytes + record.size
        elif record.state is RecordState.SKIPPED:
            skipped += 1
        elif record.state is RecordState.FAILED:
            failed += 1
    return ShardCounts(copied, skipped, failed, copied_bytes)


class Tally:
    """The counts of one run; thread-safe; tells its observer of changes, at most every tenth of a second."""

    def __init__(self, summary: ManifestSummary, observer: Observer) -> None:
        self._observer = observer
        self._lock = threading.Lock()
        self._base = Counts(
            planned=summary.planned,
            skipped=summary.skip,
            failed=summary.refuse,
            planned_bytes=summary.copy_bytes,
        )
        self._ended = ShardCounts()
        self._ended_shards: set[int] = set()
        self._under_way: dict[int, dict[int, Record]] = {}
        self._told = 0.0

    def record(self, record: Record) -> None:
        """Take one record of a shard under way."""
        with self._lock:
            if record.shard in self._ended_shards or record.is_note:
                return
            rows = self._under_way.setdefault(record.shard, {})
            held = rows.get(record.row)
            if held is None or not held.is_final:
                rows[record.row] = replace(record, receipt=None)
        self.tell()

    def end(self, shard: int, counts: ShardCounts) -> None:
        """A shard ended with these counts; later records of it change nothing."""
        with self._lock:
            self._under_way.pop(shard, None)
            if shard not in self._ended_shards:
                self._ended_shards.add(shard)
                self._ended = self._ended.plus(counts)
        self.tell()

    @property
    def counts(self) -> Counts:
        """The numbers now."""
        with self._lock:
            total = self._ended
            for rows in self._under_way.values():
                total = total.plus(counts_of(rows))
        return replace(
            self._base,
            copied=total.copied,
            skipped=self._base.skipped + total.skipped,
            failed=self._base.failed + total.failed,
            copied_bytes=total.copied_bytes,
        )

    def tell(self, *, at_once: bool = False) -> None:
        """Tell the observer, unless it was told a moment ago."""
        now = time.monotonic()
        with self._lock:
            if not at_once and now - self._told < _EMIT_INTERVAL_S:
                return
            self._told = now
        self._observer(Progress(counts=self.counts))
