"""One line of the ledger: how an attempt at one row of the manifest ended. Values and columns, no I/O."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from crossdock.flows.runs.columns import DIGEST_FIELDS, TIME, digests_of, version_from
from crossdock.model import Receipt, Verification

__all__ = [
    "OLDER",
    "SCHEMA",
    "Failure",
    "Made",
    "Record",
    "RecordState",
    "best",
    "from_columns",
    "is_left",
    "to_columns",
]


class RecordState(enum.Enum):
    """What a record says of its row.

    ``BEGUN`` speaks of the shard, ``INTENT`` of an upload in parts to come; ``AGAIN`` sets a failure aside: the row is
    pending once more, because somebody asked for a retry. ``UPLOAD`` and ``PART`` are of an object that is cut over several
    workers: what was begun for it, and what of it the store has acknowledged; their ``evidence`` is JSON.
    """

    BEGUN = "begun"
    INTENT = "intent"
    UPLOAD = "upload"
    PART = "part"
    AGAIN = "again"
    COPIED = "copied"
    SKIPPED = "skipped"
    FAILED = "failed"


_NOTES = (RecordState.BEGUN, RecordState.INTENT, RecordState.UPLOAD, RecordState.PART)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a row failed: the class of failure, the error's own words, what to do, and whether resuming tries again."""

    reason: str
    error: str
    message: str
    hint: str = ""
    retryable: bool = False
    attempts: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One output of a table flow: the rows in it, and its bytes where that has a meaning."""

    rows: int
    bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One line. ``row`` is the manifest's row number, -1 where the record speaks of the whole shard.

    ``failure`` of a row marked ``AGAIN`` is the one that was set aside. ``evidence`` says why a row was skipped; that of a copy is in its receipt.
    ``made`` is of what several rows of a table flow became together: it goes with the first of them.
    """

    shard: int
    row: int
    state: RecordState
    key: str = ""
    size: int = 0
    receipt: Receipt | None = None
    failure: Failure | None = None
    evidence: str = ""
    worker: str = ""
    time: datetime | None = None
    made: Made | None = None

    @property
    def reason(self) -> str:
        """The class of a failure; empty without one."""
        return self.failure.reason if self.failure is not None else ""

    @property
    def error(self) -> str:
        """The name of a failure's error and its message; empty without one."""
        return f"{self.failure.error}: {self.failure.message}" if self.failure is not None else ""

    @property
    def attempts(self) -> int:
        """How often the call that failed was tried; 0 without a failure."""
        return self.failure.attempts if self.failure is not None else 0

    @property
    def is_note(self) -> bool:
        """Whether it only helps later attempts, and says nothing of how the row stands."""
        return self.row < 0 or self.state in _NOTES

    @property
    def is_final(self) -> bool:
        """Whether the row needs no further work, whatever else is recorded."""
        return self.state in (RecordState.COPIED, RecordState.SKIPPED)

    @property
    def wants_retry(self) -> bool:
        """Whether resuming the run tries this row again."""
        return self.state is RecordState.AGAIN or (self.failure is not None and self.failure.retryable)


_FIELDS: list[pa.Field[Any]] = [
    pa.field("shard", pa.int64(), nullable=False),
    pa.field("row", pa.int64(), nullable=False),
    pa.field("state", pa.string(), nullable=False),
    pa.field("key", pa.string(), nullable=False),
    pa.field("size", pa.int64(), nullable=False),
    pa.field("source", pa.string()),
    pa.field("destination", pa.string()),
    pa.field("destination_key", pa.string()),
    pa.field("etag", pa.string()),
    pa.field("generation", pa.string()),
    pa.field("source_etag", pa.string()),
    pa.field("source_generation", pa.string()),
    *DIGEST_FIELDS,
    pa.field("verification", pa.int8()),
    pa.field("evidence", pa.string()),
    pa.field("method", pa.string()),
    pa.field("parts", pa.int32()),
    pa.field("metadata_lost", pa.list_(pa.string())),
    pa.field("retries", pa.int32()),
    pa.field("resent_bytes", pa.int64()),
    pa.field("duration_s", pa.float64()),
    pa.field("reason", pa.string()),
    pa.field("error", pa.string()),
    pa.field("message", pa.string()),
    pa.field("hint", pa.string()),
    pa.field("retryable", pa.bool_()),
    pa.field("attempts", pa.int32()),
    pa.field("worker", pa.string()),
    pa.field("time", TIME),
]
OLDER = pa.schema(_FIELDS)
"""What ledgers had before there were table flows."""

