"""What a worker does for an object that is cut: begin it, send some of its parts, complete it.

Each step is written down in the ledger before anything is built on it, so any of them may be lost with its worker and done again,
by another one, or twice at once: a part sent twice is the same part, a completion that comes late finds the object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from crossdock import crash_points
from crossdock.connectors import commits
from crossdock.connectors.objects import ObjectSink, ObjectSource
from crossdock.connectors.streams import ObjectStream
from crossdock.connectors.writer import Job, begin_cut, complete_cut, job_of, send_parts
from crossdock.connectors.writer.receipts import counting
from crossdock.connectors.writer.write import INTEGRITY_ATTEMPTS
from crossdock.errors import CrossdockError, IntegrityError, LedgerError, NotFoundError, PreconditionError
from crossdock.events import Note, emit
from crossdock.flows.ledger.failures import failure_of
from crossdock.flows.ledger.records import Record, RecordState
from crossdock.flows.ledger.segments import PREFIX
from crossdock.flows.ledger.writing import LedgerWriter, read_segment, read_shard
from crossdock.flows.moving.mover import Mover
from crossdock.flows.moving.parts.noted import Progress, begun_text, part_text, parts_of, progress_of
from crossdock.flows.moving.parts.words import Closing, Item, Opened, PartsEnd, Sending
from crossdock.flows.planning.rows import Row
from crossdock.flows.runs.files import RunFiles
from crossdock.flows.runs.shards import Shard
from crossdock.model import Part

__all__ = ["LargeObject", "label_of"]

_OPENING = "u."


def label_of(item: Item) -> str:
    """What the ledger segments of a step are called, so that other steps find them without reading all of the shard's."""
    if isinstance(item, Sending):
        return f"p{item.first:05d}."
    return "c." if isinstance(item, Closing) else _OPENING


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeObject:
    """The one object of a shard, as seen by one step; ``mover`` knows what earlier attempts recorded."""

    shard: Shard
    row: Row
    source: ObjectSource
    sink: ObjectSink
    mover: Mover
    ledger: LedgerWriter
    attempt: int = 0

    def open(self, before: Sequence[Record]) -> Opened | Record | None:
        """Begin its upload, or find the one that was begun; a record if nothing has to be sent, ``None`` if it is not to be cut.

        The upload is in the ledger before this returns.

        Raises:
            CrossdockError: An end failed; nothing new is left open.
            LedgerError: The run directory cannot be used.
        """
        furthest = next(iter(progress_of(before)), None)
        held = None if furthest is None else furthest.begun.upload
        record = self.mover.settled(self.row, held)
        if record is not None:
            if held is not None:
                self.mover.clear_uploads(self.row)
            return record
        if furthest is not None and self.mover.clear_uploads(self.row, held):
            return self._opened(furthest)
        begun = begin_cut(self._stream(), self._job())
        if begun is None:
            return None
        progress = Progress(begun=begun)
        try:
            self._note(RecordState.UPLOAD, begun_text(begun))
            self.ledger.flush()
        except LedgerError as error:
            commits.abort_unless_unknown(self.sink.store, begun.upload, error)
            raise
        crash_points.reached("upload-recorded")
        return self._opened(progress)

    def send(self, sending: Sending, files: RunFiles, *, stopped: Callable[[], bool]) -> PartsEnd:
        """Send some parts; what an earlier attempt at these recorded is not sent again.

        Each part is in the ledger before another takes its place, so at most what is in flight is ever sent twice.

        Raises:
            LedgerError: The run directory cannot be used.
        """
        progress = _find(_labelled(files, sending.shard, _OPENING), sending.upload)
        if progress is None:  # the ledger was compacted meanwhile
            progress = self._progress(read_shard(files, sending.shard.number), sending.upload)
        there = parts_of(_labelled(files, sending.shard, label_of(sending)), sending.upload)
        left = [number for number in range(sending.first, sending.stop) if number not in there]

        def taken(part: Part) -> None:
            self._note(RecordState.PART, part_text(sending.upload, part))
            self.ledger.flush()
            crash_points.reached("part-recorded")

        end = PartsEnd(self.shard.number, sending.upload)
        with counting() as count:
            try:
                send_parts(
                    progress.begun,
                    left,
                    source=self.source.store,
                    job=self._job(),
                    taken=taken,
                    stopped=stopped,
                )
            except LedgerError:
                raise
            except Exception as error:  # one poison object fails alone
                if stopped():
                    return end._replace(stopped=True)
                return self._why(error, end)
        return end._replace(stopped=stopped(), retries=count.retries)

    def close(self, closing: Closing, before: Sequence[Record]) -> Record | Opened | PartsEnd:
        """Complete the upload; a record of how the object ended, or what is left to be done first.

        Raises:
            CrossdockError: An end failed.
            LedgerError: The ledger says nothing of this upload.
        """
        progress = self._progress(before, closing.upload)
        if closing.failure is not None:
            if not closing.failure.retryable:
                self._abort(progress)
            return self.mover.failed_with(self.row, closing.failure)
        if progress.missing:
            return self._opened(progress)
        try:
            receipt = complete_cut(
                progress.begun,
                progress.parts,
                stream=self._stream(),
                job=self._job(),
                retries=closing.retries,
                resent_bytes=closing.attempt * progress.begun.size,
            )
        except IntegrityError as error:
            return self._again(error, closing)
        except NotFoundError as error:
            self.mover.demand_source(self.row)
            return self.mover.found(self.row) or self._again(error, closing)
        except PreconditionError as error:
            self.mover.demand_source(self.row)
            return self.mover.recognised(self.row, error)
        for other in progress_of(before):
            if other.id != progress.id:
                self._abort(other)
        return self.mover.copied(self.row, receipt)

    def _again(self, error: CrossdockError, closing: Closing) -> Record | PartsEnd:
        """The upload is gone, or what it holds is wrong: once more from the beginning, if that was not tried enough."""
        if closing.attempt + 1 >= INTEGRITY_ATTEMPTS:
            return self.mover.failed(self.row, error)
        return PartsEnd(self.shard.number, closing.upload, gone=True)

    def _why(self, error: BaseException, end: PartsEnd) -> PartsEnd:
        """Tell an upload that is gone from a source that is, and both from a failure."""
        if isinstance(error, NotFoundError | PreconditionError):
            checked = self.mover.guarded(self.row, lambda: self.mover.demand_source(self.row))
            if isinstance(checked, Record):
                return end._replace(failure=checked.failure)
            if isinstance(error, NotFoundError):
                return end._replace(gone=True)
        return end._replace(failure=failure_of(error))

    def _abort(self, progress: Progress) -> None:
        try:
            self.sink.store.abort(progress.begun.upload)
        except CrossdockError as error:  # the row's end stands; what is left is named, and cleanup finds it
            emit(Note(text=f"the upload {progress.id} of {self.row.destination} was left: {error}"))

    def _opened(self, progress: Progress) -> Opened:
        size = progress.begun.upload.part_size_bytes
        return Opened(self.shard, progress.id, size, progress.missing, self.attempt)

    def _progress(self, records: Iterable[Record], upload: str) -> Progress:
        found = _find(records, upload)
        if found is None:
            raise LedgerError(
                "the ledger says nothing of an upload that was begun",
                operation="read ledger",
                hint="resume the run: it is begun anew",
            )
        return found

    def _note(self, state: RecordState, text: str) -> None:
        self.ledger.record(
            Record(
                shard=self.shard.number,
                row=self.row.number,
                state=state,
                key=self.row.source.key,
                evidence=text,
                worker=self.ledger.worker,
                time=self.ledger.now(),
            )
        )

    def _stream(self) -> ObjectStream:
        return self.source.run(self.row.name, info=self.row.source)

    def _job(self) -> Job:
        return job_of(
            self.sink.store,
            self.row.destination,
            condition=self.mover.condition(self.row),
            options=self.sink.transfer,
            attempt=self.attempt,
        )


def _find(records: Iterable[Record], upload: str) -> Progress | None:
    return next((each for each in progress_of(records) if each.id == upload), None)


def _labelled(files: RunFiles, shard: Shard, label: str) -> list[Record]:
    names = files.names(f"{PREFIX}{shard.number:08d}-{label}")
    return [record for name in names for record in read_segment(files, name)]
