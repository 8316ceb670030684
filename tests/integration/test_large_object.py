"""One large object over several workers: begun once, parts anywhere, completed once, and what a lost worker costs."""

from __future__ import annotations

import os
import signal
import uuid

import pytest
from azurite import ACCOUNT, KEY as ACCOUNT_KEY, BackDoor, serve_azurite

import crossdock as xd
from benchmarks.crash_kit import CREDENTIALS, SECRETS, Seen, start
from crossdock.flows.ledger.writing import read_records
from crossdock.flows.moving.parts.noted import progress_of
from crossdock.flows.runs.directory import open_run
from crossdock.model import MIB
from crossdock.testing import EmbeddedS3
from crossdock.testing.rules import Rule

PART = 5 * MIB
SIZE = 27 * MIB + 5  # six parts


@pytest.fixture(scope="module")
def seen_server():
    faults = Seen()
    with EmbeddedS3(buckets=("dst",), faults=faults) as server:
        yield server


@pytest.fixture
def seen(seen_server):
    seen_server.faults.forget()
    return seen_server.faults


@pytest.fixture(autouse=True)
def _state_home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


def options(server, **more):
    return {"endpoint_url": server.url, **CREDENTIALS, **more}


@pytest.fixture(scope="module")
def azurite():
    with serve_azurite() as url:
        door = BackDoor(url)
        yield door
        door.close()


@pytest.fixture
def azure(azurite, monkeypatch):
    monkeypatch.setenv("CRASH_ACCOUNT_KEY", ACCOUNT_KEY)
    key = "env:CRASH_ACCOUNT_KEY"
    sink_options = {"endpoint_url": azurite.url, "account_name": ACCOUNT, "account_key": key}
    return f"az://{azurite.make_container()}/", sink_options, None, None


@pytest.mark.parametrize("end", ["gcs", "azure", "local"], indirect=True)
def test_an_upload_goes_on_where_a_killed_process_left_it(end, tmp_path):
    """Killed after some parts, and again when all is sent: at GCS between assembling the object and publishing it."""
    url, sink_options, server, _ = end
    (tmp_path / "from").mkdir()
    body = os.urandom(SIZE)
    (tmp_path / "from" / "big").write_bytes(body)
    asked = {
        "source": f"file://{tmp_path}/from/",
        "sink": f"{url}out/",
        "run_dir": f"{tmp_path}/run/",
        "sink_options": {**sink_options, "part_size_bytes": PART, "split_above_bytes": 10 * MIB},
    }
    first = start(asked, crash_at="part-recorded:3")
    assert first.end()[0] == -signal.SIGKILL
    begun = recorded_parts(tmp_path)
    running = []

    def kill():
        running[0].kill_all()

    if server:
        server.faults.reset_counters()
        server.faults.add(Rule(operation="object.compose", act=kill, status=503, name="killed"))
    running.append(start(asked, crash_at="" if server else "before-commit"))
    assert running[0].end()[0] == -signal.SIGKILL
    if server:
        assert server.faults.fired["killed"]
        server.faults.clear()
    sent = recorded_parts(tmp_path)
    third = start(asked)
    status, errors = third.end()
    store = xd.sink(url, **sink_options).store

    assert (status, third.out.strip()) == (0, "ended 0"), errors
    assert len(begun) >= 3
    assert sorted(number for _, number in sent) == [1, 2, 3, 4, 5, 6]
    assert sent == recorded_parts(tmp_path)  # of one upload, and the last process sent nothing
    assert bytes(store.read("out/big").read_all()) == body
    assert [*store.list_uploads("")] == []
    if server:
        assert server.faults.requests["part.put"] == 6 - len(begun)


def recorded_parts(tmp_path):
    """Upload and number of each part the ledger knows, once for each record of it."""
    return sorted(
        (progress.id, number)
        for _, records in read_records(open_run(f"{tmp_path}/run/").files)
        for progress in progress_of([*records])
        for number in progress.parts
    )


def receipts(report):
    return {
        record.receipt.key.rpartition("/")[2]: record.receipt
        for _, records in read_records(report.directory.files)
        for record in records
        if record.receipt is not None
    }


@pytest.mark.timeout(180)
def test_a_killed_worker_costs_only_its_parts_in_flight(seen_server, seen, tmp_path):
    """256 MiB on two Dask workers, SIGKILL of one in the middle: counted at the server, only what it had in flight is sent again."""
    (tmp_path / "from").mkdir()
    body = os.urandom(64 * MIB) * 4
    (tmp_path / "from" / "big").write_bytes(body)
    at_a_time, prefix, killed = 2, uuid.uuid4().hex, []
    with xd.DaskRunner(n_workers=2) as runner:
        pids = list(runner.workers().values())
        seen.act_at = (16, lambda: killed.append(os.kill(pids[0], signal.SIGKILL)))
        report = xd.migrate(
            str(tmp_path / "from"),
            f"s3://dst/{prefix}/",
            runner=runner,
            sink_options=options(
                seen_server, part_size_bytes=8 * MIB, part_concurrency=at_a_time, split_above_bytes=32 * MIB
            ),
        )

    assert killed, (report.counts, report.state, [*report.failed])
    assert (report.counts.copied, report.counts.pending) == (1, 0)
    assert body == seen_server.objects("dst")[f"{prefix}/big"].data
    assert {(f"{prefix}/big", number) for number in range(1, 33)} == {*seen.parts}
    assert 0 <= seen.twice() <= at_a_time
    assert (seen.requests["upload.begin"], seen.requests["upload.complete"]) == (1, 1)
    assert not seen_server.open_uploads("dst")
    assert receipts(report)["big"].method == "parts"
