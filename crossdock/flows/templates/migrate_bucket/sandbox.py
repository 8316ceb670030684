"""Where ``migrate_bucket`` can be tried: an S3 and a GCS on this machine, and a hundred objects with awkward keys among them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import crossdock as xd
from crossdock.testing import Rule, embedded_clouds

OBJECTS = 100
AWKWARD = ("empty", "a b/ü.bin", "dir//double", "dir/", "what?#", "x", "x/y")


@contextmanager
def sandbox() -> Iterator[dict[str, Any]]:
    """Start both services, fill the source, and let them fail now and then."""
    with embedded_clouds(s3=["landing"], gcs=["archive"]) as clouds:
        landing, dice = xd.sink("s3://landing/2024/"), random.Random(2024)  # noqa: S311 - data, not secrets
        for number in range(OBJECTS):
            landing(dice.randbytes(dice.randrange(20_000)), key=f"day={number % 7}/{number:04}.bin")
        for number, key in enumerate(AWKWARD):
            landing(b"." * number, key=key)
        clouds.s3.faults.add(Rule(operation="object.get", status=503, skip=5, every=10))
        clouds.gcs.faults.add(Rule(operation="object.insert", status=503, skip=9, every=10))
        yield {"source": "s3://landing/2024/", "destination": "gs://archive/2024/"}
