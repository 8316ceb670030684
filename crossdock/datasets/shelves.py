"""Rows that wait for their partition's object: in memory while they are few, then in the task's scratch directory.

Rows of a partition keep their order. At most ``max_open`` partitions and ``memory_bytes`` are in memory at a time; of those
that must go, the one that was used least recently is written to its file, as an Arrow stream appended to the others there.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa

import crossdock
from crossdock.datasets.splitting import Texts
from crossdock.errors import CompositionError

__all__ = ["Shelves"]


class _Shelf:
    """One partition's rows."""

    __slots__ = ("file", "held", "held_bytes", "rows", "waiting_bytes")

    def __init__(self, file: Path) -> None:
        self.file = file
        self.held: list[pa.RecordBatch] = []
        self.held_bytes = 0
        self.waiting_bytes = 0
        self.rows = 0


class Shelves:
    """All partitions' rows. Not thread-safe. Files are open only while they are written or read; ``with`` removes them.

    Attributes:
        spills: How often rows went to disk.
    """

    def __init__(self, schema: pa.Schema, *, max_open: int, memory_bytes: int) -> None:
        self._schema = schema
        self._max_open = max_open
        self._memory_bytes = memory_bytes
        self._shelves: dict[Texts, _Shelf] = {}
        self._open: OrderedDict[Texts, _Shelf] = OrderedDict()
        self._bytes = 0
        self._stack = contextlib.ExitStack()
        self._directory: Path | None = None
        self.spills = 0

    def __len__(self) -> int:
        return len(self._shelves)

    def __contains__(self, partition: Texts) -> bool:
        return partition in self._shelves

    def waiting(self) -> list[Texts]:
        """Partitions with rows that were not taken yet."""
        return [partition for partition, shelf in self._shelves.items() if shelf.rows]

    def add(self, partition: Texts, batch: pa.RecordBatch) -> int:
        """Put rows with their partition's others; gives the bytes that wait there now, as Arrow counts them."""
        shelf = self._shelves.get(partition)
        if shelf is None:
            shelf = self._shelves[partition] = _Shelf(Path(f"{len(self._shelves)}.arrows"))
        shelf.held.append(batch)
        size = batch.nbytes
        shelf.held_bytes += size
        shelf.waiting_bytes += size
        shelf.rows += batch.num_rows
        self._bytes += size
        self._open[partition] = shelf
        self._open.move_to_end(partition)
        while len(self._open) > self._max_open or (self._bytes > self._memory_bytes and self._open):
            self._spill(self._open.popitem(last=False)[1])
        return shelf.waiting_bytes

    def _spill(self, shelf: _Shelf) -> None:
        if self._directory is None:
            self._directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(dir=_scratch())))
        table = pa.Table.from_batches(shelf.held, self._schema).combine_chunks()
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with (
            (self._directory / shelf.file).open("ab") as file,
            pa.ipc.new_stream(file, self._schema, options=options) as writer,
        ):
            writer.write_table(table)
        self._let_go(shelf)
        self.spills += 1

    def _let_go(self, shelf: _Shelf) -> None:
        self._bytes -= shelf.held_bytes
        shelf.held, shelf.held_bytes = [], 0

    def take(self, partition: Texts) -> Iterator[pa.RecordBatch]:
        """The partition's rows, in order; when they were all read they are gone from here."""
        shelf = self._shelves[partition]
        self._open.pop(partition, None)
        spilled = None if self._directory is None else self._directory / shelf.file
        if spilled is not None and spilled.exists():
            with spilled.open("rb") as file:
                end = spilled.stat().st_size
                while file.tell() < end:
                    with pa.ipc.open_stream(file) as reader:
                        yield from reader
            spilled.unlink()
        while shelf.held:
            batch = shelf.held.pop(0)
            self._bytes -= batch.nbytes
            shelf.held_bytes -= batch.nbytes
            yield batch
        shelf.rows = shelf.waiting_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._stack.close()


def _scratch() -> str | None:
    """The running task's directory, else the system's."""
    try:
        return str(crossdock.current().scratch)
    except CompositionError:
        return None
