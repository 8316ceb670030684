"""Codecs between two tasks: names, phases, counts, caching, ranges, and nothing visible of what failed."""

from __future__ import annotations

import gc
import tempfile

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import crossdock as xd
from crossdock.combine.caching.fingerprint import fingerprint
from crossdock.errors import TaskFailed
from crossdock.formats.incoming import Incoming
from crossdock.formats.ranged import coalesced
from crossdock.model import ByteRange

CSV_TO_PARQUET = xd.chain(xd.decode("csv"), xd.encode("parquet"))


@pytest.fixture
def ends(tmp_path, request):
    """A source and a sink of the same place, and a way in."""
    place = f"formats-{request.node.name}"
    return xd.MemorySource(place), xd.MemorySink(place)


@pytest.fixture(params=["memory", "local"])
def both(tmp_path, request):
    if request.param == "memory":
        place = f"formats-{request.node.name}"
        return xd.MemorySource(place), xd.MemorySink(place)
    return xd.LocalSource(str(tmp_path)), xd.LocalSink(str(tmp_path))


def stored(source, key):
    return pq.read_table(pa.BufferReader(source(key).read()))


def test_csv_becomes_parquet_under_its_own_name(both):
    source, sink = both
    sink(b"a,b\n1,x\n2,y\n", key="2024/a.csv")
    task = sink.combine(source.bind("2024/a.csv"), stitch_function=CSV_TO_PARQUET)
    receipt = task()

    assert receipt.key == "2024/a.parquet"
    assert stored(source, "2024/a.parquet").to_pylist() == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]


def test_many_are_mapped_and_rows_are_counted(both):
    source, sink = both
    keys = [f"in/{number}.csv.gz" for number in range(12)]
    for number, key in enumerate(keys):
        packed = b"".join(xd.compress("gzip")(b"n\n" + b"%d\n" % number * (number + 1)))
        sink(packed, key=key)
    task = sink.combine(
        source.bind(xd.param("key")), stitch_function=xd.chain(xd.decode(), xd.encode("jsonl"))
    )
    result = task.map(key=keys, runner=xd.LocalRunner(threads=4))
    outcomes = sorted(result, key=lambda each: each.index)

    assert [each.rows for each in outcomes] == list(range(1, 13))
    assert [each.value.key for each in outcomes] == [f"in/{number}.jsonl" for number in range(12)]
    assert source("in/11.jsonl").read() == b'{"n":11}\n' * 12


def breaking_source(after):
    @xd.task
    def source(key):
        yield b"a,b\n"
        for _ in range(after):
            yield b"1,2\n" * 1000
        raise ConnectionError("the line is dead")

    return source


@pytest.mark.parametrize("after", [0, 50])
def test_an_error_of_the_source_is_the_sources(ends, after):
    """Whether the codec meets it while the stitch function runs or while the sink pulls; nothing becomes visible."""
    source, sink = ends
    step = xd.chain(
        xd.decode("csv", sample_bytes=100, block_bytes=1000), xd.encode("parquet", row_group_rows=2000)
    )
    task = sink.combine(breaking_source(after).bind("k"), stitch_function=step, key="out.parquet")
    with pytest.raises(TaskFailed) as caught:
        task()

    assert caught.value.phase == "source"
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert list(source.list()) == []


@pytest.mark.parametrize("bad", [1, 5000])
def test_a_bad_row_is_the_stitchs(ends, bad):
    source, sink = ends
    text = b"a,b\n" + b"1,2\n" * (bad - 1) + b"oops,2\n" + b"1,2\n" * 10
    sink(text, key="in.csv")
    step = xd.chain(
        xd.decode("csv", types={"a": "int64"}, sample_bytes=100, block_bytes=1000), xd.encode("parquet")
    )
    with pytest.raises(TaskFailed, match=f"row {bad}, column 'a'") as caught:
        sink.combine(source.bind("in.csv"), stitch_function=step)()

    assert caught.value.phase == "stitch"
    assert list(source.list()) == ["in.csv"]


