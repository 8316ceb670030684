"""Lakes on the other stores, under faults, and in little memory; what is one for both formats."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pytest

import crossdock as xd
from crossdock.batches import Batches
from crossdock.testing import End, Rule
from crossdock.testing.tables import assert_same, numbered


def delta(place, tmp_path):
    url = f"delta+{place.url}lake"
    return xd.source(url, **place.options), xd.sink(url, **place.options)


def iceberg(place, tmp_path):
    url, options = f"iceberg+sqlite://{tmp_path}/c.db", {"warehouse": f"{place.url}lake", **place.options}
    return xd.source(url, **options), xd.sink(url, **options)


BOTH = pytest.mark.parametrize("made", [delta, iceberg])


@BOTH
@pytest.mark.parametrize("end", ["gcs", "azure"])
def test_other_stores(request, tmp_path, made, end):
    """By the same options as the connector's; written, appended, replaced, read."""
    source, sink = made(request.getfixturevalue(end)(), tmp_path)
    rows = pa.table({"n": range(100), "p": [n % 3 for n in range(100)]})
    sink(rows, "t", partition_by="p")
    sink(rows, "t", batch_id="b")
    again = sink(rows, "t", batch_id="b")
    before = source("t").read_all().num_rows
    sink(numbered([1]), "u", mode="replace")
    sink(numbered([2]), "u", mode="replace")

    assert (before, again.method) == (200, "skip")
    assert source("t", where={"p": 1}).read_all().num_rows == 66
    assert_same(numbered([2]), source("u").read_all())


def here(tmp_path):
    """A directory as an end."""
    return End(url=f"file://{tmp_path}/", options={"fsync": False})


def counted(source, table="t"):
    return source(table).read_all().num_rows


@pytest.mark.parametrize("mode", ["append", "replace"])
@pytest.mark.parametrize("exists", [True, False])
def test_a_commit_whose_answer_is_lost_is_found_in_the_log(s3, s3_server, tmp_path, mode, exists):
    """The library may try again, find its own commit, and take it for somebody else's: ours is told by its name."""
    place = s3()
    source, sink = delta(place, tmp_path)
    if exists:
        sink(numbered([0]), "t")
    key = rf"_delta_log/0*{int(exists)}\.json"
    name = s3_server.faults.add(
        Rule(
            method="PUT",
            bucket=place.url.split("/")[2],
            key=key,
            lose_ack=True,
            first=1,
            name=f"{place.url} log",
        )
    )
    receipt = sink(numbered([1, 2]), "t", mode=mode)

    assert s3_server.faults.fired[name] == 1
    assert receipt.version.generation == str(int(exists))
    assert counted(source) == 2 + (exists and mode == "append")


@BOTH
def test_a_store_that_fails_in_the_middle_leaves_nothing(s3, s3_server, tmp_path, made):
    """Neither data files nor a version; the error is the store's."""
    place = s3()
    source, sink = made(place, tmp_path)
    sink(numbered([0]), "t")
    before = sorted(place.everything())
    name = s3_server.faults.add(
        Rule(
            method="PUT",
            bucket=place.url.split("/")[2],
            key=r"part-.*-00001\.parquet",
            status=403,
            name=f"{place.url} denied",
        )
    )
    with pytest.raises(xd.DeniedError):
        sink(pa.table({"n": range(100), "value": range(100)}), "p", partition_by="value")

    assert s3_server.faults.fired[name] >= 1
    assert sorted(place.everything()) == before
    assert counted(source) == 1


def test_a_replacement_in_place_of_what_was_written_meanwhile_is_refused(s3, tmp_path):
    source, sink = delta(s3(), tmp_path)
    sink(numbered([0]), "t")

    def meanwhile():
        yield from numbered([1]).to_batches()
        sink(numbered([2]), "t")

    with pytest.raises(xd.PreconditionError):
        sink(Batches(numbered([1]).schema, meanwhile()), "t", mode="replace")

    assert sorted(source("t").read_all()["value"].to_pylist()) == [0, 2]


