"""Streams across the join: pulled, closed, told apart when they end early; first and second of any kind."""

from __future__ import annotations

import dataclasses
import gzip
import io
import tracemalloc

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

import crossdock as xd
from crossdock.connectors.memory import MemoryStore
from crossdock.connectors.streams import as_byte_stream
from crossdock.errors import IntegrityError
from crossdock.model import MIB


def pair(first, second, stitch=None, **options):
    return xd.CombinedTask(xd.task(first), xd.task(second), stitch_function=stitch, name="pair", **options)


@pytest.fixture
def ten_mib():
    bucket = f"streams-{id(object())}"
    store = MemoryStore(bucket)
    store.put("ten", bytes(10 * MIB))
    return xd.source(f"memory://{bucket}/")


# -- "read 3 of 10 MiB" is an error ------------------------------------------------------------------------------------


def read_three(stream):
    return len(stream.read(3 * MIB))


def test_a_second_that_returns_in_the_middle_of_a_stream_is_an_error(ten_mib):
    with pytest.raises(xd.TaskFailed, match=r"read 3.0 MiB of 10.0 MiB; read to the end, or close") as caught:
        xd.combine(ten_mib.bind("ten"), xd.task(read_three))()

    assert isinstance(caught.value.__cause__, IntegrityError)
    assert caught.value.phase == "sink"
    assert not caught.value.transient


def test_a_second_that_closes_the_stream_meant_to_stop(ten_mib):
    def head(stream):
        with stream:
            return read_three(stream)

    assert xd.combine(ten_mib.bind("ten"), xd.task(head))() == 3 * MIB


def test_a_second_that_reads_nothing_wanted_something_else(ten_mib):
    task = xd.combine(ten_mib.bind("ten"), xd.task(lambda stream: (stream.name, stream.info.size)))

    assert task() == ("ten", 10 * MIB)


@pytest.mark.parametrize(
    "read", [lambda s: len(s.read()), lambda s: sum(map(len, s))], ids=["read", "iterate"]
)
def test_a_second_that_reads_everything_is_fine(ten_mib, read):
    assert xd.combine(ten_mib.bind("ten"), xd.task(read))() == 10 * MIB


def test_a_foreign_reader_that_wants_only_some_rows_says_so_by_closing():
    data = b"a,b\n" + b"1,2\n" * 500_000

    def stream():
        return as_byte_stream(data)

    def ten_rows(stream):
        return len(pd.read_csv(stream, nrows=10))

    def ten_rows_closed(stream):
        with stream:
            return ten_rows(stream)

    # One chunk is the whole of it, so nothing was left unread in the source itself.
    assert pair(stream, ten_rows_closed)() == 10


def test_a_stitch_that_reads_in_part_is_found_too(ten_mib):
    task = xd.combine(ten_mib.bind("ten"), xd.task(len), stitch_function=lambda stream: stream.read(MIB))

    with pytest.raises(xd.TaskFailed, match=r"1.0 MiB of 10.0 MiB"):
        task()


# -- a transform stays streaming ---------------------------------------------------------------------------------------


def test_a_stitch_that_transforms_a_stream_holds_one_chunk_at_a_time():
    chunk = bytes(MIB)
    alive = []

    def first():
        for _ in range(64):
            alive.append(1)
            yield chunk
            alive.pop()

    def compressed(stream):
        for piece in stream:
            assert len(alive) == 1
            yield gzip.compress(piece, compresslevel=1)

    def second(stream):
        return sum(len(gzip.decompress(piece)) for piece in stream)

    tracemalloc.start()
    try:
        assert pair(first, second, compressed)() == 64 * MIB
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 8 * MIB


def test_a_transform_between_two_stores_is_streamed_and_proven(ten_mib):
    upper = xd.CombinedTask(
        ten_mib.bind("ten"),
        xd.sink("memory://streams-out/").bind(key="gz"),
        stitch_function=lambda stream: (gzip.compress(bytes(chunk)) for chunk in stream),
        name="compress",
    )
    receipt = upper()

    assert receipt.key == "gz"
    assert bytes(10 * MIB) == gzip.decompress(MemoryStore("streams-out").read("gz").read_all())


# -- any kind of first and second --------------------------------------------------------------------------------------


@dataclasses.dataclass
class Row:
    a: int


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param(lambda: b"abc", len, 3, id="bytes"),
        pytest.param(lambda: None, lambda value: value is None, True, id="None"),
        pytest.param(lambda: {"a": 1}, lambda value: value, {"a": 1}, id="dict"),
        pytest.param(lambda: [1, 2], sum, 3, id="list"),
        pytest.param(lambda: (1, 2), sum, 3, id="tuple"),
        pytest.param(lambda: Row(4), lambda row: row.a, 4, id="dataclass"),
        pytest.param(lambda: (n for n in range(4)), sum, 6, id="generator"),
        pytest.param(lambda: range(4), sum, 6, id="range"),
        pytest.param(lambda: map(int, "123"), sum, 6, id="map"),
        pytest.param(lambda: io.BytesIO(b"abc"), lambda file: file.read(), b"abc", id="file"),
        pytest.param(lambda: pa.table({"a": [1, 2]}), lambda table: table.num_rows, 2, id="table"),
        pytest.param(
            lambda: pa.table({"a": [1, 2]}).to_reader(),
            lambda reader: reader.read_all().num_rows,
            2,
            id="batches",
        ),
        pytest.param(lambda: pd.DataFrame({"a": [1, 2]}), lambda frame: int(frame["a"].sum()), 3, id="frame"),
        pytest.param(
            lambda: pa.table({"a": [1]}), lambda table: len(table.to_pandas()), 1, id="arrow to pandas"
        ),
    ],
)
def test_any_python_object_may_cross(first, second, expected):
    assert expected == pair(first, second)()


def test_record_batches_cross_one_by_one_into_a_parquet_writer(tmp_path):
    data = b"a\n" + b"1\n" * 300_000

    def batches(stream):
        return pa.csv.open_csv(stream, read_options=pa.csv.ReadOptions(block_size=64 * 1024))

    def write(reader):
        with pa.parquet.ParquetWriter(tmp_path / "out.parquet", reader.schema) as writer:
            for batch in reader:
                writer.write_batch(batch)
                xd.current().count(rows=batch.num_rows)

    seen = []
    pair(lambda: as_byte_stream(data), write, batches, on_success=seen.append)()

    assert 300_000 == seen[0].rows == pa.parquet.read_metadata(tmp_path / "out.parquet").num_rows
