"""A dataset to read as a task: ``source()`` gives all its rows, ``source(fragment)`` those of one object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from crossdock.batches import Batches
from crossdock.connectors.objects import ObjectSource
from crossdock.connectors.streams import ObjectStream
from crossdock.datasets.hive import as_values
from crossdock.datasets.listing import Fragment, Snapshot, snapshot
from crossdock.datasets.pruning import condition_of, needed, pruned
from crossdock.errors import ConfigError, IntegrityError, NotFoundError, RowError
from crossdock.formats.decoding import Decode, decode
from crossdock.formats.schemas import Evolve, as_schema, resolve
from crossdock.model import ObjectInfo
from crossdock.tasks import Task

__all__ = ["DatasetSource", "dataset"]

_OF_OBJECTS: dict[Evolve, Evolve] = {
    "never": "never",
    "missing": "missing",
    "add": "missing",  # those of the first object were added; what only others have would be lost
    "drop": "drop",
}
"""What an object that was listed may lack or have more, by what may differ from the schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is wanted of a dataset."""

    format: str | Decode
    columns: tuple[str, ...] | None
    where: Any
    schema: pa.Schema | None
    types: Mapping[str, pa.DataType]
    evolve: Evolve


class DatasetSource(Task):
    """One dataset to read. A picklable recipe: building one opens nothing, and each call sees the dataset of that moment."""

    def __init__(self, of: ObjectSource, asked: Asked) -> None:
        self._of = of
        self.asked = asked
        self.name = f"{type(self).__name__}({self.url})"

    @property
    def url(self) -> str:
        """Store and prefix as one URL, without secrets."""
        return self._of.url

    def run(self, fragment: Fragment | None = None) -> Batches:
        """Rows of the whole dataset, in the order of keys, or of one object. One object is open at a time.

        Objects whose partition cannot have rows for which ``where`` holds are not asked for, columns that are not needed not
        fetched where the format can. Objects that a batch lists are compared with what it says of them (size, digests the store
        publishes) before they are read. Requests: see ``fragments``, and those of each object.

        Args:
            fragment: One of ``fragments()``.

        Raises:
            NotFoundError: There is no dataset; or an object went since it was listed, because its batch was replaced.
            IntegrityError: An object is not the one its batch lists.
            ConfigError: Columns, condition, types or schema do not fit.
            RowError: A value does not fit the type that was asked for.
        """
        if fragment is not None:
            schema, fragments = fragment.schema, [fragment]
            condition = condition_of(self.asked.where, schema)
        else:
            seen = self._snapshot()
            schema = seen.schema
            condition = condition_of(self.asked.where, schema)
            fragments = pruned(seen.fragments, condition)
        columns = self._columns(schema)
        made = pa.schema([schema.field(name) for name in columns])
        read = needed(condition, columns, schema)
        batches = Batches(made, self._rows(fragments, schema, read, condition, columns))
        batches.name = None if fragment is None else fragment.key
        return batches

    def fragments(self) -> Sequence[Fragment]:
        """The objects that may have rows for which ``where`` holds, in key order: ``pair.map(fragment=source.fragments())``.

        Requests: one listing and one for each batch of a dataset sink; of any other dataset, a listing of everything and what
        tells the columns of its first object. Memory: a kilobyte an object.

        Raises:
            NotFoundError: There is no dataset.
            ConfigError: The condition does not fit the columns.
        """
        seen = self._snapshot()
        return pruned(seen.fragments, condition_of(self.asked.where, seen.schema))

    def schema(self) -> pa.Schema:
        """The columns that ``run`` gives; the requests of ``fragments``."""
        found = self._snapshot().schema
        return pa.schema([found.field(name) for name in self._columns(found)])

    def _columns(self, schema: pa.Schema) -> list[str]:
        wanted = self.asked.columns
        if wanted is None:
            return list(schema.names)
        missing = [name for name in wanted if name not in schema.names]
        if missing:
            raise ConfigError(
                f"there is no column {', '.join(map(repr, missing))}",
                operation="read",
                where=self.url,
                hint=f"columns: {', '.join(schema.names)}",
            )
        return list(wanted)

    def _snapshot(self) -> Snapshot:
        asked = self.asked
        types = {each.name: each.type for each in asked.schema} if asked.schema is not None else asked.types

        def settle(found: pa.Schema) -> pa.Schema:
            made = resolve(found, asked.schema, asked.evolve, where=self.url)
            if unknown := [name for name in asked.types if name not in made.names]:
                raise ConfigError(f"there is no column {unknown[0]!r}", operation="read", where=self.url)
            return made.remove_metadata()

        return snapshot(
            self._of.store, self._of.prefix, settle=settle, types=types, schema_of=self._schema_of
        )

    def _schema_of(self, info: ObjectInfo) -> pa.Schema:
        with self._decoder()(self._stream(info)) as batches:
            return batches.schema.remove_metadata()

    def _stream(self, info: ObjectInfo) -> ObjectStream:
        return ObjectStream(self._of.store, info.key, name=info.key[len(self._of.prefix) :], info=info)

    def _decoder(self, **changes: Any) -> Decode:
        given = self.asked.format
        if isinstance(given, str):
            return decode(given, **changes)
        return Decode(
            format=given.format,
            compression=given.compression,
            on_bad_row=given.on_bad_row,
            given=given.given,
            **changes,
        )

    def _rows(
        self,
        fragments: Sequence[Fragment],
        schema: pa.Schema,
        read: Sequence[str],
        condition: Any,
        columns: Sequence[str],
    ) -> Iterator[pa.RecordBatch]:
        placed = pa.schema([schema.field(name) for name in read])
        for fragment in fragments:
            with self._opened(fragment, placed) as batches:
                for batch in batches:
                    rows = _placed(batch, fragment, placed)
                    if condition is not None:
                        rows = rows.filter(condition)
                    if rows.num_rows:
                        yield rows.select(list(columns))

    def _opened(self, fragment: Fragment, placed: pa.Schema) -> Batches:
        """The object's own columns among those that are needed; at least one, which tells how many rows there are."""
        partitioned, stored = dict(fragment.values), fragment.stored
        is_listed = fragment.info is not None
        evolve = _OF_OBJECTS[self.asked.evolve] if is_listed else "never"
        wanted = [name for name in placed.names if name in stored.names and name not in partitioned]
        wanted = wanted or stored.names[:1]
        info = fragment.info or self._compared(fragment)
        return self._decoder(schema=stored, evolve=evolve, columns=tuple(wanted))(self._stream(info))

    def _compared(self, fragment: Fragment) -> ObjectInfo:
        """The object as it is there; one request."""
        try:
            found = self._of.store.stat(self._of.prefix + fragment.key)
        except NotFoundError as error:
            error.hint = "its batch was replaced since it was listed: ask the dataset again"
            raise
        differs = "size" if found.size != fragment.size else found.digests.conflict(fragment.digests)
        if differs:
            raise IntegrityError(
                f"the object has another {differs} than its batch lists",
                operation="read",
                where=self._of.store.url,
                key=found.key,
                hint="somebody replaced it; add the batch again, under its batch_id",
            )
        return found

    def __crossdock_fingerprint__(self) -> Any:
        """Which rows these are, for the hash of a piece of work; no secret."""
        asked = self.asked
        return (
            self._of.__crossdock_fingerprint__(),
            repr(asked.format),
            asked.columns,
            repr(asked.where),
            str(asked.schema),
            {name: str(kind) for name, kind in asked.types.items()},
            asked.evolve,
        )

    @property
    def preflight_place(self) -> str:
        """Equal for what one question answers."""
        return self._of.preflight_place

    def preflight(self) -> None:
        """Prove here that the store can be reached; runners ask on each worker before work starts."""
        self._of.preflight()

    def __repr__(self) -> str:
        return self.name


