"""One snapshot of one Iceberg table: its columns from the metadata, its rows from the data files, file by file."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.conversions import from_bytes
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import ArrowScan, _read_all_delete_files, schema_to_pyarrow
from pyiceberg.manifest import DataFile
from pyiceberg.schema import Schema
from pyiceberg.table import FileScanTask, Table
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import DateType, IntegerType, LongType, PrimitiveType, TimestampType, TimestamptzType

from crossdock.datasets.pruning import condition_of
from crossdock.errors import ConfigError, NotFoundError
from crossdock.lakes.kinds import iceberg_kinds, plain
from crossdock.lakes.lake import Asked, Found
from crossdock.lakes.pruning import Known, survivors

__all__ = ["BATCH", "IcebergFound", "arrow_schema"]

BATCH = "crossdock.batch."
"""Table properties of this name note appends that have one: they outlive their snapshots."""

_BOUNDED = (IntegerType, LongType, DateType, TimestampType, TimestamptzType)
"""Types of which bounds are exact; those of texts are cut."""


def arrow_schema(schema: Schema) -> pa.Schema:
    """A table's columns in the types that rows of it have here."""
    found = schema_to_pyarrow(schema, include_field_ids=False)
    return pa.schema([each.with_type(iceberg_kinds(each.type)).remove_metadata() for each in found])


class IcebergFound(Found):
    """See ``Found``."""

    def __init__(self, table: Table, version: Any) -> None:
        self.table = table
        self.snapshot_id = _snapshot_of(table, version)
        self._scan = table.scan(snapshot_id=self.snapshot_id)
        self.schema = arrow_schema(self._scan.projection())
        spec, names = table.spec(), table.schema()
        self.partition_by = tuple(
            str(names.find_column_name(each.source_id))
            for each in spec.fields
            if isinstance(each.transform, IdentityTransform)
        )
        self.is_identity = len(self.partition_by) == len(spec.fields)
        self.version = str(self.snapshot_id or "")

    def has_batch(self, batch_id: str) -> bool:
        """See ``Found``."""
        return f"{BATCH}{batch_id}" in self.table.properties

    def read(self, asked: Asked) -> Iterator[pa.RecordBatch]:
        """See ``Found``.

        Requests: the manifests of the snapshot, then those of one data file by ranges after the other. ``to_arrow_batch_reader`` of
        the library is not used: it reads all files ahead, each whole (pyiceberg 0.12).
        """
        columns = list(asked.columns or self.schema.names)
        schema = pa.schema([self.schema.field(name) for name in columns])
        tasks = list(self._scan.plan_files())
        condition = condition_of(asked.where, self.schema)
        for number in survivors([self._known(each.file) for each in tasks], self.schema, condition):
            yield from self._rows(tasks[number], schema)

    def _rows(self, task: FileScanTask, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        files = self.table.io
        projected = self._scan.projection().select(*schema.names)
        scan = ArrowScan(self.table.metadata, files, projected, AlwaysTrue())
        # Its public ``to_record_batches`` makes a list of each file's batches.
        deletes = _read_all_delete_files(files, [task])
        for batch in scan._record_batches_from_scan_tasks_and_deletes([task], deletes):  # noqa: SLF001
            arrays: list[Any] = []
            for each in schema:
                column: Any = batch.column(batch.schema.get_field_index(each.name))
                arrays.append(pc.cast(plain(column.type)(column), each.type))
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _known(self, file: DataFile) -> Known:
        """What the manifests say of one file."""
        names = self._scan.projection()
        bounds, no_nulls = {}, set()
        for field in names.fields:
            least, greatest = (
                (each or {}).get(field.field_id) for each in (file.lower_bounds, file.upper_bounds)
            )
            kind = field.field_type
            if least is None or greatest is None or not isinstance(kind, _BOUNDED):
                continue
            bounds[field.name] = (_value(kind, least), _value(kind, greatest))
            if (file.null_value_counts or {}).get(field.field_id) == 0:
                no_nulls.add(field.name)
        return Known(constant=self._constant(file, names), bounds=bounds, no_nulls=frozenset(no_nulls))

    def _constant(self, file: DataFile, names: Schema) -> dict[str, Any]:
        """Identity partitions; whole numbers, texts, dates and booleans are what ours are."""
        found = {}
        for place, each in enumerate(self.table.specs()[file.spec_id].fields):
            name = names.find_column_name(each.source_id)
            if (
                name is None
                or name not in self.schema.names
                or not isinstance(each.transform, IdentityTransform)
            ):
                continue
            value = file.partition[place]
            if value is None or isinstance(value, int | str):
                found[name] = value
        return found


def _value(kind: PrimitiveType, data: bytes) -> Any:
    """A bound as the number that Arrow makes the same value of: days, microseconds."""
    return from_bytes(kind, data)


def _snapshot_of(table: Table, version: Any) -> int | None:
    """The snapshot's id.

    Raises:
        NotFoundError: There is none.
        ConfigError: ``version`` is neither an id nor a time.
    """
    if version is None:
        current = table.current_snapshot()
        return None if current is None else current.snapshot_id
    if isinstance(version, int) or (isinstance(version, str) and version.isdecimal()):
        if table.snapshot_by_id(int(version)) is None:
            raise NotFoundError(f"there is no snapshot {version}", operation="read")
        return int(version)
    try:
        moment = version if isinstance(version, dt.datetime) else dt.datetime.fromisoformat(str(version))
    except ValueError as error:
        raise ConfigError(
            f"a version is a snapshot's id or a time such as 2026-05-01T12:00:00+00:00, not {version!r}",
            operation="read",
        ) from error
    if moment.tzinfo is None:
        raise ConfigError(
            f"the time {version!r} has no time zone", operation="read", hint="write 2026-05-01T12:00:00+00:00"
        )
    found = table.snapshot_as_of_timestamp(int(moment.timestamp() * 1000))
    if found is None:
        raise NotFoundError(f"there was no snapshot at {moment.isoformat()}", operation="read")
    return found.snapshot_id
