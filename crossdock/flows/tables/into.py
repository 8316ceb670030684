"""The table that a run loads: what every kind of ``ingest`` shares. Begun once, published once, whatever happens between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from crossdock.connectors.sql.loading import TableLoad
from crossdock.errors import CrossdockError
from crossdock.flows.planning.rows import Action, Row
from crossdock.flows.runs.directory import RunDirectory
from crossdock.flows.runs.manifest import Manifest
from crossdock.flows.tables.cutting import units_of
from crossdock.flows.tables.databases import DatabaseEnd, this_process
from crossdock.flows.tables.learning import schema_from, schema_text
from crossdock.flows.tables.loading import RETRIES, RETRY_DELAY_S, may_pass
from crossdock.flows.tables.port import Learned, Unit, UnitEnd
from crossdock.model import Counts, Receipt
from crossdock.pausing import pause

__all__ = ["Into", "NothingToDo", "has_work", "work_rows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Into:
    """Which table, and how.

    Attributes:
        end: The database.
        table: As the user wrote it.
        mode: ``append``, ``replace`` or ``upsert``.
        key: Columns that make a row one of a kind.
    """

    end: DatabaseEnd
    table: str
    mode: str
    key: tuple[str, ...]

    @property
    def url(self) -> str:
        """Database and table, without secrets."""
        return f"{self.end.database.url}#{self.table}"

    def asked(self) -> dict[str, Any]:
        """What a run keeps of it; plain values."""
        return {
            **self.end.asked(),
            "prefix": self.table,
            "table": self.table,
            "mode": self.mode,
            "key": list(self.key),
        }

    @classmethod
    def again(cls, kept: Mapping[str, Any], options: Mapping[str, Any] | None) -> Into:
        """From what a run kept."""
        end = DatabaseEnd.again(kept, options, what="sink")
        return cls(end=end, table=kept["table"], mode=kept["mode"], key=tuple(kept["key"]))

    def load(self, load_id: str, schema: pa.Schema) -> TableLoad:
        """The load, by its name."""
        return TableLoad(
            self.end.database, self.table, load_id=load_id, schema=schema, mode=self.mode, key=self.key
        )

    def planned(self, run_id: str, schema: pa.Schema) -> Learned:
        """What the workers of a run have to know of its load; what would fail at the end for certain fails here.

        Raises:
            ConfigError: The columns do not fit the table, or ``upsert`` has no unique index over the key.
        """
        self.load(run_id, schema).probe()
        return {"load": run_id, "columns": schema_text(schema)}

    def begun(self, learned: Learned) -> TableLoad:
        """The load, begun if it was not."""
        load = self.load(learned["load"], schema_from(learned["columns"]))
        load.begin()
        return load

    @property
    def home(self) -> str:
        """The process that has to load, if only one may."""
        return "" if self.end.database.capabilities.concurrent_writers else this_process()

    def finished(
        self, directory: RunDirectory, counts: Counts, *, origins: Iterable[str] = (), once: bool = False
    ) -> dict[str, Any]:
        """Publish, if every unit is there; what the run keeps of that.

        Raises:
            RowError: A key occurs twice, or is null. Nothing is visible.
            StorageError: The table refuses a row. Nothing is visible.
        """
        document = directory.read()
        learned: Learned = document["learned"]
        if "load" not in learned:
            return {"published": False, "table": self.url, "why": "there was nothing to load"}
        load = self.load(learned["load"], schema_from(learned["columns"]))
        if counts.failed:
            return {
                "published": False,
                "table": self.url,
                "why": f"{counts.failed} failed, so nothing of this run is visible",
                "staged_rows": load.standing().rows,
            }
        units = sum(len(list(units_of(rows))) for rows in _parts(directory.manifest))
        named = tuple(origins)
        receipt = _patiently(
            lambda: load.publish(units=units, rows=load.standing().rows, origins=named, once=once)
        )
        return {
            "published": True,
            "table": self.url,
            "rows": receipt.rows,
            "rows_changed": receipt.rows_changed,
            "evidence": receipt.evidence,
        }

    def discard(self, learned: Learned) -> None:
        """Remove what a run staged, if anything is there; what it published stays."""
        if "load" in learned:
            self.load(learned["load"], schema_from(learned["columns"])).discard()


def _patiently(publish: Callable[[], Receipt]) -> Receipt:
    """Try again what may pass: publishing twice is publishing once.

    Raises:
        CrossdockError: It did not pass, or is of another kind.
    """
    for number in range(RETRIES):
        try:
            return publish()
        except CrossdockError as error:
            if not may_pass(error) or not pause(RETRY_DELAY_S * 2**number):
                raise
    return publish()


def _parts(manifest: Manifest) -> Iterable[Iterable[Row]]:
    """Units lie within one part."""
    return (manifest.rows(part) for part in range(manifest.parts))


def work_rows(manifest: Manifest) -> Iterable[Row]:
    """The rows that are work, in order."""
    return (row for row in manifest.all_rows() if row.action in (Action.COPY, Action.COMPARE))


def has_work(manifest: Manifest) -> bool:
    """Whether there are any."""
    return next(iter(work_rows(manifest)), None) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class NothingToDo:
    """The work of a run that has none: all of it was loaded before, or there are no records."""

    why: str
    at_a_time: int = 1

    def announced(self, unit: Unit) -> int | None:
        """No upload is begun."""
        del unit
        return None

    def __call__(self, unit: Unit, stop: Any) -> UnitEnd:
        """Nothing is read."""
        del unit
        if stop.is_set():
            raise CrossdockError("the run was stopped", operation="ingest")
        return UnitEnd(skipped=self.why)
