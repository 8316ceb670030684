"""One version of one Delta table: its columns from the log, its rows from the data files, file by file."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable

from crossdock.connectors.streams import ObjectStream
from crossdock.datasets.pruning import condition_of
from crossdock.errors import ConfigError, UnsupportedError
from crossdock.formats.decoding import decode
from crossdock.lakes.lake import Asked, Found
from crossdock.lakes.place import Place
from crossdock.lakes.pruning import Known, survivors

__all__ = ["DeltaFound", "app_id", "columns_of", "moment_of"]

_OTHERS = frozenset({"deletionVectors", "columnMapping"})
"""Reader features with which a data file is not what its rows are; the library's own engine reads such tables."""

_WRITABLE = frozenset(
    {
        "appendOnly",
        "changeDataFeed",  # of an append or a replacement it is told by the files themselves
        "checkConstraints",  # those that there are stand in the configuration
        "deletionVectors",
        "generatedColumns",  # these in the columns' metadata
        "invariants",
        "timestampNtz",
        "v2Checkpoint",
        "variantType",  # a column of it has no type here
        "variantType-preview",
        "vacuumProtocolCheck",
    }
)
"""Writer features with which rows in plain data files are what they are anywhere."""


def columns_of(handle: DeltaTable) -> pa.Schema:
    """A table's columns, as pyarrow has them."""
    found: Any = handle.schema().to_arrow()
    return pa.schema(found).remove_metadata()


def app_id(batch_id: str) -> str:
    """The application's name under which an append is noted in the log, once."""
    return f"crossdock/{batch_id}"


class DeltaFound(Found):
    """See ``Found``. The library holds the log's list of files: about a kilobyte a file."""

    def __init__(self, place: Place, handle: DeltaTable, opened_with: dict[str, str]) -> None:
        self.place = place
        self.handle = handle
        self.opened_with = opened_with
        self.schema = columns_of(handle)
        self.partition_by = tuple(handle.metadata().partition_columns)
        self.version = str(handle.version())

    def fresh(self, options: dict[str, str]) -> DeltaTable:
        """The same version, opened anew if credentials were renewed while rows were on their way."""
        if options == self.opened_with:
            return self.handle
        return DeltaTable(self.place.location, version=int(self.version), storage_options=options)

    def demand_writable(self) -> None:
        """Refuse a table of which data files have to be more than its rows.

        Raises:
            UnsupportedError: It has such a feature.
        """
        protocol, settings = self.handle.protocol(), self.handle.metadata().configuration
        wanting = {*(protocol.writer_features or ())} - _WRITABLE
        wanting |= {name for name in settings if name.startswith("delta.constraints.")}
        if settings.get("delta.columnMapping.mode", "none") != "none":
            wanting.add("columnMapping")
        if settings.get("delta.enableRowTracking", "false") == "true":
            wanting.add("rowTracking")
        wanting |= {
            name
            for each in self.handle.schema().fields
            for name in each.metadata
            if name in ("delta.invariants", "delta.generationExpression")
            or name.startswith("delta.identity.")
        }
        if wanting:
            raise UnsupportedError(
                f"the table has {', '.join(sorted(wanting))}, which rows written here would not keep",
                operation="write",
                where=self.place.url,
                hint="write it with the engine that made it",
            )

    def has_batch(self, batch_id: str) -> bool:
        """See ``Found``."""
        return self.handle.transaction_version(app_id(batch_id)) is not None

    def read(self, asked: Asked) -> Iterator[pa.RecordBatch]:
        """See ``Found``.

        Requests: those of one Parquet object by ranges a file, one file after the other. Tables with deletion vectors or column
        mapping are read by the library's engine, which takes files in parallel and knows nothing of the condition.
        """
        columns = list(asked.columns or self.schema.names)
        schema = pa.schema([self.schema.field(name) for name in columns])
        actions = pa.table(self.handle.get_add_actions(flatten=True)).to_pylist()
        if self._needs_engine(actions):
            # By pyarrow: the library's own reader holds the interpreter's lock while it waits for the store.
            with pa.RecordBatchReader.from_stream(self.handle.scan(columns=columns)) as reader:
                for batch in reader:
                    yield _placed(batch, {}, schema)
            return
        condition = condition_of(asked.where, self.schema)
        for number in survivors([self._known(each) for each in actions], self.schema, condition):
            yield from self._rows(actions[number], schema)

    def _needs_engine(self, actions: list[dict[str, Any]]) -> bool:
        protocol, settings = self.handle.protocol(), self.handle.metadata().configuration
        features = {*(protocol.reader_features or ())}
        return (
            bool(features & _OTHERS)
            or settings.get("delta.columnMapping.mode", "none") != "none"
            or any("://" in each["path"] for each in actions)  # a shallow clone: its files are elsewhere
        )

    def _known(self, action: dict[str, Any]) -> Known:
        """What the log says of one file. Bounds that are not there are nothing to go by."""
        bounds, no_nulls = {}, set()
        for name in self.schema.names:
            least, greatest = action.get(f"min.{name}"), action.get(f"max.{name}")
            if least is not None and greatest is not None:
                bounds[name] = (least, greatest)
                if action.get(f"null_count.{name}") == 0:
                    no_nulls.add(name)
        return Known(constant=self._constant(action), bounds=bounds, no_nulls=frozenset(no_nulls))

    def _constant(self, action: dict[str, Any]) -> dict[str, Any]:
        return {name: action[f"partition.{name}"] for name in self.partition_by}

    def _rows(self, action: dict[str, Any], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        constant = self._constant(action)
        stored = [each.with_nullable(True) for each in self.schema if each.name not in constant]
        wanted = tuple(each.name for each in stored if each.name in schema.names) or (stored[0].name,)
        key = self.place.prefix + unquote(action["path"])
        stream = ObjectStream(self.place.store, key, name=key)
        with decode("parquet", schema=pa.schema(stored), columns=wanted, evolve="drop")(stream) as batches:
            for batch in batches:
                yield _placed(batch, constant, schema)


def _placed(batch: pa.RecordBatch, constant: dict[str, Any], schema: pa.Schema) -> pa.RecordBatch:
    """The rows in these columns: the partition's from the log, the others the file's."""
    columns: list[Any] = []
    for each in schema:
        if each.name in constant:
            one = pa.array([constant[each.name]], each.type)
            zeros: Any = pa.nulls(batch.num_rows, pa.int64()).fill_null(0)
            columns.append(one.take(zeros))
        else:
            columns.append(batch.column(each.name).cast(each.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def moment_of(version: Any) -> int | str | None:
    """A version's number, or a moment as the library takes it.

    Raises:
        ConfigError: It is neither.
    """
    if version is None or (isinstance(version, int) and not isinstance(version, bool)):
        return version
    if isinstance(version, str) and version.isdecimal():
        return int(version)
    try:
        moment = version if isinstance(version, dt.datetime) else dt.datetime.fromisoformat(str(version))
    except ValueError as error:
        raise ConfigError(
            f"a version is a number or a time such as 2026-05-01T12:00:00+00:00, not {version!r}",
            operation="read",
        ) from error
    if moment.tzinfo is None:
        raise ConfigError(
            f"the time {version!r} has no time zone", operation="read", hint="write 2026-05-01T12:00:00+00:00"
        )
    return moment.isoformat()
