"""Every format keeps the specification of codecs; each is also written and read by somebody who is not us."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal

import fastavro
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.orc
import pyarrow.parquet as pq
import pytest

from crossdock.testing.codecs import CodecEnd, CodecSuite
from crossdock.testing.table_cases import NESTED

SMALLER = {
    "int8": pa.int32(),
    "int16": pa.int32(),
    "uint8": pa.int32(),
    "uint16": pa.int32(),
    "uint32": pa.int64(),
}
OUTSIDE = ("gzip", "zstd", "bz2", "xz", "lz4", "snappy")


def of_csv(data, delimiter=","):
    rows = [*csv.reader(io.StringIO(data.decode()), delimiter=delimiter)]
    kinds = (int, float, str, lambda text: text == "true")
    return [
        {name: kind(text) if text else None for name, kind, text in zip(rows[0], kinds, row, strict=True)}
        for row in rows[1:]
    ]


def to_csv(table, delimiter=","):
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerow(table.column_names)
    writer.writerows([["" if each is None else each for each in row.values()] for row in table.to_pylist()])
    return out.getvalue().encode()


class TestCsvCodec(CodecSuite):
    @pytest.fixture
    def codec(self):
        return CodecEnd(
            format="csv",
            typed=False,
            refuses=NESTED | {"bytes", "bytes of one length"},
            compressions=OUTSIDE,
            tells_its_end=False,
            other_reader=of_csv,
            other_writer=to_csv,
        )


class TestTsvCodec(CodecSuite):
    examples = 5

    @pytest.fixture
    def codec(self):
        return CodecEnd(
            format="tsv",
            typed=False,
            refuses=NESTED | {"bytes", "bytes of one length"},
            compressions=OUTSIDE,
            tells_its_end=False,
            other_reader=lambda data: of_csv(data, "\t"),
            other_writer=lambda table: to_csv(table, "\t"),
        )


class TestZippedCsvCodec(CodecSuite):
    """Round a CSV stands what tells where it ends."""

    examples = 5

    @pytest.fixture
    def codec(self):
        return CodecEnd(
            format="csv.gz",
            typed=False,
            refuses=NESTED | {"bytes", "bytes of one length"},
            small={"level": 1},
        )


class TestJsonLinesCodec(CodecSuite):
    @pytest.fixture
    def codec(self):
        return CodecEnd(
            format="jsonl",
            typed=False,
            cannot_read=frozenset({"map"}),
            absent_is_null=True,
            # JSON has no NaN and no infinity: they become null.
            changes={
                "float32": (0.5, 0.0, 1.5e38, None, None, None),
                "float64": (0.1, 0.0, 5e-324, 1.7976931348623157e308, None, 2.0**53 + 2, None),
                "nan": (None, 1.0, None),
            },
            compressions=OUTSIDE,
            tells_its_end=False,
            other_reader=lambda data: [json.loads(line) for line in data.decode().splitlines()],
            other_writer=lambda table: "".join(f"{json.dumps(row)}\n" for row in table.to_pylist()).encode(),
        )


def buffered(write):
    """The bytes that a writer of files writes."""

    def written(table):
        out = pa.BufferOutputStream()
        write(table, out)
        return out.getvalue().to_pybytes()

    return written


class TestParquetCodec(CodecSuite):
    @pytest.fixture
    def codec(self):
        return CodecEnd(
            format="parquet",
            becomes={
                "date in milliseconds": pa.date32(),
                "time in seconds": pa.time32("ms"),
                "timestamp in seconds": pa.timestamp("ms"),
            },
            compressions=("zstd", "snappy", "gzip", "lz4", "brotli"),
            small={"row_group_rows": 1_000},
            other_reader=lambda data: pq.read_table(pa.BufferReader(data)).to_pylist(),
            other_writer=buffered(pq.write_table),
        )


class TestArrowFileCodec(CodecSuite):
    @pytest.fixture
    def codec(self):
        return CodecEnd(
            format="arrow",
            becomes={"text as dictionary": pa.string()},
            compressions=("zstd", "lz4"),
            other_reader=lambda data: pyarrow.feather.read_table(pa.BufferReader(data)).to_pylist(),
            other_writer=buffered(pyarrow.feather.write_feather),
        )


class TestArrowStreamCodec(CodecSuite):
    @pytest.fixture
    def codec(self):
        return CodecEnd(
            format="arrow_stream",
            tells_its_end=False,  # an end without a mark is one, says the specification
            compressions=("zstd", "lz4"),
            other_reader=lambda data: pa.ipc.open_stream(data).read_all().to_pylist(),
        )


class TestOrcCodec(CodecSuite):
    @pytest.fixture
    def codec(self):
        return CodecEnd(
            format="orc",
            refuses=frozenset({"uint64", "time", "time in seconds", "decimal of 60 digits", "json", "uuid"}),
            # Moments are read in nanoseconds, which begin in 1677 and end in 2262.
            bends=frozenset({"timestamp", "timestamp in seconds", "timestamp with zone"}),
            becomes={
                "uint8": pa.int16(),
                "uint16": pa.int32(),
                "uint32": pa.int64(),
                "large text": pa.string(),
                "text as dictionary": pa.string(),
                "bytes of one length": pa.binary(),
                "date in milliseconds": pa.date32(),
                "timestamp in Kathmandu": pa.timestamp("ns", "UTC"),
            },
            compressions=("zstd", "snappy", "zlib"),
            small={"stripe_bytes": 16_384},
            other_reader=lambda data: pyarrow.orc.read_table(pa.BufferReader(data)).to_pylist(),
            other_writer=buffered(pyarrow.orc.write_table),
        )


AVRO = {
    "type": "record",
    "name": "simple",
    "fields": [
        {"name": name, "type": ["null", kind]}
        for name, kind in (("n", "long"), ("x", "double"), ("s", "string"), ("b", "boolean"))
    ],
}


class TestAvroCodec(CodecSuite):
    @pytest.fixture
    def codec(self):
        return CodecEnd(
            format="avro",
            tells_its_end=False,  # behind any of its blocks
            refuses=frozenset({"uint64", "json", "uuid"}),
            becomes={
                **SMALLER,
                "large text": pa.string(),
                "text as dictionary": pa.string(),
                "bytes of one length": pa.binary(),
                "date in milliseconds": pa.date32(),
                "time in seconds": pa.time64("us"),
                "timestamp in seconds": pa.timestamp("us"),
                "timestamp in Kathmandu": pa.timestamp("us", "UTC"),
            },
            compressions=("deflate", "bzip2", "xz"),
            other_reader=lambda data: [*fastavro.reader(io.BytesIO(data))],
            other_writer=buffered(lambda table, out: fastavro.writer(out, AVRO, table.to_pylist())),
        )


@pytest.mark.parametrize("format_", ["csv", "jsonl", "avro"])
def test_a_key_that_stands_twice_in_a_map_is_loud(format_):
    """A dict would keep the last of them."""
    import crossdock as xd

    table = pa.table({"value": pa.array([[("a", 1), ("a", 2)]], pa.map_(pa.string(), pa.int64()))})
    with pytest.raises((xd.RowError, xd.ConfigError)):
        b"".join(xd.encode(format_)(table))


def test_numbers_of_one_type_are_one_number():
    """What the cases above rely on: a decimal's trailing zeros are no difference in value."""
    assert Decimal("1.50") == Decimal("1.5")
