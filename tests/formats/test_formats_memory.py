"""Memory does not grow with the object: 200 MB of CSV become Parquet, and are read again, in a process that says what it took."""

from __future__ import annotations

import subprocess
import sys

CONVERT = """
import sys
import crossdock as xd

directory = sys.argv[1]
ROWS = 40_000
block = b"".join(b"%d,%d.5,name number %d,2024-01-%02d\\n" % (n, n * 7, n % 977, n % 28 + 1) for n in range(ROWS))
TIMES = 200_000_000 // len(block) + 1


@xd.task
def generated(key):
    yield b"id,amount,name,day\\n"
    for _ in range(TIMES):
        yield block


def peak_kib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


sink, source = xd.LocalSink(directory), xd.LocalSource(directory)


def convert(first, *steps, key):
    task = sink.combine(first, stitch_function=xd.chain(*steps), key=key)
    (outcome,) = task.map(key=["k"], runner=xd.LocalRunner(threads=1))
    assert outcome.error is None, outcome.error
    assert outcome.rows == ROWS * TIMES, outcome.rows
    return outcome.value


# Everything is loaded and warm before memory is looked at.
sink([b"id,amount,name,day\\n", block], key="warm.csv")
sink.combine(source.bind("warm.csv"), stitch_function=xd.chain(xd.decode("csv"), xd.encode("parquet")))()
before = peak_kib()
convert(generated.bind(xd.param("key")), xd.decode("csv"), xd.encode("parquet", row_group_bytes=16 << 20), key="a.parquet")
written = peak_kib()


@xd.task
def counted(batches):
    return sum(batch.num_rows for batch in batches)


rows = counted.combine(source.bind("a.parquet"), stitch_function=xd.decode("parquet"))()
assert rows == ROWS * TIMES, rows
print(before // 1024, written // 1024, peak_kib() // 1024)
"""


def test_200_mb_of_csv_to_parquet_and_rows_again_take_little_memory(tmp_path):
    """Beyond what a small object takes: a row group of 16 MiB of rows a few times over, and the sink's parts."""
    done = subprocess.run(
        [sys.executable, "-c", CONVERT, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )

    assert done.returncode == 0, done.stderr
    before, written, read = map(int, done.stdout.split())
    assert written - before < 150, (before, written, read)
    assert read - before < 200, (before, written, read)