def _placed(batch: pa.RecordBatch, fragment: Fragment, placed: pa.Schema) -> pa.RecordBatch:
    """The rows in the dataset's columns: the partition's from the key, the object's own, null what it has not."""
    partitioned = dict(fragment.values)
    zeros: Any = pa.nulls(batch.num_rows, pa.int64()).fill_null(0)
    columns: list[Any] = []
    for each in placed:
        if each.name in partitioned:
            one = as_values([partitioned[each.name]], each.type, each.name)
            columns.append(one.take(zeros))
        elif each.name in batch.schema.names:
            try:
                columns.append(batch.column(each.name).cast(each.type))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise RowError(
                    f"column {each.name!r} has a value that is no {each.type}: {str(error).partition(chr(10))[0]}",
                    operation="read",
                    key=fragment.key,
                ) from error
        else:
            columns.append(pa.nulls(batch.num_rows, each.type))
    return pa.RecordBatch.from_arrays(columns, schema=placed)


def dataset(
    url: str,
    *,
    format: str | Decode = "auto",
    columns: Sequence[str] | None = None,
    where: Any = None,
    schema: Any = None,
    types: Mapping[str, Any] | None = None,
    evolve: Evolve = "never",
    **options: Any,
) -> DatasetSource:
    """All objects below a prefix as one table: ``xd.dataset("s3://lake/trips/", where={"year": 2024})``.

    What a dataset sink wrote is read by its batches: those that are committed, each whole, with its types. Anything else is listed:
    ``year=2024/`` becomes a column, whole numbers and dates by their look, else text; names that begin with ``_`` or ``.`` are
    passed over; the first object tells the columns, which the others have to have. A column that is in the key and in the object
    is the key's.

    Columns of batches are merged by name: what a batch lacks is null, two types of one name are an error.

    Args:
        url: A prefix; ``/`` is added.
        format: As for ``xd.decode``, or an ``xd.decode(...)`` with options (``schema``, ``types``, ``columns``, ``evolve`` are given here).
        columns: Only these, in this order.
        where: A pyarrow expression, or a mapping of columns to a value, a list of values, or ``None`` for null.
        schema: All columns, partition columns too: a ``pyarrow.Schema``, or a mapping of names to types.
        types: Types of some columns.
        evolve: What may differ from ``schema``, or where nothing lists the columns, from the first object: see ``xd.decode``.
        **options: The connector's.

    Raises:
        ConfigError: An argument makes no sense.
        MissingExtraError: The connector's package is not installed.
    """
    import crossdock

    if schema is not None and types:
        raise ConfigError("give schema (all columns) or types (some of them)", operation="open")
    if isinstance(format, Decode):
        for name in ("schema", "types", "columns"):
            if getattr(format, name) is not None:
                raise ConfigError(f"give {name} to xd.dataset, not to xd.decode", operation="open")
    else:
        decode(format)
    if evolve not in ("never", "missing", "add", "drop"):
        raise ConfigError(f"evolve is 'never', 'missing', 'add' or 'drop', not {evolve!r}", operation="open")
    of: Any = crossdock.source(url if url.endswith("/") else f"{url}/", **options)
    if not isinstance(of, ObjectSource):
        raise ConfigError(
            "a dataset is made of objects, and this is a database",
            operation="open",
            where=of.url,
            hint="xd.source(url) reads its tables",
        )
    if of.prefix and not of.prefix.endswith("/"):  # a connector that reads `x/` as the key `x`
        of = ObjectSource(of.store, f"{of.prefix}/")
    asked = Asked(
        format=format,
        columns=None if columns is None else tuple([columns] if isinstance(columns, str) else columns),
        where=where,
        schema=None if schema is None else as_schema(schema),
        types={each.name: each.type for each in as_schema(dict(types or {}))},
        evolve=evolve,
    )
    return DatasetSource(of, asked)
