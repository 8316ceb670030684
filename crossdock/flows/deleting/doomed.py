"""What is to be deleted and what became of it, as files of the run: the intent before, the results after.

``deletes/plan-00000.parquet`` and on list every object with the version that was observed; ``deletes/plan.json`` is written
after them and says that the list is whole; ``deletes/done-<attempt>-<sequence>.parquet`` are results, appended while the
deleting goes on. What is left is the list minus the results, so that a crash loses nothing but results of two seconds, and
deleting what is gone already changes nothing.
"""

from __future__ import annotations

import enum
import itertools
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crossdock.errors import CrossdockError, LedgerError, NotFoundError
from crossdock.flows.runs.columns import DIGEST_FIELDS, TIME, digests_of, rows_of, to_parquet, version_from
from crossdock.flows.runs.files import RunFiles
from crossdock.model import NO_DIGESTS, NO_VERSION, Digests, ObjectInfo, Version

__all__ = ["Doomed", "Fate", "Journal", "Removed"]

_PLAN, _ROWS, _DONE = "deletes/plan.json", "deletes/plan-", "deletes/done-"
_PART_ROWS = 50_000
_GROUP_ROWS = 1_000
_FLUSH_ROWS = 1_000
_FLUSH_INTERVAL_S = 2.0


class Fate(enum.Enum):
    """What became of one object that was to be deleted."""

    DELETED = "deleted"
    CHANGED = "changed"  # replaced since it was observed: it stays
    KEPT = "kept"  # a look just before said that it has to stay
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Doomed:
    """One object to delete, as it was observed. ``number`` tells it from all others of the run and grows along the list.

    The fields from ``destination`` on are of a move: where the copy is, and what its receipt proved; without a version and
    digests the copy was found there, and is to be compared first.
    """

    number: int
    name: str
    info: ObjectInfo
    destination: str = ""
    version: Version = NO_VERSION
    digests: Digests = NO_DIGESTS

    @property
    def has_receipt(self) -> bool:
        """Whether a receipt says what the destination holds."""
        return bool(self.version) or bool(self.digests)


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What became of one of them. ``unconditional``: the store cannot delete one version only, so it was looked at just before."""

    number: int
    key: str
    size: int
    fate: Fate
    reason: str = ""
    hint: str = ""
    unconditional: bool = False

    @property
    def is_final(self) -> bool:
        """Whether trying again would change nothing."""
        return self.fate in (Fate.DELETED, Fate.CHANGED)


_INFO_FIELDS: list[pa.Field[Any]] = [
    pa.field("number", pa.int64(), nullable=False),
    pa.field("key", pa.string(), nullable=False),
    pa.field("name", pa.string(), nullable=False),
    pa.field("size", pa.int64()),
    pa.field("modified", TIME),
    pa.field("etag", pa.string()),
    pa.field("generation", pa.string()),
    *DIGEST_FIELDS,
    pa.field("destination", pa.string(), nullable=False),
    pa.field("destination_etag", pa.string()),
    pa.field("destination_generation", pa.string()),
    *(pa.field(f"destination_{field.name}", field.type) for field in DIGEST_FIELDS),
]
_PLAN_SCHEMA = pa.schema(_INFO_FIELDS)
_DONE_FIELDS: list[pa.Field[Any]] = [
    pa.field("number", pa.int64(), nullable=False),
    pa.field("key", pa.string(), nullable=False),
    pa.field("size", pa.int64(), nullable=False),
    pa.field("fate", pa.string(), nullable=False),
    pa.field("reason", pa.string(), nullable=False),
    pa.field("hint", pa.string(), nullable=False),
    pa.field("unconditional", pa.bool_(), nullable=False),
    pa.field("time", TIME, nullable=False),
]
_DONE_SCHEMA = pa.schema(_DONE_FIELDS)


class Journal:
    """The deletions of one run. Belongs to one thread; opening it reads nothing."""

    def __init__(self, files: RunFiles) -> None:
        self._files = files
        self._attempt = (
            f"{time.time_ns():020d}-{secrets.token_hex(2)}"  # the results of later attempts sort last
        )
        self._sequence = itertools.count()
        self._waiting: list[dict[str, Any]] = []
        self._flushed = time.monotonic()

    def about(self) -> dict[str, Any] | None:
        """What ``plan`` said: ``planned``, ``planned_bytes``, ``parts``, ``numbers`` (how far these go) and its caller's own; ``None`` if no list is whole.

        Raises:
            LedgerError: It is damaged.
        """
        try:
            return self._files.get_json(_PLAN)[0]
        except NotFoundError:
            return None

    def plan(self, doomed: Iterable[Doomed], **about: Any) -> int:
        """Write the list, and then that it is whole; says how many there are. Memory: one part of the list.

        An earlier list is written over, and counts no more from the first moment on; its results stay and are known by their
        numbers.
        """
        self.forget()
        parts = planned = size = numbers = 0
        rest = iter(doomed)
        while rows := list(itertools.islice(rest, _PART_ROWS)):
            columns = [_columns(each) for each in rows]
            self._files.put(
                f"{_ROWS}{parts:05d}.parquet", to_parquet(columns, _PLAN_SCHEMA, group_rows=_GROUP_ROWS)
            )
            parts, planned = parts + 1, planned + len(rows)
            size += sum(each.info.size or 0 for each in rows)
            numbers = rows[-1].number + 1
        document = {"planned": planned, "planned_bytes": size, "parts": parts, "numbers": numbers}
        self._files.put_json(_PLAN, document | about)
        return planned

    def forget(self) -> None:
        """No list is whole any more; one request."""
        self._files.delete(_PLAN)

    def doomed(self, parts: int) -> Iterator[Doomed]:
        """The list, in order. Memory: one compressed part."""
        for part in range(parts):
            for row in self._rows(f"{_ROWS}{part:05d}.parquet"):
                yield _doomed(row)

    def results(self) -> Iterator[Removed]:
        """Every result there is, earlier attempts first; an object may have several."""
        for name in self._files.names(_DONE):
            for row in self._rows(name):
                yield Removed(
                    number=row["number"],
                    key=row["key"],
                    size=row["size"],
                    fate=Fate(row["fate"]),
                    reason=row["reason"],
                    hint=row["hint"],
                    unconditional=row["unconditional"],
                )

    def record(self, removed: Removed) -> None:
        """Take one result; written at the latest with the first one after two seconds, or by ``flush``.

        Raises:
            LedgerError: It cannot be written: nothing more is to be deleted then.
        """
        self._waiting.append(
            {
                "number": removed.number,
                "key": removed.key,
                "size": removed.size,
                "fate": removed.fate.value,
                "reason": removed.reason,
                "hint": removed.hint,
                "unconditional": removed.unconditional,
                "time": datetime.now(UTC),
            }
        )
        if len(self._waiting) >= _FLUSH_ROWS or time.monotonic() - self._flushed >= _FLUSH_INTERVAL_S:
            self.flush()

    def flush(self) -> None:
        """Write what waits, now.

        Raises:
            LedgerError: It cannot be written.
        """
        self._flushed = time.monotonic()
        if not self._waiting:
            return
        name = f"{_DONE}{self._attempt}-{next(self._sequence):05d}.parquet"
        try:
            self._files.put(name, to_parquet(self._waiting, _DONE_SCHEMA, group_rows=_GROUP_ROWS))
        except CrossdockError as error:
            raise self._files.failed(error, "write deletions", name) from error
        self._waiting = []

    def _rows(self, name: str) -> Iterator[Mapping[str, Any]]:
        try:
            data, _ = self._files.get(name)
            file = pq.ParquetFile(pa.BufferReader(data))
            for group in range(file.metadata.num_row_groups):
                yield from rows_of(file.read_row_group(group, use_threads=False))
        except CrossdockError as error:
            raise self._files.failed(error, "read deletions", name) from error
        except (pa.ArrowException, KeyError, ValueError) as error:
            raise LedgerError(
                f"the file is damaged: {error}", operation="read deletions", where=self._files.url, key=name
            ) from error


def _columns(each: Doomed) -> dict[str, Any]:
    info = each.info
    return {
        "number": each.number,
        "key": info.key,
        "name": each.name,
        "size": info.size,
        "modified": info.modified,
        "etag": info.version.etag,
        "generation": info.version.generation,
        **info.digests.as_dict(),
        "destination": each.destination,
        "destination_etag": each.version.etag,
        "destination_generation": each.version.generation,
        **{f"destination_{name}": value for name, value in each.digests.as_dict().items()},
    }


def _doomed(row: Mapping[str, Any]) -> Doomed:
    there = {field.name: row[f"destination_{field.name}"] for field in DIGEST_FIELDS}
    return Doomed(
        number=row["number"],
        name=row["name"],
        info=ObjectInfo(
            key=row["key"],
            size=row["size"],
            version=version_from(row["etag"], row["generation"]),
            digests=digests_of(row),
            modified=row["modified"],
        ),
        destination=row["destination"],
        version=version_from(row["destination_etag"], row["destination_generation"]),
        digests=Digests(**there),
    )
