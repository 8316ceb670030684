"""Limits stop a run in good order; what failed gets one more chance at the end; bytes a second are bounded."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from click.testing import CliRunner

import crossdock as xd
from crossdock.cli.main import cli
from crossdock.connectors import bandwidth, layers
from crossdock.errors import ConfigError, ConnectionLostError
from crossdock.flows.runs.shards import ShardSize
from crossdock.testing import EmbeddedS3, Rule

S3 = {"key": "access-key-of-a-test", "secret": "secret-key-of-a-test", "region": "us-east-1"}


@pytest.fixture
def ends(tmp_path):
    name = uuid.uuid4().hex
    return f"memory://from-{name}/", f"memory://to-{name}/", f"{tmp_path}/run"


def fill(url, count, size=10):
    sink = xd.sink(url)
    for number in range(count):
        sink(bytes(size), key=f"{number:04d}")


def adds_up(report):
    counts = report.counts
    return counts.planned == counts.copied + counts.skipped + counts.failed + counts.pending


def test_bytes(ends):
    source, sink, run = ends
    fill(source, 400, 1_000)

    report = xd.migrate(source, sink, run_dir=run, max_bytes="20KB", concurrency=1)

    assert (report.state, report.exit_code) == ("limited", 7)
    assert adds_up(report)
    assert report.counts.copied >= 20
    assert report.counts.pending > 0
    done = xd.resume(run)
    assert (done.state, done.exit_code, done.counts.copied) == ("complete", 0, 400)


def test_a_deadline(ends, monkeypatch):
    source, sink, run = ends
    fill(source, 400)
    monkeypatch.setattr("crossdock.flows.moving.driving.datetime", Later)

    report = xd.migrate(source, sink, run_dir=run, deadline=timedelta(hours=1), concurrency=1)

    assert (report.state, report.exit_code) == ("limited", 7)
    assert adds_up(report)
    assert xd.resume(run).counts.copied == 400


class Later:
    """A clock two hours on."""

    @staticmethod
    def now(zone):
        from datetime import datetime

        return datetime.now(zone) + timedelta(hours=2)


@pytest.fixture
def s3(monkeypatch):
    monkeypatch.setattr(layers, "backoff_s", lambda *_: 0.0)
    monkeypatch.setattr("crossdock.connectors.commits.backoff_s", lambda *_: 0.0)
    with EmbeddedS3() as server:
        yield server, f"s3://{server_bucket(server)}/", {"endpoint_url": server.url, **S3}


def server_bucket(server):
    server.create_bucket("limits")
    return "limits"


def test_failures(ends, s3):
    server, sink, options = s3
    source, _, run = ends
    fill(source, 300)
    server.faults.add(Rule(operation="object.insert", status=403, name="refused"))

    report = xd.migrate(source, sink, sink_options=options, run_dir=run, max_errors=5, concurrency=1)

    assert server.faults.fired["refused"] > 5
    assert (report.state, report.exit_code) == ("limited", 7)
    assert adds_up(report)
    assert 5 < report.counts.failed < 300
    server.faults.clear()
    retried = xd.retry(run, sink_options=options)
    assert retried.counts.failed == 0
    assert xd.resume(run, sink_options=options).counts.copied == 300


def test_what_failed_gets_one_more_chance_after_everything_else(ends, s3):
    """Eight attempts in a row may all meet the same bad minute; the end of the run is another one."""
    server, sink, options = s3
    source, _, run = ends
    fill(source, 20)
    server.faults.add(Rule(operation="object.insert", key="0007", status=503, first=8, name="busy"))
    said = []

    report = xd.migrate(source, sink, sink_options=options, run_dir=run, observer=said.append)

    assert server.faults.fired["busy"] == 8
    assert (report.state, report.counts.copied, report.counts.failed) == ("complete", 20, 0)
    assert any("tried once more" in getattr(event, "text", "") for event in said)


def test_what_cannot_be_mended_gets_none(ends, s3):
    server, sink, options = s3
    source, _, run = ends
    fill(source, 20)
    server.faults.add(Rule(operation="object.insert", key="0007", status=403, name="refused"))

    said = []

    report = xd.migrate(source, sink, sink_options=options, run_dir=run, observer=said.append)

    assert server.faults.fired["refused"] >= 1
    assert not any("tried once more" in getattr(event, "text", "") for event in said)
    assert (report.state, report.counts.copied, report.counts.failed) == ("incomplete", 19, 1)


class LosingOne(xd.LocalRunner):
    """A runner on which every worker that is given the first shard dies."""

    def __init__(self):
        super().__init__(threads=1, window=1)
        self.lost = 0
        self.passes = []

    def run(self, function, items, *, name="task"):
        self.passes.append([])

        def dying(item):
            self.passes[-1].append(item.number)
            if item.number == 0:
                self.lost += 1
                raise ConnectionLostError("every worker that ran this item died")
            return function(item)

        return super().run(dying, items, name=name)


def test_the_one_more_chance_is_for_what_may_pass_and_for_nothing_else(ends, s3, monkeypatch):
    """A shard lost three times stays pending, and a failure that somebody has to mend is not tried twice."""
    size = ShardSize(max_rows=10, max_bytes=1_000)
    monkeypatch.setattr("crossdock.flows.runs.preparing.choose_shard_size", lambda *_, **__: size)
    server, sink, options = s3
    source, _, run = ends
    fill(source, 20)
    server.faults.add(Rule(operation="object.insert", key="0013", status=503, first=8, name="busy"))
    server.faults.add(Rule(operation="object.insert", key="0017", status=403, name="denied"))
    runner = LosingOne()

    report = xd.migrate(source, sink, sink_options=options, run_dir=run, runner=runner)

    denied = server.faults.fired["denied"]
    assert server.faults.fired["busy"] == 8
    assert (runner.lost, runner.passes) == (3, [[0, 1], [0], [0], [1]])
    assert (report.counts.copied, report.counts.failed, report.counts.pending) == (9, 1, 10)
    assert (adds_up(report), denied) == (True, 1)
    server.faults.clear()
    assert xd.resume(run, sink_options=options).counts.copied == 20


def test_bytes_a_second(ends, monkeypatch, tmp_path):
    """Every byte is asked for at the one clock of the process, at the run's rate."""
    source, _, run = ends
    sink = f"{tmp_path}/to/"
    fill(source, 50, 1_000)
    asked = []
    monkeypatch.setattr(
        bandwidth.Bandwidth, "take", lambda self, size: asked.append((self.bytes_per_s, size))
    )

    xd.migrate(source, sink, run_dir=run, bandwidth="1MB")

    assert asked == [(1_000_000, 1_000)] * 50


