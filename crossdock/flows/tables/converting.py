"""A unit of objects to one object in another format: read in order, decoded, changed by steps, encoded, committed at once.

``Conversion`` is a ``UnitWork``. Its output carries a mark of what it was made of, so that what is there already is known again: by
the attempt after a crash, by a second worker with the same shard, and by later runs over the same objects.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from crossdock.batches import Batches
from crossdock.combine import CombinedTask, param
from crossdock.connectors.objects import ObjectSink, ObjectSource
from crossdock.connectors.streams import ObjectStream
from crossdock.errors import (
    IntegrityError,
    LedgerError,
    NotFoundError,
    PreconditionError,
    RowError,
    TaskFailed,
)
from crossdock.flows.ledger.failures import BAD_ROWS, SOURCE_CHANGED, VANISHED, failure_of
from crossdock.flows.ledger.leftovers import not_ours
from crossdock.flows.ledger.records import Failure
from crossdock.flows.planning.rows import Row
from crossdock.flows.runs.files import demand
from crossdock.flows.tables.marks import Mark, inputs_digest, keep_mark, mark_of, marked
from crossdock.flows.tables.port import Unit, UnitEnd
from crossdock.flows.tables.reading import UnitReader, is_passing
from crossdock.formats import chain, decode
from crossdock.formats.decoding import Decode
from crossdock.formats.encoding import Encode
from crossdock.formats.names import parse_kind
from crossdock.formats.outgoing import Outgoing
from crossdock.model import ABSENT, Condition, ObjectInfo, Receipt, Verification
from crossdock.tasks import Task

__all__ = ["Conversion"]

_PASSES = 3  # the second leaves out what the first could not read; a third, if something went bad meanwhile
_FOUND = "found"  # the receipt's method: nothing was sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """How units become objects. A picklable recipe if its steps are.

    Memory for each unit at a time: what decoding one object takes, 16 MiB fetched ahead, what the encoder gathers (a row group of
    64 MiB for Parquet), parts in flight. Requests: a ``stat`` of the output, those of its objects, those of one upload.

    Attributes:
        decode: How objects are read, with the schema that all of them have.
        steps: What is done to the rows between, in order.
        encode: How the output is written.
        recipe: Tells decode, steps and encode apart from others: part of what an output is known by.
        overwrite: ``if-different``: what was made of the same objects by the same recipe stays; ``always``: only what this very
            run wrote; ``never``: whatever is there.
        at_a_time: Units at a time in one process.
    """

    source: ObjectSource
    sink: ObjectSink
    decode: Decode
    steps: tuple[Callable[[Any], Any], ...]
    encode: Encode
    recipe: str
    overwrite: str = "if-different"
    at_a_time: int = 4

    def announced(self, unit: Unit) -> int | None:
        """An upload in parts may be begun for any unit: how large its output becomes is not known before."""
        return unit.rows[0].number

    def __call__(self, unit: Unit, stop: threading.Event) -> UnitEnd:
        """See ``UnitWork``. One object that cannot be read fails alone, and the others become the output.

        Trouble with a service fails the whole unit instead: an output without some objects would be made again a moment later.
        """
        if unit.is_repeat:
            self._clear_uploads(unit)
        there = self._there(unit)
        reader = UnitReader(self.source, self.decode, stop)
        known = None if there is None else mark_of(self.sink.store, self.sink.prefix, there)
        standing = self._standing(unit, there, known, reader)
        if standing is not None:
            return standing
        rows, failures = unit.wanted, dict[int, Failure]()
        if unit.done:  # the output exists without what failed before: is there any reason to make it again?
            left = [row for row in unit.rows if row.number in unit.left]
            rows, failures = _without(rows, reader.unreadable(left))
            if not unit.left - failures.keys():
                return UnitEnd(failures=failures)
        for _ in range(_PASSES):
            if not rows:
                return UnitEnd(failures=failures)
            mark = _mark(unit, rows, self.recipe)
            if there is not None and known is not None and known.is_same_attempt(mark):
                return self._found(there, failures)
            if not mark.fits:
                raise IntegrityError(
                    f"{len(mark.left_out)} of its {len(unit.rows)} objects cannot be read, too many to make it without them",
                    operation="convert",
                    where=self.sink.url,
                    key=unit.destination,
                    hint=next(iter(failures.values())).message,
                )
            try:
                return replace(self._written(unit, rows, mark, reader, there), failures=failures)
            except Exception as error:
                if reader.failed is None or is_passing(reader.failed[1]) or stop.is_set():
                    raise
                row, cause = reader.failed
                after = [each for each in rows if each.number > row.number]
                bad = {row.number: cause, **reader.unreadable(after)}
                if bad.keys() & unit.done:
                    return UnitEnd(failures=failures | _lost_input(unit, bad, error))
                rows, more = _without(rows, bad)
                failures |= more
        raise IntegrityError(
            "its objects change while they are read",
            operation="convert",
            where=self.sink.url,
            key=unit.destination,
        )

    # -- what is there already -------------------------------------------------------------------------------------

    def _there(self, unit: Unit) -> ObjectInfo | None:
        try:
            return self.sink.store.stat(unit.destination)
        except NotFoundError:
            return None

    def _standing(
        self, unit: Unit, there: ObjectInfo | None, known: Mark | None, reader: UnitReader
    ) -> UnitEnd | None:
        """How the unit ends if what is at the destination already will do; ``None`` if it is to be made."""
        if there is None:
            return None
        is_own = known is not None and known.run_id == unit.run_id
        if known is not None and not unit.done and (is_own or self.overwrite == "if-different"):
            end = self._same(unit, there, known, reader)
            if end is not None:
                return end
        if self.overwrite == "never" and not is_own:
            return UnitEnd(skipped="the destination has an object, and overwrite is never")
        return None

    def _same(self, unit: Unit, there: ObjectInfo, mark: Mark, reader: UnitReader) -> UnitEnd | None:
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
        return self._found(there, failures)

    def _found(self, there: ObjectInfo, failures: dict[int, Failure]) -> UnitEnd:
        """An earlier attempt of this run wrote it and died before it said so: its rows are counted where they lie."""
        text = {name: value for name, value in self.encode.given if name in ("delimiter", "header")}
        again = decode(f"{parse_kind(self.encode.format).format}", **text)
        with again(ObjectStream(self.sink.store, there.key, name=there.key, info=there)) as batches:
            rows = sum(batch.num_rows for batch in batches)
        receipt = Receipt(
            source="",
            destination=f"{self.sink.store.url}/{there.key}",
            key=there.key,
            size=there.size or 0,
            version=there.version,
            digests=there.digests,
            verification=Verification.V1,
            evidence="found: its mark says that it was made of these objects by this run",
            method=_FOUND,
            parts=0,
            rows=rows,
        )
        return UnitEnd(receipt=receipt, rows_written=rows, bytes_written=there.size, failures=failures)

    def _clear_uploads(self, unit: Unit) -> None:
        """Abort what an attempt that died left open under this key; those of others, and older ones, are not ours."""
        if unit.announced is None:
            return
        for upload in self.sink.store.list_uploads(unit.destination):
            if upload.key == unit.destination and not_ours(upload, unit.announced) is None:
                self.sink.store.abort(upload)

    # -- making it -------------------------------------------------------------------------------------------------

    def _written(
        self, unit: Unit, rows: Sequence[Row], mark: Mark, reader: UnitReader, there: ObjectInfo | None
    ) -> UnitEnd:
        counted = _Counting()
        stitch = chain(*self.steps, counted, self.encode, _Marking(mark, self.sink))
        pair = CombinedTask(
            _Rows(reader, rows).bind(),
            self.sink.bind(key=param("to"), condition=param("condition")),
            stitch_function=stitch,
            name="convert",
        )
        condition = ABSENT if there is None else Condition(version=there.version)
        try:
            receipt: Receipt = pair(
                to=unit.destination[len(self.sink.prefix) :],
                condition=demand(self.sink.store, condition),
            )
        except TaskFailed as failed:
            cause = failed.__cause__ or failed
            if isinstance(cause, PreconditionError) and reader.failed is None:
                found = self._after_all(unit, rows, reader)
                if found is not None:
                    return found
            raise cause from failed
        written = ObjectInfo(key=receipt.key, size=receipt.size, version=receipt.version)
        keep_mark(self.sink.store, self.sink.prefix, written, mark)
        return UnitEnd(
            receipt=replace(receipt, rows=counted.rows),
            rows=dict(reader.counts),
            rows_written=counted.rows,
            bytes_written=receipt.size,
        )

    def _after_all(self, unit: Unit, rows: Sequence[Row], reader: UnitReader) -> UnitEnd | None:
        """The destination is not as it was seen: perhaps because a second attempt at this unit has just written it."""
        there = self._there(unit)
        mark = None if there is None else mark_of(self.sink.store, self.sink.prefix, there)
        if there is None or mark is None or mark.inputs != inputs_digest(rows, self.recipe):
            return None
        end = self._found(there, {})
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


class _Counting:
    """A step that changes nothing and knows afterwards how many rows passed."""

    def __init__(self) -> None:
        self.rows = 0

    def __call__(self, value: Any, /) -> Batches:
        batches = Batches.of(value)

        def passed() -> Iterator[pa.RecordBatch]:
            for batch in batches:
                self.rows += batch.num_rows
                yield batch

        made = Batches(batches.schema, passed(), close=batches.close)
        made.name = batches.name
        return made


class _Marking:
    """The last step: the output's metadata with its mark."""

    def __init__(self, mark: Mark, sink: ObjectSink) -> None:
        self._mark = mark
        self._sink = sink

    def __call__(self, outgoing: Outgoing, /) -> Outgoing:
        metadata = marked(outgoing.info.metadata, self._mark, self._sink.store)
        outgoing.info = replace(outgoing.info, metadata=metadata)
        return outgoing


def _mark(unit: Unit, rows: Sequence[Row], recipe: str) -> Mark:
    taken = {row.number for row in rows}
    left_out = tuple(place for place, row in enumerate(unit.rows) if row.number not in taken)
    return Mark(inputs=inputs_digest(rows, recipe), run_id=unit.run_id, left_out=left_out)


def _without(rows: Sequence[Row], bad: dict[int, Exception]) -> tuple[tuple[Row, ...], dict[int, Failure]]:
    left = tuple(row for row in rows if row.number not in bad)
    return left, {number: _failure(error) for number, error in bad.items()}


def _lost_input(unit: Unit, bad: dict[int, Exception], error: Exception) -> dict[int, Failure]:
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
