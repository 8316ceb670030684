"""``export_run``: every object of a run with what became of it, as Parquet, CSV or JSON lines at any URL.

The rows are those of ``ends``; they stream, and the file appears whole or not at all.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from crossdock.connectors.objects import ObjectSink
from crossdock.errors import ConfigError
from crossdock.flows.ledger.ends import ends_reader
from crossdock.flows.questions.endpoints import open_sink
from crossdock.flows.runs.arrays import array_of, values_of
from crossdock.flows.runs.directory import RunDirectory, open_run

__all__ = ["FORMATS", "Export", "export_run", "exported", "file_sink", "format_of"]

FORMATS = ("parquet", "csv", "jsonl")
_GROUP_ROWS = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A file that was written: where, its rows and its bytes."""

    url: str
    rows: int
    size: int


def export_run(
    run: str,
    to: str,
    *,
    format: str | None = None,
    options: Mapping[str, Any] | None = None,
    run_options: Mapping[str, Any] | None = None,
) -> Export:
    """Write what became of every object of a run, one row each, in the manifest's order.

    Memory: one part of the manifest (50,000 rows) and the records of its shards. Replaces a file of that name; a failure
    leaves it as it was. Lists are joined by spaces in CSV, where absent and empty are the same.

    Args:
        run: The run's id, or the URL of its directory.
        to: Path or URL of the file.
        format: ``parquet``, ``csv`` or ``jsonl``; by default what the name of the file ends with.
        options: Options of the store behind ``to``.
        run_options: Options for the store of the run's directory.

    Raises:
        ConfigError: The format is unknown, or ``to`` names no file.
        NotFoundError: There is no such run.
        LedgerError: Its directory is damaged.

    Example:
        >>> import crossdock as xd
        >>> from crossdock.flows import export_run
        >>> _ = xd.sink("memory://out-from/")(b"1", key="a")
        >>> _ = xd.migrate("memory://out-from/", "memory://out-to/", run_dir="memory://out-runs/1/")
        >>> export_run("memory://out-runs/1/", "memory://out-files/ends.csv").rows
        1
    """
    chosen = format_of(to, format)
    directory = open_run(run, run_options)
    sink = file_sink(to, options)
    counted = _Counted(ends_reader(directory))
    receipt = sink.run(_WRITERS[chosen](counted.reader), key="")
    return Export(url=receipt.destination, rows=counted.rows, size=receipt.size)


def file_sink(to: str, options: Mapping[str, Any] | None = None) -> ObjectSink:
    """Where one file is written: the sink of exactly this key, to be called with ``key=""``.

    Raises:
        ConfigError: It names a place for many, or an option is wrong.
    """
    sink = open_sink(to, options or {})
    if not sink.prefix or sink.prefix.endswith("/"):
        raise ConfigError("this names no file", operation="export", where=to, hint="add a file's name to it")
    return sink


def format_of(name: str, given: str | None) -> str:
    """The format asked for, or what the name ends with.

    Raises:
        ConfigError: Neither says.
    """
    chosen = given or name.rpartition(".")[2].lower()
    if chosen not in FORMATS:
        raise ConfigError(
            f"the format is one of {', '.join(FORMATS)}",
            operation="export",
            where=name,
            hint="give it, or a name that ends with it",
        )
    return chosen


def exported(directory: RunDirectory, format: str) -> Iterator[bytes]:
    """The same rows as the bytes of one file, while they are pulled.

    Raises:
        LedgerError: The directory is damaged.
    """
    return _WRITERS[format](ends_reader(directory))


class _Counted:
    """A reader that counts what passes."""

    def __init__(self, reader: pa.RecordBatchReader) -> None:
        self.rows = 0
        self.reader = pa.RecordBatchReader.from_batches(reader.schema, self._pass(reader))

    def _pass(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        for batch in reader:
            self.rows += batch.num_rows
            yield batch


class _Outbox(io.RawIOBase):
    """A file that hands out what was written to it."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        taken = bytes(data)
        self._waiting.append(taken)
        return len(taken)

    def taken(self) -> bytes:
        """What was written since it was asked last."""
        data = b"".join(self._waiting)
        self._waiting.clear()
        return data


def _parquet(reader: pa.RecordBatchReader) -> Iterator[bytes]:
    outbox = _Outbox()
    waiting: list[pa.RecordBatch] = []
    with pq.ParquetWriter(pa.PythonFile(outbox, mode="w"), reader.schema, compression="zstd") as writer:
        for batch in reader:
            waiting.append(batch)
            if sum(each.num_rows for each in waiting) >= _GROUP_ROWS:
                writer.write_table(pa.Table.from_batches(waiting, reader.schema))
                waiting.clear()
                yield outbox.taken()
        if waiting:
            writer.write_table(pa.Table.from_batches(waiting, reader.schema))
    yield outbox.taken()


def _csv(reader: pa.RecordBatchReader) -> Iterator[bytes]:
    import pyarrow.csv

    outbox = _Outbox()
    schema = pa.schema(
        [
            pa.field(field.name, pa.string()) if pa.types.is_list(field.type) else field
            for field in reader.schema
        ]
    )
    with pyarrow.csv.CSVWriter(cast("IO[bytes]", outbox), schema) as writer:
        for batch in reader:
            columns = [
                array_of(
                    [None if value is None else " ".join(value) for value in column.to_pylist()], pa.string()
                )
                if pa.types.is_list(column.type)
                else column
                for column in batch.columns
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            yield outbox.taken()
    yield outbox.taken()


def _jsonl(reader: pa.RecordBatchReader) -> Iterator[bytes]:
    for batch in reader:
        names = batch.schema.names
        columns = [values_of(pa.chunked_array([column])) for column in batch.columns]
        lines = [
            json.dumps(dict(zip(names, values, strict=True)), default=str)
            for values in zip(*columns, strict=True)
        ]
        yield "".join(f"{line}\n" for line in lines).encode()


_WRITERS: Mapping[str, Callable[[pa.RecordBatchReader], Iterator[bytes]]] = {
    "parquet": _parquet,
    "csv": _csv,
    "jsonl": _jsonl,
}
