"""One row of a manifest, from decision to record: send it, or recognise that it is there, or say why it failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from crossdock.connectors.objects import ObjectSink, ObjectSource
from crossdock.errors import CrossdockError, LedgerError, NotFoundError, PreconditionError, TaskFailed
from crossdock.flows.ledger.failures import DESTINATION_CHANGED, SOURCE_CHANGED, VANISHED, failure_of
from crossdock.flows.ledger.leftovers import intents_of, not_ours, same_upload
from crossdock.flows.ledger.records import Failure, Record, RecordState
from crossdock.flows.ledger.writing import LedgerWriter
from crossdock.flows.planning.recognise import as_observed, found_complete, unchanged
from crossdock.flows.planning.rows import Action, Row
from crossdock.flows.runs.files import demand
from crossdock.model import ABSENT, Condition, Receipt, Upload
from crossdock.ports import ObjectStore

__all__ = ["Mover"]

T = TypeVar("T")


class Mover:
    """Moves rows of one shard; thread-safe.

    Args:
        source: Where they are.
        sink: Where they go.
        pair: The combined task of the two.
        shard: The shard's number, for records.
        before: What earlier attempts at this shard recorded. If there was one, rows without a record may have been
            written by it: they are looked for at the destination before anything is sent.
    """

    def __init__(
        self, *, source: ObjectSource, sink: ObjectSink, pair: Any, shard: int, before: Sequence[Record]
    ) -> None:
        self._source = source
        self._sink = sink
        self._pair = pair
        self._shard = shard
        self._is_repeat = bool(before)
        self._intents = intents_of(before)

    def announce(self, rows: Sequence[Row], ledger: LedgerWriter) -> Iterator[Record]:
        """The records of a beginning: the attempt itself, and an intent for each upload it may begin.

        An upload is begun for what is larger than a part, and for everything where the store stages even a put.
        """
        now = ledger.now()
        yield Record(shard=self._shard, row=-1, state=RecordState.BEGUN, worker=ledger.worker, time=now)
        limit = self._sink.transfer.part_size_bytes
        staged = self._sink.store.capabilities.staged_puts
        for row in rows:
            if staged or row.source.size is None or row.source.size > limit:
                yield Record(
                    shard=self._shard,
                    row=row.number,
                    state=RecordState.INTENT,
                    key=row.source.key,
                    size=row.source.size or 0,
                    worker=ledger.worker,
                    time=now,
                )

    def move(self, row: Row) -> Record:
        """Bring one row to its end. Raises nothing: a failure is a record."""
        return self.guarded(row, lambda: self.settled(row) or self._sent(row))

    def sent(self, row: Row) -> Record:
        """Send a row that is not settled. Raises nothing, as ``move``."""
        return self.guarded(row, lambda: self._sent(row))

    def guarded(self, row: Row, act: Callable[[], T]) -> T | Record:
        """What ``act`` comes to; a failure is a record.

        Raises:
            LedgerError: The run directory cannot be used: no failure of the row.
        """
        try:
            return act()
        except LedgerError:
            raise
        except TaskFailed as error:
            return self.failed(row, error.__cause__ or error)
        except Exception as error:  # one poison object fails alone, whatever it makes a library raise
            return self.failed(row, error)

    def settled(self, row: Row, keep: Upload | None = None) -> Record | None:
        """The row's end, if nothing has to be sent for it. Ends uploads that an attempt left open, all but ``keep``.

        Raises:
            CrossdockError: An end failed, or the source is not what was listed.
        """
        if row.action is Action.COMPARE:
            evidence = self._of_source(unchanged, row)
            if evidence is not None:
                return self._record(row, RecordState.SKIPPED, evidence=evidence)
        if self._is_repeat:
            self.clear_uploads(row, keep)
            observed = as_observed(self._sink, row)
            if observed is False:
                return self.recognised(row, None)
            found = self._of_source(found_complete, row) if observed is None else None
            if found is not None:
                return self._record(row, RecordState.COPIED, receipt=found)
        return None

    def _sent(self, row: Row) -> Record:
        try:
            receipt: Receipt = self._pair(
                key=row.name,
                info=row.source,
                to=row.destination[len(self._sink.prefix) :],
                condition=self.condition(row),
            )
        except TaskFailed as error:
            cause = error.__cause__
            if not isinstance(cause, PreconditionError | NotFoundError):
                raise
            self.demand_source(row)
            if isinstance(cause, NotFoundError):
                raise
            return self.recognised(row, cause)
        return self.copied(row, receipt)

    def copied(self, row: Row, receipt: Receipt) -> Record:
        """The record of a success."""
        return self._record(row, RecordState.COPIED, receipt=receipt)

    def found(self, row: Row) -> Record | None:
        """The record of a success that somebody else had, if the destination provably holds the object."""
        receipt = self._of_source(found_complete, row)
        return None if receipt is None else self.copied(row, receipt)

    def condition(self, row: Row) -> Condition:
        """The destination must be as the plan saw it, as far as the store can be asked for that."""
        wanted = ABSENT if row.observed is None else Condition(version=row.observed)
        return demand(self._sink.store, wanted)

    def demand_source(self, row: Row) -> None:
        """Tell a source that changed from a destination that did. One request.

        Raises:
            _SourceError: It was deleted or replaced since it was listed.
        """
        try:
            self._source.store.stat(row.source.key, version=row.source.version)
        except NotFoundError as error:
            raise _SourceError(VANISHED) from error
        except PreconditionError as error:
            raise _SourceError(SOURCE_CHANGED) from error

    def _of_source(self, look: Callable[[ObjectSource, ObjectSink, Row], T], row: Row) -> T:
        """What ``look`` finds; that the source is not what was listed is no failure of the destination."""
        try:
            return look(self._source, self._sink, row)
        except NotFoundError as error:
            raise _SourceError(VANISHED) from error
        except PreconditionError as error:
            raise _SourceError(SOURCE_CHANGED) from error

    def recognised(self, row: Row, cause: CrossdockError | None) -> Record:
        """The destination is not as the plan saw it: perhaps because an attempt of ours wrote it."""
        record = self.found(row)
        if record is not None:
            return record
        error = cause or PreconditionError(
            "the destination is not in the state that was observed, and it is not this object either",
            operation="put",
            where=self._sink.store.url,
            key=row.destination,
        )
        return self.failed(row, error, reason=DESTINATION_CHANGED)

    def clear_uploads(self, row: Row, keep: Upload | None = None) -> bool:
        """Abort what an attempt that died left open under this destination key, and say whether ``keep`` is among it.

        Only uploads begun after that attempt announced them: those of others, and older ones, are not ours.
        """
        announced = self._intents.get(row.number)
        if announced is None:
            return False
        is_there = False
        store: ObjectStore = self._sink.store
        for upload in store.list_uploads(row.destination):
            if keep is not None and same_upload(keep, upload):
                is_there = True
            elif upload.key == row.destination and not_ours(upload, announced) is None:
                store.abort(upload)
        return is_there

    def failed(self, row: Row, error: BaseException, *, reason: str | None = None) -> Record:
        """The record of a failure."""
        if isinstance(error, _SourceError):
            reason, error = error.reason, error.__cause__ or error
        return self.failed_with(row, failure_of(error, reason=reason))

    def failed_with(self, row: Row, failure: Failure) -> Record:
        """The record of a failure that is in words already."""
        return self._record(row, RecordState.FAILED, failure=failure)

    def _record(self, row: Row, state: RecordState, **fields: Any) -> Record:
        receipt: Receipt | None = fields.get("receipt")
        size = receipt.size if receipt is not None else row.source.size or 0
        return Record(shard=self._shard, row=row.number, state=state, key=row.source.key, size=size, **fields)


class _SourceError(Exception):
    """The source is not what was listed; the cause says how it showed."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
