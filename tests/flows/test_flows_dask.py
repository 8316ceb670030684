"""Runs over worker processes: the driver sees receipts only, and a killed worker costs nothing."""

from __future__ import annotations

import os
import signal
import threading

import pytest

import crossdock as xd
from crossdock.events import BytesMoved, Note, Progress
from crossdock.flows.moving.parts import agenda
from crossdock.testing import EmbeddedS3, Rule


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "from"
    for number in range(600):
        path = root / f"{number % 7}" / f"{number:04d}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(64))
    return root


def tree(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.timeout(300)
def test_a_worker_is_killed_and_the_run_ends_complete(source, tmp_path):
    """SIGKILL of one of two workers in the middle: nothing lost, nothing wrong, the numbers add up."""
    sink, events, killed = tmp_path / "to", [], []
    with xd.DaskRunner(n_workers=2) as runner:
        pids = list(runner.workers().values())

        def observe(event):
            events.append(event)
            if isinstance(event, Progress) and event.counts.copied > 50 and not killed:
                killed.append(pids[0])
                os.kill(pids[0], signal.SIGKILL)

        report = xd.migrate(str(source), str(sink), runner=runner, observer=observe, concurrency=2)
        if report.counts.pending:
            report = xd.resume(report.run_id, runner=runner)

    assert killed
    assert (
        report.counts.planned,
        report.counts.copied,
        report.counts.failed,
        report.counts.pending,
    ) == (600, 600, 0, 0)
    assert tree(source) == tree(sink)
    workers = {event.counts.pending for event in events if isinstance(event, Progress)}
    assert min(workers) >= 0


@pytest.mark.timeout(300)
def test_ctrl_c_stops_workers_elsewhere_and_the_run_resumes(source, tmp_path):
    """The sign to stop travels through the run directory."""
    sink, pressed = tmp_path / "to", []
    with xd.DaskRunner(n_workers=1) as runner:

        def observe(event):
            if isinstance(event, Progress) and event.counts.copied and not pressed:
                pressed.append(event)
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            xd.migrate(str(source), str(sink), runner=runner, observer=observe, concurrency=1)
        run_id = next(tmp_path.glob("state/crossdock/runs/*")).name
        report = xd.resume(run_id, runner=runner)

    assert pressed
    assert (report.counts.planned, report.counts.copied) == (600, 600)
    assert tree(source) == tree(sink)


@pytest.mark.timeout(300)
def test_what_workers_move_is_heard_by_the_driver(source, tmp_path):
    """Bytes moved in worker processes reach the observer, and add up."""
    moved = []

    def observe(event):
        if isinstance(event, BytesMoved):
            moved.append(event.bytes)

    with xd.DaskRunner(n_workers=2) as runner:
        report = xd.migrate(str(source), str(tmp_path / "to"), runner=runner, observer=observe)

    assert report.ok
    assert sum(moved) == report.counts.copied_bytes == 600 * 64


@pytest.mark.timeout(300)
def test_a_shard_that_straggles_is_handed_over_and_only_what_was_under_way_is_read_again(
    source, tmp_path, monkeypatch
):
    """One worker crawls through its shard; when nothing else is left, what remains of it goes to whoever is free."""
    monkeypatch.setattr(agenda, "STRAGGLING_S", 2.0)
    told = []
    with EmbeddedS3(buckets=("src",)) as server, xd.DaskRunner(n_workers=2) as runner:
        options = {"endpoint_url": server.url, "key": "a", "secret": "b" * 20, "region": "us-east-1"}
        to = xd.sink("s3://src/", **options)
        for path in source.rglob("*"):
            if path.is_file():
                to(path.read_bytes(), key=str(path.relative_to(source)))
        server.faults.reset_counters()
        server.faults.add(Rule(operation="object.get", key="^0/00", delay_s=3, name="crawling"))

        def observe(event):
            if isinstance(event, Note) and "hands it over" in event.text:
                told.append(event.text)
                server.faults.clear()

        report = xd.migrate(
            "s3://src/",
            str(tmp_path / "to"),
            source_options=options,
            runner=runner,
            observer=observe,
            concurrency=2,
        )
        reads = server.faults.requests["object.get"]

    assert len(told) == 1
    assert "shard 0 " in told[0]
    assert (report.counts.planned, report.counts.copied, report.exit_code) == (600, 600, 0)
    assert tree(source) == tree(tmp_path / "to")
    assert reads <= 600 + 2
    assert not list(tmp_path.glob("state/crossdock/runs/*/stop/*"))
