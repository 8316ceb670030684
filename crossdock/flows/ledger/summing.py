"""A ledger in numbers: records added up column by column, a shard at a time; failures grouped by their class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crossdock.flows.ledger.failures import hint_for, refusal_reason
from crossdock.flows.ledger.records import Failure, Record, RecordState
from crossdock.flows.ledger.standing import COLUMNS, in_state, winners
from crossdock.flows.planning.rows import Row
from crossdock.flows.runs.columns import rows_of
from crossdock.model import Verification

__all__ = ["MADE_COLUMNS", "SUM_COLUMNS", "FailureGroup", "Sums", "refused_record"]

_KEYS_SHOWN = 5
_OF_FAILURES = ["key", "reason", "message", "hint", "retryable"]
SUM_COLUMNS = tuple(
    dict.fromkeys((*COLUMNS, *_OF_FAILURES, "verification", "metadata_lost", "retries", "resent_bytes"))
)
"""The columns that ``Sums.add`` needs."""

MADE_COLUMNS = (*SUM_COLUMNS, "destination_key", "rows", "made_rows", "made_bytes")
"""And those it needs besides to count what a table flow made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureGroup:
    """Failures of one class: how many, the first keys, the first message, what to do."""

    reason: str
    count: int
    keys: tuple[str, ...]
    message: str
    hint: str
    retryable: int  # how many of them resuming tries again


class Sums:
    """Adds up the records that count. Memory: a few numbers, whatever the ledger's length. Not thread-safe."""

    def __init__(self) -> None:
        self.states: Counter[RecordState] = Counter()
        self.levels: Counter[str] = Counter()
        self.methods: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.lost_objects = self.retries = self.resent_bytes = self.copied_bytes = 0
        self.outputs = self.made_rows = self.made_bytes = self.rows = 0
        self._groups: dict[str, FailureGroup] = {}

    def add(self, table: pa.Table) -> None:
        """Take all records of one shard, of every attempt; it needs ``SUM_COLUMNS``, or of a table flow ``MADE_COLUMNS``."""
        counted = winners(table)
        for state, count in _counted(counted["state"]):
            self.states[RecordState(state)] += count
        copied = in_state(counted, RecordState.COPIED)
        self.copied_bytes += _sum(copied["size"])
        for level, count in _counted(copied["verification"]):
            self.levels[Verification(level).name] += count
        self.methods.update(dict(_counted(copied["method"])))
        self.retries += _sum(copied["retries"])
        self.resent_bytes += _sum(copied["resent_bytes"])
        lost = copied["metadata_lost"]
        self.lost.update(dict(_counted(pc.list_flatten(lost))))
        self.lost_objects += _sum(pc.list_value_length(lost).cast(pa.bool_()).cast(pa.int64()))
        if "made_rows" in table.column_names:
            self._add_made(copied)
        for row in rows_of(in_state(counted, RecordState.FAILED).select(_OF_FAILURES)):
            self._group(row["key"], row["reason"], row["message"], row["hint"], row["retryable"])

    def _add_made(self, copied: pa.Table) -> None:
        """What each destination holds: the last of what was written there, where a retry made one again."""
        self.rows += _sum(copied["rows"])
        made = copied.filter(pc.is_valid(copied["made_rows"])).select(
            ["destination_key", "time", "made_rows", "made_bytes"]
        )
        latest: dict[str, dict[str, Any]] = {}
        for row in rows_of(made):
            held = latest.get(row["destination_key"])
            if held is None or (held["time"] is not None and row["time"] and row["time"] >= held["time"]):
                latest[row["destination_key"]] = row
        self.outputs += len(latest)
        self.made_rows += sum(row["made_rows"] for row in latest.values())
        self.made_bytes += sum(row["made_bytes"] or 0 for row in latest.values())

    def add_refused(self, rows: Iterable[Row]) -> None:
        """Take rows that the plan refused: they failed before anything was tried."""
        for row in rows:
            self.states[RecordState.FAILED] += 1
            reason = refusal_reason(row.reason)
            self._group(row.source.key, reason, row.reason, hint_for(reason), False)

    def _group(self, key: str, reason: str, message: str, hint: str, retryable: bool) -> None:
        held = self._groups.get(reason)
        if held is None:
            held = FailureGroup(reason=reason, count=0, keys=(), message=message, hint=hint, retryable=0)
        self._groups[reason] = replace(
            held,
            count=held.count + 1,
            keys=held.keys if len(held.keys) == _KEYS_SHOWN else (*held.keys, key),
            hint=hint,
            retryable=held.retryable + bool(retryable),
        )

    @property
    def failures(self) -> tuple[FailureGroup, ...]:
        """The commonest first."""
        return tuple(sorted(self._groups.values(), key=lambda group: (-group.count, group.reason)))


def refused_record(row: Row) -> Record:
    """A row that the plan refused, as a record; its shard is -1, since it is in none."""
    reason = refusal_reason(row.reason)
    return Record(
        shard=-1,
        row=row.number,
        state=RecordState.FAILED,
        key=row.source.key,
        size=row.source.size or 0,
        failure=Failure(
            reason=reason,
            error="UnsupportedError",
            message=row.reason,
            hint=hint_for(reason),
            retryable=False,
        ),
    )


def _counted(column: Any) -> list[tuple[Any, int]]:
    """Each value and how often it occurs; nulls are not counted."""
    found: Any = pc.value_counts(column)
    return [(each["values"], each["counts"]) for each in found.to_pylist() if each["values"] is not None]


def _sum(column: Any) -> int:
    return int(pc.sum(column).as_py() or 0)
