"""Where a converted unit goes: one object, or one batch of a partitioned dataset. Both become visible at one moment, and carry a mark."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import pyarrow as pa

from crossdock.batches import Batches
from crossdock.combine import CombinedTask, param
from crossdock.connectors.objects import ObjectSink
from crossdock.connectors.streams import ObjectStream
from crossdock.datasets.sink import DatasetReceipt, DatasetSink
from crossdock.datasets.state import Committed, batch_of
from crossdock.errors import NotFoundError
from crossdock.flows.ledger.leftovers import not_ours
from crossdock.flows.runs.files import demand
from crossdock.flows.tables.marks import Mark, keep_mark, mark_of, marked
from crossdock.flows.tables.port import Unit, UnitEnd
from crossdock.formats import chain, decode
from crossdock.formats.encoding import Encode
from crossdock.formats.names import parse_kind
from crossdock.formats.outgoing import Outgoing
from crossdock.model import ABSENT, NO_VERSION, Condition, ObjectInfo, Receipt, Verification
from crossdock.tasks import Task

__all__ = ["DatasetOutput", "ObjectOutput", "Output", "Standing"]

Steps = Sequence[Callable[[Any], Any]]

_FOUND = "found"  # the receipt's method: nothing was sent
_EVIDENCE = "found: its mark says that it was made of these objects by this run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is at the destination of a unit.

    Attributes:
        mark: What it says of itself; ``None`` for what is not a conversion's.
        seen: What was seen, for whoever looked.
    """

    mark: Mark | None
    seen: Any


class Output(Protocol):
    """Where units go. A picklable recipe."""

    @property
    def url(self) -> str:
        """For messages."""

    def announced(self, unit: Unit) -> int | None:
        """As ``UnitWork.announced``."""

    def clear(self, unit: Unit) -> None:
        """Remove what an attempt that died left open for this unit, and nothing else."""

    def look(self, unit: Unit) -> Standing | None:
        """What is there; ``None`` for nothing."""

    def found(self, unit: Unit, standing: Standing) -> UnitEnd:
        """The end of a unit whose output an earlier attempt of the same run had written; its rows are counted where they lie."""

    def write(self, unit: Unit, rows: Task, steps: Steps, mark: Mark, standing: Standing | None) -> UnitEnd:
        """Write it, if the destination is as it was seen.

        Raises:
            TaskFailed: It could not be; its cause is a ``PreconditionError`` if the destination is in another state. It is as it was.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectOutput:
    """Each unit becomes the object whose key its rows share."""

    sink: ObjectSink
    encode: Encode

    @property
    def url(self) -> str:
        """See the port."""
        return self.sink.url

    def announced(self, unit: Unit) -> int | None:
        """See the port: how large an output becomes is not known before, so any may need an upload in parts."""
        return unit.rows[0].number

    def clear(self, unit: Unit) -> None:
        """See the port: uploads begun before the attempt was announced, and those to other keys, are not ours."""
        if unit.announced is None:
            return
        for upload in self.sink.store.list_uploads(unit.destination):
            if upload.key == unit.destination and not_ours(upload, unit.announced) is None:
                self.sink.store.abort(upload)

    def look(self, unit: Unit) -> Standing | None:
        """See the port; one request."""
        try:
            there = self.sink.store.stat(unit.destination)
        except NotFoundError:
            return None
        return Standing(mark=mark_of(self.sink.store, self.sink.prefix, there), seen=there)

    def found(self, unit: Unit, standing: Standing) -> UnitEnd:
        """See the port; reads the output once."""
        there: ObjectInfo = standing.seen
        text = {name: value for name, value in self.encode.given if name in ("delimiter", "header")}
        again = decode(f"{parse_kind(self.encode.format).format}", **text)
        with again(ObjectStream(self.sink.store, there.key, name=there.key, info=there)) as batches:
            rows = sum(batch.num_rows for batch in batches)
        receipt = Receipt(
            source="",
            destination=f"{self.sink.store.url}/{unit.destination}",
            key=there.key,
            size=there.size or 0,
            version=there.version,
            digests=there.digests,
            verification=Verification.V1,
            evidence=_EVIDENCE,
            method=_FOUND,
            parts=0,
            rows=rows,
        )
        return UnitEnd(receipt=receipt, rows_written=rows, bytes_written=there.size)

    def write(self, unit: Unit, rows: Task, steps: Steps, mark: Mark, standing: Standing | None) -> UnitEnd:
        """See the port."""
        counted = _Counting()
        pair = CombinedTask(
            rows.bind(),
            self.sink.bind(key=param("to"), condition=param("condition")),
            stitch_function=chain(*steps, counted, self.encode, _Marking(mark, self.sink)),
            name="convert",
        )
        condition = ABSENT if standing is None else Condition(version=standing.seen.version)
        receipt: Receipt = pair(
            to=unit.destination[len(self.sink.prefix) :], condition=demand(self.sink.store, condition)
        )
        written = ObjectInfo(key=receipt.key, size=receipt.size, version=receipt.version)
        keep_mark(self.sink.store, self.sink.prefix, written, mark)
        return UnitEnd(
            receipt=replace(receipt, rows=counted.rows),
            rows_written=counted.rows,
            bytes_written=receipt.size,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetOutput:
    """Each unit becomes one batch of a dataset, whose rows go to as many partitions as they have; its rows share the state's key."""

    dataset: DatasetSink

    @property
    def url(self) -> str:
        """See the port."""
        return self.dataset.url

    def announced(self, unit: Unit) -> int | None:  # noqa: ARG002 - as the port
        """See the port: keys of data objects are nobody's to guess. ``DatasetSink.vacuum`` ends what is left open."""
        return None

    def clear(self, unit: Unit) -> None:
        """See the port: the next attempt at a batch removes the objects of the one that died."""

    def look(self, unit: Unit) -> Standing | None:
        """See the port; one request."""
        committed = self.dataset.committed(self._batch(unit))
        return None if committed is None else Standing(mark=Mark.parsed(committed.note), seen=committed)

    def found(self, unit: Unit, standing: Standing) -> UnitEnd:
        """See the port; the batch itself says how many rows it has."""
        committed: Committed = standing.seen
        receipt = DatasetReceipt(
            source="",
            destination=self.dataset.url,
            key=unit.destination,
            size=committed.size,
            version=NO_VERSION,
            verification=Verification.V1,
            evidence=_EVIDENCE,
            method=_FOUND,
            parts=0,
            rows=committed.rows,
            objects=len(committed.objects),
        )
        return UnitEnd(receipt=receipt, rows_written=committed.rows, bytes_written=committed.size)

    def write(
        self,
        unit: Unit,
        rows: Task,
        steps: Steps,
        mark: Mark,
        standing: Standing | None,  # noqa: ARG002 - the batch takes itself over from what it finds
    ) -> UnitEnd:
        """See the port."""
        pair = CombinedTask(
            rows.bind(),
            self.dataset.bind(batch_id=param("batch_id"), note=param("note")),
            stitch_function=chain(*steps) if steps else None,
            name="convert",
        )
        receipt: DatasetReceipt = pair(batch_id=self._batch(unit), note=mark.text())
        return UnitEnd(receipt=receipt, rows_written=receipt.rows, bytes_written=receipt.size)

    def _batch(self, unit: Unit) -> str:
        return batch_of(unit.destination[len(self.dataset.request.prefix) :]) or ""


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
