"""SIGKILL at every labelled point, and at random moments, of the driver or of everything; then the same command again.

The server lives in the test's process and counts: what a receipt proves is not sent again, and of the rest no more than was in
flight. The run directory is read right after each kill, too. ``python -m benchmarks crashes`` takes all of them, one by one.
"""

from __future__ import annotations

import random
import signal
import uuid

import pytest

from benchmarks.crash_kit import SECRETS, SMALL, Crash, Seen, fill, once_more, start
from crossdock import crash_points
from crossdock.testing import EmbeddedS3

SEED = 20261121


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    root = tmp_path_factory.mktemp("from")
    return root, fill(root, SEED)


@pytest.fixture(scope="module")
def server():
    with EmbeddedS3(buckets=("dst",), faults=Seen()) as running:
        yield running


@pytest.fixture
def crash(monkeypatch, tmp_path, server, content):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    server.faults.forget()
    source, bodies = content
    return Crash(
        server=server,
        seen=server.faults,
        source=source,
        bodies=bodies,
        prefix=f"{uuid.uuid4().hex}/",
        run_dir=tmp_path / "run",
    )


@pytest.mark.parametrize("group", range(3))
def test_a_crash_at_each_labelled_point(group, crash):
    """The process dies at one point after the other, on one run; then the same command again converges."""
    labels = crash_points.LABELS[group::3]
    crash.kills = len(labels)
    for label in labels:
        status, errors = start(crash.asked, crash_at=label).end()
        crash.look()

        assert status == -signal.SIGKILL, (label, errors)  # the fault fired
    once_more(crash)


@pytest.mark.parametrize(("who", "dask"), [("everything", ""), ("everything", "own"), ("driver", "own")])
def test_a_crash_at_a_random_moment(who, dask, crash, record_property):
    """SIGKILL of the driver, or of every process at once, when a random request with payload arrives at the server."""
    moment = random.Random(f"{SEED} {who} {dask}").randrange(2, SMALL)
    record_property("seed", f"{SEED} {who} {dask}: request {moment}")
    first = start(crash.asked, dask=dask)
    crash.seen.act_at = (moment, first.kill_all if who == "everything" else first.kill_driver)
    try:
        first.process.wait(60)
        assert first.process.returncode == -signal.SIGKILL
        once_more(crash)  # which meets workers that outlive their driver
    finally:
        first.kill_all()
        first.process.communicate()
