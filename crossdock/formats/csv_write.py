"""Record batches to CSV, batch by batch, through pyarrow's writer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv

from crossdock.batches import Batches
from crossdock.formats.options import CsvWrite
from crossdock.formats.outgoing import Collector

__all__ = ["write_csv"]


def write_csv(batches: Batches, options: CsvWrite) -> Iterator[bytes]:
    """Text in quotes, null as nothing, times as ISO 8601; a header even without rows. Only types that a CSV carries (``carried``)."""
    out: Any = Collector()
    file: Any = pa.PythonFile(out, mode="w")
    settings = pacsv.WriteOptions(include_header=options.header, delimiter=options.delimiter)
    try:
        with pacsv.CSVWriter(file, batches.schema, write_options=settings) as writer:
            yield out.take()
            for batch in batches:
                writer.write_batch(batch)
                yield out.take()
        yield out.take()
    finally:
        out.abandon()
