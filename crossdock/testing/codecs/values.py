"""Every type, every null, every name, and tables of every shape: what is written is what is read."""

from __future__ import annotations

from typing import Any

import hypothesis
import pyarrow as pa
import pytest
from hypothesis import strategies as st

from crossdock.batches import Batches
from crossdock.errors import ConfigError, RowError, UnsupportedError
from crossdock.testing.codecs.end import CodecEnd, simple_table
from crossdock.testing.table_cases import CASES, Case
from crossdock.testing.table_rows import Pulled, assert_same, numbered, tables_of

__all__ = ["ValueChecks"]

_NAMES = (
    'a"b',
    "a,b",
    "a;b",
    "$1",
    "\n x",
    "Größe \N{PILE OF POO}",
    "a.b",
    " s ",
    "select",
    "a'b",
    "\\",
    "x\ty",
)


class ValueChecks:
    """Rows to bytes to rows."""

    examples = 25

    @pytest.fixture
    def codec(self) -> CodecEnd:
        """The format."""
        raise NotImplementedError("define a fixture `codec` in the test class")

    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
    def test_a_type_comes_back(self, codec: CodecEnd, case: Case) -> None:
        """Every value and every null, in its type; or what the format declares of it, and nothing else."""
        rows = Pulled(numbered(case.array()).to_batches())
        if case.name in codec.refuses:
            with pytest.raises((ConfigError, UnsupportedError), match="'value'"):
                codec.write(rows.stream())
            assert (rows.pulled, rows.closed) == (0, 1)
            return
        if case.name in codec.bends:
            with pytest.raises(RowError, match=r"row \d+, column 'value'"):
                codec.write(rows.stream())
            return
        data = codec.write(rows.stream())
        schema = numbered(case.array()).schema
        if case.name in codec.cannot_read:
            with pytest.raises((ConfigError, UnsupportedError)):
                codec.read(data, schema)
            return
        found = codec.read(data, schema)
        kind = codec.becomes.get(case.name, case.kind)
        expected = numbered(case.array())
        if case.name in codec.changes:
            expected = numbered(pa.array(codec.changes[case.name], kind))

        assert found.schema.field("value").type == kind
        assert_same(expected, found)

    def test_columns_may_be_null_for_long(self, codec: CodecEnd) -> None:
        """What decides types by looking at the first rows finds nothing there."""
        columns = {case.name: _late(case) for case in self._carried(codec)}
        rows = pa.table({"n": pa.array(range(3_000), pa.int64()), **columns})

        assert_same(rows, codec.read(codec.write(rows), rows.schema))

    def test_a_column_without_any_value(self, codec: CodecEnd) -> None:
        """Not even a type."""
        rows = pa.table({"n": [1, 2], "value": pa.nulls(2)})

        assert codec.read(codec.write(rows)).column("value").to_pylist() == [None, None]

    @pytest.mark.parametrize("batches", [0, 1, 2])
    def test_an_empty_table_has_its_columns(self, codec: CodecEnd, batches: int) -> None:
        """With no batch, or with batches of no rows."""
        schema = pa.table({"a": [1], "b": ["x"]}).schema
        empty = pa.RecordBatch.from_pylist([], schema)
        found = codec.read(codec.write(Batches(schema, [empty] * batches)), schema)

        assert (found.num_rows, found.schema) == (0, schema)

    def test_a_wide_table(self, codec: CodecEnd) -> None:
        """300 columns."""
        rows = pa.table({f"column {n}": pa.array([n, None], pa.int64()) for n in range(300)})

        assert_same(rows, codec.read(codec.write(rows), rows.schema))

    def test_huge_and_many_strings(self, codec: CodecEnd) -> None:
        """One of 8 MB, and thousands beside it."""
        values = ["x" * 8_000_000, "", None, "\N{SNOWMAN}" * 100_000, *(f"text {n}" for n in range(5_000))]
        rows = numbered(values)

        assert_same(rows, codec.read(codec.write(rows), rows.schema))

    def test_one_column_of_nulls_has_its_rows(self, codec: CodecEnd) -> None:
        """A row of which nothing is written is a row."""
        rows = pa.table({"a": pa.array([None, 1, None, None], pa.int64())})

        assert_same(rows, codec.read(codec.write(rows), rows.schema))

    def test_parts_of_a_microsecond_are_not_cut_off(self, codec: CodecEnd) -> None:
        """Kept, or refused by the column's name or with row and column."""
        for kind, values in (
            (pa.timestamp("ns"), [1_000, None, 1_577_840_523_456_789_123]),
            (pa.time64("ns"), [1_000, None, 86_399_999_999_999]),
        ):
            rows = numbered(pa.array(values, pa.int64()).cast(kind))
            try:
                data = codec.write(rows)
            except (ConfigError, RowError) as error:
                assert "'value'" in str(error)  # noqa: PT017 - either is right
            else:
                found: Any = codec.read(data, rows.schema).column("value")
                assert found.cast(kind).cast(pa.int64()).to_pylist() == values

    def test_moments_that_no_calendar_has_are_kept_or_refused(self, codec: CodecEnd) -> None:
        """A year of five digits has no text that others read."""
        values = [0, None, 1_267_011_504_000_000_000, -9_000_000_000_000_000_000]
        rows = numbered(pa.array(values, pa.int64()).cast(pa.timestamp("us")))
        try:
            data = codec.write(rows)
        except RowError as error:
            assert "row 3, column 'value'" in str(error)  # noqa: PT017 - either is right
        else:
            found: Any = codec.read(data, rows.schema).column("value")
            assert found.cast(pa.int64()).to_pylist() == values

    def test_a_zone_moves_no_moment(self, codec: CodecEnd) -> None:
        """The same instant, said to have a zone; a time of no zone is said to have none."""
        micros = [0, 1_711_674_000_000_000, None, -1]
        zoned = numbered(pa.array(micros, pa.int64()).cast(pa.timestamp("us", "America/St_Johns")))
        local = numbered(pa.array(micros, pa.int64()).cast(pa.timestamp("us")))
        for rows, has_zone in ((zoned, True), (local, False)):
            found: Any = codec.read(codec.write(rows), rows.schema).column("value")

            assert (found.type.tz is not None) == has_zone
            assert found.cast(pa.timestamp("us", found.type.tz)).cast(pa.int64()).to_pylist() == micros

    def test_a_name_is_a_name(self, codec: CodecEnd) -> None:
        """Whatever is in it."""
        rows = pa.table({name: [number, None] for number, name in enumerate(_NAMES)})

        assert_same(rows, codec.read(codec.write(rows), rows.schema))

    def test_names_that_differ_in_case_are_two(self, codec: CodecEnd) -> None:
        """Neither is lost."""
        rows = pa.table({"a": [1], "A": [2]})

        assert_same(rows, codec.read(codec.write(rows), rows.schema))

    def test_two_columns_of_one_name_are_refused(self, codec: CodecEnd) -> None:
        """Columns are told by their names; before a row is pulled."""
        doubled = pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"])
        rows = Pulled(doubled.to_batches())
        with pytest.raises(ConfigError, match="'a'"):
            codec.write(rows.stream())

        assert (rows.pulled, rows.closed) == (0, 1)

    def test_somebody_else_reads_it(self, codec: CodecEnd) -> None:
        """What only we can read is no format."""
        if codec.other_reader is None:
            pytest.skip("nobody else is known to this test")
        assert codec.other_reader(codec.write(simple_table())) == simple_table().to_pylist()

    def test_what_somebody_else_wrote_is_read(self, codec: CodecEnd) -> None:
        """The same the other way."""
        if codec.other_writer is None:
            pytest.skip("nobody else is known to this test")
        found = codec.read(codec.other_writer(simple_table()), simple_table().schema)

        assert_same(simple_table(), found)

    def test_tables_of_every_shape_come_back(self, codec: CodecEnd) -> None:
        """Drawn by hypothesis, of the types that the format carries as they are."""
        changed = {
            case.kind.id for case in CASES if case.name in codec.changes
        }  # JSON: infinities are drawn, too
        carried = (case for case in self._carried(codec) if case.name not in codec.becomes)
        kinds = [case.kind for case in carried if case.kind.id not in changed]

        @hypothesis.given(rows=tables_of(kinds), data=st.data())
        @hypothesis.settings(max_examples=self.examples, deadline=None, database=None, derandomize=True)
        def check(rows: pa.Table, data: st.DataObject) -> None:
            size = data.draw(st.integers(1, 8))
            batches = Batches(rows.schema, rows.to_batches(max_chunksize=size))
            found = codec.read(codec.write(batches), rows.schema)

            assert found.schema.remove_metadata() == rows.schema
            assert_same(rows, found)

        check()

    def _carried(self, codec: CodecEnd) -> list[Case]:
        """The cases that come back with the values they had."""
        others = codec.refuses | codec.bends | codec.cannot_read | {*codec.changes}
        return [case for case in CASES if case.name not in others]


def _late(case: Case) -> pa.Array[Any]:
    """The values of a case behind many nulls."""
    values = case.array()
    storage = values.storage if isinstance(values, pa.ExtensionArray) else values
    late = pa.concat_arrays([pa.nulls(3_000 - len(storage), storage.type), storage])
    return pa.ExtensionArray.from_storage(values.type, late) if storage is not values else late
