"""Record batches to Parquet, Arrow and ORC, as bytes that leave while rows still come.

A stream that is abandoned leaves its writer with a dead file: the footer it writes when it is collected as garbage leads nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from crossdock.batches import Batches
from crossdock.errors import ConfigError
from crossdock.formats.options import IpcWrite, OrcWrite, ParquetWrite
from crossdock.formats.outgoing import Collector

__all__ = ["write_arrow_file", "write_arrow_stream", "write_orc", "write_parquet"]


def gathered(batches: Batches, *, size_bytes: int, rows: int) -> Iterator[pa.Table]:
    """Tables of about this size, in order; the last is what is left. Memory: one of them."""
    held: list[pa.RecordBatch] = []
    held_bytes = held_rows = 0
    for whole in batches:
        batch = whole
        while held_rows + batch.num_rows >= rows:
            held.append(batch.slice(0, rows - held_rows))
            batch = batch.slice(rows - held_rows)
            yield pa.Table.from_batches(held, batches.schema)
            held, held_bytes, held_rows = [], 0, 0
        if batch.num_rows:
            held.append(batch)
            held_bytes += batch.nbytes
            held_rows += batch.num_rows
        if held_bytes >= size_bytes:
            yield pa.Table.from_batches(held, batches.schema)
            held, held_bytes, held_rows = [], 0, 0
    if held:
        yield pa.Table.from_batches(held, batches.schema)


def write_parquet(batches: Batches, options: ParquetWrite, compression: str | None) -> Iterator[bytes]:
    """Row groups of a target size. Memory: the rows of one, and what they become."""
    import pyarrow.parquet as pq

    out: Any = Collector()
    try:
        with _explained("Parquet", batches.schema):
            writer = pq.ParquetWriter(
                out,
                batches.schema,
                compression=compression or "none",  # type: ignore[arg-type] # checked by name
                compression_level=options.level,
                use_dictionary=options.dictionary,
                write_page_checksum=True,  # a bit that flips later is found by readers that look, as ours does
            )
        yield out.take()
        for table in gathered(batches, size_bytes=options.row_group_bytes, rows=options.row_group_rows):
            writer.write_table(table, row_group_size=max(table.num_rows, 1))
            yield out.take()
            del table  # not two of them: the next is gathered now
        writer.close()
        yield out.take()
    finally:
        out.abandon()


def write_arrow_stream(batches: Batches, options: IpcWrite, compression: str | None) -> Iterator[bytes]:  # noqa: ARG001 - as every writer
    """Batches as they come. Memory: one of them."""
    out: Any = Collector()
    settings = pa.ipc.IpcWriteOptions(compression=compression)  # type: ignore[arg-type] # checked by name
    try:
        writer = pa.ipc.new_stream(pa.PythonFile(out, mode="w"), batches.schema, options=settings)
        for batch in batches:
            writer.write_batch(batch)
            yield out.take()
        writer.close()
        yield out.take()
    finally:
        out.abandon()


def write_arrow_file(batches: Batches, options: IpcWrite, compression: str | None) -> Iterator[bytes]:  # noqa: ARG001
    """Batches as they come, then the footer."""
    out: Any = Collector()
    settings = pa.ipc.IpcWriteOptions(compression=compression)  # type: ignore[arg-type] # checked by name
    try:
        writer = pa.ipc.new_file(pa.PythonFile(out, mode="w"), batches.schema, options=settings)
        for batch in batches:
            writer.write_batch(batch)
            yield out.take()
        writer.close()
        yield out.take()
    finally:
        out.abandon()


def write_orc(batches: Batches, options: OrcWrite, compression: str | None) -> Iterator[bytes]:
    """Stripes of about the size asked for. Memory: the rows of one, and what they become."""
    from pyarrow import orc

    out: Any = Collector()
    try:
        writer = orc.ORCWriter(
            out,
            compression=compression or "uncompressed",  # type: ignore[arg-type] # checked by name
            stripe_size=options.stripe_bytes,
        )
        wrote = False
        for table in gathered(batches, size_bytes=options.stripe_bytes, rows=1 << 30):
            with _explained("ORC", batches.schema):
                writer.write(table)
            wrote = True
            yield out.take()
        if not wrote:
            with _explained("ORC", batches.schema):
                writer.write(batches.schema.empty_table())
        writer.close()
        yield out.take()
    finally:
        out.abandon()


class _explained:  # noqa: N801 - reads as a verb in a with statement
    """A type that a format does not have, in our words."""

    def __init__(self, what: str, schema: pa.Schema) -> None:
        self._what = what
        self._schema = schema

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, pa.ArrowNotImplementedError):
            columns = ", ".join(f"{field.name}: {field.type}" for field in self._schema)
            raise ConfigError(
                f"{self._what} cannot hold one of these columns: {error}",
                operation="encode",
                hint=f"put xd.cast(...) before it; columns: {columns}",
            ) from error
