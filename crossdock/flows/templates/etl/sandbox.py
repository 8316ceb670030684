"""Where ``etl`` can be tried: an S3 and a GCS on this machine, three tables in three formats, and the list of them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import crossdock as xd
from crossdock.testing import embedded_clouds

TABLES = {
    "orders": ("shop/orders.csv", b"Order ID,Total Paid,day\n1,9.50,2026-11-20\n2,,2026-11-21\n,,\n"),
    "events": (
        "logs/events.jsonl.gz",
        gzip.compress(b'{"Kind": "view", "n": 3}\n{"Kind": "buy", "n": 1}\n', mtime=0),
    ),
    "places": ("places.tsv", "Name\tIn Use\nMünchen\ttrue\nBrno\tfalse\n".encode()),
}


@contextmanager
def sandbox() -> Iterator[dict[str, Any]]:
    """Start both, and put the tables and their list where the flow looks."""
    with embedded_clouds(s3=["landing", "config"], gcs=["lake"]):
        for key, data in TABLES.values():
            xd.sink("s3://landing/")(data, key=key)
        sources = [{"name": name, "place": "s3://landing/", "key": key} for name, (key, _) in TABLES.items()]
        xd.sink("s3://config/")(json.dumps(sources, indent=1).encode(), key="sources.json")
        yield {"sources": sources, "lake": "gs://lake/etl/"}
