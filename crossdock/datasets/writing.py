"""One attempt to add a batch: rows to objects of about one size, then the state that makes them visible.

Data objects get names that nobody else makes and that no state knows, so nothing is seen of them before the end; what fails
deletes them. What a killed process leaves is told by its names, and deleted by the next attempt of its batch or by ``vacuum``.
"""

from __future__ import annotations

import contextvars
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from crossdock.batches import Batches
from crossdock.connectors.strategy import TransferOptions
from crossdock.connectors.streams import as_byte_stream
from crossdock.connectors.writer import write
from crossdock.datasets.derived import Partitioner
from crossdock.datasets.hive import prefix_of
from crossdock.datasets.shelves import Shelves
from crossdock.datasets.splitting import Texts, gathered, pieces, split
from crossdock.datasets.state import (
    Committed,
    DataObject,
    State,
    batch_key,
    found_state,
    object_name,
    owner_of,
    put_state,
)
from crossdock.errors import ConfigError, CrossdockError, PreconditionError, Retry, UnsafeError
from crossdock.formats.encoding import Encode
from crossdock.formats.names import parse_kind, suffix_of
from crossdock.model import ABSENT, MIB, Receipt
from crossdock.ports import ObjectStore

__all__ = ["Added", "Request", "add_batch", "demand_batch_id"]

_PIECE_BYTES = 8 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Where and how rows are written."""

    store: ObjectStore
    prefix: str
    encode: Encode
    partitioner: Partitioner
    target_size_bytes: int
    max_open: int
    memory_bytes: int
    max_partitions: int
    transfer: TransferOptions
    skips_done: bool

    @property
    def suffix(self) -> str:
        """What names of objects end with."""
        return suffix_of(parse_kind(self.encode.format))


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """How it ended."""

    state: State
    was_done: bool  # the batch was there as it is, and nothing changed
    receipts: tuple[Receipt, ...] = ()
    spills: int = 0
    left: tuple[str, ...] = ()  # replaced objects that could not be deleted


def add_batch(rows: Batches, request: Request, batch: str, *, is_named: bool, note: str = "") -> Added:
    """Write all rows and commit them, or leave nothing; see ``DatasetSink.run``."""
    schema = request.partitioner.schema_of(rows.schema.remove_metadata())
    before = found_state(request.store, request.prefix, batch) if is_named else None
    if before is not None and before.committed is not None and request.skips_done:
        rows.close()
        return Added(state=before, was_done=True)
    attempt = secrets.token_hex(8)
    begun = State(batch=batch, attempt=attempt, committed=before.committed if before else None)
    begun = put_state(request.store, request.prefix, begun, before=before)
    written = _Written(request, batch, attempt)
    try:
        if before is not None and before.attempt is not None:
            _delete(request, list(_orphans(request, begun)))
        spills = _write_rows(rows, schema, request, written)
        new = Committed(
            attempt=attempt,
            format=request.encode.format,
            partition_by=request.partitioner.names,
            schema=schema,
            objects=tuple(sorted(written.objects, key=lambda each: each.key)),
            at=datetime.now(UTC).isoformat(),
            note=note,
        )
        same = begun.committed if begun.committed is not None and _same(begun.committed, new) else None
        was_done = same is not None
        committed = new if same is None else replace(same, note=note)
        done = replace(begun, attempt=None, committed=committed)
        done = put_state(request.store, request.prefix, done, before=begun)
    except BaseException as error:
        if getattr(error, "unknown_outcome", False) and len(written.objects) == len(written.keys):
            _say_unknown(error, is_named=is_named)
            raise
        _undo(request, begun, written.keys, error)
        raise
    superfluous = written.keys if was_done else sorted(begun.keys)
    left = _delete(request, superfluous, tolerant=True)
    return Added(
        state=done, was_done=was_done, receipts=tuple(written.receipts), spills=spills, left=tuple(left)
    )


@dataclass(slots=True)
class _Written:
    """What an attempt has made so far. A key is noted before its object is begun."""

    request: Request
    batch: str
    attempt: str
    keys: list[str] = field(default_factory=list)
    objects: list[DataObject] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    numbers: dict[Texts, int] = field(default_factory=dict)

    def write(self, values: Texts, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> DataObject:
        """One object of one partition."""
        request = self.request
        number = self.numbers.get(values, 0)
        self.numbers[values] = number + 1
        key = prefix_of(request.partitioner.names, values) + object_name(
            self.batch, self.attempt, number, request.suffix
        )
        self.keys.append(key)
        source = Batches(schema, batches)
        with request.encode(source) as stream:
            receipt = write(
                as_byte_stream(stream),
                request.store,
                request.prefix + key,
                condition=ABSENT,
                options=request.transfer,
            )
        made = DataObject(
            key=key, values=values, rows=source.rows, size=receipt.size, digests=receipt.digests
        )
        self.objects.append(made)
        self.receipts.append(receipt)
        return made


class _Sizes:
    """How many bytes of an object a byte of rows becomes: told by a sample, then by the objects themselves."""

    def __init__(self, encode: Encode, target_bytes: int) -> None:
        self._encode = encode
        self._target = target_bytes
        self._ratio: float | None = None

    def is_enough(self, waiting_bytes: int, sample: pa.RecordBatch) -> bool:
        """Whether these rows make an object of the target's size."""
        if self._ratio is None:
            if waiting_bytes < min(self._target, MIB):
                return False
            # In a context of its own: the rows of a sample are counted by no task.
            grown = contextvars.Context().run(self._grown, sample)
            self._ratio = max(grown, 1) / max(sample.nbytes, 1)
        return waiting_bytes * self._ratio >= self._target

    def _grown(self, sample: pa.RecordBatch) -> int:
        """What the sample adds to an empty object."""
        return self._size(sample) - self._size(sample.slice(0, 0))

    def _size(self, rows: pa.RecordBatch) -> int:
        with self._encode(rows) as stream:
            return sum(map(len, stream))

    def learn(self, waiting_bytes: int, size: int) -> None:
        """An object that was made of so many bytes of rows."""
        if self._ratio is not None and waiting_bytes:
            self._ratio = (self._ratio + size / waiting_bytes) / 2


