"""Datasets and processes that end without a word: killed ones leave the old rows readable, large ones take little memory."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import timedelta

import pyarrow as pa
import pytest

import crossdock as xd
from crossdock.datasets import dataset, dataset_sink

KILLED = """
import os, signal, sys
import pyarrow as pa
import crossdock.datasets.writing as writing
from crossdock.batches import Batches
from crossdock.datasets import dataset_sink

url, moment, batch = sys.argv[1:]


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def rows():
    for number in range(100):
        if (number, moment) == (60, "source"):
            die()
        yield pa.record_batch({"n": [hash((number, value)) for value in range(1000)], "p": [value % 10 for value in range(1000)]})


put_state, states = writing.put_state, []


def noted(store, prefix, state, *, before):
    if moment == "before" and states:
        die()
    states.append(put_state(store, prefix, state, before=before))
    return states[-1]


writing.put_state = noted
if moment == "after":
    writing._delete = die
sink = dataset_sink(url, partition_by="p", target_size="4KiB", memory="64KiB")
sink(Batches(pa.schema([("n", pa.int64()), ("p", pa.int64())]), rows()), batch_id=batch)
"""


def killed(url, moment, batch):
    """Run the writer until it kills itself."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, url, moment, batch],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("moment", ["source", "before"])
@pytest.mark.parametrize("batch", ["old", "new"])
def test_a_killed_attempt_leaves_the_old_rows_and_the_next_one_clears_up(tmp_path, moment, batch):
    """Whether a batch is added or replaced: the old one is read until another is whole, and nothing stays behind after that."""
    url = f"file://{tmp_path}/lake/"
    sink = dataset_sink(url, partition_by="p")
    old = pa.table({"n": [-1, -2], "p": [1, 2]})
    sink(old, batch_id="old")
    killed(url, moment, batch)
    files = list(tmp_path.rglob("part-*"))
    found = dataset(url)().read_all()
    new = pa.table({"n": [7], "p": [1]})
    sink(new, batch_id=batch)
    after = dataset(url)().read_all()

    assert len(files) > 12  # it really had written some
    assert old == found
    assert sorted([7] if batch == "old" else [7, -1, -2]) == sorted(after["n"].to_pylist())
    assert len(list(tmp_path.rglob("part-*"))) == (1 if batch == "old" else 3)
    assert sink.vacuum(older_than=timedelta(0)).objects == 0


def test_killed_after_the_commit_the_new_rows_are_there_and_vacuum_removes_the_old_objects(tmp_path):
    url = f"file://{tmp_path}/lake/"
    sink = dataset_sink(url, partition_by="p")
    sink(pa.table({"n": [-1, -2], "p": [1, 2]}), batch_id="old")
    killed(url, "after", "old")
    found = dataset(url)().read_all()
    gone = sink.vacuum(older_than=timedelta(0))

    assert found.num_rows == 100_000
    assert gone.objects == 2
    assert found == dataset(url)().read_all()


LARGE = """
import sys
import pyarrow as pa
import crossdock as xd
from crossdock.batches import Batches

url = sys.argv[1]
ROWS, TIMES = 50_000, 60


def rows(times):
    numbers = pa.array(range(ROWS), pa.int64())
    text = pa.array([f"a text of the row with the number {n % 977:012d}" for n in range(ROWS)])
    for number in range(times):
        places = pa.array([(n * 7 + number) % 200 for n in range(ROWS)], pa.int32())
        yield pa.record_batch({"n": numbers, "text": text, "place": places})


def peak_kib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def write(times, where):
    sink = xd.dataset_sink(
        url + where,
        partition_by="place",
        memory="16MiB",
        target_size="4MiB",
        format=xd.encode("parquet", row_group_bytes=4 << 20),
    )
    first = next(rows(1))
    return sink(Batches(first.schema, rows(times)))


write(2, "warm/")  # everything is loaded before memory is looked at
before = peak_kib()
receipt = write(TIMES, "large/")
written = peak_kib()
assert receipt.rows == ROWS * TIMES, receipt
assert sum(batch.num_rows for batch in xd.dataset(url + "large/")()) == ROWS * TIMES
print(before // 1024, written // 1024, peak_kib() // 1024)
"""


def test_160_mb_of_rows_in_no_order_take_little_memory(tmp_path):
    """Beyond what a few rows take: what is held (16 MiB), a piece, and one object's encoder."""
    done = subprocess.run(
        [sys.executable, "-c", LARGE, f"file://{tmp_path}/"],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )

    assert done.returncode == 0, done.stderr
    before, written, read = map(int, done.stdout.split())
    assert written - before < 120, (before, written, read)
    assert read - before < 160, (before, written, read)


def test_public_names_are_the_same_things():
    assert xd.dataset is dataset
    assert xd.dataset_sink is dataset_sink
