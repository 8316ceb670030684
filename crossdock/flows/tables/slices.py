"""A slice of a table or query to one object: read in one transaction, encoded, committed at once.

``SliceExport`` is a ``UnitWork``. What it writes carries a mark of what it was made of and by which run, in user metadata, so an
attempt after a crash, or a second worker with the same shard, finds it and reads nothing. Where a store has no such fields (a
directory), the attempt after a crash writes a slice again that was written and not recorded.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from crossdock.batches import Batches
from crossdock.combine import CombinedTask, param
from crossdock.connectors.objects import ObjectSink
from crossdock.connectors.sql.database import Database
from crossdock.connectors.sql.slicing import Bounds, Selection, opened
from crossdock.connectors.streams import ObjectStream
from crossdock.errors import ConfigError, CrossdockError, NotFoundError, PreconditionError, TaskFailed
from crossdock.flows.ledger.leftovers import not_ours
from crossdock.flows.runs.files import demand
from crossdock.flows.tables.loading import RETRIES, RETRY_DELAY_S, may_pass
from crossdock.flows.tables.marks import Mark, mark_of, marked
from crossdock.flows.tables.port import Unit, UnitEnd
from crossdock.formats import chain, decode
from crossdock.formats.encoding import Encode
from crossdock.formats.names import parse_kind
from crossdock.formats.outgoing import Outgoing
from crossdock.model import ABSENT, Condition, ObjectInfo, Receipt, Verification
from crossdock.tasks import Task

__all__ = ["SliceExport", "digest_of_slice"]


def digest_of_slice(recipe: str, bounds: Bounds) -> str:
    """Equal for the same rows of the same question, as far as a question can tell. Pure."""
    told = json.dumps([recipe, bounds.as_dict()], sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceExport:
    """How slices become objects. A picklable recipe if its steps are.

    Memory for each slice at a time: one batch of the database, what the encoder gathers (a row group of 64 MiB for Parquet), parts in
    flight. Requests: a ``stat`` of the output and those of one upload; one connection.

    Attributes:
        selection: What is exported.
        schema: The columns that it had when the run was planned.
        snapshot: The state of the database that is exported, where it is held; else each slice sees the state of its moment.
        steps: What is done to the rows between, in order.
        recipe: Tells this export apart from others: part of what an output is known by.
        at_a_time: Slices, and connections, at a time in one process.
    """

    database: Database
    selection: Selection
    schema: pa.Schema
    snapshot: str | None
    steps: tuple[Callable[[Any], Any], ...]
    encode: Encode
    sink: ObjectSink
    recipe: str
    at_a_time: int = 4

    def announced(self, unit: Unit) -> int | None:
        """An upload in parts may be begun for any slice: how large its object becomes is not known before."""
        return unit.rows[0].number

    def __call__(self, unit: Unit, stop: threading.Event) -> UnitEnd:
        """See ``UnitWork``."""
        if unit.is_repeat:
            self._clear_uploads(unit)
        row = unit.rows[0]
        bounds = Bounds.from_dict(json.loads(row.name))
        mark = Mark(inputs=digest_of_slice(self.recipe, bounds), run_id=unit.run_id)
        there = self._there(unit.destination)
        if there is not None:
            found = mark_of(self.sink.store, self.sink.prefix, there)
            if found is not None and found.is_same_attempt(mark):
                return self._found(there)
            may_be_ours = unit.is_repeat and "user" not in self.sink.store.capabilities.metadata_fields
            if there.version != row.observed and not may_be_ours:
                raise PreconditionError(
                    "somebody else wrote this object since the run was planned",
                    operation="export",
                    where=self.sink.url,
                    key=unit.destination,
                )
        first = _Slice(self, bounds, stop)
        counted = _Counting()
        pair = CombinedTask(
            first.bind(),
            self.sink.bind(key=param("to"), condition=param("condition")),
            stitch_function=chain(*self.steps, counted, self.encode, _Marking(mark, self.sink)),
            name="export",
            retries=RETRIES,
            retry_delay=RETRY_DELAY_S,
            retry_on=may_pass,
        )
        condition = ABSENT if there is None else Condition(version=there.version)
        try:
            receipt: Receipt = pair(
                to=unit.destination[len(self.sink.prefix) :], condition=demand(self.sink.store, condition)
            )
        except TaskFailed as failed:
            cause = failed.__cause__ or failed
            twin = self._there(unit.destination) if isinstance(cause, PreconditionError) else None
            known = None if twin is None else mark_of(self.sink.store, self.sink.prefix, twin)
            if twin is not None and known is not None and known.is_same_attempt(mark):
                return self._found(twin)
            raise cause from failed
        return UnitEnd(
            receipt=replace(receipt, rows=counted.rows),
            rows={row.number: counted.rows},
            rows_written=counted.rows,
            bytes_written=receipt.size,
        )

    def _there(self, key: str) -> ObjectInfo | None:
        try:
            return self.sink.store.stat(key)
        except NotFoundError:
            return None

    def _clear_uploads(self, unit: Unit) -> None:
        """Abort what an attempt that died left open under this key; those of others, and older ones, are not ours."""
        if unit.announced is None:
            return
        for upload in self.sink.store.list_uploads(unit.destination):
            if upload.key == unit.destination and not_ours(upload, unit.announced) is None:
                self.sink.store.abort(upload)

    def _found(self, there: ObjectInfo) -> UnitEnd:
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
            evidence="found: its mark says that this run made it of this slice",
            method="found",
            parts=0,
            rows=rows,
        )
        return UnitEnd(receipt=receipt, rows_written=rows, bytes_written=there.size)


class _Slice(Task):
    """The first half: the rows of one slice."""

    name = "slice"

    def __init__(self, of: SliceExport, bounds: Bounds, stop: threading.Event) -> None:
        self._of = of
        self._bounds = bounds
        self._stop = stop

    def run(self) -> Batches:
        """Start to read.

        Raises:
            ConfigError: The columns are not those of the plan.
        """
        of = self._of
        batches = opened(of.database, of.selection, self._bounds, snapshot=of.snapshot)
        if not batches.schema.equals(of.schema):
            batches.close()
            raise ConfigError(
                "the columns changed since the run was planned",
                operation="export",
                where=of.database.url,
                key=str(of.selection),
                hint="start a new run",
            )
        return Batches(batches.schema, self._until_stopped(batches), close=batches.close)

    def _until_stopped(self, batches: Batches) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if self._stop.is_set():
                raise CrossdockError("the run was stopped", operation="export", where=self._of.database.url)
            yield batch


class _Counting:
    """A step that changes nothing and knows afterwards how many rows passed."""

    def __init__(self) -> None:
        self.rows = 0

    def __call__(self, value: Any, /) -> Batches:
        batches = Batches.of(value)
        self.rows = 0

        def passed() -> Iterator[pa.RecordBatch]:
            for batch in batches:
                self.rows += batch.num_rows
                yield batch

        return Batches(batches.schema, passed(), close=batches.close)


class _Marking:
    """The last step: the output's metadata with its mark."""

    def __init__(self, mark: Mark, sink: ObjectSink) -> None:
        self._mark = mark
        self._sink = sink

    def __call__(self, outgoing: Outgoing, /) -> Outgoing:
        metadata = marked(outgoing.info.metadata, self._mark, self._sink.store)
        outgoing.info = replace(outgoing.info, metadata=metadata)
        return outgoing
