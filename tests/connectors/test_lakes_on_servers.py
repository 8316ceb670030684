"""Lakes on the other stores, under faults, and in little memory; what is one for both formats."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pytest

import crossdock as xd
from crossdock.batches import Batches
from crossdock.testing import Rule
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


STREAM = """
import sys
import numpy as np
import pyarrow as pa
import crossdock as xd
from crossdock.batches import Batches

lake, directory, parts = sys.argv[1], sys.argv[2], int(sys.argv[3])
options = {"target_size": "16MiB", "memory": "32MiB", "fsync": False}
url = f"delta+file://{directory}/lake"
if lake == "iceberg":
    url = f"iceberg+sqlite://{directory}/c.db"
    options["warehouse"] = f"file://{directory}/lake"
sink, source = xd.sink(url, **options), xd.source(url, **options)
schema = pa.schema([("p", pa.int64()), ("a", pa.int64()), ("s", pa.string())])
ROWS = 20_000


def rows(count):
    chance = np.random.default_rng(1)
    for _ in range(count):
        values = pa.array(chance.integers(0, 2**60, ROWS))
        yield pa.record_batch([pa.array(np.arange(ROWS) % parts), values, values.cast(pa.string())], schema=schema)


def peak_mib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024


# Everything is loaded and warm before memory is looked at.
sink(Batches(schema, rows(2)), "warm", partition_by="p")
source("warm").read_all()
before = peak_mib()
receipt = sink(Batches(schema, rows(250)), "t", partition_by="p")
written = peak_mib()
assert receipt.rows == 250 * ROWS
assert sum(batch.num_rows for batch in source("t")) == 250 * ROWS
print(before, written, peak_mib())
"""


@pytest.mark.parametrize("lake", ["delta", "iceberg"])
def test_200_mb_of_rows_in_and_out_take_little_memory(tmp_path, lake):
    """5 million rows, unsorted, into 40 partitions and out again; the library's own writer keeps all partitions open."""
    told = subprocess.run(
        [sys.executable, "-c", STREAM, lake, str(tmp_path), "40"], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    before, written, read = map(int, told.stdout.split())

    assert written - before < 160
    assert read - before < 160
