"""The same tables moved by crossdock and by dlt, on this machine: a table of PostgreSQL to Parquet, a CSV into PostgreSQL, JSON lines into DuckDB.

``python -m benchmarks dlt``. dlt is no dependency of the project: the benchmark installs it into an environment of its own, which goes away
with it (``python -m benchmarks.against_dlt PYTHON [MOVE ...]`` uses one that is there). dlt is run as its documents show it and as fast as it can:
Arrow tables instead of Python objects. Every figure is of a whole process, imports included, and the rows that arrived are counted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds

import crossdock as xd
from benchmarks.flights import NULLS, ROWS, flights_csv
from benchmarks.measure import Figures, run, side_by_side

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "connectors"))
from postgres_server import PASSWORD, serve_postgres

ROUNDS = 3
PACKAGES = ("dlt[duckdb,filesystem,parquet,postgres,sql-database]", "pandas", "psycopg2-binary")

_TELL = """
with open("/proc/self/status") as status, open(out + "/peak", "w") as peak:
    peak.write(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""
"""What the process says of itself: the kernel's word to its parent counts what the parent had when it forked, too."""

_OURS = """
import os, sys
import crossdock as xd
out, url, csv = sys.argv[1:]
here, there = os.path.split(csv)
"""
OURS = {
    "table to parquet": f"""
source = xd.source(url, password="env:{PASSWORD}").bind("flights")
xd.LocalSink(out).combine(source, stitch_function=xd.encode("parquet", compression="snappy"), key="flights.parquet")()
""",
    "csv to postgresql": f"""
sink = xd.sink(url, password="env:{PASSWORD}")
read = xd.decode("csv", nulls={NULLS!r})
sink.combine(xd.LocalSource(here).bind(there), stitch_function=read, table="loaded", mode="replace")()
""",
    "jsonl to duckdb": """
sink = xd.sink("duckdb://" + out + "/flights.duckdb")
read = xd.decode("jsonl")
sink.combine(xd.LocalSource(here).bind("flights.jsonl"), stitch_function=read, table="loaded", mode="replace")()
""",
}

_THEIRS = f"""
import os, sys
import dlt
out, url, csv = sys.argv[1:]
here, there = os.path.split(csv)
url = url.replace("tester@", "tester:" + os.environ["{PASSWORD}"] + "@")
def load(rows, destination, **how):
    pipeline = dlt.pipeline("flights", destination=destination, dataset_name="lake", pipelines_dir=out + "/state")
    pipeline.run(rows, write_disposition="replace", **how).raise_on_failed_jobs()
"""
_TABLE = """
from dlt.sources.sql_database import sql_table
rows = sql_table(url, table="flights", backend="{backend}", chunk_size=50_000)
load(rows, dlt.destinations.filesystem("file://" + out), loader_file_format="parquet")
"""
_READ = """
from dlt.sources.filesystem import readers
rows = readers("file://" + here, file_glob="{glob}").{how}()
"""
_ARROW = """
import pyarrow as pa, pyarrow.csv, pyarrow.json
@dlt.resource(name="loaded")
def rows():
    {open}
"""
_CSV = f"""yield from pyarrow.csv.open_csv(csv, convert_options=pyarrow.csv.ConvertOptions(
        null_values={NULLS!r}, strings_can_be_null=True))"""
_JSON = 'yield from pyarrow.json.open_json(here + "/flights.jsonl")'
_TO_POSTGRESQL = 'load(rows, dlt.destinations.postgres(url), table_name="loaded"{how})\n'
_TO_DUCKDB = 'load(rows, dlt.destinations.duckdb(out + "/flights.duckdb"), table_name="loaded"{how})\n'
_PARQUET = ', loader_file_format="parquet"'  # its default for DuckDB, INSERT statements, had not ended after 160 s of CPU

THEIRS = {
    "table to parquet": {
        "as documented": _TABLE.format(backend="sqlalchemy"),
        "by Arrow": _TABLE.format(backend="pyarrow"),
    },
    "csv to postgresql": {
        "as documented": _READ.format(glob="flights.csv", how="read_csv") + _TO_POSTGRESQL.format(how=""),
        "by Arrow": _ARROW.format(open=_CSV) + _TO_POSTGRESQL.format(how=', loader_file_format="csv"'),
    },
    "jsonl to duckdb": {
        "as documented": _READ.format(glob="flights.jsonl", how="read_jsonl")
        + _TO_DUCKDB.format(how=_PARQUET),
        "by Arrow": _ARROW.format(open=_JSON) + _TO_DUCKDB.format(how=_PARQUET),
    },
}


@contextmanager
def _installed(given: str | None) -> Iterator[str]:
    """A Python that has dlt."""
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="dlt-") as place:
        python = f"{place}/bin/python"
        print("installing dlt into an environment of its own: a minute or two", flush=True)
        for command in (
            [sys.executable, "-m", "venv", place],
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(
                    f"dlt cannot be installed here, so there is nothing to compare with: {' '.join(command)} said\n"
                    f"{done.stderr[-2000:]}"
                )
        yield python


def _move(python: str, script: str, out: Path, url: str, csv: Path) -> Figures:
    """One process; telemetry off, so that nothing but this machine is talked to."""
    env = {
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "DLT_TELEMETRY_DISABLED": "1",
        "DLT_DATA_DIR": str(out / "data"),
        "DO_NOT_TRACK": "1",
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
    }
    done = run([python, "-c", script + _TELL, str(out), url, str(csv)], env)
    return replace(done, peak_bytes=int((out / "peak").read_text()) * 1024)


def _counted(name: str, out: Path, server: Any) -> int:
    """Rows that arrived, whoever brought them."""
    if name == "table to parquet":
        files = [*out.glob("*.parquet"), *out.glob("lake/flights/*.parquet")]
        return int(ds.dataset([str(each) for each in files]).count_rows())
    if name == "jsonl to duckdb":
        source = xd.source(f"duckdb://{out}/flights.duckdb")
    else:
        source = xd.source(server.url(), **server.options)
    table = next(each for each in source.list() if each.endswith("loaded"))
    with source(query=f"SELECT count(*) AS n FROM {table}") as rows:  # noqa: S608 - a name of ours
        return int(rows.read_all()["n"][0].as_py())


def _compared(name: str, python: str, url: str, csv: Path, server: Any) -> Iterator[str]:
    def figures(who: str, script: str) -> Figures:
        with tempfile.TemporaryDirectory() as out:
            done = _move(who, script, Path(out), url, csv)
            if (found := _counted(name, Path(out), server)) != ROWS:
                sys.exit(f"{name}: {found} rows arrived instead of {ROWS}")
            for left in (
                "TABLE IF EXISTS loaded",
                "SCHEMA IF EXISTS lake CASCADE",
                "SCHEMA IF EXISTS lake_staging CASCADE",
            ):
                server.execute(f"DROP {left}")
            return done

    for how, script in THEIRS[name].items():
        pairs = [
            (figures(sys.executable, _OURS + OURS[name]), figures(python, _THEIRS + script))
            for _ in range(ROUNDS)
        ]
        yield side_by_side(f"{name}, {ROWS:,} rows; dlt {how}", *map(list, zip(*pairs, strict=True)), "dlt")


def full(python: str | None = None, *names: str) -> None:
    """All three moves, or some, dlt both ways."""
    with _installed(python) as theirs, tempfile.TemporaryDirectory() as scratch, serve_postgres() as server:
        told = [theirs, "-c", "import dlt; print(dlt.__version__)"]
        print(
            f"dlt {subprocess.run(told, capture_output=True, text=True, check=True).stdout.strip()}",
            flush=True,
        )
        csv = Path(scratch) / "flights.csv"
        csv.write_bytes(flights_csv(Path(scratch)).read_bytes())
        read: Callable[..., Any] = xd.decode("csv", nulls=NULLS)
        table = read(csv.read_bytes()).read_all()
        with (Path(scratch) / "flights.jsonl").open("w") as lines:
            for row in table.to_pylist():
                lines.write(json.dumps(row, default=str) + "\n")
        xd.sink(server.url(), **server.options)(table, "flights")
        for name in names or OURS:
            for text in _compared(name, theirs, server.url(), csv, server):
                print(text, flush=True)


if __name__ == "__main__":
    full(*sys.argv[1:])
