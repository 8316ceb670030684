"""Parquet, Arrow and ORC to record batches.

Of a stored object whose store has ranges only the footer and the wanted columns are fetched, row group by row group; anything else
is read whole first, into memory up to 32 MiB and a temporary file above (``Incoming.file``). Arrow's stream format needs neither:
it is read as it comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from crossdock.batches import Batches
from crossdock.errors import IntegrityError, Retry, UnsupportedError
from crossdock.formats.bad_rows import BadRows
from crossdock.formats.incoming import Incoming
from crossdock.formats.options import BinaryRead
from crossdock.formats.ranged import RangedFile
from crossdock.formats.request import Request
from crossdock.formats.schemas import Fitting, resolve, told
from crossdock.model import MIB, ByteRange
from crossdock.ports import Chunk

__all__ = ["AsFile", "fit", "read_arrow_file", "read_arrow_stream", "read_orc", "read_parquet", "wanted"]

_PIECE_BYTES = 4 * MIB
"""What is fetched of a column at a time, at most, where a row group is not fetched whole."""


def read_parquet(incoming: Incoming, options: BinaryRead, request: Request, bad: BadRows) -> Batches:
    """The rows of a Parquet object, in order. Reads the footer now.

    Requests by range: one HEAD unless a listing told of the object, one for the footer (two if it is larger than 64 KiB), then
    one for each row group and run of neighbouring columns. Memory: the wanted columns of a row group as stored (at most
    ``fetch_bytes``, else 4 MiB a column, twice) and a batch.
    """
    import pyarrow.parquet as pq

    file = incoming.file()
    with _telling("Parquet", incoming.name):
        metadata = pq.read_metadata(as_arrow(file))
        found = metadata.schema.to_arrow_schema()
        schema, names = wanted(found, request, incoming.name)
        numbers = range(metadata.num_row_groups)
        # Only where it is of use: pyarrow ends the process if it is asked for a column chunk whose statistics are damaged.
        is_ranged = isinstance(file, RangedFile)
        groups = [_ranges(metadata.row_group(number), names) if is_ranged else [] for number in numbers]
        largest = max((sum(map(len, each)) for each in groups), default=0)
        whole = isinstance(file, RangedFile) and largest <= options.fetch_bytes
        piece = min(_PIECE_BYTES, options.fetch_bytes)
        buffer = 0 if whole or not isinstance(file, RangedFile) else piece
        reader = pq.ParquetFile(
            as_arrow(file),
            metadata=metadata,
            buffer_size=buffer,
            pre_buffer=False,
            page_checksum_verification=True,  # of pages that have one
        )

    def batches() -> Iterator[pa.RecordBatch]:
        for number, ranges in enumerate(groups):
            if isinstance(file, RangedFile):
                # Of a group that is too large the columns' beginnings: small columns come together in one request.
                file.fetch(ranges if whole else [ByteRange(*_begin(each, piece)) for each in ranges])
            yield from reader.iter_batches(
                options.batch_rows, row_groups=[number], columns=names, use_threads=False
            )

    return fit(_told(batches(), "Parquet", incoming.name), found, schema, bad)


def _begin(whole: ByteRange, size: int) -> tuple[int, int]:
    return whole.start, min(whole.end, whole.start + size)


def _ranges(group: Any, names: list[str]) -> list[ByteRange]:
    """Where the wanted columns of a row group are stored."""
    ranges = []
    for number in range(group.num_columns):
        column = group.column(number)
        if column.path_in_schema.partition(".")[0] not in names and column.path_in_schema not in names:
            continue
        start = column.data_page_offset
        if column.has_dictionary_page and column.dictionary_page_offset:
            start = min(start, column.dictionary_page_offset)
        if column.total_compressed_size:
            ranges.append(ByteRange(start, start + column.total_compressed_size))
    return ranges


def read_arrow_file(incoming: Incoming, options: BinaryRead, request: Request, bad: BadRows) -> Batches:
    """The rows of an Arrow file, in its own batches. Reads the footer now; by range, whole batches with all their columns."""
    file = incoming.file()
    with _telling("Arrow", incoming.name):
        reader = pa.ipc.open_file(as_arrow(file))
    schema, names = wanted(reader.schema, request, incoming.name)

    def batches() -> Iterator[pa.RecordBatch]:
        for number in range(reader.num_record_batches):
            yield from _sliced(reader.get_batch(number).select(names), options)

    return fit(_told(batches(), "Arrow", incoming.name), reader.schema, schema, bad)


def read_arrow_stream(incoming: Incoming, options: BinaryRead, request: Request, bad: BadRows) -> Batches:
    """The rows of an Arrow stream as they come. Memory: one of its batches."""
    with _telling("Arrow", incoming.name):
        reader = pa.ipc.open_stream(as_arrow(AsFile(incoming)))
    schema, names = wanted(reader.schema, request, incoming.name)

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            yield from _sliced(batch.select(names), options)

    return fit(_told(batches(), "Arrow", incoming.name), reader.schema, schema, bad)


def read_orc(incoming: Incoming, options: BinaryRead, request: Request, bad: BadRows) -> Batches:
    """The rows of an ORC object, stripe by stripe. Reads the footer now. Memory: the wanted columns of a stripe."""
    from pyarrow import orc

    file = incoming.file()
    with _telling("ORC", incoming.name):
        reader = orc.ORCFile(as_arrow(file))
        found = reader.schema
    schema, names = wanted(found, request, incoming.name)

    def batches() -> Iterator[pa.RecordBatch]:
        for number in range(reader.nstripes):
            stripe = reader.read_stripe(number, columns=names)
            yield from _sliced(stripe.select(names), options)

    return fit(_told(batches(), "ORC", incoming.name), found, schema, bad)


def fit(batches: Iterable[pa.RecordBatch], found: pa.Schema, schema: pa.Schema, bad: BadRows) -> Batches:
    """Batches of the object's schema as batches of the stream's."""
    if found.equals(schema, check_metadata=True):
        return Batches(schema, batches)
    return Batches(schema, map(Fitting(schema, bad), batches))


def wanted(found: pa.Schema, request: Request, name: str | None) -> tuple[pa.Schema, list[str]]:
    """The stream's schema, and which of the object's columns that takes."""
    where = name or ""
    if len(request.types):
        request.demand_typed(found.names, where=where)
        known = {field.name: field for field in request.types}
        found = pa.schema([known.get(field.name, field) for field in found], metadata=told(found))
    schema = request.narrowed(resolve(found, request.schema, request.evolve, where=where), where=where)
    return schema, [each for each in schema.names if each in found.names]


def _sliced(batch: pa.RecordBatch, options: BinaryRead) -> Iterator[pa.RecordBatch]:
    for start in range(0, batch.num_rows, options.batch_rows):
        yield batch.slice(start, options.batch_rows)


def as_arrow(file: Any) -> Any:
    return file if isinstance(file, pa.NativeFile) else pa.PythonFile(file, mode="r")


class AsFile:
    """Chunks as a file to read from, once, in order."""

    closed = False

    def __init__(self, chunks: Iterable[Chunk]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    def read(self, size: int = -1, /) -> bytes:
        """``size`` bytes, fewer only at the end."""
        pieces = []
        wanted = size
        while wanted:
            if not self._rest:
                chunk = next(self._chunks, None)
                if chunk is None:
                    break
                self._rest = memoryview(chunk).cast("B")
            taken = self._rest if wanted < 0 else self._rest[:wanted]
            self._rest = self._rest[len(taken) :]
            pieces.append(taken)
            wanted -= len(taken) if wanted > 0 else 0
        return b"".join(pieces)

    def readable(self) -> bool:
        """It is."""
        return True

    def close(self) -> None:
        """Whoever made the chunks closes them."""


class _telling:  # noqa: N801 - reads as a verb in a with statement
    """What a reader of pyarrow's says of damaged bytes, in our words; errors of the source pass as they are."""

    def __init__(self, what: str, name: str | None) -> None:
        self._what = what
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, pa.ArrowException) and "out of range for nanosecond" in str(error):
            raise UnsupportedError(
                f"this {self._what} holds moments before 1677 or after 2262, which pyarrow reads in nanoseconds only: "
                f"{str(error).partition(chr(10))[0]}",
                operation="decode",
                where=self._name or "",
                hint="leave the column out: columns=[...]",
            ) from error
        if isinstance(error, pa.ArrowNotImplementedError):
            raise UnsupportedError(
                f"this {self._what} has something that pyarrow does not read, or is damaged: {str(error).partition(chr(10))[0]}",
                operation="decode",
                where=self._name or "",
            ) from error
        # pyarrow raises OSError itself for what it cannot decode: a source's own error has a class of its own.
        foreign = isinstance(error, pa.ArrowException | EOFError) or type(error) is OSError
        if foreign and not isinstance(error, pa.ArrowMemoryError):
            raise IntegrityError(
                f"this is not {self._what}, or it is damaged: {str(error).partition(chr(10))[0]}",
                operation="decode",
                where=self._name or "",
                retry=Retry.NEVER,
            ) from error


def _told(batches: Iterator[pa.RecordBatch], what: str, name: str | None) -> Iterator[pa.RecordBatch]:
    with _telling(what, name):
        yield from batches
