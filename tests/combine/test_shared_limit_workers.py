"""One limit for all worker processes of a run, on real processes and a server that refuses what is too much; counted there."""

from __future__ import annotations

import pytest

import crossdock as xd
from crossdock.combine.runners.allotting import Allotter
from crossdock.testing import EmbeddedS3, Rule

WORKERS, THREADS, ROOM, OBJECTS = 3, 24, 6, 1_000


@pytest.fixture
def full():
    """A server that takes ``ROOM`` reads at a time and refuses more."""
    with EmbeddedS3() as s3:
        sink = xd.S3Sink("bucket", **access(s3))
        sink.store.put("k", b"0123456789")
        s3.faults.add(Rule(operation="object.get", delay_s=0.02, name="takes time"))
        s3.faults.add(Rule(operation="object.get", status=503, above=ROOM, name="full"))
        yield s3


def access(s3):
    return {"endpoint_url": s3.url, "key": "k", "secret": "s", "region": "us-east-1"}


def read_all(s3, runner, objects=OBJECTS):
    """Read so many objects, and how many requests were refused; each is asked for again until it is there."""
    source = xd.S3Source("bucket", **access(s3))
    task = xd.task(lambda _: len(source("k").read()), name="read")
    before = s3.faults.fired["full"]
    assert task.map(range(objects), runner=runner).results() == [10] * objects
    return s3.faults.fired["full"] - before


def say_nothing(self, *, now, processes):
    del self, now, processes


@pytest.fixture
def without_words(monkeypatch):
    """The driver hears its workers and says nothing: each process finds a limit of its own."""
    monkeypatch.setattr(Allotter, "due", say_nothing)


@pytest.fixture(scope="module")
def refused_apart():
    return {}


@pytest.mark.usefixtures("without_words")
def test_processes_that_hear_no_word_carry_on_each_by_itself(full, refused_apart):
    refused_apart["processes"] = read_all(full, xd.LocalRunner(THREADS, processes=WORKERS))

    assert refused_apart["processes"] > 0


@pytest.mark.parametrize("kind", ["processes", "dask"])
def test_workers_that_share_a_limit_are_refused_less(full, refused_apart, kind):
    """As many objects, as many workers: far fewer requests that the server had no room for."""
    if "processes" not in refused_apart:  # run alone
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Allotter, "due", say_nothing)
            refused_apart["processes"] = read_all(full, xd.LocalRunner(THREADS, processes=WORKERS))
    if kind == "dask":
        with xd.DaskRunner(n_workers=WORKERS, threads=THREADS) as runner:
            refused = read_all(full, runner)
    else:
        refused = read_all(full, xd.LocalRunner(THREADS, processes=WORKERS))

    assert refused < 0.8 * refused_apart["processes"]
    assert full.faults.fired["full"] >= refused > 0  # it was too much at first, and found out


def test_a_worker_that_heard_one_word_and_then_nothing_carries_on(full, monkeypatch):
    said = []

    def due(self, **_):
        if said or not self.limits:
            return None
        said.append([(*place, 1.0, 0, 0.0) for place in self.limits])
        return list(self._listeners), said[0]

    monkeypatch.setattr(Allotter, "due", due)
    refused = read_all(full, xd.LocalRunner(THREADS, processes=1), objects=150)

    assert said[0][0][2:] == (1.0, 0, 0.0)
    assert refused < 150
