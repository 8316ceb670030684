"""A unit of objects into a table that is loaded: read in order, decoded, changed by steps, staged at once.

``Loading`` is a ``UnitWork``. What is staged is noted by the unit's name in the same transaction, so an attempt after a crash, or a
second worker with the same shard, finds it and reads nothing. Readers of the table see rows when the run publishes, not before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from crossdock.batches import Batches
from crossdock.combine import CombinedTask
from crossdock.connectors.objects import ObjectSource
from crossdock.connectors.sql.loading import TableLoad
from crossdock.errors import (
    ConfigError,
    CrossdockError,
    NotFoundError,
    PreconditionError,
    Retry,
    RowError,
    TaskFailed,
)
from crossdock.flows.ledger.failures import BAD_ROWS, KEPT_OUT, SOURCE_CHANGED, VANISHED, failure_of
from crossdock.flows.ledger.records import Failure
from crossdock.flows.planning.rows import Row
from crossdock.flows.tables.databases import this_process
from crossdock.flows.tables.port import Unit, UnitEnd
from crossdock.flows.tables.reading import UnitReader
from crossdock.formats import chain
from crossdock.formats.decoding import Decode
from crossdock.model import Receipt
from crossdock.tasks import Task

__all__ = ["RETRIES", "RETRY_DELAY_S", "Loading", "Rows", "demand_home", "load_unit", "may_pass"]

RETRIES = 2
RETRY_DELAY_S = 1.0


def may_pass(error: BaseException) -> bool:
    """Whether the same unit may go through a moment later: a server that was restarted, a writer that was in the way."""
    return isinstance(error, CrossdockError) and error.retry is Retry.LATER


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """How units of objects are staged. A picklable recipe if its steps are.

    Memory for each unit at a time: what decoding one object takes, 16 MiB fetched ahead, one batch. Requests: those of its objects,
    one connection.

    Attributes:
        decode: How objects are read, with the schema that all of them have.
        steps: What is done to the rows between, in order.
        load: What they go into, begun already.
        at_a_time: Units, and connections, at a time in one process.
        home: The process that has to do it, where the database lets one write at a time; empty for any.
    """

    source: ObjectSource
    decode: Decode
    steps: tuple[Callable[[Any], Any], ...]
    load: TableLoad
    at_a_time: int = 4
    home: str = ""

    def announced(self, unit: Unit) -> int | None:
        """No upload is begun."""
        del unit
        return None

    def __call__(self, unit: Unit, stop: threading.Event) -> UnitEnd:
        """See ``UnitWork``. An object that cannot be read keeps its whole unit out: nothing is published without it anyway."""
        demand_home(self.load, self.home)
        reader = UnitReader(self.source, self.decode, stop)
        rows = unit.rows
        try:
            receipt = load_unit(Rows(reader, rows), self.load, unit.destination, self.steps)
        except Exception as error:
            if reader.failed is None or stop.is_set() or may_pass(reader.failed[1]):
                raise
            return UnitEnd(failures=_failures(unit, reader, error))
        if receipt.method == "found":
            return UnitEnd(receipt=receipt, rows_written=receipt.rows)
        return UnitEnd(receipt=receipt, rows=dict(reader.counts), rows_written=receipt.rows)


def demand_home(load: TableLoad, home: str) -> None:
    """Refuse to write from another process than the one that may.

    Raises:
        ConfigError: This is another one.
    """
    if home not in ("", this_process()):
        raise ConfigError(
            "this database lets one process write at a time, and the run has several",
            operation="ingest",
            where=load.url,
            hint="start a new run on threads of one process: without --workers, --dask or a runner of processes",
        )


def load_unit(first: Task, load: TableLoad, unit: str, steps: Sequence[Callable[[Any], Any]]) -> Receipt:
    """Stage what a task gives as one unit.

    Raises:
        Exception: What went wrong, not the combined task's wrapping of it.
    """
    stitch = chain(*steps) if steps else None
    pair = CombinedTask(
        first.bind(),
        load.bind(unit=unit),
        stitch_function=stitch,
        name="ingest",
        retries=RETRIES,
        retry_delay=RETRY_DELAY_S,
        retry_on=may_pass,
    )
    try:
        receipt: Receipt = pair()
    except TaskFailed as failed:
        raise (failed.__cause__ or failed) from failed
    method = "found" if receipt.method == "skip" else receipt.method
    return replace(
        receipt, key=f"{receipt.key}: {unit}", method=method
    )  # what a shard made is counted by keys


class Rows(Task):
    """The first half: rows of the manifest to rows of the table."""

    name = "rows"

    def __init__(self, reader: UnitReader, rows: Sequence[Row]) -> None:
        self._reader = reader
        self._rows = rows

    def run(self) -> Batches:
        """The rows of these objects as one stream."""
        return self._reader.batches(self._rows)


def _failures(unit: Unit, reader: UnitReader, error: Exception) -> dict[int, Failure]:
    """Each object of a unit that cannot be read by its own cause; the others by it."""
    bad, cause = reader.failed or (unit.rows[0], error)
    later = [row for row in unit.rows if row.number > bad.number]
    causes = {bad.number: cause, **reader.unreadable(later)}
    kept_out = failure_of(
        PreconditionError(
            f"loaded together with {bad.source.key!r}, which cannot be read: {cause}", operation="ingest"
        ),
        reason=KEPT_OUT,
    )
    return {
        row.number: failure_of(causes[row.number], reason=_reason(causes[row.number]))
        if row.number in causes
        else replace(kept_out, retryable=True)
        for row in unit.rows
        if row.number in unit.left
    }


def _reason(error: BaseException) -> str | None:
    if isinstance(error, NotFoundError):
        return VANISHED
    if isinstance(error, PreconditionError):
        return SOURCE_CHANGED
    return BAD_ROWS if isinstance(error, RowError) else None
