"""A Delta lake as a recipe: where its tables are, and the verbs of ``Lake`` in deltalake's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from crossdock.batches import Batches
from crossdock.connectors.sql.database import TableCapabilities
from crossdock.errors import UnsupportedError
from crossdock.lakes.columns import Columns
from crossdock.lakes.delta.access import storage_options
from crossdock.lakes.delta.committing import commit, demand_commits
from crossdock.lakes.delta.errors import translated
from crossdock.lakes.delta.found import DeltaFound, moment_of
from crossdock.lakes.delta.merging import merge
from crossdock.lakes.files import DataFiles
from crossdock.lakes.kinds import Kind, delta_kinds
from crossdock.lakes.lake import Committed, Found, Lake, inner_url
from crossdock.lakes.options import DeltaOptions
from crossdock.lakes.place import Place, place_of
from crossdock.lakes.request import Request

__all__ = ["DeltaLake"]

_LOG = "_delta_log/"


class DeltaLake(Lake):
    """Delta tables below one prefix. See ``Lake``."""

    capabilities = TableCapabilities(
        writable=True,
        nested=True,
        transactions=True,
        concurrent_writers=True,
        streams_parameters=False,
        exact_types=True,
    )
    options_class = DeltaOptions
    format = "Delta Lake"
    folds_case = True
    upserts = True

    @staticmethod
    def kinds(kind: Kind) -> Kind:
        """See ``Lake``."""
        return delta_kinds(kind)

    def __init__(
        self, url: str, options: DeltaOptions | None = None, storage: Mapping[str, Any] | None = None
    ) -> None:
        self.url = url
        self.options = options or DeltaOptions()
        self._place = place_of(inner_url(url, "delta"), storage or {}, lake=self.format)

    @property
    def place(self) -> Place:
        """See ``Lake``."""
        return self._place

    def _of(self, table: str | None) -> Place:
        return self._place if table is None else self._place.below(table)

    def translated(self, operation: str, table: str | None) -> AbstractContextManager[None]:
        """See ``Lake``."""
        return translated(operation, self.url, table)

    def find(self, table: str | None, version: Any = None) -> Found:
        """See ``Lake``. Requests: a listing of the log, its checkpoint and the commits after it."""
        place, asked = self._of(table), moment_of(version)
        options = storage_options(place)
        handle = DeltaTable(
            place.location,
            version=asked if isinstance(asked, int) else None,
            storage_options=options,
        )
        if isinstance(asked, str):
            handle.load_as_version(asked)
        return DeltaFound(place, handle, options)

    def tables(self) -> Iterator[str]:
        """See ``Lake``. Requests: one listing of everything below the prefix, 1,000 objects a request."""
        seen = set()
        for page in self._place.store.list(self._place.prefix):
            for info in page:
                name, found, _ = info.key[len(self._place.prefix) :].partition(f"/{_LOG}")
                if found and name not in seen:
                    seen.add(name)
                    yield name

    def drafted(self, table: str | None, found: Found | None, plan: Columns) -> DataFiles:
        """See ``Lake``. Partition columns are in the log and not in the files."""
        place = self._of(table)
        demand_commits(place)
        if isinstance(found, DeltaFound):
            found.demand_writable()
            if found.partition_by != plan.partition_by:
                raise UnsupportedError(
                    f"the table is partitioned by {', '.join(found.partition_by) or 'nothing'}, and a replacement cannot change that",
                    operation="write",
                    where=place.url,
                    hint="delete the table's objects first, or write another table",
                )
        stored = [each for each in plan.table if each.name in plan.given.names]
        return DataFiles(
            place=place,
            stored=pa.schema(
                [each.with_nullable(True) for each in stored if each.name not in plan.partition_by]
            ),
            partition_by=plan.partition_by,
            options=self.options,
        )

    def commit(
        self, table: str | None, found: Found | None, plan: Columns, request: Request, files: DataFiles
    ) -> Committed:
        """See ``Lake``."""
        known = found if isinstance(found, DeltaFound) else None
        return commit(self._of(table), known, plan, request, files)

    def merge(
        self, table: str | None, found: Found, plan: Columns, request: Request, rows: Batches
    ) -> tuple[Committed, int]:
        """See ``Lake``."""
        place = self._of(table)
        demand_commits(place)
        if not isinstance(found, DeltaFound):
            raise TypeError(type(found))
        return merge(place, found, plan, request, rows, memory_bytes=self.options.merge_memory_bytes)

    def check(self) -> None:
        """See ``Lake``."""
        self._place.store.check()
