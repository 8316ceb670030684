"""CSV: exact cuts, types that stay, bad rows found and told."""

from __future__ import annotations

import datetime as dt
import random

import pyarrow as pa
import pyarrow.csv as pacsv
import pytest

import crossdock as xd
from crossdock.errors import ConfigError, RowError
from crossdock.events import Note, listening
from crossdock.formats.blocks import QuotedRows, blocks_of, split_rows


def rows(text, **options):
    return xd.decode("csv", **options)(text).read_all().to_pylist()


def test_types_are_inferred_and_nulls_told_from_empty_texts():
    table = xd.decode("csv")(b'n,x,t,d,e\n1,1.5,2024-01-01 10:00:00,2024-01-01,\n2,,,,""\n').read_all()

    assert [str(kind) for kind in table.schema.types] == [
        "int64",
        "double",
        "timestamp[us]",
        "date32[day]",
        "string",
    ]
    assert table.to_pylist() == [
        {"n": 1, "x": 1.5, "t": dt.datetime(2024, 1, 1, 10), "d": dt.date(2024, 1, 1), "e": None},  # noqa: DTZ001
        {"n": 2, "x": None, "t": None, "d": None, "e": ""},
    ]


def test_quoted_newlines_delimiters_and_quotes():
    text = b'a;b\n"x\ny";"1;2"\n"say ""hi""";z\n'

    assert rows(text, delimiter=";") == [{"a": "x\ny", "b": "1;2"}, {"a": 'say "hi"', "b": "z"}]


def test_tabs_other_nulls_other_encodings_and_a_mark():
    assert xd.decode("tsv")(b"a\tb\n1\t2\n").read_all().to_pylist() == [{"a": 1, "b": 2}]
    assert rows(b"a,b\nNA,x\n3,y\n", nulls=("NA",)) == [{"a": None, "b": "x"}, {"a": 3, "b": "y"}]
    assert rows("a\ncafé\n".encode("latin-1"), encoding="latin-1") == [{"a": "café"}]
    assert rows("a,b\nö,1\n".encode("utf-16"), encoding="utf-16") == [{"a": "ö", "b": 1}]
    assert rows(b"\xef\xbb\xbfa,b\n1,2\n") == [{"a": 1, "b": 2}]


def test_headers():
    assert rows(b"1,2\n", header=False) == [{"f0": 1, "f1": 2}]
    assert rows(b"1,2\n", header=False, column_names=["x", "y"]) == [{"x": 1, "y": 2}]
    assert rows(b"a,b\n1,2\n", column_names=["x", "y"]) == [{"x": 1, "y": 2}]
    assert rows(b"# made by\n# a machine\na,b\n1,2\n", skip_rows=2) == [{"a": 1, "b": 2}]
    with pytest.raises(ConfigError, match="two columns 'a'"):
        rows(b"a,a\n1,2\n")


def test_no_rows_and_no_bytes():
    assert xd.decode("csv")(b"a,b\n").read_all().schema == pa.schema([("a", pa.string()), ("b", pa.string())])
    assert xd.decode("csv", schema={"a": "int64"})(b"").read_all().num_rows == 0
    with pytest.raises(ConfigError, match="not even a header"):
        xd.decode("csv")(b"")


def test_an_empty_line_is_a_null_of_a_single_column_and_nothing_of_several():
    assert rows(b"a\n1\n\n2\n") == [{"a": 1}, {"a": None}, {"a": 2}]
    assert rows(b"a,b\n1,2\n\n3,4\n") == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]


def test_types_do_not_change_after_the_sample():
    """The first block says int; a later 1.5 is a bad row with its number and column, not a change of type."""
    text = b"a,b\n" + b"1,x\n" * 50 + b"1.5,y\n" + b"2,z\n"

    with pytest.raises(RowError, match=r"row 51, column 'a'.*1\.5.*'1\.5,y'") as caught:
        rows(text, sample_bytes=40, block_bytes=40)
    assert "on_bad_row" in str(caught.value)


