"""How values become columns of the run's Parquet files, and back; what manifest and ledger share."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crossdock.flows.runs.arrays import array_of, values_of
from crossdock.model import Digests, Metadata, ObjectInfo, Version

__all__ = [
    "DIGEST_FIELDS",
    "OBJECT_FIELDS",
    "TIME",
    "digests_of",
    "metadata_from",
    "metadata_text",
    "object_columns",
    "object_from",
    "rows_of",
    "table_of",
    "to_parquet",
    "version_from",
]

TIME = pa.timestamp("us", tz="UTC")
DIGEST_FIELDS: tuple[pa.Field[Any], ...] = (
    pa.field("md5", pa.binary()),
    pa.field("crc32c", pa.binary()),
    pa.field("crc64nvme", pa.binary()),
    pa.field("sha256", pa.binary()),
    pa.field("multipart_etag", pa.string()),
)
OBJECT_FIELDS: tuple[pa.Field[Any], ...] = (
    pa.field("size", pa.int64()),
    pa.field("modified", TIME),
    pa.field("etag", pa.string()),
    pa.field("generation", pa.string()),
    *DIGEST_FIELDS,
    pa.field("storage_class", pa.string()),
    pa.field("metadata", pa.string()),
)
"""What a listing said of an object, but for its key."""


def to_parquet(rows: Sequence[Mapping[str, Any]], schema: pa.Schema, *, group_rows: int) -> bytes:
    """Rows as one Parquet file in memory, in groups of ``group_rows`` that can be read alone."""
    sink = pa.BufferOutputStream()
    pq.write_table(table_of(rows, schema), sink, compression="zstd", row_group_size=group_rows)
    return bytes(sink.getvalue())


def table_of(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as a table in memory."""
    columns = [array_of([row.get(field.name) for row in rows], field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def rows_of(table: pa.Table) -> Iterator[dict[str, Any]]:
    """The other way round, row by row."""
    columns = [values_of(column) for column in table.columns]
    for values in zip(*columns, strict=True):
        yield dict(zip(table.column_names, values, strict=True))


def digests_of(row: Mapping[str, Any]) -> Digests:
    """The digests of a row."""
    return Digests(**{field.name: row[field.name] for field in DIGEST_FIELDS})


def version_from(etag: str | None, generation: str | None) -> Version:
    """A version from two columns."""
    return Version(etag=etag, generation=generation)


def metadata_text(metadata: Metadata | None) -> str | None:
    """Metadata as JSON; ``None`` if the listing did not carry it, which is not the same as none."""
    if metadata is None:
        return None
    known: dict[str, Any] = {
        name: getattr(metadata, name) for name in Metadata.FIELDS if getattr(metadata, name) is not None
    }
    return json.dumps(known | {"user": dict(metadata.user)})


def metadata_from(text: str | None) -> Metadata | None:
    """The other way round."""
    return None if text is None else Metadata(**json.loads(text))


def object_columns(info: ObjectInfo) -> dict[str, Any]:
    """What a listing said of an object, as ``OBJECT_FIELDS``."""
    return {
        "size": info.size,
        "modified": info.modified,
        "etag": info.version.etag,
        "generation": info.version.generation,
        **info.digests.as_dict(),
        "storage_class": info.storage_class,
        "metadata": metadata_text(info.metadata),
    }


def object_from(row: Mapping[str, Any]) -> ObjectInfo:
    """The other way round; the key is in the column ``key``."""
    return ObjectInfo(
        key=row["key"],
        size=row["size"],
        version=version_from(row["etag"], row["generation"]),
        digests=digests_of(row),
        metadata=metadata_from(row["metadata"]),
        modified=row["modified"],
        storage_class=row["storage_class"],
    )
