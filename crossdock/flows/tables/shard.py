"""One shard of a table flow on one worker: its units done one by one, each recorded in the ledger at once.

``UnitShard`` is what a runner maps: a picklable recipe, called with a reference to a shard, returning counts. Rows of tables pass
through this process and appear in neither.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from crossdock import crash_points
from crossdock.errors import LedgerError, TaskFailed
from crossdock.events import listening
from crossdock.flows.ledger.failures import failure_of
from crossdock.flows.ledger.leftovers import intents_of
from crossdock.flows.ledger.records import Failure, Made, Record, RecordState, best, is_left
from crossdock.flows.ledger.tally import counts_of
from crossdock.flows.ledger.writing import LedgerWriter, read_shard
from crossdock.flows.moving.parts.words import ShardEnd
from crossdock.flows.moving.working import Hooks, keep, ledger_of, movers, run_all
from crossdock.flows.planning.rows import Row
from crossdock.flows.runs.directory import RunDirectory
from crossdock.flows.runs.manifest import Manifest
from crossdock.flows.runs.shards import Shard
from crossdock.flows.tables.cutting import units_of
from crossdock.flows.tables.port import Unit, UnitEnd, UnitWork
from crossdock.pausing import stopping_with

__all__ = ["UnitShard", "records_of_unit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitShard:
    """Does the units of one shard; called by a runner, on any worker, perhaps twice at once.

    What is recorded is not done again. A unit that fails fails alone, with all of its rows that were left; only a ledger or
    manifest that cannot be used, or a bug, is an error of the shard.

    Attributes:
        session: The driver's ownership; its sign to stop is looked for every few seconds.
        again_only: Only rows that a retry named; the rest stays as it is.
    """

    directory: RunDirectory
    manifest: Manifest
    work: UnitWork
    session: str
    again_only: bool = False
    hooks: Hooks | None = None

    shard_size = 1  # for runners that group items: a shard is a group already

    def __getstate__(self) -> dict[str, Any]:
        fields = ("directory", "manifest", "work", "session", "again_only")
        return {name: getattr(self, name) for name in fields}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "hooks", None)

    def __call__(self, shard: Shard) -> ShardEnd:
        """Do what is left of one shard.

        Raises:
            LedgerError: The manifest or the ledger cannot be read or written.
        """
        hooks = self.hooks or Hooks()
        hooks.used = True
        # Elsewhere, the runner has put its own listener in place and carries what it hears to the driver.
        with listening(hooks.observer) if self.hooks is not None else nullcontext():
            return self._work(shard, hooks)

    def _work(self, shard: Shard, hooks: Hooks) -> ShardEnd:
        began = time.monotonic()
        before = read_shard(self.directory.files, shard.number)
        known = best(before)
        units = [unit for unit in self._units(shard, before, known) if unit.left]
        if units and not hooks.stop.is_set():
            with ledger_of(
                self.directory, shard.number, self.session, hooks, is_driver=self.hooks is not None
            ) as ledger:
                ledger.record(*self._announced(shard, units, ledger))
                ledger.flush()
                crash_points.reached("intent-recorded")

                def work(unit: Unit) -> None:
                    if not hooks.stop.is_set():
                        keep(self._ended(unit, hooks), ledger, hooks, known)

                with movers.taken(self.work.at_a_time) as pool:
                    run_all(pool, work, units, hooks.stop)
        left = (number for unit in units for number in unit.left)
        stopped = hooks.stop.is_set() and any(self._is_left(known.get(number)) for number in left)
        return ShardEnd(shard.number, counts_of(known), stopped=stopped, seconds=time.monotonic() - began)

    def _is_left(self, record: Record | None) -> bool:
        return is_left(record, again_only=self.again_only)

    def _units(self, shard: Shard, before: Iterable[Record], known: dict[int, Record]) -> Iterator[Unit]:
        announced = intents_of(before)
        for rows in units_of(self.manifest.rows(shard.part, shard.start, shard.stop)):
            numbers = [row.number for row in rows]
            yield Unit(
                run_id=self.manifest.run_id,
                shard=shard.number,
                destination=rows[0].destination,
                rows=tuple(rows),
                left=frozenset(number for number in numbers if self._is_left(known.get(number))),
                done=frozenset(number for number in numbers if number in known and known[number].is_final),
                is_repeat=bool(before),
                announced=next((announced[number] for number in numbers if number in announced), None),
            )

    def _announced(self, shard: Shard, units: Iterable[Unit], ledger: LedgerWriter) -> Iterator[Record]:
        """The records of a beginning: the attempt itself, and an intent for each upload it may begin."""
        now = ledger.now()
        yield Record(shard=shard.number, row=-1, state=RecordState.BEGUN, worker=ledger.worker, time=now)
        for unit in units:
            number = self.work.announced(unit)
            row = next((row for row in unit.rows if row.number == number), None)
            if row is not None:
                yield replace(_record(unit, row, RecordState.INTENT), worker=ledger.worker, time=now)

    def _ended(self, unit: Unit, hooks: Hooks) -> list[Record]:
        """Do a unit, and say for each of its rows that was left how it ended. A failure is a record."""
        try:
            with stopping_with(hooks.stop):  # the work, not the recording
                end = self.work(unit, hooks.stop)
        except LedgerError:
            raise
        except TaskFailed as error:
            return _failed(unit, failure_of(error.__cause__ or error))
        except Exception as error:  # one poisonous unit fails alone, whatever it makes a library raise
            return _failed(unit, failure_of(error))
        return records_of_unit(unit, end)


def records_of_unit(unit: Unit, end: UnitEnd) -> list[Record]:
    """How each row of a unit that was left ended. Pure.

    The receipt goes with every row, as of its own source; what was written is counted with the first of them.
    """
    records = [
        _record(unit, row, RecordState.FAILED, failure=end.failures[row.number])
        for row in unit.rows
        if row.number in unit.left and row.number in end.failures
    ]
    went = [row for row in unit.rows if row.number in unit.left and row.number not in end.failures]
    for number, row in enumerate(went):
        if end.receipt is None:
            records.append(_record(unit, row, RecordState.SKIPPED, evidence=end.skipped))
            continue
        is_first = number == 0
        receipt = replace(
            end.receipt,
            size=row.source.size or 0,
            source_version=row.source.version,
            rows=end.rows.get(row.number, 0),
            retries=end.receipt.retries if is_first else 0,
            resent_bytes=end.receipt.resent_bytes if is_first else 0,
        )
        made = Made(rows=end.rows_written, bytes=end.bytes_written) if is_first else None
        records.append(_record(unit, row, RecordState.COPIED, receipt=receipt, made=made))
    return records


def _failed(unit: Unit, failure: Failure) -> list[Record]:
    return [
        _record(unit, row, RecordState.FAILED, failure=failure)
        for row in unit.rows
        if row.number in unit.left
    ]


def _record(unit: Unit, row: Row, state: RecordState, **fields: Any) -> Record:
    return Record(
        shard=unit.shard,
        row=row.number,
        state=state,
        key=row.source.key,
        size=row.source.size or 0,
        **fields,
    )
