"""Outcomes as a file: one row each, Parquet, JSON lines or CSV, written whole or not at all, at any URL."""

from __future__ import annotations

import csv
import enum
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final

from crossdock.combine.inputs import describe
from crossdock.errors import ConfigError, MissingExtraError, TaskFailed
from crossdock.model import Outcome, Receipt
from crossdock.notifications.record import error_text
from crossdock.small_objects import open_small_objects

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["COLUMNS", "outcome_row", "save_outcomes"]

_DEEPEST = 20
_DIGEST_BYTES = 64

# Name, and the Arrow type by name. Columns are added, none is renamed or removed.
COLUMNS: Final[Mapping[str, str]] = {
    "index": "int64",
    "state": "string",
    "task": "string",
    "run_id": "string",
    "tags": "string",  # JSON
    "inputs": "string",  # JSON
    "value": "string",  # JSON
    "source": "string",  # of a receipt, as are the next four
    "destination": "string",
    "size": "int64",
    "verification": "string",
    "evidence": "string",
    "error_class": "string",  # of the cause
    "error_phase": "string",
    "error_retry": "string",
    "error": "string",
    "attempts": "int64",
    "started": "timestamp",
    "duration_s": "float64",
    "bytes": "int64",
    "objects": "int64",
    "rows": "int64",
    "worker": "string",
}


def outcome_row(outcome: Outcome) -> dict[str, Any]:
    """One outcome as plain values, by ``COLUMNS``. Inputs are the short texts they are; payload is in none of it."""
    receipt = outcome.value if isinstance(outcome.value, Receipt) else None
    error = outcome.error
    failure = error if isinstance(error, TaskFailed) else None
    row = {
        "index": outcome.index,
        "state": outcome.state.value,
        "task": outcome.task,
        "run_id": outcome.run_id,
        "tags": _json(outcome.tags),
        "inputs": _json(outcome.inputs),
        "value": _json(outcome.value) if outcome.ok else None,
        "source": receipt.source if receipt else None,
        "destination": receipt.destination if receipt else None,
        "size": receipt.size if receipt else None,
        "verification": receipt.verification.name if receipt else None,
        "evidence": receipt.evidence if receipt else None,
        "error_class": type(error.__cause__ or error).__name__ if error is not None else None,
        "error_phase": failure.phase if failure else None,
        "error_retry": failure.retry.value if failure else None,
        "error": error_text(error) if error is not None else None,
        "attempts": outcome.attempts,
        "started": outcome.started,
        "duration_s": outcome.duration_s,
        "bytes": outcome.bytes,
        "objects": outcome.objects,
        "rows": outcome.rows,
        "worker": outcome.worker,
    }
    # Keys and messages may hold what UTF-8 cannot.
    return {
        name: value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
        for name, value in row.items()
    }


def _json(value: Any) -> str:
    """As JSON that every reader takes."""
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)


def _plain(value: Any, depth: int = 0) -> Any:
    """As JSON knows it: a receipt by its fields, a digest as hex, everything strange as a short text."""
    if value is None or (isinstance(value, str | bool | int | float) and not isinstance(value, enum.Enum)):
        return str(value) if isinstance(value, float) and not math.isfinite(value) else value
    if depth == _DEEPEST:
        return describe(value)
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, datetime | date):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name), depth + 1) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(each, depth + 1) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, depth + 1) for each in value]
    if isinstance(value, set | frozenset):
        return [_plain(each, depth + 1) for each in sorted(value, key=repr)]
    if isinstance(value, bytes) and len(value) <= _DIGEST_BYTES:
        return value.hex()
    return describe(value)


def save_outcomes(outcomes: Sequence[Outcome], url: str, options: Mapping[str, Any]) -> str:
    """Write them to ``url`` in the form its ending says; returns the URL of what was written.

    Raises:
        ConfigError: The ending is none of ours, or an option is unknown.
        StorageError: It could not be written; what was there is as it was.
    """
    suffix = url.rpartition("/")[2].rpartition(".")[2].lower()
    form = _FORMS.get(suffix)
    if form is None:
        raise ConfigError(
            f"{url!r} does not say in which form to save",
            operation="save",
            hint=f"end it in {', '.join(f'.{each}' for each in _FORMS)}",
        )
    head, slash, name = url.rpartition("/")
    place = open_small_objects(f"{head}{slash}" or "./", options)
    place.put(name, form([outcome_row(outcome) for outcome in outcomes]))
    return f"{place.url}{name}"


def _as_parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError(
            "Parquet needs pyarrow",
            operation="save",
            hint='pip install "crossdock[arrow]", or save as .jsonl',
        ) from error
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=_schema(pa)), sink, compression="zstd")
    return bytes(sink.getvalue())


def _schema(pa_: Any) -> pa.Schema:
    kinds = {
        "int64": pa_.int64(),
        "float64": pa_.float64(),
        "string": pa_.string(),
        "timestamp": pa_.timestamp("us", tz="UTC"),
    }
    return pa_.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])  # type: ignore[no-any-return]


def _as_lines(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """JSON lines; what is JSON already (inputs, value, tags) is nested, not quoted."""
    lines = []
    for row in rows:
        nested = {
            name: json.loads(row[name]) for name in ("tags", "inputs", "value") if row[name] is not None
        }
        plain = {**row, **nested, "started": _time_text(row)}
        lines.append(json.dumps(plain, ensure_ascii=False) + "\n")
    return "".join(lines).encode("utf-8", "backslashreplace")


def _as_csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(COLUMNS))
    writer.writeheader()
    writer.writerows({**row, "started": _time_text(row)} for row in rows)
    return text.getvalue().encode("utf-8")


def _time_text(row: Mapping[str, Any]) -> str | None:
    return None if row["started"] is None else row["started"].isoformat()


_FORMS: Final[Mapping[str, Callable[[Sequence[Mapping[str, Any]]], bytes]]] = {
    "parquet": _as_parquet,
    "jsonl": _as_lines,
    "csv": _as_csv,
}
