"""Tables of a lake to read as a task: ``source("trips", where={"month": "2024-05"})`` gives ``Batches``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from crossdock.batches import Batches
from crossdock.datasets.pruning import condition_of, needed
from crossdock.errors import NotFoundError
from crossdock.lakes.lake import Asked, Found, Lake, columns_asked
from crossdock.options import public_options
from crossdock.tasks import Task

__all__ = ["LakeSource"]


class LakeSource(Task):
    """The tables of one lake. A picklable recipe: each call opens its table anew, at its version of that moment."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self.name = f"{type(self).__name__}({self.url})"

    @property
    def url(self) -> str:
        """The lake, without secrets."""
        return self.lake.url

    def run(
        self,
        table: str | None = None,
        *,
        columns: Sequence[str] | None = None,
        where: Any = None,
        version: Any = None,
    ) -> Batches:
        """Start to read one version of a table, whatever is written to it meanwhile.

        No order. Files that a condition rules out, by partition or by what is known of their columns, are not opened; columns that
        are not needed are not fetched. Memory: what is read ahead of the files that are open, a few row groups.

        Args:
            table: Its name below the lake's URL; without one the URL is the table's.
            columns: Those to read, in this order.
            where: A mapping of columns to a value, a list of values, or ``None`` for null; or a pyarrow expression.
            version: An earlier one: its number (Delta) or snapshot id (Iceberg), or a time: the version of that moment.

        Raises:
            NotFoundError: There is no such table or version.
            ConfigError: Columns or condition do not fit.
            UnsupportedError: The table uses a feature that the library does not read.
        """
        label = self.lake.label(table)
        with self.lake.translated("read", table):
            found = self.lake.find(table, version)
        condition = condition_of(where, found.schema)
        names = columns_asked(columns, found.schema, label)
        read = needed(condition, names, found.schema) or found.schema.names[:1]
        asked = Asked(columns=tuple(read), where=where)
        made = pa.schema([found.schema.field(name) for name in names])
        return Batches(made, self._rows(table, found, asked, condition, names))

    def _rows(
        self, table: str | None, found: Found, asked: Asked, condition: Any, names: list[str]
    ) -> Iterator[pa.RecordBatch]:
        rows = found.read(asked)
        while True:
            with self.lake.translated("read", table):
                batch = next(rows, None)
            if batch is None:
                return
            kept = batch if condition is None else batch.filter(condition)
            if kept.num_rows:
                yield kept.select(names)

    def list(self) -> Iterator[str]:
        """Tables, by names fit for calling the source."""
        with self.lake.translated("list", None):
            return iter(list(self.lake.tables()))

    def schema(self, table: str | None = None, *, version: Any = None) -> pa.Schema:
        """The schema that ``run`` would give; no data file is opened."""
        with self.lake.translated("read", table):
            return self.lake.find(table, version).schema

    def has(self, table: str | None = None) -> bool:
        """Whether there is such a table."""
        try:
            self.schema(table)
        except NotFoundError:
            return False
        return True

    def version_of(self, table: str | None = None, *, version: Any = None, **_: Any) -> dict[str, Any]:
        """Which version ``run`` would read, for a cache."""
        with self.lake.translated("read", table):
            return {"version": self.lake.find(table, version).version}

    def __crossdock_fingerprint__(self) -> Any:
        """Which lake this is, for the hash of a piece of work: place and options, no secret."""
        return self.url, public_options(self.lake.options)

    @property
    def preflight_place(self) -> str:
        """Equal for what one question answers."""
        return self.lake.endpoint

    def preflight(self) -> None:
        """Prove here that the lake can be reached; runners ask on each worker before work starts."""
        self.lake.check()

    def __repr__(self) -> str:
        return self.name