def test_an_error_of_a_function_between_is_the_stitchs(ends):
    source, sink = ends
    sink(b"a\n1\n", key="in.csv")
    step = xd.chain(xd.decode("csv"), xd.transform(lambda _: 1 / 0, schema={"a": "int64"}), xd.encode("csv"))
    with pytest.raises(TaskFailed) as caught:
        sink.combine(source.bind("in.csv"), stitch_function=step)()

    assert (caught.value.phase, type(caught.value.__cause__)) == ("stitch", ZeroDivisionError)


def test_an_error_of_the_sink_is_the_sinks(ends):
    source, sink = ends
    sink(b"a\n1\n", key="in.csv")

    @xd.task
    def broken(stream):
        next(iter(stream))
        raise ZeroDivisionError

    with pytest.raises(TaskFailed) as caught:
        broken.combine(source.bind("in.csv"), stitch_function=CSV_TO_PARQUET)()
    assert caught.value.phase == "sink"


def test_rows_go_to_a_task_that_reads_arrow(ends):
    """A sink of rows is any function that takes the C stream."""
    source, sink = ends
    sink(b"a\n1\n2\n", key="in.csv")

    @xd.task
    def total(stream):
        return pc.sum(pa.RecordBatchReader.from_stream(stream).read_all()["a"]).as_py()

    assert total.combine(source.bind("in.csv"), stitch_function=xd.decode("csv"))() == 3


def test_a_limit_may_leave_the_rest_of_the_source(ends):
    source, sink = ends
    sink(b"a\n" + b"1\n" * 100_000, key="in.csv")
    step = xd.chain(xd.decode("csv", sample_bytes=50, block_bytes=50), xd.limit(3), xd.encode("csv"))

    assert sink.combine(source.bind("in.csv"), stitch_function=step, key="out")().size == len(
        b'"a"\n1\n1\n1\n'
    )


@pytest.mark.parametrize("kind", ["parquet", "orc", "arrow", "avro"])
def test_an_abandoned_writer_is_dead(kind):
    """The footer it writes when it is collected as garbage leads nowhere, raises nothing, and ends no process."""
    table = pa.table({"a": pa.array(range(100_000), pa.int64())})
    pulled = []
    with xd.encode(kind, **({"row_group_rows": 1000} if kind == "parquet" else {}))(table) as stream:
        pulled.append(next(iter(stream)))
    gc.collect()

    with pytest.raises(xd.ConfigError, match="the stream is closed"):
        next(iter(stream))
    with pytest.raises(xd.ConfigError, match="the stream is closed"):
        stream.read()


class Counting:
    """A store that notes what is asked of it."""

    def __init__(self, inner):
        self.inner = inner
        self.asked = []

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def stat(self, key):
        self.asked.append(0)
        return self.inner.stat(key)

    def read(self, key, byte_range=None, **options):
        info = self.inner.stat(key)
        self.asked.append(len(byte_range) if byte_range is not None else info.size)
        return self.inner.read(key, byte_range, **options)


