"""Rows that suites of tables and formats write, how they are compared, and streams of them that count and die.

Importing this needs hypothesis beyond crossdock (``crossdock[testing]``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from crossdock.batches import Batches

__all__ = ["Pulled", "SourceDied", "assert_same", "numbered", "plain", "tables_of"]


class Pulled:
    """A stream that counts what is pulled of it, and may die."""

    def __init__(self, batches: Sequence[pa.RecordBatch], *, dies_after: int | None = None) -> None:
        self.batches = batches
        self.dies_after = dies_after
        self.pulled = 0
        self.closed = 0

    def stream(self) -> Batches:
        """The batches, once."""
        return Batches(self.batches[0].schema, self._each(), close=self._close)

    def _each(self) -> Iterator[pa.RecordBatch]:
        for number, batch in enumerate(self.batches):
            if number == self.dies_after:
                raise SourceDied
            self.pulled += 1
            yield batch

    def _close(self) -> None:
        self.closed += 1


class SourceDied(Exception):  # noqa: N818 - what happened
    """The source of a test is gone."""


def numbered(values: pa.Array[Any] | Sequence[Any], kind: pa.DataType | None = None) -> pa.Table:
    """A column called ``value`` beside the number of its row."""
    array = values if isinstance(values, pa.Array) else pa.array(values, kind)
    return pa.table({"n": pa.array(range(len(array)), pa.int64()), "value": array})


def assert_same(expected: pa.Table, found: pa.Table) -> None:
    """The same columns and the same values; a found type may be another that holds the same values."""
    assert expected.column_names == found.column_names
    assert expected.num_rows == found.num_rows
    for name in expected.column_names:
        assert plain(expected.column(name)) == plain(found.column(name)), name


def plain(column: pa.ChunkedArray[Any]) -> list[Any]:
    """Values to compare: moments and times as whole numbers of their finest unit, extension types as their values."""
    array: Any = column.combine_chunks()  # the stubs know no array's own methods
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if isinstance(array.type, pa.BaseExtensionType):
        return [None if value is None else str(value) for value in array.to_pylist()]
    if pa.types.is_timestamp(array.type):
        zoned = array.type.tz is not None
        return [
            None if each is None else (each, zoned)
            for each in array.cast(pa.timestamp("us", array.type.tz)).cast(pa.int64()).to_pylist()
        ]
    if pa.types.is_time(array.type):
        return list(array.cast(pa.time64("us")).cast(pa.int64()).to_pylist())
    if pa.types.is_date(array.type):
        return list(array.cast(pa.date32()).cast(pa.int32()).to_pylist())
    return [_hashable(value) for value in array.to_pylist()]


def _hashable(value: Any) -> Any:
    """NaN equals itself; negative zero is not zero."""
    return repr(value) if isinstance(value, float) else value


_TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=20)
_KINDS: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.float64(), st.floats(allow_nan=False)),
    (pa.string(), _TEXT),
    (pa.binary(), st.binary(max_size=20)),
    (pa.bool_(), st.booleans()),
    (pa.date32(), st.dates()),
    (pa.timestamp("us"), st.datetimes()),
    (pa.decimal128(20, 4), st.decimals(min_value=-(10**15), max_value=10**15, places=4)),
]


def tables_of(kinds: Iterable[pa.DataType] | None = None) -> st.SearchStrategy[pa.Table]:
    """Tables of up to 20 rows and five columns besides their numbers; only of types that are of these kinds."""
    known = None if kinds is None else {each.id for each in kinds}
    return _drawn([each for each in _KINDS if known is None or each[0].id in known])


@st.composite
def _drawn(
    draw: Callable[[Any], Any], kinds: Sequence[tuple[pa.DataType, st.SearchStrategy[Any]]]
) -> pa.Table:
    count = draw(st.integers(0, 20))
    columns = {"n": pa.array(range(count), pa.int64())}
    for kind, values in draw(st.lists(st.sampled_from(kinds), max_size=5)):
        drawn = draw(st.lists(st.none() | values, min_size=count, max_size=count))
        columns[f"c{len(columns)}"] = pa.array(drawn, kind)
    return pa.table(columns)
