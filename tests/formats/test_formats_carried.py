"""What a format cannot carry is loud, and what it can comes back, where the suite's tables do not reach."""

from __future__ import annotations

import datetime as dt
import uuid

import pyarrow as pa
import pytest

import crossdock as xd
from crossdock.model import MIB


def there_and_back(kind, table, **options):
    return xd.decode(kind, **options)(b"".join(xd.encode(kind)(table))).read_all()


def test_a_bit_that_flips_in_a_page_is_found():
    """Parquet's pages have checksums of their own: nothing else would tell a number from its neighbour."""
    table = pa.table({"a": pa.array([hash(("value", n)) for n in range(20_000)], pa.int64())})
    data = b"".join(xd.encode("parquet", compression=None, dictionary=False)(table))
    for at in (len(data) // 4, len(data) // 2, 3 * len(data) // 4):
        damaged = bytearray(data)
        damaged[at] ^= 1
        with pytest.raises(xd.IntegrityError, match="CRC"):
            xd.decode("parquet")(bytes(damaged)).read_all()

    assert xd.decode("parquet")(data).read_all().equals(table)


def test_bytes_that_are_no_text_are_a_bad_row():
    """The parser of JSON takes any bytes; nobody could read what would be made of them."""
    text = b'{"a":"x","b":1}\n{"a":"\xff\xfe","b":2}\n{"a":"y","b":3}\n'
    with pytest.raises(xd.RowError, match="row 2, column 'a'"):
        xd.decode("jsonl")(text).read_all()
    with pytest.raises(xd.RowError, match="row 2, column 'a'"):
        xd.decode("csv")(b"a,b\nx,1\n\xe9t\xe9,2\n").read_all()

    assert xd.decode("jsonl", on_bad_row="skip")(text).read_all()["b"].to_pylist() == [1, 3]
    assert xd.decode("csv", encoding="latin-1")(b"a\n\xe9t\xe9\n").read_all()["a"].to_pylist() == ["été"]


@pytest.mark.parametrize(
    ("row", "column"),
    [
        (b'{"n":1,"at":"2024-05-01T00:00:00","of":{"x":1}}', None),
        (b'{"n":2.5,"at":"2024-05-01T00:00:00","of":{"x":1}}', "n"),
        (b'{"n":1,"at":"yesterday","of":{"x":1}}', "at"),
        (b'{"n":1,"at":"2024-05-01T00:00:00","of":{"x":"one"}}', "of"),
        (b'{"n":1,"at":"2024-05-01T00:00:00","of":[]}', "of"),
        (b'{"n":1,"at":', ""),
        (b"[1]", ""),
    ],
)
def test_the_column_that_does_not_fit_is_named(row, column):
    """Also where the parser does not say which it was; a row that is no object is no column's fault."""
    bad = []
    schema = pa.schema(
        [("n", pa.int64()), ("at", pa.timestamp("us")), ("of", pa.struct([("x", pa.int64())]))]
    )
    rows = xd.decode("jsonl", schema=schema, on_bad_row=bad.append)(row + b"\n").read_all()

    assert [each.column for each in bad] == ([] if column is None else [column])
    assert rows.num_rows == (column is None)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_types_that_parsers_do_not_know_are_read_as_what_they_are(kind):
    of = uuid.UUID(int=7)
    schema = pa.schema(
        [
            ("time", pa.time64("ns")),
            ("seconds", pa.time32("s")),
            ("uuid", pa.uuid()),
            ("json", pa.json_()),
            ("many", pa.decimal256(50, 2)),
            ("said", pa.dictionary(pa.int32(), pa.string())),
        ]
    )
    columns = [
        pa.array([1_001, None], pa.time64("ns")),
        pa.array([dt.time(1, 2, 3), None], pa.time32("s")),
        pa.ExtensionArray.from_storage(pa.uuid(), pa.array([of.bytes, None], pa.binary(16))),
        pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": [1, "x"]}', None], pa.string())),
        pa.array(["123456789012345678901234567890123456789012.25", None]).cast(pa.decimal256(50, 2)),
        pa.array(["x", None]).dictionary_encode(),
    ]
    table = pa.Table.from_arrays(columns, schema=schema)
    found = there_and_back(kind, table, schema=schema)

    assert found.schema == schema
    assert found.to_pylist() == table.to_pylist()
    for name, text in (("uuid", "no-uuid"), ("time", "25:00:00"), ("seconds", "01:02:03.5")):
        row = f'{{"{name}":"{text}"}}\n' if kind == "jsonl" else f"{name}\n{text}\n"
        with pytest.raises(xd.RowError, match=f"row 1, column '{name}'"):
            xd.decode(kind, schema=pa.schema([schema.field(name)]))(row.encode()).read_all()


def test_durations_in_json_are_microseconds():
    for unit, value in (("us", 1_500), ("ns", 1_500_000), ("ms", 3)):
        table = pa.table({"a": pa.array([value, None], pa.duration(unit))})
        assert there_and_back("jsonl", table, schema=table.schema).to_pylist() == table.to_pylist()
    with pytest.raises(xd.RowError, match="row 2, column 'a'"):
        b"".join(xd.encode("jsonl")(pa.table({"a": pa.array([0, 1_500], pa.duration("ns"))})))


def test_maps_are_objects_in_json():
    """Inside other values too; keys that are no text have no form there."""
    of = pa.map_(pa.string(), pa.int64())
    table = pa.table({"a": pa.array([[("k", 1)], []], of), "b": pa.array([[[("x", 2)]], None], pa.list_(of))})
    numbered = pa.table({"a": pa.array([[(1, 1)]], pa.map_(pa.int64(), pa.int64()))})

    assert b"".join(xd.encode("jsonl")(table)) == b'{"a":{"k": 1},"b":[{"x": 2}]}\n{"a":{},"b":null}\n'
    with pytest.raises(xd.ConfigError, match="'a'"):
        xd.encode("jsonl")(numbered)


@pytest.mark.parametrize("kind", ["gzip", "zstd", "bz2", "xz", "lz4"])
def test_nothing_is_no_compressed_object(kind):
    """An object that was cut to nothing is cut short like any other."""
    with pytest.raises(xd.IntegrityError, match="empty"):
        b"".join(xd.decompress(kind)(b""))
    with pytest.raises(xd.IntegrityError, match="empty"):
        xd.decode("csv", compression=kind, schema={"a": "int64"})(b"").read_all()

    assert b"".join(xd.decompress(kind)(b"".join(xd.compress(kind)(b"")))) == b""


def test_moments_at_the_ends_of_what_a_format_can_say():
    """The last one inside, and the first one outside, by its row."""
    first, last, soon, early = map(
        dt.datetime.fromisoformat, ("0001-01-01", "9999-12-31T23:59:59.999999", "1677-09-22", "1677-09-20")
    )
    inside = pa.table({"a": pa.array([first, last], pa.timestamp("us"))})
    outside = pa.table({"a": pa.array([0, 253_402_300_800], pa.timestamp("s"))})
    days = pa.table({"a": pa.array([0, 2_932_897], pa.int32()).cast(pa.date32())})
    for kind in ("csv", "jsonl", "avro"):
        assert there_and_back(kind, inside, schema=inside.schema)["a"].to_pylist() == [first, last]
        for table in (outside, days):
            with pytest.raises(xd.RowError, match="row 2, column 'a'"):
                b"".join(xd.encode(kind)(table))
    nanos = pa.table({"a": pa.array([soon, early], pa.timestamp("us"))})
    with pytest.raises(xd.RowError, match="row 2, column 'a'"):
        b"".join(xd.encode("orc")(nanos))


def test_a_row_group_is_fetched_as_far_as_it_is_read():
    """``fetch_bytes``: who stops after a few rows has not asked for the rest."""

    class Asked:
        def __init__(self, inner):
            self.inner, self.bytes = inner, 0

        def __getattr__(self, name):
            return getattr(self.inner, name)

        def read(self, key, byte_range=None, **options):
            self.bytes += len(byte_range) if byte_range is not None else 0
            return self.inner.read(key, byte_range, **options)

    table = pa.table(
        {f"c{n}": pa.array([hash((n, row)) for row in range(200_000)], pa.int64()) for n in range(4)}
    )
    sink = xd.MemorySink("fetched-in-part")
    sink(xd.encode("parquet", compression=None, dictionary=False)(table), key="a.parquet")
    source = xd.MemorySource("fetched-in-part")
    figures = {}
    for fetch_bytes in (64 * MIB, 256 * 1024):
        source.store, inner = Asked(source.store), source.store
        with xd.decode("parquet", fetch_bytes=fetch_bytes)(source("a.parquet")) as batches:
            first = next(batches)
        figures[fetch_bytes] = source.store.bytes
        source.store = inner
        assert first.to_pylist()[:2] == table.slice(0, 2).to_pylist()
        assert xd.decode("parquet", fetch_bytes=fetch_bytes)(source("a.parquet")).read_all().equals(table)

    assert figures[64 * MIB] > 6_400_000
    assert figures[256 * 1024] < 4_200_000  # 65,536 rows of four columns are 2 MiB


def test_wrong_sizes_are_told():
    for options in ({"fetch_bytes": 0}, {"batch_rows": 0}):
        with pytest.raises(xd.ConfigError, match="at least 1"):
            xd.decode("parquet", **options)
