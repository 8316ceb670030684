"""The objects of a unit as one stream of rows: in order, each pinned to the version that was listed, small ones fetched ahead.

Where an object cannot be read, the stream fails and says which one it was, so that the unit can be begun again without it.
"""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import pyarrow as pa

from crossdock.batches import Batches
from crossdock.connectors.digests import Hasher
from crossdock.connectors.objects import ObjectSource
from crossdock.connectors.streams import ObjectStream, PlainStream
from crossdock.errors import IntegrityError, Retry, StorageError
from crossdock.flows.moving.stopping import stoppable
from crossdock.flows.moving.working import Pools
from crossdock.flows.planning.rows import Row
from crossdock.formats.decoding import Decode
from crossdock.formats.request import Request
from crossdock.model import MIB, ObjectInfo
from crossdock.ports import Chunk

__all__ = ["UnitReader", "columns_of", "is_passing"]

SMALL_BYTES = MIB
"""Objects up to this size are fetched whole, ahead of their turn: their requests wait together instead of one after the other."""

_FETCHERS = 32
_AHEAD_BYTES = 16 * MIB
_AHEAD_OBJECTS = 64
_CHEAPEST = ("crc32c", "crc64nvme", "md5", "sha256")

_fetchers = Pools("crossdock-fetch")


def is_passing(error: BaseException) -> bool:
    """Whether this is trouble with a service rather than with one object: it may be over a while later."""
    return isinstance(error, StorageError) and error.retry is not Retry.NEVER


def columns_of(decode: Decode, *, where: str) -> pa.Schema:
    """The columns that a decoder with a schema gives, whatever it reads.

    Raises:
        ConfigError: One that was asked for is not in the schema.
    """
    request = Request.of(schema=decode.schema, types=None, columns=decode.columns, evolve=decode.evolve)
    whole = request.schema if request.schema is not None else pa.schema([])
    return request.narrowed(whole, where=where)


class UnitReader:
    """Reads the objects of one unit. Belongs to one thread, but for its fetchers.

    Memory: what decoding one object takes, and up to 16 MiB fetched ahead. Requests: one GET for an object of up to 1 MiB;
    larger ones are read as their format wants it.

    Args:
        source: Where they are.
        decode: How they are read; with a schema, so that all give the same columns.
        stop: Once it is set, no read begins or goes on.

    Attributes:
        counts: Rows that each object gave, by the number of its row in the manifest.
        failed: The row whose object could not be read, if one could not, and why.
    """

    def __init__(self, source: ObjectSource, decode: Decode, stop: threading.Event) -> None:
        self._source = stoppable(source, stop)
        self._decode = decode
        self.counts: dict[int, int] = {}
        self.failed: tuple[Row, Exception] | None = None

    @property
    def schema(self) -> pa.Schema:
        """What every object gives."""
        return columns_of(self._decode, where=self._source.url)

    def batches(self, rows: Sequence[Row]) -> Batches:
        """The rows of these objects, one object after the other, in order.

        Raises, when they are pulled:
            CrossdockError: An object cannot be read: ``failed`` says which.
        """
        self.counts, self.failed = {}, None
        return Batches(self.schema, self._batches(rows))

    def _batches(self, rows: Sequence[Row]) -> Iterator[pa.RecordBatch]:
        with _fetchers.taken(_FETCHERS) as pool:
            ahead = _Ahead(self._source, rows, pool)
            try:
                for row in rows:
                    self.counts[row.number] = 0
                    for batch in self._of(row, ahead.next()):
                        self.counts[row.number] += batch.num_rows
                        yield batch
            finally:
                ahead.close()

    def _of(self, row: Row, fetched: Future[Chunk] | None) -> Iterator[pa.RecordBatch]:
        """One object's rows. What goes wrong in here is the object's; what its consumer raises is not seen here."""
        try:
            value: Any = (
                ObjectStream(self._source.store, row.source.key, name=row.name, info=row.source)
                if fetched is None
                else PlainStream([fetched.result()], info=row.source, name=row.name)
            )
            decoded = self._decode(value)
        except Exception as error:
            self.failed = row, error
            raise
        with decoded:
            while True:
                try:
                    batch = next(decoded, None)
                except Exception as error:
                    self.failed = row, error
                    raise
                if batch is None:
                    return
                yield batch

    def unreadable(self, rows: Sequence[Row]) -> dict[int, Exception]:
        """Those of these objects that cannot be read, and why: each is read to its end, and its rows are dropped.

        Raises:
            StorageError: A service is in trouble: nothing can be said of the objects.
        """
        found: dict[int, Exception] = {}
        left = list(rows)
        while left:
            try:
                for _ in self.batches(left):
                    pass
            except Exception as error:
                if self.failed is None or is_passing(error):
                    raise
                row, cause = self.failed
                found[row.number] = cause
                left = left[left.index(row) + 1 :]
            else:
                break
        return found


class _Ahead:
    """Small objects of a sequence, fetched while those before them are decoded; larger ones wait for their turn."""

    def __init__(self, source: ObjectSource, rows: Sequence[Row], pool: Any) -> None:
        self._source = source
        self._rows = iter(rows)
        self._pool = pool
        self._window: deque[tuple[int, Future[Chunk] | None]] = deque()
        self._bytes = 0

    def next(self) -> Future[Chunk] | None:
        """The next object's bytes, under way; ``None`` for one that is to be read as a stream."""
        self._fill()
        size, fetched = self._window.popleft()
        self._bytes -= size
        return fetched

    def _fill(self) -> None:
        while not self._window or (self._bytes < _AHEAD_BYTES and len(self._window) < _AHEAD_OBJECTS):
            row = next(self._rows, None)
            if row is None:
                return
            size = row.source.size
            if size is None or size > SMALL_BYTES:
                self._window.append((0, None))
                continue
            context = contextvars.copy_context()
            fetched = self._pool.submit(context.run, _fetch, self._source, row.source)
            self._window.append((size, fetched))
            self._bytes += size

    def close(self) -> None:
        """Fetch no more; what is under way ends by itself, and nobody looks at it."""
        for _, fetched in self._window:
            if fetched is not None:
                fetched.cancel()
        self._window.clear()


def _fetch(source: ObjectSource, info: ObjectInfo) -> Chunk:
    """One small object, all of it, compared with a digest that the listing gave.

    Raises:
        IntegrityError: The bytes are not what was listed.
    """
    reader = source.store.read(info.key, version=info.version)
    try:
        data = reader.read_all()
    finally:
        reader.close()
    known = info.digests.as_dict()
    name = next((each for each in _CHEAPEST if each in known), None)
    wrong = info.size is not None and memoryview(data).nbytes != info.size
    if name is not None and not wrong:
        hasher = Hasher([name])
        hasher.update(data)
        wrong = hasher.digests().conflict(info.digests) is not None
    if wrong:
        raise IntegrityError(
            f"the bytes read are not those whose {name or 'size'} was listed",
            operation="read",
            where=source.store.url,
            key=info.key,
        )
    return data
