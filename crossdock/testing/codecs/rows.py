"""Columns that are chosen, schemas that drift, and rows that do not fit: by name, by row and column, told to whom it may concern."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pyarrow as pa
import pytest

import crossdock
from crossdock.errors import ConfigError, RowError
from crossdock.events import Event, Note, listening
from crossdock.testing.codecs.end import CodecEnd, simple_table
from crossdock.testing.table_rows import assert_same

__all__ = ["RowChecks"]

_VALUES = [1.0, None, 2.5, 4.0, 5.5]
_WANTED = pa.schema([("n", pa.int64()), ("value", pa.int64())])


class RowChecks:
    """What a reader may ask for, and what happens where it is not there."""

    def test_only_columns_that_are_asked_for_in_that_order(self, codec: CodecEnd) -> None:
        """And no others."""
        table = simple_table(50)
        found = codec.read(codec.write(table), table.schema, columns=["s", "n"])

        assert_same(table.select(["s", "n"]), found)

    def test_a_column_that_is_not_there_is_refused(self, codec: CodecEnd) -> None:
        """By its name, at the beginning."""
        data = codec.write(simple_table())
        with pytest.raises(ConfigError, match="'nope'"):
            codec.read(data, simple_table().schema, columns=["n", "nope"])

    def test_columns_are_found_by_name_not_by_place(self, codec: CodecEnd) -> None:
        """In the order of the schema, whatever that of the file."""
        table = simple_table(50)
        wanted = pa.schema([table.schema.field(name) for name in ("b", "s", "n", "x")])
        found = codec.read(codec.write(table), schema=wanted)

        assert found.schema.names == ["b", "s", "n", "x"]
        assert_same(table.select(["b", "s", "n", "x"]), found)

    def test_a_column_that_is_missing_is_null_if_that_is_allowed(self, codec: CodecEnd) -> None:
        """Else it is refused by its name."""
        data = codec.write(pa.table({"n": [1, 2]}))
        late: Any = [("late", pa.string()), ("n", pa.int64())]
        wanted = pa.schema(late)
        expected = pa.table({"late": pa.nulls(2, pa.string()), "n": [1, 2]})
        if codec.absent_is_null:
            assert_same(expected, codec.read(data, schema=wanted))
        else:
            with pytest.raises((ConfigError, RowError), match="late"):
                codec.read(data, schema=wanted)

        assert_same(expected, codec.read(data, schema=wanted, evolve="missing"))

    def test_a_column_too_many_is_dropped_or_added_if_that_is_allowed(self, codec: CodecEnd) -> None:
        """Else it is refused by its name."""
        table = pa.table({"extra": ["x", None], "n": [1, 2]})
        data = codec.write(table)
        wanted = pa.schema([("n", pa.int64())])
        with pytest.raises((ConfigError, RowError), match="extra"):
            codec.read(data, schema=wanted)

        assert_same(table.select(["n"]), codec.read(data, schema=wanted, evolve="drop"))
        assert_same(table.select(["n", "extra"]), codec.read(data, schema=wanted, evolve="add"))

    def test_a_value_that_does_not_fit_is_told_by_row_and_column(self, codec: CodecEnd) -> None:
        """Never rounded, never null."""
        with pytest.raises(RowError, match=r"row 3, column 'value'"):
            codec.read(self._unfit(codec), schema=_WANTED)

    def test_rows_that_do_not_fit_are_skipped_and_told(self, codec: CodecEnd) -> None:
        """Once, with their number; the others stay, in order."""
        notes: list[str] = []

        def hear(event: Event) -> None:
            if isinstance(event, Note):
                notes.append(event.text)

        with listening(hear):
            found = codec.read(self._unfit(codec), schema=_WANTED, on_bad_row="skip")

        assert found.to_pydict() == {"n": [0, 1, 3], "value": [1, None, 4]}
        assert len(notes) == 1
        assert "2 bad rows" in notes[0]

    def test_rows_that_do_not_fit_go_to_a_function(self, codec: CodecEnd) -> None:
        """With their place, what stood there, and why."""
        bad: list[Any] = []
        found = codec.read(self._unfit(codec), schema=_WANTED, on_bad_row=bad.append)

        assert found.num_rows == 3
        assert [(each.number, each.column) for each in bad] == [(3, "value"), (5, "value")]
        assert all(
            str(value) in each.raw and each.reason for value, each in zip((2.5, 5.5), bad, strict=True)
        )

    def test_rows_that_do_not_fit_go_to_a_sink(self, codec: CodecEnd) -> None:
        """As JSON lines, once the rest was read; a function that fails ends it."""
        name = uuid.uuid4().hex
        found = codec.read(
            self._unfit(codec), schema=_WANTED, on_bad_row=crossdock.sink(f"memory://{name}/bad/")
        )
        (key,) = crossdock.source(f"memory://{name}/").list()
        text = b"".join(crossdock.source(f"memory://{name}/")(key))

        assert found.num_rows == 3
        assert key.startswith("bad/")
        assert [json.loads(line)["number"] for line in text.splitlines()] == [3, 5]

    def _unfit(self, codec: CodecEnd) -> bytes:
        """Fractions that are read as whole numbers."""
        numbers = pa.array(range(len(_VALUES)), pa.int64())
        return codec.write(pa.table({"n": numbers, "value": pa.array(_VALUES, pa.float64())}))
