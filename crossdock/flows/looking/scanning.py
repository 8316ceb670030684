"""A table that DuckDB pulls from us: a pyarrow dataset by its type, whose rows come from wherever ``Rows`` finds them.

DuckDB asks a registered ``pyarrow.dataset.Dataset`` for a scanner each time the query reads the table, with the columns it needs
and a condition it has taken out of the query; it does not test that condition again. So a table may stand in a query twice,
a Parquet column that no one names is not fetched, and a partition that cannot match is not opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset

from crossdock.batches import Batches
from crossdock.flows.looking.places import Rows

__all__ = ["Scanned"]


class Scanned(pyarrow.dataset.Dataset):
    """One table for one connection of DuckDB. Its streams are pulled by DuckDB's threads, one thread at a time each.

    Not initialised as pyarrow's own datasets are: there is nothing of pyarrow's behind it, and nothing but ``schema`` and
    ``scanner`` works.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._opened: list[Batches] = []

    @property
    def schema(self) -> pa.Schema:
        """The table's columns."""
        return self._rows.schema()

    def scanner(  # type: ignore[override] # DuckDB gives what its version knows, by name
        self, columns: Sequence[str] | None = None, filter: pc.Expression | None = None, **_: Any
    ) -> pyarrow.dataset.Scanner:
        """Rows from the beginning; DuckDB's further words are about threads and read-ahead that we do not have."""
        batches = self._rows.batches(columns, filter)
        self._opened.append(batches)
        return _Scanner(batches)

    @property
    def failure(self) -> BaseException | None:
        """What ended one of its streams before its time: DuckDB knows it as a text only."""
        return next((each.failure for each in self._opened if each.failure is not None), None)

    def close(self) -> None:
        """Let go of every stream, read to its end or not."""
        opened, self._opened = self._opened, []
        for each in opened:
            each.close()


class _Scanner(pyarrow.dataset.Scanner):
    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    @property
    def projected_schema(self) -> pa.Schema:
        return self._batches.schema

    def to_reader(self) -> pa.RecordBatchReader:
        return self._batches.reader()
