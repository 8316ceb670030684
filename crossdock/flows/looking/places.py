"""What a URL means as a table: one object of a format, a dataset below a prefix, a table or a query of a database.

Each can be read again and again, from the beginning, only the columns that are asked for; an object in the version that was
there when it was first looked at, a dataset with the objects it had then. What datasets stand on (``pyarrow.dataset``, which loads
pandas) is imported by those who need it: half a second for a look at one file.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

import crossdock
from crossdock.batches import Batches
from crossdock.connectors.objects import ObjectSource
from crossdock.connectors.registry import connector_for
from crossdock.connectors.sql.source import TableSource
from crossdock.connectors.streams import ObjectStream
from crossdock.errors import ConfigError, NotFoundError, UnsupportedError
from crossdock.formats import names
from crossdock.formats.decoding import decode, typed_read_options
from crossdock.model import MIB, ObjectInfo

__all__ = ["DatabaseRows", "DatasetRows", "LakeRows", "ObjectRows", "Rows", "table_at"]

_FEW_BYTES = MIB // 4
"""Of a table of which only the first rows are wanted, so much text tells the types, so much of a column is fetched."""


class Rows(Protocol):
    """A table somewhere. Building one may ask the store what is there; nothing is read. Not thread-safe."""

    @property
    def url(self) -> str:
        """Where it is, without secrets."""

    def schema(self) -> pa.Schema:
        """Its columns; asked for once."""

    def batches(
        self, columns: Sequence[str] | None = None, where: pc.Expression | None = None, *, few: bool = False
    ) -> Batches:
        """Its rows from the beginning, to be closed by the caller.

        Args:
            columns: Only these, in this order.
            where: Only rows for which this holds.
            few: The reader means to stop soon: nothing is fetched ahead.
        """


class ObjectRows:
    """One object, in one version."""

    def __init__(
        self,
        source: ObjectSource,
        info: ObjectInfo,
        *,
        format: str = "auto",
        read_options: Mapping[str, Any] | None = None,
    ) -> None:
        self._source = source
        self._said = names.parse_kind(format)
        self.info = info
        self.format = format
        self._options = typed_read_options(self._format(), read_options or {})

    @property
    def url(self) -> str:
        """The object's."""
        return self._source.url

    @property
    def kind(self) -> names.Kind:
        """Format and compression as they were said, else by its name; what is ``None`` its first bytes tell."""
        named = names.by_name(self.info.key)
        return names.Kind(
            format=self._said.format or named.format, compression=self._said.compression or named.compression
        )

    def stream(self) -> ObjectStream:
        """Its bytes, not opened yet, pinned to the version, under its whole key: that tells the format."""
        return ObjectStream(self._source.store, self.info.key, name=self.info.key, info=self.info)

    @functools.cached_property
    def _schema(self) -> pa.Schema:
        with self._opened(None, few=False) as batches:
            return batches.schema.remove_metadata()

    def schema(self) -> pa.Schema:
        """From its footer, or from a sample: as a decoder would have it. Of a sample at most 4 MiB are read."""
        return self._schema

    def batches(
        self, columns: Sequence[str] | None = None, where: pc.Expression | None = None, *, few: bool = False
    ) -> Batches:
        """See ``Rows``. Of Parquet and ORC on a store with ranges, only the columns that are needed are fetched."""
        if where is None:
            return self._opened(columns, few=few)
        from crossdock.datasets.pruning import needed

        wanted = self.schema().names if columns is None else columns
        read = needed(where, wanted, self.schema())
        return _narrowed(self._opened(read, few=few), where, wanted)

    def _opened(self, columns: Sequence[str] | None, *, few: bool) -> Batches:
        options: dict[str, Any] = {}
        if few and self.kind.format in names.TEXT:
            options = {"sample_bytes": _FEW_BYTES, "block_bytes": _FEW_BYTES}
        elif few and self.kind.format == "parquet":
            options = {"fetch_bytes": _FEW_BYTES}
        return decode(self._format(), columns=columns, **{**options, **self._options})(self.stream())

    def _format(self) -> str:
        return self.format if self._said.format else (self.kind.format or "auto")


