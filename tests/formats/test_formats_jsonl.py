"""JSON lines: types that never flip between blocks, rows told, what JSON cannot say."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

import crossdock as xd
from crossdock.errors import ConfigError, RowError


def lines(*values):
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def rows(text, **options):
    return xd.decode("jsonl", **options)(text).read_all().to_pylist()


def test_types_come_from_the_first_block_and_stay():
    """A block of whole numbers after one of fractions stays fractions; the schema is one for all batches."""
    text = lines(*({"x": 1.5} for _ in range(20)), *({"x": 2} for _ in range(20)))
    batches = xd.decode("jsonl", sample_bytes=50, block_bytes=50)(text)
    found = list(batches)

    assert len(found) > 5
    assert {str(each.schema.field("x").type) for each in found} == {"double"}
    assert batches.rows == 40


def test_a_later_value_of_another_type_is_a_bad_row():
    text = lines(*({"x": 1, "s": "a"} for _ in range(30)), {"x": "one", "s": "b"}, {"x": 2, "s": "c"})

    with pytest.raises(RowError, match=r"row 31, column 'x'"):
        rows(text, sample_bytes=50, block_bytes=50)
    kept = rows(text, sample_bytes=50, block_bytes=50, on_bad_row="skip")
    assert kept == [{"x": 1, "s": "a"}] * 30 + [{"x": 2, "s": "c"}]


def test_bad_rows_in_the_sample_do_not_spoil_the_types():
    taken = []
    text = lines({"x": 1}) + b"not json\n" + lines({"x": "two"}, {"x": 3})

    assert rows(text, on_bad_row=taken.append) == [{"x": 1}, {"x": 3}]
    assert [(row.number, row.raw) for row in taken] == [(2, "not json"), (3, '{"x": "two"}')]


def test_a_key_that_appears_later_is_loud_or_dropped():
    text = lines(*({"x": 1} for _ in range(20)), {"x": 2, "new": 1})

    with pytest.raises(RowError, match=r"row 21.*unexpected field"):
        rows(text, sample_bytes=50, block_bytes=50)
    assert rows(text, sample_bytes=50, block_bytes=50, evolve="drop")[-1] == {"x": 2}


def test_missing_keys_are_null_and_blank_lines_nothing():
    assert rows(lines({"a": 1, "b": "x"}, {"a": 2}) + b"\n  \n" + lines({"b": "y"})) == [
        {"a": 1, "b": "x"},
        {"a": 2, "b": None},
        {"a": None, "b": "y"},
    ]


def test_columns_and_evolution():
    text = lines({"a": 1, "b": 2, "c": 3})

    assert rows(text, columns=["c", "a"]) == [{"c": 3, "a": 1}]
    assert rows(text, schema={"a": "int8"}, evolve="add") == [{"a": 1, "b": 2, "c": 3}]
    assert rows(text, schema={"a": "int8", "z": "string"}, evolve="drop") == [{"a": 1, "z": None}]
    with pytest.raises(ConfigError, match="does not have: b, c"):
        rows(text, schema={"a": "int8"})


def test_no_rows():
    assert xd.decode("jsonl", schema={"a": "int64"})(b"\n").read_all().num_rows == 0
    with pytest.raises(ConfigError, match="no row to infer"):
        rows(b"")


def test_what_json_cannot_say():
    """NaN and infinities become null; every control character and both quotes come back as they were."""
    texts = ["".join(map(chr, range(0x20))), '"\\/', "\u2028é😀"]
    table = pa.table({"x": [float("nan"), float("inf"), 1.0], "s": texts, "m": [{"a": [float("nan")]}] * 3})
    data = b"".join(xd.encode("jsonl")(table))

    assert [json.loads(line)["s"] for line in data.splitlines()] == texts
    assert [row["x"] for row in rows(data)] == [None, None, 1.0]
    assert data.count(b"\n") == 3


def test_times_are_iso_8601():
    table = pa.table({"t": pa.array([0], pa.timestamp("us", tz="UTC")), "d": pa.array([1], pa.date32())})

    assert b"".join(xd.encode("jsonl")(table)) == b'{"t":"1970-01-01T00:00:00.000000Z","d":"1970-01-02"}\n'
