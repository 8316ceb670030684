"""Where ``taxi_best_tips`` can be tried: an S3 on this machine, and generated trips with the columns of New York's TLC.

In the data are refunds (totals below zero), trips that cost nothing, and hours in which everybody paid cash, so without tips.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import crossdock as xd
from crossdock.testing import embedded_clouds

COLUMNS = (
    "VendorID,tpep_pickup_datetime,tpep_dropoff_datetime,passenger_count,trip_distance,RatecodeID,store_and_fwd_flag,"
    "PULocationID,DOLocationID,payment_type,fare_amount,extra,mta_tax,tip_amount,tolls_amount,improvement_surcharge,"
    "total_amount,congestion_surcharge"
)
TRIPS = 12_000
HOURS = 48
CASH_ONLY = frozenset({4, 27})
"""Hours since the beginning in which nobody gave a tip by card."""


@contextmanager
def sandbox() -> Iterator[dict[str, Any]]:
    """Start S3 and put one month of trips there."""
    with embedded_clouds(s3=["nyc-tlc", "lake"]):
        xd.sink("s3://nyc-tlc/csv/")(
            "\n".join([COLUMNS, *trips(), ""]).encode(), key="yellow_tripdata_2019-01.csv"
        )
        yield {"trips": "s3://nyc-tlc/csv/", "lake": "s3://lake/taxi/", "retry_delay": 0.05}


def trips(seed: int = 2019) -> Iterator[str]:
    """Lines of the file, by the time of pickup."""
    dice = random.Random(seed)  # noqa: S311 - data, not secrets
    for number in range(TRIPS):
        pickup = datetime(2019, 1, 1) + timedelta(seconds=number * HOURS * 3600 // TRIPS)  # noqa: DTZ001 - local, as the TLC's
        dropoff = pickup + timedelta(seconds=dice.randrange(120, 3600))
        distance = round(dice.uniform(0.3, 18), 2)
        fare = round(2.5 + 2.5 * distance, 2)
        if dice.random() < 0.01:
            fare = -fare  # a refund
        by_card = dice.random() < 0.7 and number * HOURS // TRIPS not in CASH_ONLY
        tip = round(fare * dice.uniform(0.05, 0.4), 2) if by_card and fare > 0 else 0.0
        total = round(fare + 0.5 + 0.3 + tip, 2) if dice.random() > 0.005 else 0.0
        yield (
            f"{dice.randint(1, 2)},{pickup},{dropoff},{dice.randint(0, 6)},{distance},1,N,"
            f"{dice.randint(1, 263)},{dice.randint(1, 263)},{1 if by_card else 2},{fare},0.5,0.5,{tip},0,0.3,{total},"
        )
