"""An Iceberg lake as a recipe: a catalogue in a SQLite file and a warehouse, or the metadata of one table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io import FileIO
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import StaticTable, Table

from crossdock.batches import Batches
from crossdock.connectors.sql.database import TableCapabilities
from crossdock.errors import ConfigError, NotFoundError, UnsupportedError
from crossdock.lakes.columns import Columns
from crossdock.lakes.files import DataFiles
from crossdock.lakes.iceberg.committing import Identifier, commit, demand_writable, shape
from crossdock.lakes.iceberg.errors import translated
from crossdock.lakes.iceberg.files import IN_USE, StoreFiles, using
from crossdock.lakes.iceberg.found import IcebergFound
from crossdock.lakes.kinds import Kind, iceberg_kinds
from crossdock.lakes.lake import Committed, Found, Lake, inner_url
from crossdock.lakes.options import IcebergOptions
from crossdock.lakes.place import Place, place_of
from crossdock.lakes.request import Request
from crossdock.lakes.sink import LakeSink

__all__ = ["IcebergLake"]

_METADATA = ".metadata.json"
_CAPABILITIES = TableCapabilities(
    writable=True,
    nested=True,
    transactions=True,
    concurrent_writers=True,
    streams_parameters=False,
    exact_types=True,
)


class _Catalog(SqlCatalog):
    """The library's, with our files: it would make its own from texts, a table's own properties among them."""

    def __init__(self, name: str, files: StoreFiles, **properties: str) -> None:
        self.files = files
        super().__init__(name, **properties)

    def _load_file_io(self, properties: Any = None, location: str | None = None) -> FileIO:  # noqa: ARG002
        return self.files


class IcebergLake(Lake):
    """Iceberg tables of one catalogue, or one table. See ``Lake``."""

    options_class = IcebergOptions
    format = "Iceberg"
    folds_case = False
    upserts = False

    @staticmethod
    def kinds(kind: Kind) -> Kind:
        """See ``Lake``."""
        return iceberg_kinds(kind)

    def __init__(
        self, url: str, options: IcebergOptions | None = None, storage: Mapping[str, Any] | None = None
    ) -> None:
        self.url = url
        self.options = options or IcebergOptions()
        inner = inner_url(url, "iceberg")
        scheme, _, rest = inner.partition("://")
        self._database = Path(rest).absolute() if scheme == "sqlite" else None
        self._metadata = ""
        self._place: Place | None = None
        self.capabilities = _CAPABILITIES
        if self._database is None:
            self._of_metadata(inner, storage or {})
        elif self.options.warehouse is not None:
            self._place = place_of(self.options.warehouse, storage or {}, lake=self.format)
        elif storage:
            raise ConfigError(
                f"option {next(iter(storage))!r} is a store's, and no warehouse is given",
                operation="open",
                where=url,
                hint="give warehouse='s3://bucket/prefix', or another URL",
            )

    def sink(self) -> LakeSink:
        """See ``Lake``."""
        if self._database is not None:
            self._location("t")  # there has to be a warehouse
        return super().sink()

    def _of_metadata(self, inner: str, storage: Mapping[str, Any]) -> None:
        scheme = inner.partition("://")[0]
        if scheme in ("postgresql", "mysql", "http", "https", "rest", "glue", "hive"):
            raise UnsupportedError(
                f"catalogues are SQLite files here, not {scheme}",
                operation="open",
                where=self.url,
                hint="read a table by its metadata: iceberg+s3://bucket/table/metadata/....metadata.json",
            )
        directory, _, self._metadata = inner.rpartition("/")
        if not self._metadata.endswith(_METADATA):
            raise ConfigError(
                "the URL names neither a catalogue nor a table's metadata",
                operation="open",
                where=self.url,
                hint="write iceberg+sqlite:///catalog.db, or the URL of a file that ends in .metadata.json",
            )
        self._place = place_of(directory, storage, lake=self.format)
        self.capabilities = replace(_CAPABILITIES, writable=False)

    @property
    def place(self) -> Place | None:
        """See ``Lake``."""
        return self._place

    def translated(self, operation: str, table: str | None) -> AbstractContextManager[None]:
        """See ``Lake``."""
        return translated(operation, self.url, table)

    def _files(self) -> StoreFiles:
        """What the library reads and writes by; without a warehouse it reads what is on this machine's disk."""
        place = self._place or place_of("file:///", {}, lake=self.format)
        return StoreFiles(place)

    @contextmanager
    def _catalog(self, *, to_write: bool = False) -> Iterator[_Catalog]:
        """The catalogue, open for the length of a block. Reading makes no file."""
        if self._database is None:
            raise UnsupportedError("this is one table, not a catalogue", operation="open", where=self.url)
        if not to_write and not self._database.exists():
            raise NotFoundError("there is no such catalogue", operation="open", where=self.url)
        catalog = _Catalog(
            self.options.catalog,
            self._files(),
            uri=f"sqlite:///{self._database}",
            init_catalog_tables="true" if to_write else "false",
            **IN_USE,
        )
        try:
            with using(catalog.files):
                yield catalog
        finally:
            catalog.close()

    def _identifier(self, table: str | None) -> Identifier:
        if not table:
            raise ConfigError(
                "name a table of the catalogue",
                operation="open",
                where=self.url,
                hint="source.list() shows them",
            )
        return (self.options.namespace, table)

    def find(self, table: str | None, version: Any = None) -> Found:
        """See ``Lake``. Requests: the table's metadata, one object."""
        if self._database is None:
            if table is not None:
                raise ConfigError(
                    f"the URL is of one table, so {table!r} is none in it", operation="read", where=self.url
                )
            return IcebergFound(self._static(), version)
        with self._catalog() as catalog:
            return IcebergFound(catalog.load_table(self._identifier(table)), version)

    def _static(self) -> Table:
        files = self._files()
        if self._place is None:
            raise TypeError(self._place)
        location = _location(self._place, self._metadata)
        metadata = FromInputFile.table_metadata(files.new_input(location))
        return StaticTable(
            identifier=("table", self.url),
            metadata=metadata,
            metadata_location=location,
            io=files,
            catalog=NoopCatalog("none"),
        )

    def tables(self) -> Iterator[str]:
        """See ``Lake``. Of the namespace that the options name."""
        with self._catalog() as catalog:
            found = catalog.list_tables((self.options.namespace,))
        return iter(sorted(each[-1] for each in found))

    def _location(self, table: str | None) -> str:
        """Where a new table goes. Its name is percent-encoded, and the key is that text: other engines read it literally."""
        if self._place is None:
            raise ConfigError(
                "a warehouse is needed to write", operation="write", where=self.url, hint="give warehouse=..."
            )
        namespace, name = self._identifier(table)
        return _location(self._place, f"{quote(namespace, safe='')}/{quote(name, safe='')}")

    def drafted(self, table: str | None, found: Found | None, plan: Columns) -> DataFiles:
        """See ``Lake``. Files have the columns' numbers, and partition columns too, by which the library tells partitions."""
        known = found if isinstance(found, IcebergFound) else None
        location = self._location(table)
        if known is not None:
            demand_writable(known)
            location = known.table.location().rstrip("/")
        with self.translated("write", table), self._catalog(to_write=True) as catalog:
            _, numbered = shape(
                catalog, self._identifier(table), location, None if known is None else known.table, plan
            )
            store, key = catalog.files.found(f"{location}/data/x")
        if self._place is None:
            raise TypeError(self._place)
        stored = [
            _numbered(plan.given.field(each.name), each) for each in numbered if each.name in plan.given.names
        ]
        return DataFiles(
            place=replace(self._place, store=store, prefix=key.removesuffix("x")),
            stored=pa.schema(stored),
            partition_by=plan.partition_by,
            options=self.options,
        )

    def commit(
        self, table: str | None, found: Found | None, plan: Columns, request: Request, files: DataFiles
    ) -> Committed:
        """See ``Lake``."""
        known = found if isinstance(found, IcebergFound) else None
        with self._catalog(to_write=True) as catalog:
            try:
                return commit(
                    catalog, self._identifier(table), self._location(table), known, plan, request, files
                )
            except BaseException:
                catalog.files.undo()
                raise

    def merge(
        self, table: str | None, found: Found, plan: Columns, request: Request, rows: Batches
    ) -> tuple[Committed, int]:
        """Not offered: the library holds the whole stream, and looks up each of its keys.

        Raises:
            UnsupportedError: Always.
        """
        del table, found, plan, request, rows
        raise UnsupportedError("Iceberg's library holds the whole stream for an upsert", operation="write")

    def check(self) -> None:
        """See ``Lake``."""
        if self._place is not None:
            self._place.store.check()


def _location(place: Place, rest: str) -> str:
    """A location in a place, literal."""
    if place.system == "local":
        return f"file://{place.bucket.rstrip('/')}/{place.prefix}{rest}"
    scheme = {"s3": "s3", "gcs": "gs", "azure": "abfss"}[place.system]
    return f"{scheme}://{place.bucket}/{place.prefix}{rest}"


def _numbered(kept: pa.Field[Any], theirs: pa.Field[Any]) -> pa.Field[Any]:
    """A column of ours with the number, and for nested ones the numbers within, of the table's."""
    return pa.field(
        kept.name, _numbered_kind(kept.type, theirs.type), nullable=True, metadata=theirs.metadata
    )


def _numbered_kind(kept: Any, theirs: Any) -> Any:
    if pa.types.is_list(kept):
        return pa.list_(_numbered(kept.value_field, theirs.value_field))
    if pa.types.is_map(kept):
        key = _numbered(kept.key_field, theirs.key_field).with_nullable(False)
        return pa.map_(key, _numbered(kept.item_field, theirs.item_field))
    if pa.types.is_struct(kept):
        return pa.struct([_numbered(each, theirs.field(each.name)) for each in kept])
    return kept
