"""The files of an export as one batch of a dataset: written by many, listed at one moment.

Readers by ``xd.dataset`` see the batch as it was until then, and all files afterwards. Which attempt writes is in the batch's state,
as for every dataset: whoever begins later takes it over, and the earlier cannot commit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from crossdock.connectors.objects import ObjectSink
from crossdock.datasets.state import Committed, DataObject, State, found_state, object_name, put_state
from crossdock.errors import CrossdockError, PreconditionError, UnsafeError, UnsupportedError
from crossdock.flows.ledger.records import best
from crossdock.flows.ledger.writing import read_records
from crossdock.flows.runs.directory import RunDirectory

__all__ = ["ExportBatch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportBatch:
    """One attempt to write a batch.

    Attributes:
        sink: Its prefix is the dataset's.
        name: The batch's.
        attempt: Tells this run's objects apart from all others.
        suffix: What names of objects end with.
    """

    sink: ObjectSink
    name: str
    attempt: str
    suffix: str

    def key(self, number: int) -> str:
        """Of one object."""
        return self.sink.prefix + object_name(self.name, self.attempt, number, self.suffix)

    def demand_free(self, *, overwrite: bool) -> None:
        """Go on only if there is no such batch, or it is to be replaced. One request.

        Raises:
            UnsafeError: There is one.
            UnsupportedError: The store has no conditional writes.
        """
        can = self.sink.store.capabilities
        if not (can.create_if_absent and can.replace_if_match):
            raise UnsupportedError(
                "this store has no conditional writes, so files could not become visible all at once",
                operation="export",
                where=self.sink.url,
                hint="leave out dataset, or write to S3, Google Cloud Storage, Azure or a directory",
            )
        found = found_state(self.sink.store, self.sink.prefix, self.name)
        if found is not None and found.committed is not None and not overwrite:
            raise UnsafeError(
                f"the dataset has a batch {self.name!r} already",
                operation="export",
                where=self.sink.url,
                hint="write to another place, or overwrite it",
            )

    def begin(self) -> None:
        """Take the batch over."""
        found = found_state(self.sink.store, self.sink.prefix, self.name)
        begun = State(batch=self.name, attempt=self.attempt, committed=found.committed if found else None)
        put_state(self.sink.store, self.sink.prefix, begun, before=found)

    def commit(self, directory: RunDirectory, schema: pa.Schema, form: str) -> dict[str, Any]:
        """List everything that the run wrote, in place of what the batch was; then remove that. Twice is fine.

        Raises:
            PreconditionError: Another attempt took the batch over; nothing of this one is visible.
        """
        store, prefix = self.sink.store, self.sink.prefix
        found = found_state(store, prefix, self.name)
        if found is not None and found.committed is not None and found.committed.attempt == self.attempt:
            return self._told(found.committed, 0)
        if found is None or found.attempt != self.attempt:
            raise PreconditionError(
                f"another attempt took over the batch {self.name!r}, and nothing of this one is visible",
                operation="export",
                where=self.sink.url,
                hint="one export at a time writes a batch; start a new run",
            )
        new = Committed(
            attempt=self.attempt,
            format=form,
            partition_by=(),
            schema=schema.remove_metadata(),
            objects=tuple(sorted(self._objects(directory), key=lambda each: each.key)),
            at=datetime.now(UTC).isoformat(),
        )
        put_state(store, prefix, replace(found, attempt=None, committed=new), before=found)
        removed = 0
        for key in sorted(found.keys):
            try:
                store.delete(prefix + key)
                removed += 1
            except CrossdockError:  # nobody sees it: `vacuum` removes it
                continue
        return self._told(new, removed)

    def _objects(self, directory: RunDirectory) -> Iterator[DataObject]:
        for _, records in read_records(directory.files):
            for record in best(records).values():
                if record.receipt is None or record.made is None:
                    continue
                yield DataObject(
                    key=record.receipt.key[len(self.sink.prefix) :],
                    values=(),
                    rows=record.made.rows,
                    size=record.made.bytes or 0,
                    digests=record.receipt.digests,
                )

    def _told(self, done: Committed, removed: int) -> dict[str, Any]:
        return {"batch": self.name, "objects": len(done.objects), "rows": done.rows, "removed": removed}
