"""Values that databases and formats bend: one ``Case`` a type, each with its extremes and a null."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa

__all__ = ["CASES", "NESTED", "Case"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A type and values of it."""

    name: str
    kind: pa.DataType
    values: Sequence[Any]
    unpacked: pa.DataType | None = None  # what pyarrow makes of Python values, to be cast to ``kind``

    def array(self) -> pa.Array[Any]:
        """The values, and a null at the end."""
        values = [*self.values, None]
        if isinstance(self.kind, pa.BaseExtensionType):
            return pa.ExtensionArray.from_storage(self.kind, pa.array(values, self.kind.storage_type))
        return pa.array(values, self.unpacked or self.kind).cast(self.kind)


def _whole(kind: pa.DataType, *, signed: bool) -> Case:
    bits = kind.bit_width
    bounds = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return Case(name=str(kind), kind=kind, values=(*bounds, 0, 1))


_MOMENTS = tuple(
    dt.datetime.fromisoformat(text)
    for text in (
        "1970-01-01",
        "1969-12-31T23:59:59.999999",
        "0001-01-01",
        "9999-12-31T23:59:59.999999",
        "2026-03-29T02:30:00.000001",  # an hour that summer time leaves out
        "2016-12-31T23:59:59.999999",
    )
)
_DAYS = (
    dt.date(1970, 1, 1),
    dt.date(1, 1, 1),
    dt.date(9999, 12, 31),
    dt.date(1582, 10, 10),
    dt.date(2024, 2, 29),
)
_TIMES = (dt.time(0), dt.time(23, 59, 59, 999_999), dt.time(12, 0, 0, 1))
_TEXTS = (
    "",
    " ",
    "a",
    "NULL",
    "null",
    "\\N",
    "\\.",
    "'",
    '"',
    "\t\r\n",
    "e\N{COMBINING ACUTE ACCENT}",
    "\N{PILE OF POO}",
    "007",
    "1e5",
    "-0",
)

CASES: tuple[Case, ...] = (
    *(_whole(kind, signed=True) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())),
    *(_whole(kind, signed=False) for kind in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())),
    Case(name="float32", kind=pa.float32(), values=(0.5, 0.0, 1.5e38, math.inf, -math.inf)),
    Case(
        name="float64",
        kind=pa.float64(),
        values=(0.1, 0.0, 5e-324, 1.7976931348623157e308, math.inf, 2.0**53 + 2),
    ),
    Case(name="negative zero", kind=pa.float64(), values=(-0.0,)),
    Case(name="nan", kind=pa.float64(), values=(math.nan, 1.0)),
    Case(name="boolean", kind=pa.bool_(), values=(True, False)),
    Case(name="text", kind=pa.string(), values=_TEXTS),
    Case(name="large text", kind=pa.large_string(), values=_TEXTS),
    Case(
        name="text as dictionary",
        kind=pa.dictionary(pa.int32(), pa.string()),
        values=("a", "b", "a"),
        unpacked=pa.string(),
    ),
    Case(name="text with NUL", kind=pa.string(), values=("a", "b\0c")),
    Case(name="bytes", kind=pa.binary(), values=(b"", b"\0", b"\xff\xfe", bytes(range(256)))),
    Case(name="bytes of one length", kind=pa.binary(4), values=(b"\0\0\0\0", b"abcd")),
    Case(name="date", kind=pa.date32(), values=_DAYS),
    Case(name="date in milliseconds", kind=pa.date64(), values=_DAYS),
    Case(name="time", kind=pa.time64("us"), values=_TIMES),
    Case(name="time in seconds", kind=pa.time32("s"), values=(dt.time(0), dt.time(23, 59, 59))),
    Case(name="timestamp", kind=pa.timestamp("us"), values=_MOMENTS),
    Case(
        name="timestamp in seconds",
        kind=pa.timestamp("s"),
        values=[each.replace(microsecond=0) for each in _MOMENTS],
    ),
    Case(name="timestamp with zone", kind=pa.timestamp("us", "UTC"), values=_MOMENTS),
    Case(
        name="timestamp in Kathmandu",
        kind=pa.timestamp("ms", "Asia/Kathmandu"),
        values=(0, -1, 1_700_000_000_123),
    ),
    Case(
        name="decimal",
        kind=pa.decimal128(10, 2),
        values=(
            Decimal("0.00"),
            Decimal("-0.01"),
            Decimal("99999999.99"),
            Decimal("10000.00"),
            Decimal("1.50"),
        ),
    ),
    Case(
        name="decimal of 38 digits",
        kind=pa.decimal128(38, 10),
        values=(Decimal("1234567890123456789012345678.0000000001"), Decimal("-0.0000000001"), Decimal(0)),
    ),
    Case(name="decimal of 60 digits", kind=pa.decimal256(60, 0), values=(Decimal(10) ** 59, Decimal(-1))),
    Case(name="json", kind=pa.json_(), values=('{"a": 1.50, "b": [null, "x"]}', "[]", '"text"', "5")),
    Case(name="uuid", kind=pa.uuid(), values=(bytes(16), bytes(range(16)))),
    Case(name="list", kind=pa.list_(pa.int64()), values=([1, None, -1], [], [2**63 - 1])),
    Case(name="list of text", kind=pa.list_(pa.string()), values=(["a", None, "", 'q"{},\\'], [], ["NULL"])),
    Case(name="list of lists", kind=pa.list_(pa.list_(pa.int64())), values=([[1], [2, 3]], [[]], [])),
    Case(
        name="struct",
        kind=pa.struct([("a", pa.int64()), ("b", pa.string())]),
        values=({"a": 1, "b": None}, {"a": None, "b": "x"}),
    ),
    Case(name="map", kind=pa.map_(pa.string(), pa.int64()), values=([("a", 1)], [])),
)

NESTED = frozenset({"list", "list of text", "list of lists", "struct", "map"})
"""Cases that a place without nested types refuses."""
