"""Rows to Parquet objects, partition by partition, through the one writer; nothing refers to them yet.

Objects get names that nobody else makes. A reader of the lake sees none before a commit names them; what fails deletes them, and
what a killed process leaves is told by its name (``part-<attempt>-<number>.parquet``).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from crossdock.batches import Batches
from crossdock.connectors.strategy import TransferOptions
from crossdock.connectors.streams import as_byte_stream
from crossdock.connectors.writer import write
from crossdock.datasets.shelves import Shelves
from crossdock.datasets.splitting import Texts, gathered, pieces, split
from crossdock.errors import CrossdockError, UnsafeError
from crossdock.formats.encoding import encode
from crossdock.lakes.options import LakeOptions
from crossdock.lakes.place import Place
from crossdock.lakes.stats import Stats
from crossdock.model import ABSENT, ANY, MIB, Receipt

__all__ = ["DataFile", "DataFiles"]

_PIECE_BYTES = 8 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """One object of one partition.

    Attributes:
        name: Below the table's data prefix.
        values: Of the partition columns, as texts.
        stats: Of its columns.
        receipt: The writer's proof.
    """

    name: str
    values: Texts
    stats: Stats
    receipt: Receipt


@dataclass(slots=True, kw_only=True)
class DataFiles:
    """What one attempt has written so far. Not thread-safe.

    Attributes:
        place: The table's data prefix.
        stored: The objects' columns.
        partition_by: Partition columns; in the objects or not, as ``stored`` says.
        options: Sizes and bounds.
        files: Those that are whole.
        spills: How often rows went to disk.
    """

    place: Place
    stored: pa.Schema
    partition_by: tuple[str, ...]
    options: LakeOptions
    attempt: str = field(default_factory=lambda: secrets.token_hex(8))
    files: list[DataFile] = field(default_factory=list)
    spills: int = 0
    _names: list[str] = field(default_factory=list)
    _ratio: float = 1.0

    def write(self, rows: Batches) -> None:
        """All rows, each into its partition's objects; order is kept within a partition.

        Memory: ``memory_bytes`` of rows, a piece of a batch, and what the encoder and the upload of one object take. Disk: rows of
        partitions that wait, compressed.

        Raises:
            UnsafeError: There are too many partitions.
            ConfigError: A value cannot be partitioned by.
            StorageError: The store failed.
        """
        options = self.options
        part_bytes = max(4096, options.target_size_bytes // 4)  # an object is this much too large at most
        shelves = Shelves(self.stored, max_open=options.max_open, memory_bytes=options.memory_bytes)
        with shelves:
            for values, part in self._parts(rows, part_bytes):
                if values not in shelves and len(shelves) >= options.max_partitions:
                    raise self._too_many(values)
                waiting = shelves.add(values, part)
                if waiting * self._ratio >= options.target_size_bytes:
                    self._write(values, shelves.take(values), waiting)
            for values in sorted(shelves.waiting(), key=str):
                self._write(values, shelves.take(values), 0)
            self.spills = shelves.spills

    def _parts(self, rows: Batches, part_bytes: int) -> Iterator[tuple[Texts, pa.RecordBatch]]:
        columns = self.stored.names
        for batch in gathered(rows, min(_PIECE_BYTES, self.options.memory_bytes)):
            for piece in pieces(batch, _PIECE_BYTES):
                for values, part in split(piece, self.partition_by, columns):
                    for small in pieces(part, part_bytes):
                        yield values, _as(small, self.stored)

    def _write(self, values: Texts, batches: Iterable[pa.RecordBatch], waiting_bytes: int) -> None:
        name = f"part-{self.attempt}-{len(self._names):05}.parquet"
        self._names.append(name)  # before it is begun: what is half there is deleted too
        store, stats = self.place.store, Stats(self.stored)
        rows = Batches(self.stored, map(stats.seen, batches))
        with encode("parquet")(rows) as stream:
            receipt = write(
                as_byte_stream(stream),
                store,
                self.place.prefix + name,
                condition=ABSENT if store.capabilities.create_if_absent else ANY,
                options=TransferOptions(),
            )
        self.files.append(DataFile(name=name, values=values, stats=stats, receipt=receipt))
        if waiting_bytes:
            # The first object is as much smaller as Parquet packs; from then on it is known.
            self._ratio = receipt.size / waiting_bytes

    def _too_many(self, values: Texts) -> UnsafeError:
        named = ", ".join(f"{name}={text}" for name, text in zip(self.partition_by, values, strict=True))
        return UnsafeError(
            f"more than {self.options.max_partitions} partitions, the next being {named}",
            operation="partition",
            where=self.place.url,
            hint="partition by fewer values, such as xd.date(...) of a time, or raise max_partitions",
        )

    def undo(self, error: BaseException) -> None:
        """Delete what was written; what cannot be deleted is noted on the error on its way."""
        left = []
        for name in self._names:
            try:
                self.place.store.delete(self.place.prefix + name)
            except CrossdockError:
                left.append(name)
        if left:
            error.add_note(
                f"{len(left)} objects could not be deleted below {self.place.url}, such as {left[0]}"
            )

    @property
    def rows(self) -> int:
        """In all files."""
        return sum(each.stats.rows for each in self.files)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(each.receipt.size for each in self.files)


def _as(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The same columns with the schema's metadata: Iceberg tells columns by numbers that stand there."""
    if batch.schema.equals(schema, check_metadata=True):
        return batch
    return pa.RecordBatch.from_arrays(
        [column.cast(kind.type) for column, kind in zip(batch.columns, schema, strict=True)], schema=schema
    )