KILLED = """
import os
import signal
import sys

import crossdock as xd
from crossdock.batches import Batches
from crossdock.testing.tables import numbered

lake, directory = sys.argv[1:]
options = {"target_size": "16KiB", "memory": "32KiB", "fsync": False}
url = f"delta+file://{directory}/lake"
if lake == "iceberg":
    url, options["warehouse"] = f"iceberg+sqlite://{directory}/c.db", f"file://{directory}/lake"
rows = numbered(range(100_000))


def dying():
    for number, batch in enumerate(rows.to_batches(max_chunksize=2_000)):
        if number == 30:
            os.kill(os.getpid(), signal.SIGKILL)
        yield batch


sink = xd.sink(url, **options)
sink(Batches(rows.schema, dying()), "t", batch_id="one")
"""


@BOTH
def test_a_killed_process_leaves_nothing_that_is_seen(tmp_path, made):
    """Its files are there, and in no version; the same load again is whole."""
    told = subprocess.run(
        [sys.executable, "-c", KILLED, made.__name__, str(tmp_path)], capture_output=True, check=False
    )
    left = [*(tmp_path / "lake").rglob("*.parquet")]
    source, sink = made(here(tmp_path), tmp_path)
    was_there = source.has("t")
    sink(numbered(range(100)), "t", batch_id="one")

    assert told.returncode == -9, told.stderr.decode()
    assert len(left) > 1
    assert not was_there
    assert counted(source) == 100


KINDS = {
    "int8": pa.array([-1, 127, None], pa.int8()),
    "int64": pa.array([-(2**63), 2**63 - 1, None]),
    "flag": pa.array([True, False, None]),
    "day": pa.array([-700_000, 20_000, None], pa.date32()),
    "text": pa.array(["a=b/c%20 é", "NULL", None]),
}


@BOTH
@pytest.mark.parametrize("name", KINDS)
def test_partitions_of_every_kind_come_back_and_are_found(tmp_path, made, name):
    source, sink = made(here(tmp_path), tmp_path)
    rows = pa.table({"n": range(3), name: KINDS[name]})
    sink(rows, "t", partition_by=name)

    assert_same(rows, source("t").read_all().sort_by("n"))
    for number, value in enumerate(KINDS[name].to_pylist()):
        assert source("t", where={name: value}, columns=["n"]).read_all().to_pydict() == {"n": [number]}


STREAM = """
import sys

import pyarrow as pa

import crossdock as xd
from crossdock.batches import Batches

lake, directory = sys.argv[1:]
options = {"target_size": "4MiB", "memory": "16MiB", "fsync": False}
url = f"delta+file://{directory}/lake"
if lake == "iceberg":
    url, options["warehouse"] = f"iceberg+sqlite://{directory}/c.db", f"file://{directory}/lake"
sink, source = xd.sink(url, **options), xd.source(url, **options)
schema = pa.schema([("p", pa.int64()), ("text", pa.string())])
ROWS = 200


def rows(count):
    for start in range(0, count * ROWS, ROWS):
        numbers = range(start, start + ROWS)
        texts = [f"{number:010}" * 1_000 for number in numbers]
        yield pa.record_batch([pa.array([n % 20 for n in numbers]), pa.array(texts)], schema=schema)


def peak_mib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024


# Everything is loaded and warm before memory is looked at.
sink(Batches(schema, rows(10)), "warm", partition_by="p")
source("warm").read_all()
before = peak_mib()
receipt = sink(Batches(schema, rows(200)), "t", partition_by="p")
written = peak_mib()
assert receipt.rows == sum(batch.num_rows for batch in source("t")) == 200 * ROWS
print(before, written, peak_mib(), receipt.evidence)
"""


@pytest.mark.parametrize("lake", ["delta", "iceberg"])
def test_400_mb_of_rows_in_and_out_take_little_memory(tmp_path, lake):
    """Unsorted, into 20 partitions and out again."""
    told = subprocess.run(
        [sys.executable, "-c", STREAM, lake, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    before, written, read = map(int, told.stdout.split()[:3])

    assert written - before < 110
    assert read - before < 110
