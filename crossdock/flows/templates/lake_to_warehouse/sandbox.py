"""Where ``lake_to_warehouse`` can be tried: an S3 on this machine with two Parquet objects of orders, and a SQLite file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import crossdock as xd
from crossdock.testing import embedded_clouds

ORDERS = 400


@contextmanager
def sandbox() -> Iterator[dict[str, Any]]:
    """Start S3 and put the orders there."""
    with embedded_clouds(s3=["lake"]) as clouds:
        for month in (10, 11):
            save = xd.sink("s3://lake/orders/").combine(
                xd.frames(orders=orders(month)).bind("orders"),
                stitch_function=xd.encode("parquet"),
                key=f"2026-{month}.parquet",
            )
            save()
        yield {
            "lake": "s3://lake/orders/",
            "export": "s3://lake/export/",
            "database": f"sqlite://{clouds.directory}/warehouse.db",
        }


def orders(month: int) -> list[dict[str, Any]]:
    """Half of the orders: what one month brought; not all are paid."""
    return [
        {
            "id": month * ORDERS + number,
            "day": date(2026, month, 1 + number % 5),
            "customer": f"customer {number % 50}",
            "paid": number / 4 if number % 9 else None,
        }
        for number in range(ORDERS // 2)
    ]
