"""What is written in a format is read as it was: types, nulls, nested, wide, empty, huge. Drawn by hypothesis."""

from __future__ import annotations

import datetime as dt
import decimal

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import crossdock as xd

# surrogates are no text; NUL is, but no CSV reader's favourite
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
MICRO = st.datetimes(dt.datetime(1800, 1, 1), dt.datetime(2200, 1, 1))  # noqa: DTZ001
UTC = st.datetimes(dt.datetime(1800, 1, 1), dt.datetime(2200, 1, 1), timezones=st.just(dt.UTC))  # noqa: DTZ001
FLOAT = st.floats(allow_nan=False, allow_infinity=False)

FLAT = {
    "bool": (pa.bool_(), st.booleans()),
    "int8": (pa.int8(), st.integers(-128, 127)),
    "int32": (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    "int64": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "float": (pa.float64(), FLOAT),
    "text": (pa.string(), TEXT),
    "date": (pa.date32(), st.dates(dt.date(1800, 1, 1), dt.date(2200, 1, 1))),
    "time": (pa.timestamp("us"), MICRO),
    "utc": (pa.timestamp("us", tz="UTC"), UTC),
    "decimal": (
        pa.decimal128(12, 3),
        st.integers(-(10**12) + 1, 10**12 - 1).map(lambda number: decimal.Decimal(number).scaleb(-3)),
    ),
}
NESTED = {
    "list": (pa.list_(pa.int64()), st.lists(st.integers(0, 9) | st.none(), max_size=3)),
    "struct": (
        pa.struct([("x", pa.int64()), ("y", pa.string())]),
        st.fixed_dictionaries({"x": st.integers(0, 9) | st.none(), "y": TEXT | st.none()}),
    ),
}
BYTES = {"bytes": (pa.binary(), st.binary(max_size=8))}
ALL = {**FLAT, **NESTED, **BYTES}
KINDS = {
    "csv": FLAT,
    "tsv": FLAT,
    "csv.gz": FLAT,
    "jsonl": {**FLAT, **NESTED, **BYTES},
    "jsonl.zst": FLAT,
    "parquet": ALL,
    "arrow": ALL,
    "arrow_stream": ALL,
    "orc": ALL,
    "avro": {name: each for name, each in ALL.items() if name != "int8"},
}


@st.composite
def tables(draw, kinds):
    names = draw(st.lists(st.sampled_from(sorted(kinds)), min_size=1, max_size=4, unique=True))
    count = draw(st.integers(0, 8))
    columns = {
        name: pa.array(
            draw(st.lists(kinds[name][1] | st.none(), min_size=count, max_size=count)), kinds[name][0]
        )
        for name in names
    }
    return pa.table(columns)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_what_is_written_is_read(kind, data):
    """With its schema given where the format does not carry one."""
    table = data.draw(tables(KINDS[kind]))
    typed = kind in ("parquet", "arrow", "arrow_stream", "avro")  # ORC knows nanoseconds only
    written = b"".join(xd.encode(kind)(table))
    read = xd.decode(kind, schema=None if typed else table.schema)(written).read_all()

    assert read.schema.equals(table.schema)
    assert read.to_pylist() == table.to_pylist()


HUGE = "å" * 3_000_000


@pytest.mark.parametrize("kind", KINDS)
def test_huge_texts_and_wide_rows(kind):
    wide = pa.table({f"column {number}": [number, None] for number in range(500)})
    huge = pa.table({"a": [HUGE, None, ""], "b": [1, 2, 3]})
    for table in (wide, huge):
        read = xd.decode(kind)(b"".join(xd.encode(kind)(table))).read_all()

        assert read.schema.equals(table.schema)
        assert read.to_pylist() == table.to_pylist()


@pytest.mark.parametrize("kind", KINDS)
def test_no_rows(kind):
    table = pa.table({"a": pa.array([], pa.int64()), "b": pa.array([], pa.string())})
    read = xd.decode(kind, schema=table.schema)(b"".join(xd.encode(kind)(table))).read_all()

    assert read.schema.equals(table.schema)
    assert read.num_rows == 0


@pytest.mark.parametrize("kind", ["parquet", "arrow", "arrow_stream", "orc", "avro"])
def test_binary_formats_are_told_by_their_first_bytes_and_by_name(kind):
    stream = xd.encode(kind)(pa.table({"a": [1]}))
    data = b"".join(stream)

    assert xd.decode()(data).read_all().to_pylist() == [{"a": 1}]


@pytest.mark.parametrize("kind", ["parquet", "orc", "avro", "arrow", "arrow_stream"])
def test_damage_is_loud(kind):
    data = b"".join(xd.encode(kind)(pa.table({"a": list(range(1000))})))
    with pytest.raises(xd.IntegrityError, match="damaged"):
        xd.decode(kind)(data[: len(data) // 2]).read_all()
    with pytest.raises(xd.IntegrityError, match="damaged"):
        xd.decode(kind)(b"this is something else altogether").read_all()


def test_row_groups_have_the_size_asked_for():
    import pyarrow.parquet as pq

    table = pa.table({"a": pa.array(range(100_000), pa.int64())})
    by_rows = b"".join(xd.encode("parquet", row_group_rows=30_000)(table))
    by_bytes = b"".join(xd.encode("parquet", row_group_bytes=400_000)(table))
    sizes = [
        [meta.row_group(number).num_rows for number in range(meta.num_row_groups)]
        for meta in (pq.read_metadata(pa.BufferReader(data)) for data in (by_rows, by_bytes))
    ]

    assert sizes == [[30_000, 30_000, 30_000, 10_000], [65_536, 34_464]]


@pytest.mark.parametrize(
    ("kind", "options", "text"),
    [
        ("auto", {}, "name the format"),
        ("xml", {}, "no format 'xml'"),
        ("csv.rar", {}, "no format"),
        ("parquet", {"row_groups": 1}, "did you mean"),
        ("parquet", {"compression": "xz"}, "no compression 'xz'"),
        ("csv", {"level": 3}, "needs a compression"),
        ("csv.gz", {"level": 30}, "levels 0 to 9, not 30"),
    ],
)
def test_wrong_options_of_writing_are_found_at_once(kind, options, text):
    with pytest.raises(xd.ConfigError, match=text):
        xd.encode(kind, **options)
