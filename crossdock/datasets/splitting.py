"""One batch into one for each partition, in rows' order. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crossdock.datasets.hive import as_texts

__all__ = ["Texts", "gathered", "pieces", "split"]

Texts = tuple[str | None, ...]
"""The values of a partition, as texts."""

_PIECE_ROWS = 65_536


def gathered(batches: Iterable[pa.RecordBatch], enough_bytes: int) -> Iterator[pa.RecordBatch]:
    """Small batches as larger ones, in order: every batch that is split may send rows of every partition to disk."""
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
        if rows >= _PIECE_ROWS or size >= enough_bytes:
            yield from _joined(waiting)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield from _joined(waiting)


def _joined(batches: list[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
    return batches if len(batches) == 1 else pa.Table.from_batches(batches).combine_chunks().to_batches()


def pieces(batch: pa.RecordBatch, piece_bytes: int) -> Iterator[pa.RecordBatch]:
    """The batch in slices of about ``piece_bytes``, so that what is held and what is written can be bounded."""
    if not batch.num_rows:
        return
    row_bytes = max(1, batch.nbytes // batch.num_rows)
    rows = max(1, min(_PIECE_ROWS, piece_bytes // row_bytes))
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)


def split(
    batch: pa.RecordBatch, names: Sequence[str], columns: Sequence[str]
) -> Iterator[tuple[Texts, pa.RecordBatch]]:
    """The rows of each partition that occurs, as batches of their own memory: a small one does not hold the whole.

    Args:
        batch: Rows, at least one.
        names: Partition columns.
        columns: What the batches shall have.
    """
    rows = batch.select(list(columns))
    if not names:
        yield (), rows
        return
    codes: Any = None
    texts: list[Any] = []
    for name in names:
        texts.append(as_texts(batch.column(name), name))
        encoded: Any = texts[-1].dictionary_encode(null_encoding="encode")
        indices = encoded.indices.cast(pa.int64())
        # Numbered anew at each column, so that a product never passes the number of rows times that of values.
        codes = (
            indices
            if codes is None
            else pc.add(pc.multiply(_numbered(codes), len(encoded.dictionary)), indices)
        )
    order = pc.array_sort_indices(codes)  # stable
    arrow: Any = pc  # whose stubs do not know run ends
    ends = arrow.run_end_encode(codes.take(order)).run_ends.to_pylist()
    starts = [0, *ends[:-1]]
    heads = order.take(pa.array(starts, pa.int64()))
    found = zip(*(each.take(heads).to_pylist() for each in texts), strict=True)
    for start, end, values in zip(starts, ends, found, strict=True):
        yield values, rows.take(order.slice(start, end - start))


def _numbered(codes: Any) -> Any:
    return codes.dictionary_encode().indices.cast(pa.int64())