def _write_rows(rows: Batches, schema: pa.Schema, request: Request, written: _Written) -> int:
    names = request.partitioner.names
    columns = [name for name in schema.names if name not in names]
    stored = pa.schema([schema.field(name) for name in columns])
    sizes = _Sizes(request.encode, request.target_size_bytes)
    part_bytes = max(4096, request.target_size_bytes // 4)  # an object is this much too large at most
    with Shelves(stored, max_open=request.max_open, memory_bytes=request.memory_bytes) as shelves:
        for values, part in _parts(rows, request, columns, part_bytes):
            if values not in shelves and len(shelves) >= request.max_partitions:
                raise _too_many(request, values)
            waiting = shelves.add(values, part)
            if sizes.is_enough(waiting, part):
                sizes.learn(waiting, written.write(values, shelves.take(values), stored).size)
        for values in sorted(shelves.waiting(), key=lambda each: prefix_of(names, each)):
            written.write(values, shelves.take(values), stored)
        return shelves.spills


def _parts(
    rows: Batches, request: Request, columns: list[str], part_bytes: int
) -> Iterator[tuple[Texts, pa.RecordBatch]]:
    partitioner = request.partitioner
    for batch in gathered(rows, min(_PIECE_BYTES, request.memory_bytes)):
        for piece in pieces(batch, _PIECE_BYTES):
            complete = partitioner.completed(piece).replace_schema_metadata(None)
            for values, part in split(complete, partitioner.names, columns):
                for small in pieces(part, part_bytes):
                    yield values, small


def _too_many(request: Request, values: Texts) -> UnsafeError:
    return UnsafeError(
        f"more than {request.max_partitions} partitions, the next being "
        f"{prefix_of(request.partitioner.names, values)}",
        operation="partition",
        where=f"{request.store.url}/{request.prefix}",
        hint="partition by fewer values, such as xd.date(...) of a time, or raise max_partitions",
    )


def _same(old: Committed, new: Committed) -> bool:
    """Whether an attempt made what is there already, under other names."""
    if (old.partition_by, len(old.objects)) != (new.partition_by, len(new.objects)):
        return False

    def ordered(made: Committed) -> list[DataObject]:
        return sorted(made.objects, key=lambda each: each.key.replace(made.attempt, ""))

    pairs = zip(ordered(old), ordered(new), strict=True)
    return old.schema.equals(new.schema) and all(one.same_content(other) for one, other in pairs)


def _orphans(request: Request, begun: State) -> Iterator[str]:
    """Objects of earlier attempts of this batch, which can commit no more: the batch was taken over."""
    for page in request.store.list(request.prefix):
        for info in page:
            key = info.key[len(request.prefix) :]
            owner = owner_of(key)
            is_ours = owner is not None and owner[0] == begun.batch and owner[1] != begun.attempt
            if is_ours and key not in begun.keys:
                yield key


def _delete(request: Request, keys: Iterable[str], *, tolerant: bool = False) -> list[str]:
    """Delete objects; what could not be deleted, if that is to be borne."""
    left = []
    for key in keys:
        try:
            request.store.delete(request.prefix + key)
        except CrossdockError:
            if not tolerant:
                raise
            left.append(key)
    return left


def _undo(request: Request, begun: State, keys: list[str], error: BaseException) -> None:
    """Leave nothing of a failed attempt; what cannot be undone is noted on the error on its way."""
    left = _delete(request, keys, tolerant=True)
    if left:
        error.add_note(f"{len(left)} objects could not be deleted, such as {left[0]}; vacuum() removes them")
    try:
        if begun.committed is None:
            request.store.delete(request.prefix + batch_key(begun.batch), version=begun.version)
        else:
            put_state(request.store, request.prefix, replace(begun, attempt=None), before=begun)
    except PreconditionError:
        if isinstance(error, PreconditionError):
            error.hint = (
                "another attempt of this batch has taken it over: give every batch a batch_id of its own"
            )
    except CrossdockError as failure:
        error.add_note(f"the batch's state could not be put back: {failure}")


def _say_unknown(error: Any, *, is_named: bool) -> None:
    if is_named:
        error.hint = "whether the rows were added is unknown; with the same batch_id it is safe to try again"
    else:
        error.retry = Retry.NEVER  # a second attempt would have another name, and could add the rows again
        error.hint = "whether the rows were added is unknown; with batch_id=... it is safe to try again"


def demand_batch_id(batch: Any) -> str:
    """A name fit for keys.

    Raises:
        ConfigError: It is none.
    """
    if not isinstance(batch, str) or not 1 <= len(batch) <= 100 or not batch.isprintable():
        raise ConfigError(
            f"a batch_id is a text of 1 to 100 printable characters, not {batch!r}", operation="write"
        )
    return batch
