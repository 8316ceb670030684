"""Keys of a stream that have to be one of a kind, watched as they pass: 16 bytes a row, whatever a key is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from crossdock.errors import RowError

__all__ = ["Keys"]

_SALTS = ("crossdock-key--1", "crossdock-key--2")
"""Two hashes of 64 bits each, salted differently (pandas wants 16 bytes): keys that agree in both are taken for equal."""


class Keys:
    """The keys of one stream. Not thread-safe."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = list(names)
        self._hashes: list[Any] = []

    def watched(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The same batches; the error comes at the latest when they end.

        Raises:
            RowError: A key is null, or occurs twice.
        """
        first_row = 0
        for batch in batches:
            self._demand_values(batch, first_row)
            self._hashes.append(self._hashed(batch))
            first_row += batch.num_rows
            yield batch
        self._demand_unique()

    def _demand_values(self, batch: pa.RecordBatch, first_row: int) -> None:
        for name in self._names:
            column = batch.column(name)
            if column.null_count:
                row = column.is_null().index(pa.scalar(True)).as_py()
                raise RowError(
                    f"row {first_row + row + 1}, column {name!r}: the key is null",
                    operation="write",
                    hint="filter such rows out before the sink",
                )

    def _hashed(self, batch: pa.RecordBatch) -> Any:
        import pandas as pd

        frame = batch.select(self._names).to_pandas()
        both = [
            pd.util.hash_pandas_object(frame, index=False, hash_key=salt, categorize=False) for salt in _SALTS
        ]
        return np.column_stack([each.to_numpy() for each in both])

    def _demand_unique(self) -> None:
        if not self._hashes:
            return
        hashes = np.concatenate(self._hashes)
        self._hashes = []
        order = np.lexsort((hashes[:, 1], hashes[:, 0]))
        ordered = hashes[order]
        same = np.flatnonzero((ordered[1:] == ordered[:-1]).all(axis=1))
        if same.size:
            one, other = sorted(int(order[place]) + 1 for place in (same[0], same[0] + 1))
            raise RowError(
                f"rows {one} and {other} have the same key ({', '.join(self._names)})",
                operation="write",
                hint="keep one row a key before the sink",
            )