class DatasetRows:
    """Many objects below a prefix, as they were when they were first listed."""

    def __init__(
        self,
        url: str,
        *,
        format: str = "auto",
        read_options: Mapping[str, Any] | None = None,
        options: Mapping[str, Any],
    ) -> None:
        from crossdock.datasets.source import dataset

        read = decode(format, **typed_read_options(format, read_options)) if read_options else format
        self._make = functools.partial(dataset, url, format=read, **options)
        self._whole = self._make()

    @property
    def url(self) -> str:
        """The prefix."""
        return self._whole.url

    @functools.cached_property
    def fragments(self) -> Sequence[Any]:
        """Its objects, in key order."""
        return self._whole.fragments()

    @functools.cached_property
    def _schema(self) -> pa.Schema:
        return self.fragments[0].schema if self.fragments else self._whole.schema()

    def schema(self) -> pa.Schema:
        """Of all its objects, with the columns of their partitions."""
        return self._schema

    def batches(
        self, columns: Sequence[str] | None = None, where: pc.Expression | None = None, *, few: bool = False
    ) -> Batches:
        """See ``Rows``. Objects in whose partition the condition cannot hold are not opened; one is open at a time."""
        from crossdock.datasets.pruning import condition_of, pruned

        del few  # an object is opened when the rows of the one before it are used up
        kept = pruned(self.fragments, condition_of(where, self.schema()))
        source = self._make(columns=columns, where=where)
        wanted = self.schema().names if columns is None else list(columns)
        made = pa.schema([self.schema().field(name) for name in wanted])
        return Batches(made, self._rows(source, kept))

    def _rows(self, source: Any, fragments: Sequence[Any]) -> Iterator[pa.RecordBatch]:
        for fragment in fragments:
            with source.run(fragment) as batches:
                yield from batches


class DatabaseRows:
    """A table, or what a query gives. Each reading is a transaction of its own."""

    def __init__(self, source: Any, *, table: str | None, query: str | None) -> None:
        self._source = source
        self._table = table
        self._query = query

    @property
    def url(self) -> str:
        """The database's, and the table."""
        return f"{self._source.url}#{self._table}" if self._table else str(self._source.url)

    @functools.cached_property
    def _schema(self) -> pa.Schema:
        found: pa.Schema = self._source.schema(self._table, query=self._query)
        return found

    def schema(self) -> pa.Schema:
        """As the database tells; no row is read, but by SQLite, whose columns have none but those of their values."""
        return self._schema

    def batches(
        self, columns: Sequence[str] | None = None, where: pc.Expression | None = None, *, few: bool = False
    ) -> Batches:
        """See ``Rows``. The database is asked for the columns; rows are chosen here."""
        del few  # a database hands over batches as they are pulled
        if self._query is not None:
            rows: Batches = self._source.run(query=self._query)
        else:
            rows = self._source.run(self._table, columns=self._read(columns, where))
        if columns is None and where is None:
            return rows
        return _narrowed(rows, where, rows.schema.names if columns is None else columns)

    def _read(self, columns: Sequence[str] | None, where: pc.Expression | None) -> Sequence[str] | None:
        if columns is None or where is None:
            return columns
        from crossdock.datasets.pruning import needed

        return needed(where, columns, self.schema())


class LakeRows:
    """A table of a lake, in the version it had when it was first looked at."""

    def __init__(self, source: Any, *, table: str | None) -> None:
        self._source = source
        self._table = table

    @property
    def url(self) -> str:
        """The table's."""
        return f"{self._source.url}#{self._table}" if self._table else str(self._source.url)

    @functools.cached_property
    def _version(self) -> Any:
        return self._source.version_of(self._table)["version"]

    @functools.cached_property
    def _schema(self) -> pa.Schema:
        found: pa.Schema = self._source.schema(self._table, version=self._version)
        return found.remove_metadata()

    def schema(self) -> pa.Schema:
        """As the lake's metadata tell; no data file is opened."""
        return self._schema

    def batches(
        self, columns: Sequence[str] | None = None, where: pc.Expression | None = None, *, few: bool = False
    ) -> Batches:
        """See ``Rows``. Files that a condition rules out are not opened."""
        del few  # a few row groups are read ahead
        rows: Batches = self._source.run(self._table, columns=columns, where=where, version=self._version)
        return rows