@pytest.mark.parametrize("size", [5, 3_000_000])
@pytest.mark.parametrize("known", [True, False])
def test_bytes_a_second_of_one_sink(monkeypatch, size, known):
    """All three ways of writing wait for their bytes: at once, in parts, in order."""
    asked = []
    monkeypatch.setattr(bandwidth.Bandwidth, "take", lambda _, size: asked.append(size))
    sink = xd.sink(f"memory://one-{uuid.uuid4().hex}/", bwlimit=1, part_size_bytes="1MiB")
    data = bytes(size)

    if known:
        xd.sink("memory://one-source/")(data, key="k")
        sink(xd.source("memory://one-source/")("k"))
    else:
        sink(iter([data[: size // 2], data[size // 2 :]]), key="k")

    assert sum(asked) == size


def test_a_run_that_waits_for_its_bytes_stops_when_it_is_told(ends, tmp_path):
    """At one byte a second this would be there in eleven days."""
    source, _, run = ends
    sink = f"{tmp_path}/to/"
    fill(source, 100, 10_000)

    report = xd.migrate(source, sink, run_dir=run, bandwidth=1, deadline=timedelta(seconds=1), concurrency=4)

    assert report.state == "limited"
    assert adds_up(report)
    assert report.counts.pending > 90
    assert xd.resume(run, bandwidth="1GB").counts.copied == 100


def test_a_run_that_waits_for_another_attempt_stops_when_it_is_told(ends, s3, monkeypatch):
    """Whether an object is read, sent at once or in parts: nobody sleeps an hour in a run that was stopped."""
    server, sink, options = s3
    source, _, run = ends
    fill(source, 4)
    fill(source.rstrip("/") + "/large/", 4, 9_000_000)
    monkeypatch.setattr(layers, "backoff_s", lambda *_: 3600.0)
    monkeypatch.setattr("crossdock.connectors.commits.backoff_s", lambda *_: 3600.0)
    for operation in ("object.insert", "part.put"):
        server.faults.add(Rule(operation=operation, status=503, name=operation))

    report = xd.migrate(
        source, sink, sink_options=options, run_dir=run, deadline=timedelta(seconds=1), concurrency=8
    )

    assert server.faults.fired["object.insert"] >= 1
    assert server.faults.fired["part.put"] >= 1
    assert report.state == "limited"
    assert adds_up(report)
    assert report.counts.copied == 0
    server.faults.clear()
    assert xd.resume(run, sink_options=options).counts.copied == 8


@pytest.mark.parametrize(
    "given", [{"max_errors": -1}, {"max_bytes": "a lot"}, {"deadline": "soon"}, {"bandwidth": 0}]
)
def test_what_makes_no_sense(ends, given):
    with pytest.raises(ConfigError):
        xd.migrate(ends[0], ends[1], **given)


def test_on_the_command_line(tmp_path):
    (tmp_path / "from").mkdir()
    for number in range(300):
        (tmp_path / "from" / f"{number:03d}").write_bytes(bytes(1000))
    words = [
        "cp",
        f"{tmp_path}/from/",
        f"{tmp_path}/to/",
        "--run-dir",
        f"{tmp_path}/run",
        "--concurrency",
        "1",
    ]

    ended = CliRunner().invoke(cli, [*words, "--max-bytes", "5kB", "--bwlimit", "100MB"])

    assert ended.exit_code == 7
    assert "stopped by a limit" in ended.output
    assert "crossdock runs resume" in ended.output
    again = CliRunner().invoke(cli, ["runs", "resume", f"{tmp_path}/run"])
    assert again.exit_code == 0
    assert len(list((tmp_path / "to").iterdir())) == 300
