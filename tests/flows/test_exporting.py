"""Export: a row an object, in three formats, at any URL, while it is read; whole or not at all."""

from __future__ import annotations

import csv
import io
import json

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flow_kit import HOSTILE, bucket, contents, filled

import crossdock as xd
from crossdock.errors import ConfigError, LedgerError, NotFoundError
from crossdock.flows import build_report, export_run, open_run
from crossdock.flows.ledger import ends
from crossdock.flows.reporting import exporting
from crossdock.flows.runs.directory import run_files


@pytest.fixture
def place():
    """A run of keys that try every quoting rule, some of them copied twice over."""
    place = f"memory://{bucket()}/"
    xd.migrate(filled({key: key.encode() for key in HOSTILE}), f"memory://{bucket()}/", run_dir=place)
    return place


def keys(place):
    return build_report(open_run(place)).to_arrow()["key"].to_pylist()


def test_parquet_is_the_table(place, tmp_path):
    done = export_run(place, f"{tmp_path}/ends.parquet")

    assert pq.read_table(tmp_path / "ends.parquet") == build_report(open_run(place)).to_arrow()
    assert (done.rows, done.size) == (len(HOSTILE), (tmp_path / "ends.parquet").stat().st_size)
    counted = duckdb.read_parquet(f"{tmp_path}/ends.parquet").aggregate("state, count(*)").fetchall()
    assert counted == [("copied", len(HOSTILE))]


def test_json_lines_have_every_key_exactly(place):
    to = f"memory://{bucket()}"
    export_run(place, f"{to}/out/ends.jsonl")
    rows = [json.loads(line) for line in contents(to)["out/ends.jsonl"].splitlines()]

    assert keys(place) == [row["key"] for row in rows]
    assert {"copied"} == {row["state"] for row in rows}
    assert [*ends.SCHEMA.names] == [*rows[0]]
    assert [len(row["key"].encode()) for row in rows] == [row["size"] for row in rows]


def test_csv_is_quoted_so_that_every_key_comes_back(place):
    to = f"memory://{bucket()}"
    export_run(place, f"{to}/ends.txt", format="csv")
    rows = list(csv.DictReader(io.StringIO(contents(to)["ends.txt"].decode(), newline="")))

    assert keys(place) == [row["key"] for row in rows]
    assert [*ends.SCHEMA.names] == [*rows[0]]
    assert {"V2"} == {row["level"] for row in rows}


def test_lists_are_words_in_csv_and_lists_elsewhere():
    schema = pa.schema([pa.field("metadata_lost", pa.list_(pa.string()))])
    table = pa.table({"metadata_lost": [["a", "b"], [], None]}, schema=schema)

    def written(format):
        return b"".join(exporting._WRITERS[format](table.to_reader())).decode()

    assert written("csv") == '"metadata_lost"\n"a b"\n""\n\n'
    assert written("jsonl").splitlines() == [
        '{"metadata_lost": ["a", "b"]}',
        '{"metadata_lost": []}',
        '{"metadata_lost": null}',
    ]


@pytest.mark.parametrize("format", exporting.FORMATS)
def test_a_file_streams(format):
    """The first bytes leave before the last rows are read: memory does not grow with the run."""
    read = []

    def batches():
        for number in range(20):
            read.append(number)
            column = pa.array([f"{number}-{row}" for row in range(10_000)])
            yield pa.record_batch([column], names=["key"])

    schema = pa.schema([pa.field("key", pa.string())])
    pieces = exporting._WRITERS[format](pa.RecordBatchReader.from_batches(schema, batches()))
    first = next(pieces)

    assert len(first) > 1_000
    assert len(read) <= 6
    assert sum(map(len, pieces)) > len(first)
    assert len(read) == 20


def test_a_damaged_ledger_leaves_the_file_as_it_was(place, tmp_path):
    (tmp_path / "ends.csv").write_text("before")
    files = run_files(place)
    files.put(next(iter(files.names("ledger/"))), b"PAR1")

    with pytest.raises(LedgerError, match="damaged"):
        export_run(place, f"{tmp_path}/ends.csv")

    assert (tmp_path / "ends.csv").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["ends.csv"]


@pytest.mark.parametrize(
    ("to", "format", "told"),
    [
        ("memory://x/ends.xlsx", None, "one of parquet, csv, jsonl"),
        ("memory://x/ends", None, "give it, or a name"),
        ("memory://x/", "csv", "names no file"),
        ("memory://x/ends.csv", "xml", "one of parquet"),
    ],
)
def test_a_wrong_format_or_place_is_refused(place, to, format, told):
    with pytest.raises(ConfigError, match=told):
        export_run(place, to, format=format)


def test_no_run_no_file(tmp_path):
    with pytest.raises(NotFoundError, match="no run here"):
        export_run(f"memory://{bucket()}/", f"{tmp_path}/ends.csv")
    assert list(tmp_path.glob("*.csv")) == []
