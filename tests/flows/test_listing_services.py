"""Listing by ranges against real servers: S3's start-after, GCS's startOffset, hostile keys, pages that fail."""

from __future__ import annotations

import pytest
from flow_kit import HOSTILE

from crossdock.connectors.gcs import GCSOptions, GCSStore, objects as gcs_objects
from crossdock.connectors.layers import layered
from crossdock.connectors.registry import open_store
from crossdock.connectors.s3 import listing as s3_listing
from crossdock.errors import CrossdockError
from crossdock.flows.listing import Listing, Shape
from crossdock.testing import EmbeddedGCS, EmbeddedS3, Rule
from crossdock.testing.demo.plain import PlainS3

SHAPE = Shape(first=2, listers=4, stretch=6, window=36, spare=8)
PAGE = 5


@pytest.fixture(scope="module")
def servers():
    """Both hold the same 300 keys: a counter, a tree, and hostile ones."""
    keys = [f"obj-{number:04d}" for number in range(180)]
    keys += [f"logs/{month:02d}/{day:02d}/x" for month in range(1, 5) for day in range(1, 26)]
    keys += [key for key in HOSTILE if len(key) < 1_000]
    with EmbeddedS3(buckets=("listed",)) as s3, EmbeddedGCS(buckets=("listed",)) as gcs:
        with PlainS3(s3.url) as plain:
            for key in keys:
                plain.put("listed", key, b"", {}, None)
        store = GCSStore("listed", GCSOptions(endpoint_url=gcs.url, token="anon"))
        taken = [key for key in keys if store.refusal(key) is None]
        for key in taken:
            store.put(key, b"")
        yield {"s3": (s3, sorted(keys)), "gcs": (gcs, sorted(taken))}


@pytest.fixture(params=["s3", "gcs"])
def listed(request, servers, monkeypatch):
    """A server, its keys in order and the store as everything above uses it; pages of five."""
    monkeypatch.setattr(s3_listing, "_PAGE", PAGE)
    monkeypatch.setattr(gcs_objects, "_PAGE", PAGE)
    server, keys = servers[request.param]
    server.faults.clear()
    server.faults.reset_counters()
    if request.param == "s3":
        store, _ = open_store(
            "s3://listed/",
            {"endpoint_url": server.url, "key": "test-access-key", "secret": "test-secret-key"},
        )
        yield server, keys, store
    else:
        yield server, keys, layered(GCSStore("listed", GCSOptions(endpoint_url=server.url, token="anon")))
    server.faults.clear()


def test_ranges_of_a_service_are_the_whole_bucket_in_order(listed):
    server, keys, store = listed

    with Listing(store, "", shape=SHAPE) as pages:
        found = [info.key for page in pages for info in page]

    pages_needed = -(-len(keys) // PAGE)
    assert keys == found
    assert server.faults.requests["object.list"] <= pages_needed * (1 + 1 / SHAPE.stretch) + SHAPE.spare + 1


def test_pages_that_fail_now_and_then_are_asked_for_again(listed):
    server, keys, store = listed
    rule = server.faults.add(Rule(operation="object.list", status=503, every=9))

    with Listing(store, "", shape=SHAPE) as pages:
        found = [info.key for page in pages for info in page]

    assert keys == found
    assert server.faults.fired[rule]


def test_a_page_that_fails_for_good_ends_the_listing(listed):
    server, _, store = listed
    rule = server.faults.add(Rule(operation="object.list", status=403, skip=20))

    with Listing(store, "", shape=SHAPE) as pages, pytest.raises(CrossdockError):
        list(pages)

    assert server.faults.fired[rule]