def test_bad_rows_are_skipped_counted_and_told_once():
    text = b"a,b\n1,x\nz,y\n2\n3,w\n"
    notes = []
    with listening(lambda event: notes.append(event.text) if isinstance(event, Note) else None):
        found = rows(text, on_bad_row="skip", types={"a": "int64"})

    assert found == [{"a": 1, "b": "x"}, {"a": 3, "b": "w"}]
    assert len(notes) == 1
    assert "2 bad rows skipped" in notes[0]
    assert "row 2" in notes[0]


def test_bad_rows_go_to_a_function_with_number_text_reason_and_column():
    taken = []
    rows(b"a,b\n1,x\n2\nz,y\n3,w,v\n", on_bad_row=taken.append, types={"a": "int64"})

    assert [(row.number, row.raw, row.column) for row in taken] == [
        (2, "2", ""),
        (3, "z,y", "a"),
        (4, "3,w,v", ""),
    ]
    assert "1 fields instead of 2" in taken[0].reason
    assert "'z'" in taken[1].reason


def test_bad_rows_go_to_a_sink_as_json_lines():
    sink = xd.MemorySink("formats-dead-letters")
    source = xd.MemorySource("formats-dead-letters")
    xd.MemorySink("formats-dead-letters")([b"a,b\n1,x\nz,y\n"], key="in.csv")
    batches = xd.decode("csv", types={"a": "int64"}, on_bad_row=sink)(source("in.csv"))

    assert batches.read_all().num_rows == 1
    kept = xd.decode("jsonl")(source("in.csv.bad.jsonl")).read_all().to_pylist()
    assert [(row["number"], row["raw"], row["column"]) for row in kept] == [(2, "z,y", "a")]


def test_every_row_bad_leaves_none():
    assert rows(b"a,b\nx,1\ny,2\n", on_bad_row="skip", types={"a": "int64"}) == []


def test_invalid_text_is_a_bad_row():
    with pytest.raises(RowError, match=r"row 2.*UTF8"):
        rows(b"a,b\nx,1\n\xff,2\n", types={"a": "string"})


@pytest.mark.parametrize("text", [b'a,b\n1,"x\n', b'a,b\n1,x\n"2'])
def test_an_object_cut_inside_quotes_is_loud(text):
    with pytest.raises(RowError, match="never closed, or the object was cut short"):
        rows(text)


def test_a_row_without_end_is_bounded():
    text = b'a,b\n1,"' + b"x" * 10_000

    with pytest.raises(RowError, match="longer than 1000 bytes"):
        rows(
            [text[i : i + 100] for i in range(0, len(text), 100)],
            sample_bytes=50,
            block_bytes=50,
            max_row_bytes=1000,
        )


def test_evolution_by_name():
    schema = {"a": "int64", "b": "string"}

    assert rows(b"b,a\nx,1\n", schema=schema) == [{"a": 1, "b": "x"}]
    with pytest.raises(ConfigError, match="missing: b"):
        rows(b"a\n1\n", schema=schema)
    assert rows(b"a\n1\n", schema=schema, evolve="missing") == [{"a": 1, "b": None}]
    with pytest.raises(ConfigError, match="does not have: c"):
        rows(b"a,c\n1,2\n", schema=schema, evolve="missing")
    assert rows(b"a,c\n1,2\n", schema=schema, evolve="drop") == [{"a": 1, "b": None}]
    assert rows(b"c,a\n2,1\n", schema=schema, evolve="add") == [{"a": 1, "b": None, "c": 2}]


def test_types_of_columns_that_are_not_there_are_loud():
    with pytest.raises(ConfigError, match="no column 'z'"):
        rows(b"a,b\n1,2\n", types={"z": "int64"})
    with pytest.raises(ConfigError, match="a CSV has no such column"):
        rows(b"a,b\n1,2\n", types={"a": pa.list_(pa.int64())})


def test_columns_are_chosen_in_order():
    assert rows(b"a,b,c\n1,2,3\n", columns=["c", "a"]) == [{"c": 3, "a": 1}]
    with pytest.raises(ConfigError, match="no column 'z'"):
        rows(b"a,b\n1,2\n", columns=["z"])


