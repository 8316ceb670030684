"""What is known of a data file's columns without opening it: least and greatest value, number of nulls. Counted as rows pass."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["Stats"]

_COLUMNS = 32  # as many as Delta Lake's own writers count
_TEXT = 256  # longer texts have no bounds: cut ones would be bounds of something else


class Stats:
    """Of one file. Not thread-safe; memory: two values a column."""

    def __init__(self, schema: pa.Schema) -> None:
        self.rows = 0
        # Nested columns would need nested counts.
        self._counted = [each.name for each in list(schema)[:_COLUMNS] if not pa.types.is_nested(each.type)]
        self._bounded = {
            each.name for each in schema if each.name in self._counted and _is_ordered(each.type)
        }
        self._nulls = dict.fromkeys(self._counted, 0)
        self._bounds: dict[str, tuple[Any, Any]] = {}

    def seen(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Count a batch, and hand it on."""
        self.rows += batch.num_rows
        for name in self._counted:
            column = batch.column(name)
            self._nulls[name] += column.null_count
            if name in self._bounded:
                self._widen(name, column)
        return batch

    def _widen(self, name: str, column: Any) -> None:
        try:
            found: Any = pc.min_max(column).as_py()
        except (ValueError, OverflowError):  # a moment for which Python has no value
            found = None
        if found is None or _is_boundless(column, found):
            self._bounded.discard(name)
            self._bounds.pop(name, None)
            return
        least, greatest = found["min"], found["max"]
        if least is None:
            return
        known = self._bounds.get(name)
        self._bounds[name] = (
            (least, greatest) if known is None else (min(known[0], least), max(known[1], greatest))
        )

    def delta(self) -> dict[str, Any]:
        """As Delta Lake writes them; see its protocol, "Per-file Statistics"."""
        return {
            "numRecords": self.rows,
            "minValues": {name: _plain(least) for name, (least, _) in self._bounds.items()},
            "maxValues": {name: _plain(greatest) for name, (_, greatest) in self._bounds.items()},
            "nullCount": dict(self._nulls),
        }


def _is_ordered(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_string(kind)
        or pa.types.is_date(kind)
        or pa.types.is_timestamp(kind)
    )


def _is_boundless(column: Any, found: dict[str, Any]) -> bool:
    """NaN is greater than all for some readers and nothing for others; JSON has no infinity; a cut text bounds something else."""
    least, greatest = found["min"], found["max"]
    if pa.types.is_floating(column.type):
        return pc.all(pc.is_finite(column)).as_py() is False
    return isinstance(least, str) and max(len(least), len(greatest)) > _TEXT


def _plain(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        text = value.replace(tzinfo=None).isoformat(timespec="microseconds")
        return f"{text}Z" if value.tzinfo is not None else text
    if isinstance(value, dt.date):
        return value.isoformat()
    return value
