"""The manifest: the fixed list of what a run shall move, as Parquet parts at any URL, written once before any byte moves.

Writing holds one part in memory, reading one part of compressed bytes and one slice of rows. Keys are stored as text,
byte for byte.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crossdock.errors import CrossdockError, LedgerError, NotFoundError
from crossdock.flows.planning.rows import Action, Row
from crossdock.flows.runs.columns import (
    OBJECT_FIELDS,
    object_columns,
    object_from,
    rows_of,
    to_parquet,
    version_from,
)
from crossdock.flows.runs.files import RunFiles

__all__ = ["GROUP_ROWS", "PART_ROWS", "Manifest", "ManifestSummary", "write_manifest"]

PART_ROWS = 50_000
_WORK = (Action.COPY, Action.COMPARE)
GROUP_ROWS = 1_000  # what is decompressed at once: a shard is about as long

_FIELDS: list[pa.Field[Any]] = [
    pa.field("row", pa.int64(), nullable=False),
    pa.field("key", pa.string(), nullable=False),
    pa.field("name", pa.string(), nullable=False),
    *OBJECT_FIELDS,
    pa.field("destination", pa.string(), nullable=False),
    pa.field("action", pa.string(), nullable=False),
    pa.field("compare", pa.string()),  # null in the manifests of earlier versions: auto
    pa.field("reason", pa.string(), nullable=False),
    pa.field("destination_exists", pa.bool_(), nullable=False),
    pa.field("destination_etag", pa.string()),
    pa.field("destination_generation", pa.string()),
]
SCHEMA = pa.schema(_FIELDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestSummary:
    """What a manifest holds, in numbers: ``planned = copy + compare + skip + refuse``.

    ``load`` is what carrying it out will ask for (``weighing.Load``), if that was added up.
    """

    parts: int = 0
    planned: int = 0
    copy: int = 0
    compare: int = 0
    skip: int = 0
    refuse: int = 0
    planned_bytes: int = 0
    copy_bytes: int = 0  # of what is to copy or to compare
    unknown_sizes: int = 0
    load: Mapping[str, Any] = field(default_factory=dict)

    @property
    def to_do(self) -> int:
        """Rows a worker will look at."""
        return self.copy + self.compare

    def as_dict(self) -> dict[str, Any]:
        """The numbers by name."""
        return asdict(self)


def write_manifest(files: RunFiles, rows: Iterable[Row], *, part_rows: int = PART_ROWS) -> ManifestSummary:
    """Write all rows as ``manifest/part-00000.parquet`` and so on, numbering them from 0.

    Rows of work that follow one another and share a destination are in one part, which may be somewhat longer then. Memory: one part. A
    failure leaves the parts written so far, and no run that would read them.
    """
    counts = dict.fromkeys((each.name for each in fields(ManifestSummary) if each.name != "load"), 0)
    buffer: list[dict[str, Any]] = []

    def flush() -> None:
        files.put(_part_name(counts["parts"]), to_parquet(buffer, SCHEMA, group_rows=GROUP_ROWS))
        counts["parts"] += 1
        buffer.clear()

    for row in rows:
        if len(buffer) >= part_rows and not _belongs(row, buffer[-1]):
            flush()
        buffer.append(_record(row, counts["planned"]))
        _count(counts, row)
    if buffer:
        flush()
    return ManifestSummary(**counts)  # type: ignore[arg-type]


def _belongs(row: Row, before: Mapping[str, Any]) -> bool:
    """Whether both rows become one thing: then the shard that makes it has them in one part."""
    return row.action in _WORK and before["destination"] == row.destination


def _count(counts: dict[str, int], row: Row) -> None:
    size = row.source.size or 0
    counts["planned"] += 1
    counts[row.action.value] += 1
    counts["planned_bytes"] += size
    counts["unknown_sizes"] += row.source.size is None
    if row.action in _WORK:
        counts["copy_bytes"] += size


def _part_name(number: int) -> str:
    return f"manifest/part-{number:05d}.parquet"


def _record(row: Row, number: int) -> dict[str, Any]:
    source = row.source
    observed = row.observed
    return {
        "row": number,
        "key": source.key,
        "name": row.name,
        **object_columns(source),
        "destination": row.destination,
        "action": row.action.value,
        "compare": row.compare,
        "reason": row.reason,
        "destination_exists": observed is not None,
        "destination_etag": observed.etag if observed is not None else None,
        "destination_generation": observed.generation if observed is not None else None,
    }


def _row(record: dict[str, Any]) -> Row:
    observed = version_from(record["destination_etag"], record["destination_generation"])
    return Row(
        number=record["row"],
        source=object_from(record),
        name=record["name"],
        destination=record["destination"],
        action=Action(record["action"]),
        reason=record["reason"],
        compare=record.get("compare") or "auto",
        observed=observed if record["destination_exists"] else None,
    )


class _Parts:
    """The last few parts read by this process, compressed: neighbouring shards are slices of the same part."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple[str, str, int], bytes] = OrderedDict()

    def get(self, files: RunFiles, run_id: str, part: int) -> bytes:
        place = (files.url, run_id, part)
        with self._lock:
            if place in self._held:
                self._held.move_to_end(place)
                return self._held[place]
        data, _ = files.get(_part_name(part))
        with self._lock:
            self._held[place] = data
            while len(self._held) > self._keep:
                self._held.popitem(last=False)
        return data


