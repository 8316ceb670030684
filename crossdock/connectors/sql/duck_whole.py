"""DuckDB's whole numbers of 128 bits, which every sum of whole numbers is: as decimals, which Arrow has."""

from __future__ import annotations

import pyarrow as pa

from crossdock.connectors.sql.arrow import Array, Kind, pc
from crossdock.connectors.sql.casting import demand

__all__ = ["WHOLE", "as_decimal", "is_huge"]

WHOLE: Kind = pa.decimal128(38, 0)


def is_huge(kind: Kind) -> bool:
    """Whether it is a ``HUGEINT``."""
    return isinstance(kind, pa.OpaqueType) and kind.type_name == "hugeint"


def as_decimal(array: Array, *, column: str, first_row: int) -> Array:
    """The same bits: a decimal without places is a number of 128 bits too, but has 38 digits at most.

    Raises:
        RowError: A number has 39.
    """
    stored = array.storage
    made: Array = pa.Array.from_buffers(
        WHOLE, len(stored), stored.buffers(), null_count=stored.null_count, offset=stored.offset
    )
    most = pa.scalar(10**38 - 1, WHOLE)
    low = pc.negate(most)
    fits = pc.and_(pc.less_equal(made, most), pc.greater_equal(made, low))
    demand(made, fits, column=column, first_row=first_row, what="has more than 38 digits")
    return made
