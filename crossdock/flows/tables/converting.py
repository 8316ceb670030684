"""A unit of objects to an output in another format: read in order, decoded, changed by steps, written at one moment.

``Conversion`` is a ``UnitWork``. Its output carries a mark of what it was made of, so that what is there already is known again: by
the attempt after a crash, by a second worker with the same shard, and by later runs over the same objects.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from crossdock.batches import Batches
from crossdock.connectors.objects import ObjectSource
from crossdock.errors import (
    IntegrityError,
    LedgerError,
    NotFoundError,
    PreconditionError,
    RowError,
    TaskFailed,
)
from crossdock.flows.ledger.failures import BAD_ROWS, SOURCE_CHANGED, VANISHED, failure_of
from crossdock.flows.ledger.records import Failure
from crossdock.flows.planning.rows import Row
from crossdock.flows.tables.marks import Mark, inputs_digest
from crossdock.flows.tables.outputs import Output, Standing
from crossdock.flows.tables.permits import heavy
from crossdock.flows.tables.port import Unit, UnitEnd
from crossdock.flows.tables.reading import SMALL_BYTES, UnitReader, is_passing
from crossdock.formats.decoding import Decode
from crossdock.tasks import Task

__all__ = ["Conversion"]

_PASSES = 3  # the second leaves out what the first could not read; a third, if something went bad meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """How units become outputs. A picklable recipe if its steps are.

    Memory for each unit at a time: what decoding one object takes, 16 MiB fetched ahead, what the output gathers (a row group of
    64 MiB for Parquet), parts in flight. Requests: one look at the output, those of its objects, those of its upload.

    Attributes:
        decode: How objects are read, with the schema that all of them have.
        steps: What is done to the rows between, in order.
        output: Where they go.
        recipe: Tells decode, steps and output apart from others: part of what an output is known by.
        overwrite: ``if-different``: what was made of the same objects by the same recipe stays; ``always``: only what this very
            run wrote; ``never``: whatever is there.
        at_a_time: Units at a time in one process.
        heavy_at_a_time: Of those the ones with more than a little to read: each takes the memory above, the others hardly any.
    """

    source: ObjectSource
    decode: Decode
    steps: tuple[Callable[[Any], Any], ...]
    output: Output
    recipe: str
    overwrite: str = "if-different"
    at_a_time: int = 32
    heavy_at_a_time: int = 4

    def announced(self, unit: Unit) -> int | None:
        """See ``UnitWork``."""
        return self.output.announced(unit)

    def __call__(self, unit: Unit, stop: threading.Event) -> UnitEnd:
        """See ``UnitWork``. One object that cannot be read fails alone, and the others become the output.

        Trouble with a service fails the whole unit instead: an output without some objects would be made again a moment later.
        """
        sizes = [row.source.size for row in unit.wanted]
        light = None not in sizes and sum(filter(None, sizes)) <= SMALL_BYTES
        with nullcontext() if light else heavy.taken(self.heavy_at_a_time, stop):
            return self._done(unit, stop)

    def _done(self, unit: Unit, stop: threading.Event) -> UnitEnd:
        if unit.is_repeat:
            self.output.clear(unit)
        there = self.output.look(unit)
        reader = UnitReader(self.source, self.decode, stop)
        if there is not None:
            end = self._already(unit, there, reader)
            if end is not None:
                return end
        rows, failures = unit.wanted, dict[int, Failure]()
        if unit.done:  # the output exists without what failed before: is there any reason to make it again?
            left = [row for row in unit.rows if row.number in unit.left]
            rows, failures = _without(rows, reader.unreadable(left))
            if not unit.left - failures.keys():
                return UnitEnd(failures=failures)
        for _ in range(_PASSES):
            if not rows:
                return UnitEnd(failures=failures)
            mark = self._mark(unit, rows, failures)
            if there is not None and there.mark is not None and there.mark.is_same_attempt(mark):
                return replace(self.output.found(unit, there), failures=failures)
            try:
                return replace(self._written(unit, rows, mark, reader, there), failures=failures)
            except Exception as error:
                bad = _bad(rows, reader, stop)
                if not bad:
                    raise
                if bad.keys() & unit.done:
                    return UnitEnd(failures=failures | _lost_input(unit, bad, error))
                rows, more = _without(rows, bad)
                failures |= more
        raise IntegrityError(
            "its objects change while they are read",
            operation="convert",
            where=self.output.url,
            key=unit.destination,
        )

    def _mark(self, unit: Unit, rows: Sequence[Row], failures: Mapping[int, Failure]) -> Mark:
        """What the output will say of itself.

        Raises:
            RowError: It would be without so many of its objects that it could not say which.
        """
        taken = {row.number for row in rows}
        left_out = tuple(place for place, row in enumerate(unit.rows) if row.number not in taken)
        mark = Mark(inputs=inputs_digest(rows, self.recipe), run_id=unit.run_id, left_out=left_out)
        if mark.fits:
            return mark
        example = next((each.message for each in failures.values()), "they failed before")
        raise RowError(
            f"{len(left_out)} of its {len(unit.rows)} objects cannot be read, too many to be left out; one of them: {example}",
            operation="convert",
            where=self.output.url,
            key=unit.destination,
        )

    def _already(self, unit: Unit, there: Standing, reader: UnitReader) -> UnitEnd | None:
        """How the unit ends if what is at the destination already will do; ``None`` if it is to be made."""
        mark = there.mark
        is_own = mark is not None and mark.run_id == unit.run_id
        if mark is not None and not unit.done and (is_own or self.overwrite == "if-different"):
            end = self._same(unit, there, mark, reader)
            if end is not None:
                return end
        if self.overwrite == "never" and not is_own:
            return UnitEnd(skipped="the destination has it, and overwrite is never")
        return None

    def _same(self, unit: Unit, there: Standing, mark: Mark, reader: UnitReader) -> UnitEnd | None:
        """How the unit ends if the mark says that the output was made of the same objects in the same way."""
        places = frozenset(mark.left_out)
        left_out = {row.number for place, row in enumerate(unit.rows) if place in places}
        rows = [row for row in unit.wanted if row.number not in left_out]
        if mark.inputs != inputs_digest(rows, self.recipe):
            return None
        # What could not be read then may be readable now: permissions change.
        again = [row for row in unit.wanted if row.number in left_out]
        failures = {number: _failure(error) for number, error in reader.unreadable(again).items()}
        if len(failures) < len(again):
            return None
        if mark.run_id != unit.run_id:
            words = (
                f"the output was made of the same {len(rows)} objects in the same way, by run {mark.run_id}"
            )
            return UnitEnd(skipped=words, failures=failures)
        return replace(self.output.found(unit, there), failures=failures)

    def _written(
        self, unit: Unit, rows: Sequence[Row], mark: Mark, reader: UnitReader, there: Standing | None
    ) -> UnitEnd:
        try:
            end = self.output.write(unit, _Rows(reader, rows), self.steps, mark, there)
        except TaskFailed as failed:
            cause = failed.__cause__ or failed
            if isinstance(cause, PreconditionError) and reader.failed is None:
                # The destination is not as it was seen: perhaps a second attempt at this unit has just written it.
                now = self.output.look(unit)
                if now is not None and now.mark is not None and now.mark.inputs == mark.inputs:
                    return replace(self.output.found(unit, now), rows=dict(reader.counts))
            raise cause from failed
        return replace(end, rows=dict(reader.counts))


class _Rows(Task):
    """The first half: rows of the manifest to rows of the table."""

    name = "rows"

    def __init__(self, reader: UnitReader, rows: Sequence[Row]) -> None:
        self._reader = reader
        self._rows = rows

    def run(self) -> Batches:
        """The rows of these objects as one stream."""
        return self._reader.batches(self._rows)


def _bad(rows: Sequence[Row], reader: UnitReader, stop: threading.Event) -> dict[int, Exception]:
    """The objects that cannot be read, if that is why an output could not be made: the first, and those behind it."""
    if reader.failed is None or is_passing(reader.failed[1]) or stop.is_set():
        return {}
    row, cause = reader.failed
    return {row.number: cause, **reader.unreadable([each for each in rows if each.number > row.number])}


def _without(rows: Sequence[Row], bad: Mapping[int, Exception]) -> tuple[tuple[Row, ...], dict[int, Failure]]:
    left = tuple(row for row in rows if row.number not in bad)
    return left, {number: _failure(error) for number, error in bad.items()}


def _lost_input(unit: Unit, bad: Mapping[int, Exception], error: Exception) -> dict[int, Failure]:
    """An object whose rows are in the output cannot be read any more, so it cannot be made again with those that are left."""
    row = next(row for row in unit.rows if row.number in bad and row.number in unit.done)
    lost = PreconditionError(
        f"{row.source.key!r}, whose rows are in it, cannot be read any more: {error}",
        operation="convert",
        key=unit.destination,
    )
    failure = failure_of(lost, reason=SOURCE_CHANGED)
    return dict.fromkeys(unit.left, failure)


def _failure(error: Exception) -> Failure:
    """Why one object's rows are not in the output."""
    if isinstance(error, LedgerError):
        raise error
    if isinstance(error, NotFoundError):
        return failure_of(error, reason=VANISHED)
    if isinstance(error, PreconditionError):
        return failure_of(error, reason=SOURCE_CHANGED)
    return failure_of(error, reason=BAD_ROWS if isinstance(error, RowError) else None)