_parts = _Parts(keep=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A written manifest, read by part or slice. Picklable; thread-safe.

    ``run_id`` tells manifests at one URL apart, so that a part kept in memory is never another run's.
    """

    files: RunFiles
    run_id: str
    parts: int

    def rows(self, part: int, start: int = 0, stop: int | None = None) -> Iterator[Row]:
        """Rows ``[start, stop)`` of one part, in order; at most two requests' worth of memory: the part, compressed.

        Raises:
            LedgerError: The part is missing or damaged.
        """
        for record in self._records(part, start, stop, None):
            yield _row(record)

    def all_rows(self) -> Iterator[Row]:
        """Every row, in order, a group at a time."""
        for part in range(self.parts):
            yield from self.rows(part)

    def work(self, part: int) -> Iterator[tuple[bool, int]]:
        """For each row of a part, in order: whether a worker has to look at it, and its size (0 if unknown)."""
        for record in self._records(part, 0, None, ["action", "size"]):
            yield record["action"] in (Action.COPY.value, Action.COMPARE.value), record["size"] or 0

    def refused(self) -> Iterator[Row]:
        """The rows the destination cannot hold."""
        return (row for row in self.all_rows() if row.action is Action.REFUSE)

    def tables(self, part: int, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """The rows of one part as tables of a group each, in order.

        Raises:
            LedgerError: The part is missing or damaged.
        """
        return self._tables(part, 0, None, columns)

    def _records(
        self, part: int, start: int, stop: int | None, columns: list[str] | None
    ) -> Iterator[dict[str, Any]]:
        for table in self._tables(part, start, stop, columns):
            yield from rows_of(table)

    def _tables(
        self, part: int, start: int, stop: int | None, columns: list[str] | None
    ) -> Iterator[pa.Table]:
        try:
            file = pq.ParquetFile(pa.BufferReader(_parts.get(self.files, self.run_id, part)))
            end = file.metadata.num_rows if stop is None else min(stop, file.metadata.num_rows)
            offset = 0
            for group in range(file.metadata.num_row_groups):
                length = file.metadata.row_group(group).num_rows
                first, last = max(start, offset), min(end, offset + length)
                if first < last:
                    table = file.read_row_group(group, columns=columns, use_threads=False)
                    yield table.slice(first - offset, last - first)
                offset += length
        except NotFoundError as error:
            raise LedgerError(
                "this process cannot see the manifest",
                operation="read manifest",
                where=self.files.url,
                key=_part_name(part),
                hint="workers on other machines need a run directory they reach: give run_dir=s3://... or gs://...",
            ) from error
        except CrossdockError as error:
            raise self.files.failed(error, "read manifest", _part_name(part)) from error
        except (pa.ArrowException, KeyError, ValueError) as error:
            raise LedgerError(
                f"the part is damaged: {error}",
                operation="read manifest",
                where=self.files.url,
                key=_part_name(part),
                hint="start a new run: what is at the destination already is not sent again",
            ) from error
