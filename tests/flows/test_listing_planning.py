"""Planning on a service whose listings are all there is: the small version of ``benchmarks/listing.py``."""

from __future__ import annotations

import threading

import pytest

import crossdock as xd
from benchmarks.synthetic import Synthetic, name_of

COUNT = 20_000
ALLOWED = COUNT // 1_000 + 1 + 8  # one LIST per 1,000 objects, 1 in 24 and 8 for ranges


@pytest.fixture
def service(monkeypatch):
    """20,000 objects in every bucket."""
    server = Synthetic(COUNT)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-access-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret-key")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_everything_is_planned_with_one_list_per_thousand(service, tmp_path):
    """S3's own requests, counted at the server; the manifest holds every key once, in order."""
    plan = xd.plan("s3://bucket/", f"{tmp_path}/nothing/")
    counted = service.counted()

    assert [row.name for row in plan] == [name_of(number) for number in range(COUNT)]
    assert plan.summary.copy == COUNT
    assert set(counted) <= {"LIST", "HEAD bucket"}
    assert counted["LIST"] <= ALLOWED + 1


def test_a_rerun_with_nothing_changed_lists_and_does_nothing_else(service, tmp_path):
    """Equal digests in both listings: no HEAD, no GET, no write."""
    report = xd.migrate("s3://bucket/", "s3://other/", run_dir=f"{tmp_path}/run/")
    counted = service.counted()

    assert (report.counts.skipped, report.counts.copied, report.exit_code) == (COUNT, 0, 0)
    assert set(counted) <= {"LIST", "HEAD bucket"}
    assert counted["LIST"] <= 2 * ALLOWED + 2
