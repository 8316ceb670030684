"""Ten thousand small JSON-lines objects on S3 to Parquet on GCS, over two Dask workers; everything is killed in the middle.

Then the same command once more: no row is lost, none is doubled, and what was written stays what it was.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pyarrow.parquet as pq
import pytest
from pyarrow import BufferReader

import crossdock as xd
from benchmarks.crash_kit import SECRETS, Command, Seen
from crossdock import crash_points
from crossdock.testing import EmbeddedGCS, EmbeddedS3

OBJECTS = 10_000
KILL_AT = 6  # requests with payload that reach the destination
S3 = {"key": "env:CRASH_KEY", "secret": "env:CRASH_SECRET", "region": "us-east-1"}

CODE = """
import json, sys
import crossdock as xd

def main():
    asked = json.loads(sys.argv[1])
    dask = asked.pop("dask")
    with xd.DaskRunner(n_workers=2) if dask else xd.LocalRunner(threads=2, window=2) as runner:
        report = xd.convert(**asked, runner=runner)
    print(json.dumps(report.to_dict()), flush=True)
    sys.exit(report.exit_code)

if __name__ == "__main__":
    main()
"""


@pytest.fixture(scope="module")
def s3():
    with EmbeddedS3(buckets=("events",)) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        store = xd.sink("s3://events/", endpoint_url=server.url, **S3).store
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda number: store.put(*small(number)), range(OBJECTS)))
        yield server


def small(number: int) -> tuple[str, bytes]:
    return f"day={number % 2}/{number:05d}.jsonl", b'{"id": %d, "text": "number %d"}\n' % (number, number)


@pytest.fixture
def gcs():
    with EmbeddedGCS(buckets=("lake",), faults=Seen()) as server:
        yield server


def begin(asked, place, *, dask: bool = False, crash_at: str = "") -> Command:
    place.write_text(CODE)  # workers import the main module: it has to be a file
    environment = {**os.environ, **SECRETS, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop(crash_points.VARIABLE, None)
    if crash_at:
        environment[crash_points.VARIABLE] = crash_at
    return Command(
        subprocess.Popen(
            [sys.executable, str(place), json.dumps({**asked, "dask": dask})],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    )


def ids_in(server) -> Counter[int]:
    """How often each id is at the destination; every object there has to be whole."""
    found: Counter[int] = Counter()
    for each in server.objects("lake").values():
        found.update(pq.read_table(BufferReader(each.data), columns=["id"])["id"].to_pylist())
    return found


@pytest.mark.timeout(180)
def test_everything_is_killed_and_no_row_is_lost_or_doubled(s3, gcs, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    asked = {
        "source": "s3://events/",
        "destination": "gs://lake/",
        "target_size": "32KB",
        "run_dir": f"{tmp_path / 'run'}/",
        "source_options": {"endpoint_url": s3.url, **S3},
        "sink_options": {"endpoint_url": gcs.url, "token": "anon"},
    }
    first = begin(asked, tmp_path / "command.py", dask=True)
    gcs.faults.act_at = (KILL_AT, first.kill_all)
    try:
        first.process.wait(90)
        killed = first.process.returncode
    finally:
        first.kill_all()
        first.process.communicate()
    seen = ids_in(gcs)
    before = {key: each.generation for key, each in gcs.objects("lake").items()}
    sent = gcs.faults.sent

    again = begin(asked, tmp_path / "command.py", dask=True)
    status, errors = again.end()

    assert killed == -signal.SIGKILL
    assert set(seen.values()) == {1}
    assert 0 < len(seen) < OBJECTS
    assert status == 0, errors
    assert ids_in(gcs) == Counter(range(OBJECTS))
    after = {key: each.generation for key, each in gcs.objects("lake").items()}
    assert {key: after[key] for key in before} == before
    report = json.loads(again.out)
    assert (report["planned"], report["copied"], report["pending"], report["rows"]) == (
        OBJECTS,
        OBJECTS,
        0,
        OBJECTS,
    )
    assert report["outputs"] == len(after)
    assert gcs.faults.sent - sent == len(after) - len(before)
    assert gcs.open_uploads("lake") == {}


LABELS = [label for label in crash_points.LABELS if not label.startswith(("upload-", "part-"))]


@pytest.mark.parametrize("half", range(2))
def test_a_crash_at_each_labelled_point(half, gcs, tmp_path, monkeypatch):
    """The process dies at one point after the other, on one run; then the same command converges, and wrote nothing twice."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for number in range(60):
        name, body = small(number)
        (tmp_path / "from" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "from" / name).write_bytes(body)
    asked = {
        "source": f"{tmp_path / 'from'}/",
        "destination": "gs://lake/",
        "target_size": "300",
        "run_dir": f"{tmp_path / 'run'}/",
        "sink_options": {"endpoint_url": gcs.url, "token": "anon"},
    }
    labels = LABELS[half::2]
    for label in labels:
        status, errors = begin(asked, tmp_path / "command.py", crash_at=label).end()

        assert status == -signal.SIGKILL, (label, errors)  # the fault fired
        assert set(ids_in(gcs).values()) <= {1}
    command = begin(asked, tmp_path / "command.py")
    status, errors = command.end()

    assert status == 0, errors
    assert ids_in(gcs) == Counter(range(60))
    report = json.loads(command.out)
    assert (report["copied"], report["pending"], report["rows"]) == (60, 0, 60)
    assert gcs.faults.sent == report["outputs"] == len(gcs.objects("lake"))