def _narrowed(batches: Batches, where: pc.Expression | None, columns: Sequence[str]) -> Batches:
    """Rows for which it holds, and these columns of them."""
    if where is not None:
        batches = crossdock.filter(where)(batches)
    return crossdock.select(*columns)(batches)


def table_at(
    url: str,
    *,
    table: str | None = None,
    query: str | None = None,
    format: str = "auto",
    read_options: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Rows:
    """The table a URL means.

    ``s3://lake/trips/`` is a dataset, all objects below the prefix; ``s3://lake/trips.csv`` an object, or if there is none, the
    dataset ``s3://lake/trips.csv/``. ``postgresql://host/db#orders`` is a table of a database, ``delta+s3://lake/trips`` a lake's. Requests: none
    for these and a prefix that ends in a slash; else one for the object's state, and a listing if there is none.

    Args:
        url: Where it is.
        table: Of a database, instead of ``#table``.
        query: Of a database, instead of a table: rows of this statement.
        format: Of objects: as for ``xd.decode``, or told by their names.
        read_options: Of the format, such as ``delimiter``; see ``xd.decode``.
        options: The connector's.

    Raises:
        ConfigError: It names no table, or an argument does not fit it.
        NotFoundError: Nothing is there.
        MissingExtraError: The connector's package is not installed.
    """
    given = dict(options or {})
    if _is_database(url):
        if format != "auto" or read_options:
            raise ConfigError("the tables of a database have no format", operation="open", where=url)
        return _of_database(url, table, query, given)
    if table is not None or query is not None:
        raise ConfigError(
            "tables and queries are those of databases, and these are objects",
            operation="open",
            where=url,
            hint="crossdock sql 'select ...' URL asks objects",
        )
    names.parse_kind(format)  # before anything is asked for
    source: ObjectSource = crossdock.source(url, **given)
    if not source.prefix or source.prefix.endswith("/"):
        return DatasetRows(url, format=format, read_options=read_options, options=given)
    try:
        info = source.store.stat(source.prefix)
    except NotFoundError as error:
        if not _has_some_below(source):
            error.hint = error.hint or "look with `crossdock ls` what is there; a dataset's URL is its prefix"
            raise
        return DatasetRows(f"{url}/", format=format, read_options=read_options, options=given)
    return ObjectRows(source, info, format=format, read_options=read_options)


def _is_database(url: str) -> bool:
    scheme, sep, _ = url.partition("://")
    return bool(sep) and "::" not in scheme and connector_for(scheme.lower()).kind == "table"


def _of_database(url: str, table: str | None, query: str | None, options: Mapping[str, Any]) -> Rows:
    place, _, named = url.partition("#")
    if len([each for each in (table, query, named) if each]) > 1:
        raise ConfigError("give one table or one query", operation="open", where=place)
    source = crossdock.source(place, **options)
    if not isinstance(source, TableSource):
        if query is not None:
            raise ConfigError(
                "a lake takes no queries", operation="open", where=place, hint="crossdock sql does"
            )
        return LakeRows(source, table=table or named or None)
    if not (table or query or named):
        raise ConfigError(
            "this names a database, but no table of it",
            operation="open",
            where=place,
            hint=f"write {place}#table, or give a table or a query",
        )
    return DatabaseRows(source, table=table or named or None, query=query)


def _has_some_below(source: ObjectSource) -> bool:
    try:
        return any(page for page in source.store.list(f"{source.prefix}/"))
    except (UnsupportedError, NotFoundError):  # a web server does not list
        return False
