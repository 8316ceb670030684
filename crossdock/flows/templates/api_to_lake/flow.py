"""A vendor's API to a lake: its accounts, the services of each, the metrics of each service for a range of days.

Shows three maps that feed each other item by item, without a barrier; a REST source that asks again when the API fails and waits when
it says so; failures that stay where they are; and a cache, so that the next run asks only for what it has not seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

import pyarrow as pa

import crossdock as xd

METRICS: dict[str, pa.DataType] = {
    "service": pa.string(),
    "hour": pa.timestamp("s", "UTC"),
    "requests": pa.int64(),
}


def api_to_lake(
    api: str,
    lake: str,
    first: date,
    last: date,
    requests_per_s: float = 100,
    workers: int = 0,
) -> xd.MapResult:
    """Bring the metrics of every service of every account into a lake, a Parquet object for each service and day.

    Args:
        api: The API's URL.
        lake: Prefix of the lake; the objects are below metrics/day=YYYY-MM-DD/.
        first: The first day.
        last: The last day, which is read too.
        requests_per_s: How often the API is asked at most.
        workers: Processes of this machine to spread the work over; 0 is threads of this one.
    """
    lake = lake.removesuffix("/")
    vendor = xd.rest(api, records="data", rate_per_s=requests_per_s, paging=xd.ByCursor(path="next"))
    files = xd.sink(f"{lake}/metrics/")
    schema = pa.schema(METRICS)
    days = [(first + timedelta(days=number)).isoformat() for number in range((last - first).days + 1)]

    @xd.task
    def services_of(account: str) -> list[str]:
        return [service["id"] for service in vendor(f"accounts/{account}/services")]

    @xd.one_task(name="metrics_to_lake", stitch_function=xd.encode("parquet"), cache=f"{lake}/seen/")
    def save(service: str, day: str) -> Any:
        metrics = vendor.batches(f"services/{service}/metrics", params={"day": day}, schema=schema)
        return files(metrics, key=f"day={day}/{service}.parquet")

    with xd.DaskRunner(n_workers=workers) if workers else xd.LocalRunner(threads=16) as runner:
        accounts: Iterable[str] = (account["id"] for account in vendor("accounts"))
        services = services_of.map(account=accounts, runner=runner)
        return save.map(xd.product(service=xd.flatten(services), day=days), runner=runner).wait()
