"""Some rows by chance, in their order, the same for the same seed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from crossdock.batches import Batches
from crossdock.formats.shaping import derived

__all__ = ["sampled"]


def sampled(batches: Batches, rows: int | None, fraction: float | None, seed: int) -> Batches:
    """By number, or by probability; the chance does not depend on how the rows are cut into batches."""
    chance = np.random.default_rng(seed)
    if fraction is not None:
        return derived(batches, batches.schema, _by_fraction(batches, fraction, chance))
    return derived(batches, batches.schema, _by_number(batches, rows or 0, chance))


def _by_fraction(batches: Batches, fraction: float, chance: np.random.Generator) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch.filter(pa.array(chance.random(batch.num_rows) < fraction))


def _by_number(batches: Batches, rows: int, chance: np.random.Generator) -> Iterator[pa.RecordBatch]:
    """Each row draws a number; those with the smallest are kept."""
    kept: Any = batches.schema.empty_table()
    drawn = np.empty(0)
    for batch in batches:
        numbers = chance.random(batch.num_rows)
        if len(drawn) >= rows:  # most batches of a long stream have few candidates, or none
            candidates = np.flatnonzero(numbers < (drawn.max() if rows else 0)).astype(np.int64)
            batch, numbers = batch.take(candidates), numbers[candidates]  # noqa: PLW2901 - what is left of it
            if not len(candidates):
                continue
        kept = pa.concat_tables([kept, pa.Table.from_batches([batch], batches.schema)])
        drawn = np.concatenate([drawn, numbers])
        if len(drawn) > rows:
            chosen = np.sort(np.argpartition(drawn, rows)[:rows]) if rows else np.empty(0, int)
            kept, drawn = kept.take(chosen).combine_chunks(), drawn[chosen]
    yield from kept.to_batches()