def test_formats_of_times_and_numbers():
    found = rows(b"t;x\n31.12.2024;1,5\n", delimiter=";", decimal_point=",", timestamp_formats=["%d.%m.%Y"])

    assert found == [{"t": dt.datetime(2024, 12, 31), "x": 1.5}]  # noqa: DTZ001


def arrow_rows(text):
    """How many rows pyarrow sees in a text, whatever is in them."""
    refused = []

    def note(row):
        refused.append(row)
        return "skip"

    if not text.strip(b"\r\n"):
        return 0
    table = pacsv.read_csv(
        pa.BufferReader(text),
        pacsv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=["x"]),
        pacsv.ParseOptions(invalid_row_handler=note),
        pacsv.ConvertOptions(column_types={"x": pa.binary()}),
    )
    return table.num_rows + len(refused)


def test_rows_are_cut_where_the_parser_ends_them():
    """3,000 texts of the characters that matter; the quick cut is one of the exact ends, and no byte is lost."""
    chance, kind, quick = random.Random(7), QuotedRows(), 0
    for _ in range(3_000):
        text = bytes(chance.choice(b'ab,"\n\r') for _ in range(chance.randint(1, 16)))
        ends = list(kind.row_ends(text))
        counted = kind._counted(text)
        quick += bool(counted)

        assert ends[-1] == len(text)
        assert len(split_rows(text, kind)) == arrow_rows(text), text
        assert not counted or counted in ends, text
    assert quick > 300


def test_blocks_are_whole_rows_however_the_bytes_arrive():
    chance = random.Random(3)
    for _ in range(100):
        cells = ["".join(chance.choice('ab"\n,é ') for _ in range(chance.randint(0, 6))) for _ in range(20)]
        quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells]
        text = "".join(f"{a},{b}\r\n" for a, b in zip(quoted[::2], quoted[1::2], strict=True)).encode()
        size = chance.randint(1, 9)
        blocks = list(
            blocks_of(
                [text[start : start + size] for start in range(0, len(text), size)],
                QuotedRows(),
                block_bytes=chance.randint(1, 40),
                first_bytes=chance.randint(1, 40),
                max_row_bytes=1000,
            )
        )

        assert b"".join(blocks) == text
        found = [
            row
            for block in blocks
            for row in pacsv.read_csv(
                pa.BufferReader(block),
                pacsv.ReadOptions(column_names=["a", "b"], use_threads=False),
                pacsv.ParseOptions(newlines_in_values=True),
                pacsv.ConvertOptions(column_types={"a": "string", "b": "string"}),
            ).to_pylist()
        ]
        assert found == [{"a": a, "b": b} for a, b in zip(cells[::2], cells[1::2], strict=True)]


def test_a_stray_quote_inside_a_field_is_text():
    text = b'a,b\n5" pipe,x\n' * 1 + b'6" pipe,"two\nlines"\n' * 20

    found = rows(text, sample_bytes=30, block_bytes=30)
    assert len(found) == 21
    assert found[20] == {"a": '6" pipe', "b": "two\nlines"}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"delimeter": ";"}, "did you mean 'delimiter'"),
        ({"delimiter": ";;"}, "one ASCII character"),
        ({"encoding": "klingon"}, "no encoding"),
        ({"evolve": "maybe"}, "evolve is"),
        ({"on_bad_row": "shrug"}, "on_bad_row is"),
        ({"schema": {"a": "int64"}, "types": {"a": "int64"}}, "schema .all columns. or types"),
        ({"compression": "rar"}, "no compression 'rar'"),
    ],
)
def test_wrong_options_are_found_before_anything_runs(options, text):
    with pytest.raises(ConfigError, match=text):
        xd.decode("csv", **options)


def test_writing_refuses_what_a_csv_cannot_hold():
    with pytest.raises(ConfigError, match="column 'a' is list"):
        b"".join(xd.encode("csv")(pa.table({"a": [[1]]})))
