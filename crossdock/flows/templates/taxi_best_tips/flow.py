"""The best tip of every hour: a CSV of taxi trips in chunks by date and hour, a task for each chunk, a report.

Shows two tasks as one (``one_task``) with a stitch function between them, a partitioned dataset, a map over its pieces, and
retries: a fifth of all attempts fails on purpose, by seeded chance.
"""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

import crossdock as xd

REPORT: dict[str, pa.DataType] = {
    "date": pa.date32(),
    "hour": pa.int32(),
    "trips": pa.int64(),
    "tipped": pa.int64(),
    "best_share": pa.float64(),
}


def taxi_best_tips(
    trips: str,
    lake: str,
    month: str = "2019-01",
    rows: int = 10_000,
    failure: float = 0.2,
    seed: int = 24,
    retry_delay: float = 2,
) -> list[dict[str, Any]]:
    """Find the best share of a tip in what was paid, for each hour of each day.

    Args:
        trips: Prefix of the trips, one yellow_tripdata_<month>.csv for each month.
        lake: Prefix for the chunks and the report.
        month: Which month.
        rows: How many of its first trips.
        failure: The share of attempts that fail on purpose.
        seed: Where that chance begins.
        retry_delay: Seconds before another attempt.
    """
    lake, source = lake.removesuffix("/"), xd.source(trips)
    hours = {"date": xd.date("tpep_pickup_datetime"), "hour": xd.hour("tpep_pickup_datetime")}
    chunks = xd.dataset_sink(f"{lake}/chunks/{month}/", partition_by=hours)

    # The first rows of the file, sorted into chunks: reading ends when there are enough. Run again, they replace themselves.
    with xd.one_task("trips_to_chunks", stitch_function=xd.chain(xd.decode("csv"), xd.limit(rows))) as cut:
        chunks(source(f"yellow_tripdata_{month}.csv"), batch_id="first rows")
    cut()

    # A task for each chunk: reading it and finding its best tip are one, and are tried again together.
    stored = xd.dataset(chunks.url)
    with xd.one_task("best_tip", retries=5, retry_delay=retry_delay) as best_tip_of:
        best_tip(stored(xd.param("chunk")), failure, seed)
    found = best_tip_of.map(chunk=stored.fragments())

    report = sorted((each for each in found.results() if each), key=lambda each: (each["date"], each["hour"]))
    best = xd.frames(best=pa.Table.from_pylist(report, pa.schema(REPORT)))
    with xd.one_task("report", stitch_function=xd.encode("csv")) as save:
        xd.sink(f"{lake}/")(best("best"), key=f"best_tips_{month}.csv")
    save()
    return report


@xd.task
def best_tip(trips: xd.Batches, failure: float, seed: int) -> dict[str, Any] | None:
    """The best tip of one chunk; nothing if nobody gave one."""
    here = xd.current()
    if random.Random(f"{seed} {here.item} {here.attempt}").random() < failure:  # noqa: S311 - chance, not secrets
        raise RuntimeError("this attempt failed by chance")

    chunk = trips.read_all()
    # A refund's total is below zero, and some trips cost nothing: neither has a share.
    tipped = chunk.filter((pc.field("tip_amount") > 0) & (pc.field("total_amount") > 0))
    if not tipped.num_rows:
        return None
    (hour,) = chunk.select(["date", "hour"]).slice(0, 1).to_pylist()
    best = pc.max(pc.divide(tipped["tip_amount"], tipped["total_amount"])).as_py()
    return {**hour, "trips": chunk.num_rows, "tipped": tipped.num_rows, "best_share": round(best, 4)}


def tips_by_passengers(lake: str, month: str = "2019-01") -> list[dict[str, Any]]:
    """The mean tip by the number of passengers, of two or more, over the chunks that ``taxi_best_tips`` made.

    Args:
        lake: Prefix of the chunks.
        month: Which month.
    """
    trips = xd.dataset(
        f"{lake.removesuffix('/')}/chunks/{month}/",
        where=pc.field("passenger_count") >= 2,
        columns=["passenger_count", "tip_amount"],
    )
    table: pa.Table = trips().read_all()
    means = table.group_by("passenger_count").aggregate([("tip_amount", "mean"), ("tip_amount", "count")])
    rows: list[dict[str, Any]] = means.sort_by("passenger_count").to_pylist()
    return rows
