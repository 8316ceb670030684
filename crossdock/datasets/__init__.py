"""Datasets: many objects below one prefix that are one table, written all or nothing and read as one.

A room above ``connectors`` and ``formats``, because it needs both: the one writer of objects and the codecs. Loading it
loads pyarrow; ``import crossdock`` does not load it.
"""

from __future__ import annotations

from crossdock.datasets.derived import (
    Derived as Derived,
    date as date,
    day as day,
    hour as hour,
    month as month,
    year as year,
)
from crossdock.datasets.listing import Fragment as Fragment
from crossdock.datasets.sink import (
    DatasetReceipt as DatasetReceipt,
    DatasetSink as DatasetSink,
    dataset_sink as dataset_sink,
)
from crossdock.datasets.source import DatasetSource as DatasetSource, dataset as dataset
from crossdock.datasets.vacuuming import Vacuumed as Vacuumed

__all__ = [
    "DatasetReceipt",
    "DatasetSink",
    "DatasetSource",
    "Derived",
    "Fragment",
    "Vacuumed",
    "dataset",
    "dataset_sink",
    "date",
    "day",
    "hour",
    "month",
    "year",
]
