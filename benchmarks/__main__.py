"""``python -m benchmarks [NAME ...]``: every figure the documents quote, measured here and now.

Each benchmark runs crossdock and the alternative in turn on the same servers and prints medians and their ratio.
These figures say how the two compare on one machine, not how fast either is.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    against_dlt,
    crashes as crash_runs,
    listing as listing_figures,
    memory as memory_figures,
    mutation as mutation_check,
    round_trip,
    scale_model,
    soak as soak_runs,
    sql as sql_figures,
    tables as table_figures,
)
from benchmarks.combining import overhead, shards
from benchmarks.latency import latency
from benchmarks.ledger import ledger as ledger_figures
from benchmarks.measure import Figures, run, side_by_side
from benchmarks.scaling import scaling
from benchmarks.servers import fill, pair, rclone

ROUNDS = 3


def _compare(title: str, count: int, size: int) -> None:
    """The same copy S3 -> GCS by crossdock and by rclone, each round into fresh buckets."""
    with tempfile.TemporaryDirectory() as scratch:
        fill(Path(scratch) / "src", count, size)
        with pair(Path(scratch)) as servers:
            ours: list[Figures] = []
            theirs: list[Figures] = []
            for number in range(ROUNDS):
                for bucket in (f"ours-{number}", f"theirs-{number}"):
                    servers.make_bucket(bucket)
                run_dir = Path(scratch) / f"run-{number}"
                command = [
                    "crossdock",
                    "cp",
                    "s3://src/",
                    f"gs://ours-{number}/",
                    "-q",
                    "--run-dir",
                    str(run_dir),
                ]
                ours.append(run([sys.executable, "-m", *command], servers.env))
                theirs.append(run([rclone(), "copy", "src:src", f"dst:theirs-{number}", "-q"], servers.env))
            print(side_by_side(title, ours, theirs, "rclone"), flush=True)


def small() -> None:
    """10,000 objects of 4 KiB."""
    _compare("10,000 x 4 KiB, S3 -> GCS", 10_000, 4096)


def large() -> None:
    """One object of 2 GiB: throughput and peak memory of one process."""
    _compare("1 x 2 GiB, S3 -> GCS", 1, 2**31)


def startup() -> None:
    """What ``--help`` costs."""
    command = [sys.executable, "-m", "crossdock", "--help"]
    ours = [run(command, {}) for _ in range(5)]
    bare = [run([sys.executable, "-c", "pass"], {}) for _ in range(5)]
    print(side_by_side("crossdock --help beside an empty python", ours, bare, "python"), flush=True)


def combining() -> None:
    """What combining and mapping cost by themselves."""
    overhead()
    shards()


def memory() -> None:
    """Peak memory against the budget: an object of 10 GiB, and 64 of 64 MiB at a time."""
    memory_figures.full()


def ledger() -> None:
    """A run's record at a million objects: resume, report, compact, export."""
    ledger_figures()


def tables() -> None:
    """CSV to Parquet, S3 to GCS, beside pyarrow's own streaming on local files."""
    table_figures.main(300)


def sql() -> None:
    """Tables of a million rows to Parquet, beside pandas."""
    sql_figures.sql()


def dlt() -> None:
    """A table to Parquet, CSV and JSON lines into databases, beside dlt, which is installed for it and removed."""
    against_dlt.full()


def flights() -> None:
    """3 GB of CSV to a lake, to PostgreSQL and back: the peak memory of each process."""
    round_trip.full()


def scale() -> None:
    """A billion objects on a thousand workers: a model, from costs measured here."""
    scale_model.full()


def listing() -> None:
    """Listing beside rclone and s5cmd, and planning a million objects: minutes."""
    listing_figures.full()


def soak() -> None:
    """Everything goes wrong at once, ten seeds: an hour."""
    soak_runs.full()


def crashes() -> None:
    """Killed at every labelled point and at 20 random moments; one object of 2 GiB on two workers, one of them killed."""
    crash_runs.full()


def mutation() -> None:
    """Each protection removed in turn; a named test must notice."""
    mutation_check.full()


def main(names: list[str]) -> None:
    """Run the named benchmarks, or all that take minutes; soak and mutation run if they are named."""
    known: dict[str, Callable[[], None]] = {
        "startup": startup,
        "combining": combining,
        "small": small,
        "large": large,
        "latency": latency,
        "memory": memory,
        "ledger": ledger,
        "scale": scale,
        "scaling": scaling,
        "tables": tables,
    }
    longer: dict[str, Callable[[], None]] = {
        "listing": listing,
        "crashes": crashes,
        "sql": sql,
        "dlt": dlt,
        "flights": flights,
        "soak": soak,
        "mutation": mutation,
    }
    everything = known | longer
    if unknown := set(names) - set(everything):
        sys.exit(f"unknown benchmark {', '.join(sorted(unknown))}; there are {', '.join(everything)}")
    print(
        subprocess.run([rclone(), "version"], capture_output=True, text=True, check=True).stdout.splitlines()[
            0
        ]
    )
    for name in names or known:
        everything[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