SCHEMA = pa.schema(
    [
        *_FIELDS,
        pa.field("rows", pa.int64()),  # of a table, that this object gave
        pa.field("made_rows", pa.int64()),
        pa.field("made_bytes", pa.int64()),
    ]
)


def to_columns(record: Record) -> dict[str, Any]:
    """A record as one row of ``SCHEMA``."""
    values: dict[str, Any] = {
        "shard": record.shard,
        "row": record.row,
        "state": record.state.value,
        "key": record.key,
        "size": record.size,
        "evidence": record.evidence,
        "worker": record.worker,
        "time": record.time,
        "made_rows": record.made.rows if record.made is not None else None,
        "made_bytes": record.made.bytes if record.made is not None else None,
    }
    return values | _receipt_columns(record.receipt) | _failure_columns(record.failure)


def _receipt_columns(receipt: Receipt | None) -> dict[str, Any]:
    if receipt is None:
        return {}
    return {
        "source": receipt.source,
        "destination": receipt.destination,
        "destination_key": receipt.key,
        "etag": receipt.version.etag,
        "generation": receipt.version.generation,
        "source_etag": receipt.source_version.etag,
        "source_generation": receipt.source_version.generation,
        **receipt.digests.as_dict(),
        "verification": int(receipt.verification),
        "evidence": receipt.evidence,
        "method": receipt.method,
        "parts": receipt.parts,
        "metadata_lost": list(receipt.metadata_lost),
        "retries": receipt.retries,
        "resent_bytes": receipt.resent_bytes,
        "duration_s": receipt.duration_s,
        "rows": receipt.rows or None,
    }


def _failure_columns(failure: Failure | None) -> dict[str, Any]:
    if failure is None:
        return {}
    return {
        "reason": failure.reason,
        "error": failure.error,
        "message": failure.message,
        "hint": failure.hint,
        "retryable": failure.retryable,
        "attempts": failure.attempts,
    }


def from_columns(row: Mapping[str, Any]) -> Record:
    """A record from one row of ``SCHEMA``."""
    return Record(
        shard=row["shard"],
        row=row["row"],
        state=RecordState(row["state"]),
        key=row["key"],
        size=row["size"],
        receipt=_receipt(row) if row["method"] is not None else None,
        failure=_failure(row) if row["reason"] is not None else None,
        evidence=row["evidence"] or "" if row["method"] is None else "",
        worker=row["worker"] or "",
        time=row["time"],
        made=Made(rows=row["made_rows"], bytes=row["made_bytes"]) if row["made_rows"] is not None else None,
    )


def _receipt(row: Mapping[str, Any]) -> Receipt:
    return Receipt(
        source=row["source"],
        destination=row["destination"],
        key=row["destination_key"],
        size=row["size"],
        version=version_from(row["etag"], row["generation"]),
        source_version=version_from(row["source_etag"], row["source_generation"]),
        digests=digests_of(row),
        verification=Verification(row["verification"]),
        evidence=row["evidence"],
        method=row["method"],
        parts=row["parts"],
        metadata_lost=tuple(row["metadata_lost"]),
        retries=row["retries"],
        resent_bytes=row["resent_bytes"],
        duration_s=row["duration_s"],
        rows=row["rows"] or 0,
    )


def _failure(row: Mapping[str, Any]) -> Failure:
    return Failure(
        reason=row["reason"],
        error=row["error"],
        message=row["message"],
        hint=row["hint"],
        retryable=row["retryable"],
        attempts=row["attempts"],
    )


def is_left(record: Record | None, *, again_only: bool = False) -> bool:
    """Whether a row is to be worked on, by the record that counts for it; with ``again_only`` only if a retry named it."""
    if again_only:
        return record is not None and record.state is RecordState.AGAIN
    return record is None or (not record.is_final and record.wants_retry)


def best(records: Iterable[Record]) -> dict[int, Record]:
    """The record that counts for each row: a success before a failure, else the latest.

    Of two successes (a shard that ran twice) the first is kept: the later one only found what the first had made.
    """
    chosen: dict[int, Record] = {}
    for record in records:
        if record.is_note:
            continue
        held = chosen.get(record.row)
        if held is None or _weight(record) > _weight(held):
            chosen[record.row] = record
    return chosen


def _weight(record: Record) -> tuple[bool, bool, float]:
    seconds = record.time.timestamp() if record.time is not None else 0.0
    sent = record.receipt is not None and record.receipt.method != "found"
    return record.is_final, sent, -seconds if record.is_final else seconds
