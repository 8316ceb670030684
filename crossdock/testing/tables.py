"""``TableSuite``: what every table connector promises, as a pytest class.

A connector's test derives from it, defines a fixture ``end`` that gives a fresh, empty ``TableEnd``, and ends. What is
written has to come back: the same rows, the same nulls, in types that hold the same values. What a connector cannot hold
(``TableEnd.refuses``) it has to refuse, by the column's name and before the first row is pulled; that is tested too. Importing
this needs pytest and hypothesis beyond crossdock (``crossdock[testing]``).

Example:
    >>> class TestMyTables(TableSuite):
    ...     @pytest.fixture
    ...     def end(self, tmp_path):
    ...         url = f"sqlite://{tmp_path}/t.db"
    ...         return TableEnd(source=xd.source(url), sink=xd.sink(url), refuses=NESTED)
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any

import hypothesis
import pyarrow as pa
import pytest

from crossdock.batches import Batches
from crossdock.errors import ConfigError, CrossdockError, RowError, UnsupportedError
from crossdock.model import Receipt
from crossdock.testing.table_cases import CASES, Case
from crossdock.testing.table_rows import Pulled, SourceDied, assert_same, numbered, tables_of

__all__ = ["Pulled", "SourceDied", "TableEnd", "TableSuite", "assert_same", "numbered"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableEnd:
    """A place for tables: how it is written and read.

    Attributes:
        source: ``source(table) -> Batches``.
        sink: ``sink(batches, table=..., mode=...) -> Receipt``.
        refuses: Names of ``CASES`` that it has no type for.
        bends: Names of ``CASES`` whose values are refused one by one, as ``RowError``, not by their type.
        loses: Names of ``CASES`` that it is known, and documented, to change.
        modes: What the sink can do besides ``replace``.
        folds_case: Names of columns that differ in case only are the same.
        merges: What is appended may have other columns: they are merged by name when the table is read, and two types of one name
            are refused then.
        secrets: Texts that must not be in a pickle.
    """

    source: Any
    sink: Any
    refuses: frozenset[str] = frozenset()
    bends: frozenset[str] = frozenset()
    loses: frozenset[str] = frozenset()
    modes: frozenset[str] = frozenset({"append", "upsert"})
    folds_case: bool = False
    merges: bool = False
    secrets: tuple[str, ...] = ()

    def write(self, rows: Any, table: str = "t", **options: Any) -> Receipt:
        """Write, by default in the mode that every sink has."""
        receipt: Receipt = self.sink(rows, table=table, **{"mode": "replace", **options})
        return receipt

    def read(self, table: str = "t") -> pa.Table:
        """All of a table, by its first column."""
        found: pa.Table = self.source(table).read_all()
        return found.sort_by(found.column_names[0])


class TableSuite:
    """What a table connector promises. See ``TableEnd`` for what a subclass may say.

    Attributes:
        examples: How many tables hypothesis draws.
    """

    examples = 5

    # -- types and nulls

    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
    def test_a_type_comes_back(self, end: TableEnd, case: Case) -> None:
        """Every value and every null; or the type is refused by the column's name before a row is pulled."""
        if case.name in end.loses:
            pytest.skip("this end is known to change such values")
        rows = Pulled(numbered(case.array()).to_batches())
        if case.name in end.refuses:
            with pytest.raises(UnsupportedError, match="'value'"):
                end.write(rows.stream())
            assert (rows.pulled, rows.closed) == (0, 1)
            return
        if case.name in end.bends:
            with pytest.raises(RowError, match="'value'"):
                end.write(rows.stream())
            return
        receipt = end.write(rows.stream())

        assert receipt.rows == len(case.array())
        assert_same(numbered(case.array()), end.read())

    def test_columns_may_be_null_for_long(self, end: TableEnd) -> None:
        """What decides types by looking at the first rows finds nothing there."""
        cases = [each for each in CASES if each.name not in end.refuses | end.bends | end.loses]
        columns = {}
        for case in cases:
            values = case.array()
            columns[case.name] = pa.concat_arrays([pa.nulls(3_000 - len(values), values.type), values])
        rows = pa.table({"n": pa.array(range(3_000), pa.int64()), **columns})
        end.write(rows)

        assert_same(rows, end.read())

    def test_a_column_without_any_value(self, end: TableEnd) -> None:
        """Not even a type."""
        rows = pa.table({"n": [1, 2], "value": pa.nulls(2)})
        end.write(rows)

        assert end.read().column("value").to_pylist() == [None, None]

    @pytest.mark.parametrize("batches", [0, 1, 2])
    def test_an_empty_table_has_its_columns(self, end: TableEnd, batches: int) -> None:
        """With no batch, or with batches of no rows."""
        schema = pa.table({"a": [1], "b": ["x"]}).schema
        empty = pa.RecordBatch.from_pylist([], schema)
        receipt = end.write(Batches(schema, [empty] * batches))

        assert (receipt.rows, end.read().num_rows) == (0, 0)
        assert end.read().column_names == ["a", "b"]

    def test_a_wide_table(self, end: TableEnd) -> None:
        """300 columns."""
        rows = pa.table({f"column {n}": pa.array([n, None], pa.int64()) for n in range(300)})
        end.write(rows)

        assert_same(rows, end.read())

    def test_huge_and_many_strings(self, end: TableEnd) -> None:
        """One of 8 MB, and thousands beside it."""
        values = ["x" * 8_000_000, "", None, "\N{SNOWMAN}" * 100_000, *(f"text {n}" for n in range(5_000))]
        end.write(numbered(values))

        assert_same(numbered(values), end.read())

    def test_parts_of_a_microsecond_are_not_cut_off(self, end: TableEnd) -> None:
        """Kept, or refused with row and column."""
        rows = numbered([1_000, None, 1_577_840_523_456_789_123], pa.timestamp("ns"))
        try:
            end.write(rows)
        except RowError as error:
            assert "row 3" in str(error) and "'value'" in str(error)  # noqa: PT017, PT018 - either is right
        else:
            found = end.read().column("value").cast(pa.timestamp("ns")).cast(pa.int64())
            assert found.to_pylist() == [1_000, None, 1_577_840_523_456_789_123]

    # -- names

    @pytest.mark.parametrize(
        "table", ['a"b', "a'b; drop table t; --", "select", "Größe \N{PILE OF POO}", "a b", "a%s?$1", "UPPER"]
    )
    def test_a_name_is_a_name(self, end: TableEnd, table: str) -> None:
        """Of a table and of its columns, whatever is in it."""
        rows = pa.table({table: [1], 'x"y': [2], "order": [3], "a;b": [4], "$1": [5], ":a": [6]})
        end.write(pa.table({"kept": [1]}), "t")
        end.write(rows, table)

        assert_same(rows, end.read(table))
        assert_same(pa.table({"kept": [1]}), end.read("t"))

    def test_two_columns_of_one_name_are_refused(self, end: TableEnd) -> None:
        """A table has one column of a name."""
        doubled = pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"])
        with pytest.raises(ConfigError, match="'a'"):
            end.write(doubled)

    def test_names_that_differ_in_case_are_two_or_refused(self, end: TableEnd) -> None:
        """Never one of them silently."""
        rows = pa.table({"a": [1], "A": [2]})
        if end.folds_case:
            with pytest.raises(ConfigError, match="case"):
                end.write(rows)
            return
        end.write(rows)

        assert_same(rows, end.read())

    # -- all or nothing

    def test_a_source_that_dies_leaves_nothing(self, end: TableEnd) -> None:
        """Its own error comes through; no table where none was."""
        rows = Pulled(numbered(range(10_000)).to_batches(max_chunksize=1_000), dies_after=6)
        with pytest.raises(SourceDied):
            end.write(rows.stream())

        assert (rows.pulled, rows.closed) == (6, 1)
        with pytest.raises(CrossdockError):
            end.read()

    def test_a_source_that_dies_changes_nothing(self, end: TableEnd) -> None:
        """What was there stays."""
        before = numbered([1, 2, 3])
        end.write(before)
        rows = Pulled(numbered(range(10_000)).to_batches(max_chunksize=1_000), dies_after=6)
        for mode in sorted({"replace", "append"} & {"replace", *end.modes}):
            with pytest.raises(SourceDied):
                end.write(rows.stream(), mode=mode)

            assert_same(before, end.read())

    def test_a_replacement_replaces(self, end: TableEnd) -> None:
        """Also with other columns."""
        for rows in (numbered([1, 2, 3]), numbered([4]), pa.table({"other": ["x", "y"]}), numbered([5])):
            assert end.write(rows).rows == rows.num_rows
            assert_same(rows, end.read())

    def test_rows_come_in_batches_and_may_be_left(self, end: TableEnd) -> None:
        """A reader that stops leaves nothing open that others would wait for."""
        end.write(numbered(range(200_000)))
        with end.source("t") as batches:
            first = next(batches)

        assert 0 < first.num_rows < 200_000
        assert_same(numbered(range(200_000)), end.read())

    # -- schema drift

    def test_rows_are_appended_by_name(self, end: TableEnd) -> None:
        """In another order, and without a column: null."""
        self._demand(end, "append")
        end.write(pa.table({"n": [1], "a": ["x"], "b": [1.5]}))
        end.write(pa.table({"b": [2.5], "n": [2]}), mode="append")

        expected = pa.table({"n": [1, 2], "a": ["x", None], "b": [1.5, 2.5]})
        assert_same(expected, end.read())

    def test_a_column_too_many_is_refused_by_name(self, end: TableEnd) -> None:
        """Before a row is pulled; or there, and null in the rows before."""
        self._demand(end, "append")
        end.write(numbered([1]))
        if end.merges:
            end.write(pa.table({"n": [2], "value": [2], "extra": [2]}), mode="append")
            assert_same(pa.table({"n": [0, 2], "value": [1, 2], "extra": [None, 2]}), end.read())
            return
        rows = Pulled(pa.table({"n": [2], "value": [2], "extra": [2]}).to_batches())
        with pytest.raises(ConfigError, match="'extra'"):
            end.write(rows.stream(), mode="append")

        assert (rows.pulled, rows.closed) == (0, 1)
        assert_same(numbered([1]), end.read())

    @pytest.mark.parametrize(
        ("there", "given"),
        [
            (pa.int64(), pa.string()),
            (pa.int64(), pa.float64()),
            (pa.string(), pa.int64()),
            (pa.decimal128(10, 2), pa.decimal128(10, 3)),
            (pa.timestamp("us"), pa.timestamp("us", "UTC")),
            (pa.date32(), pa.timestamp("us")),
            (pa.float64(), pa.int64()),
        ],
        ids=str,
    )
    def test_another_type_is_refused_by_name(
        self, end: TableEnd, there: pa.DataType, given: pa.DataType
    ) -> None:
        """Nothing is rounded, cut or guessed to make it fit."""
        self._demand(end, "append")
        end.write(numbered([None], there))
        if end.merges:
            end.write(numbered([None], given), mode="append")
            with pytest.raises(ConfigError, match="'value'"):
                end.read()
            return
        rows = Pulled(numbered([None], given).to_batches())
        with pytest.raises(ConfigError, match="'value'"):
            end.write(rows.stream(), mode="append")

        assert (rows.pulled, rows.closed) == (0, 1)

    # -- recipes

    def test_source_and_sink_are_recipes(self, end: TableEnd) -> None:
        """They can be pickled, without what is secret, and work where they arrive."""
        packed = pickle.dumps((end.source, end.sink))
        source, sink = pickle.loads(packed)  # noqa: S301 - our own bytes
        sink(numbered([7]), table="t", mode="replace")

        assert_same(numbered([7]), source("t").read_all())
        assert [each for each in end.secrets if each.encode() in packed] == []

    def test_tables_of_every_shape_come_back(self, end: TableEnd) -> None:
        """Drawn by hypothesis."""

        @hypothesis.given(rows=_tables)
        @hypothesis.settings(max_examples=self.examples, deadline=None, database=None, derandomize=True)
        def check(rows: pa.Table) -> None:
            end.write(rows)

            assert_same(rows, end.read())

        check()

    def _demand(self, end: TableEnd, mode: str) -> None:
        if mode not in end.modes:
            pytest.skip(f"this end does not {mode}")


_tables = tables_of()
