"""CSV on S3 to Parquet on GCS by crossdock, against pyarrow's own streaming reader and writer on local files: CPU and memory.

``python -m benchmarks.tables [MB]``. Both run in processes of their own, alternately, three times each; pyarrow is measured
with its threads and without. crossdock reads from ``rclone serve s3`` and writes to the embedded GCS, whose CPU does not
count; signing, digests and the network's side of the client do.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.servers import pair

ROUNDS = 3
KEY = "table.csv"

_MEASURED = """
import sys, time
begin_wall, begin_cpu = time.perf_counter(), time.process_time()
{body}
with open("/proc/self/status") as status:
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
print(time.process_time() - begin_cpu, time.perf_counter() - begin_wall, peak // 1024)
"""

_OURS = """
import crossdock as xd
step = xd.chain(xd.decode("csv"), xd.encode("parquet"))
source, sink = xd.S3Source("src"), xd.GCSSink("dst", prefix=sys.argv[2])
sink.combine(source.bind(sys.argv[3]), stitch_function=step)()
"""

_OURS_LOCAL = """
import crossdock as xd
step = xd.chain(xd.decode("csv"), xd.encode("parquet"))
source, sink = xd.LocalSource(sys.argv[1] + "/src"), xd.LocalSink(sys.argv[1])
sink.combine(source.bind(sys.argv[3]), stitch_function=step, key="ours.parquet")()
"""

_THEIRS = """
import pyarrow as pa, pyarrow.csv as csv, pyarrow.parquet as pq
reader = csv.open_csv(
    sys.argv[1] + "/src/" + sys.argv[3],
    csv.ReadOptions(block_size=4 << 20, use_threads={threads}),
    csv.ParseOptions(newlines_in_values=True),
)
with pq.ParquetWriter(sys.argv[1] + "/theirs.parquet", reader.schema, compression="zstd") as writer:
    held = []
    for batch in reader:
        held.append(batch)
        if sum(each.nbytes for each in held) >= 64 << 20:
            writer.write_table(pa.Table.from_batches(held))
            held = []
    if held:
        writer.write_table(pa.Table.from_batches(held))
"""

BODIES = {
    "crossdock, S3 to GCS": _OURS,
    "crossdock, local to local": _OURS_LOCAL,
    "pyarrow, local to local": _THEIRS.format(threads=True),
    "pyarrow, one thread": _THEIRS.format(threads=False),
}


def generate(path: Path, size: int) -> None:
    """Trips with the columns of the taxi data: numbers, times, short texts; seeded."""
    chance = random.Random(11)
    path.parent.mkdir(parents=True, exist_ok=True)
    block = "".join(
        f"{chance.randint(1, 6)},2024-01-{chance.randint(1, 28):02d} {chance.randint(0, 23):02d}:{chance.randint(0, 59):02d}:00,"
        f"{chance.random() * 30:.2f},{chance.choice(['cash', 'card', 'no charge'])},{chance.randint(1, 265)},"
        f"{chance.random() * 90:.2f},{chance.random() * 20:.2f},zone {chance.randint(1, 9999)}\n"
        for _ in range(50_000)
    ).encode()
    with path.open("wb") as file:
        file.write(b"vendor,pickup,distance,payment,location,fare,tip,zone\n")
        while file.tell() < size:
            file.write(block)


def compare(size: int) -> dict[str, tuple[float, float, int]]:
    """Medians of CPU seconds, wall seconds and peak MiB, by name."""
    found: dict[str, list[tuple[float, float, int]]] = {name: [] for name in BODIES}
    with tempfile.TemporaryDirectory(prefix="tables-") as scratch:
        generate(Path(scratch) / "src" / KEY, size)
        with pair(Path(scratch)) as servers:
            servers.make_bucket("dst")
            for number in range(ROUNDS):
                for name, body in BODIES.items():
                    done = subprocess.run(
                        [sys.executable, "-c", _MEASURED.format(body=body), scratch, f"{number}/", KEY],
                        env={**os.environ, **servers.env},
                        capture_output=True,
                        text=True,
                        check=True,
                    )
                    cpu, wall, peak = done.stdout.split()
                    found[name].append((float(cpu), float(wall), int(peak)))
    return {
        name: (
            statistics.median(each[0] for each in runs),
            statistics.median(each[1] for each in runs),
            max(each[2] for each in runs),
        )
        for name, runs in found.items()
    }


def main(megabytes: int) -> None:
    """Print a table and the ratio the issue asks for (at most 1.25)."""
    figures = compare(megabytes * 1_000_000)
    print(f"CSV of {megabytes} MB to Parquet, medians of {ROUNDS}:")
    for name, (cpu, wall, peak) in figures.items():
        print(f"  {name:28} {cpu:6.2f} s CPU {wall:6.2f} s {peak:5} MiB")
    theirs = figures["pyarrow, local to local"][0]
    print(f"  CPU ratio {figures['crossdock, S3 to GCS'][0] / theirs:.2f} (S3 to GCS), ", end="")
    print(f"{figures['crossdock, local to local'][0] / theirs:.2f} (local)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
