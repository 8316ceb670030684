"""What the tests of datasets share: a prefix of their own in memory, its objects by the back door, rows in no order."""

from __future__ import annotations

import itertools
import random

import pyarrow as pa

from crossdock.connectors.memory_bucket import bucket_named
from crossdock.model import NO_VERSION

__all__ = ["PARTITIONS", "ROWS", "data_of", "fresh", "held", "unsorted_rows"]

_names = itertools.count()
ROWS = 100_000
PARTITIONS = 300


def fresh():
    """A place in memory that nobody uses."""
    return f"memory://datasets-{next(_names)}/lake/"


def held(url):
    """Every object below, by key, with its bytes: read by the back door."""
    name, _, prefix = url.removeprefix("memory://").partition("/")
    bucket = bucket_named(name)
    keys = [info.key for info in bucket.page(prefix.encode(), None, 1_000_000)]
    return {key.removeprefix(prefix): bucket.find("peek", key, NO_VERSION).data for key in keys}


def data_of(url):
    return {key for key in held(url) if not key.startswith("_crossdock/")}


def unsorted_rows():
    chance = random.Random(20261121)
    return pa.table(
        {
            "number": range(ROWS),
            "place": [chance.randrange(PARTITIONS) for _ in range(ROWS)],
            "text": [f"{chance.random():.12f}" for _ in range(ROWS)],
        }
    )
