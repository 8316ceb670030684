"""Record batches to CSV, batch by batch, through pyarrow's writer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv

from crossdock.batches import Batches
from crossdock.errors import ConfigError
from crossdock.formats.options import CsvWrite
from crossdock.formats.outgoing import Collector

__all__ = ["write_csv"]


def write_csv(batches: Batches, options: CsvWrite) -> Iterator[bytes]:
    """Text in quotes, null as nothing, times as ISO 8601; a header even without rows.

    Raises:
        ConfigError: A column has no form in a CSV (lists, structs, bytes).
    """
    schema = pa.schema([field.with_type(_writable(field)) for field in batches.schema])
    out: Any = Collector()
    file: Any = pa.PythonFile(out, mode="w")
    settings = pacsv.WriteOptions(include_header=options.header, delimiter=options.delimiter)
    try:
        with pacsv.CSVWriter(file, schema, write_options=settings) as writer:
            yield out.take()
            for batch in batches:
                writer.write_batch(batch if batch.schema == schema else batch.cast(schema))
                yield out.take()
        yield out.take()
    finally:
        out.abandon()


def _writable(field: pa.Field) -> pa.DataType:  # type: ignore[type-arg]
    types = pa.types
    kind: pa.DataType = field.type
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_string_view(kind):
        return pa.large_string()
    if (
        types.is_nested(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_duration(kind)
    ):
        raise ConfigError(
            f"column {field.name!r} is {kind}, which a CSV cannot hold",
            operation="encode",
            hint="make it text with xd.transform(...), leave it out with xd.select(...), or write another format",
        )
    return kind
