"""A format as the suite sees it, and the rows it is tried with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from crossdock.formats import decode, encode

__all__ = ["CodecEnd", "simple_table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecEnd:
    """A format: how it is written and read, and what it says it cannot carry.

    Attributes:
        format: Its name for ``encode`` and ``decode``.
        encode: ``encode(format, **options)`` gives a function of rows that gives a stream of bytes.
        decode: ``decode(format, **options)`` gives a function of bytes that gives ``Batches``.
        typed: The bytes say the columns' types; otherwise they are read with ``schema=``.
        refuses: Names of ``CASES`` (``crossdock.testing.table_cases``) that it refuses to write, by the column's name.
        bends: Names of ``CASES`` some values of which it refuses to write, by row and column.
        cannot_read: Names of ``CASES`` that it writes, but refuses to read as that type.
        becomes: Types that come back as others, which hold the same values, by the names of ``CASES``.
        changes: Values that come back as others, and are documented to, by the names of ``CASES``.
        absent_is_null: A column may be absent from any row, so that one which is nowhere is nulls, whatever ``evolve`` says.
        compressions: Values of ``compression=`` that it knows.
        tells_its_end: Bytes that end early are an error, at whatever byte.
        small: Options of ``encode`` with which bytes leave after a thousand rows or so.
        other_reader: Somebody else's reader: rows of ``simple_table`` as dicts of bytes.
        other_writer: Somebody else's writer: bytes of ``simple_table``.
    """

    format: str
    encode: Callable[..., Any] = encode
    decode: Callable[..., Any] = decode
    typed: bool = True
    refuses: frozenset[str] = frozenset()
    bends: frozenset[str] = frozenset()
    cannot_read: frozenset[str] = frozenset()
    becomes: Mapping[str, pa.DataType] = field(default_factory=dict)
    changes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    absent_is_null: bool = False
    compressions: tuple[str, ...] = ()
    tells_its_end: bool = True
    small: Mapping[str, Any] = field(default_factory=dict)
    other_reader: Callable[[bytes], list[dict[str, Any]]] | None = None
    other_writer: Callable[[pa.Table], bytes] | None = None

    def write(self, rows: Any, **options: Any) -> bytes:
        """All the bytes."""
        return b"".join(map(bytes, self.encode(self.format, **options)(rows)))

    def read(self, data: Any, written_as: pa.Schema | None = None, **options: Any) -> pa.Table:
        """All the rows; ``written_as`` is the schema to read with where the bytes do not say it."""
        if written_as is not None and not self.typed:
            options = {"schema": written_as, **options}
        found: pa.Table = self.decode(self.format, **options)(data).read_all()
        return found


def simple_table(rows: int = 3) -> pa.Table:
    """Numbers, fractions, texts and truths with nulls, such as anybody can write and read."""
    numbers = range(rows)
    return pa.table(
        {
            "n": pa.array(numbers, pa.int64()),
            "x": pa.array([None if n % 3 == 1 else n / 4 for n in numbers], pa.float64()),
            "s": pa.array([None if n % 3 == 2 else f'tex"t,\N{SNOWMAN} {n}' for n in numbers], pa.string()),
            "b": pa.array([n % 2 == 0 for n in numbers], pa.bool_()),
        }
    )