def wide_parquet(sink, *, rows=20_000, groups=4):
    chance = __import__("random").Random(2)
    table = pa.table({f"c{number}": pa.array([chance.random() for _ in range(rows)]) for number in range(20)})
    writer = pa.BufferOutputStream()
    pq.write_table(table, writer, row_group_size=rows // groups, compression="none")
    data = writer.getvalue().to_pybytes()
    sink(data, key="wide.parquet")
    return table, len(data)


def test_only_the_columns_asked_for_are_fetched(ends):
    """One HEAD, one footer, one request a row group: two of twenty columns cost less than a fifth of the object."""
    source, sink = ends
    table, size = wide_parquet(sink)
    source.store = Counting(source.store)
    read = xd.decode("parquet", columns=["c3", "c4"])(source("wide.parquet")).read_all()

    assert read.equals(table.select(["c3", "c4"]))
    assert len(source.store.asked) == 1 + 1 + 4
    assert sum(source.store.asked) < size / 5


def test_a_listing_saves_the_head_and_all_columns_are_one_request_a_row_group(ends):
    source, sink = ends
    table, size = wide_parquet(sink)
    (info,) = next(iter(source.pages()))
    source.store = Counting(source.store)
    read = xd.decode("parquet")(source("wide.parquet", info=info)).read_all()

    assert read.equals(table)
    assert len(source.store.asked) == 1 + 4
    assert sum(source.store.asked) < size + 2 * 65_536


def test_a_limit_reads_one_row_group_only(ends):
    source, sink = ends
    _, size = wide_parquet(sink)
    source.store = Counting(source.store)

    assert xd.chain(xd.decode("parquet"), xd.limit(5))(source("wide.parquet")).read_all().num_rows == 5
    assert sum(source.store.asked) < size / 2


def test_a_replaced_object_is_never_read_in_two_versions(ends):
    source, sink = ends
    wide_parquet(sink)
    batches = xd.decode("parquet")(source("wide.parquet"))
    next(batches)
    wide_parquet(sink)

    with pytest.raises(xd.PreconditionError) as caught:
        list(batches)
    assert caught.value.phase == "source"


def test_a_missing_object_is_the_sources(ends):
    source, sink = ends
    step = xd.chain(xd.decode("parquet"), xd.encode("csv"))
    with pytest.raises(TaskFailed) as caught:
        sink.combine(source.bind("nothing.parquet"), stitch_function=step)()

    assert (caught.value.phase, type(caught.value.__cause__)) == ("source", xd.NotFoundError)


def test_without_ranges_a_large_object_waits_in_the_tasks_scratch(ends, monkeypatch):
    """And is gone when the task is over."""
    source, sink = ends
    table, size = wide_parquet(sink)
    monkeypatch.setattr("crossdock.formats.incoming._SPOOL_BYTES", size // 2)
    seen = []

    @xd.task
    def plain(key):
        yield from source(key)

    @xd.task
    def count(batches):
        rows = batches.read_all().num_rows
        seen.append(xd.current().scratch)
        return rows

    made = []
    monkeypatch.setattr(
        tempfile,
        "TemporaryFile",
        lambda *args, dir, **given: made.append(str(dir.__fspath__())) or REAL(*args, dir=dir, **given),  # noqa: A006 - its name
    )
    assert count.combine(plain.bind("wide.parquet"), stitch_function=xd.decode("parquet"))() == 20_000
    assert made == [str(seen[0])]
    assert not seen[0].exists()
    assert table.num_rows == 20_000


REAL = tempfile.TemporaryFile


def test_ranges_close_to_each_other_are_one():
    given = [ByteRange(50, 60), ByteRange(0, 10), ByteRange(12, 20), ByteRange(15, 18)]

    assert coalesced(given, gap_bytes=5) == [ByteRange(0, 20), ByteRange(50, 60)]


def test_a_cache_tells_steps_apart(ends):
    base = fingerprint(CSV_TO_PARQUET)
    others = [
        xd.chain(xd.decode("csv", delimiter=";"), xd.encode("parquet")),
        xd.chain(xd.decode("csv", schema={"a": "int64"}), xd.encode("parquet")),
        xd.chain(xd.decode("csv"), xd.filter(pc.field("a") > 1), xd.encode("parquet")),
        xd.chain(xd.decode("csv"), xd.filter(pc.field("a") > 2), xd.encode("parquet")),
        xd.chain(xd.decode("csv"), xd.transform(lambda rows: rows), xd.encode("parquet")),
        xd.chain(xd.decode("csv"), xd.cast(pa.schema([("a", pa.int8())])), xd.encode("parquet")),
    ]
    told = {fingerprint(each) for each in others}

    assert fingerprint(xd.chain(xd.decode("csv"), xd.encode("parquet"))) == base
    assert len({base, *told}) == 1 + len(others)


def test_cached_work_is_not_done_again(ends, tmp_path):
    source, sink = ends
    sink(b"a\n1\n", key="in.csv")
    task = sink.combine(source.bind("in.csv"), stitch_function=CSV_TO_PARQUET).with_options(
        cache=xd.Cache(str(tmp_path))
    )
    first, second = task(), task()

    assert first.version == second.version


def test_files_and_chunks_are_taken(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"a\n1\n")
    with path.open("rb") as file:
        assert Incoming.of(file).peek(3) == b"a\n1"
    with path.open("rb") as file:
        assert xd.decode()(file).read_all().to_pylist() == [{"a": 1}]
    assert xd.decode("csv")(iter([b"a\n", bytearray(b"1"), memoryview(b"\n")])).read_all().num_rows == 1
