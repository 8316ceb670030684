"""The main job: a bucket moves from S3 to GCS, proven, rerun and resumed, here and on Dask workers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

import crossdock as xd
from crossdock.model import MIB, Verification

RCLONE = Path(sys.executable).parent / "rclone"
KEY, SECRET = "access-key-of-a-test", "secret-key-of-a-test"


def _free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.fixture(scope="module")
def rclone_s3(tmp_path_factory):
    """`rclone serve s3` over a directory whose folders are buckets: a server that is not ours."""
    root, port = tmp_path_factory.mktemp("rclone"), _free_port()
    for bucket in ("src", "large"):  # before it starts: rclone caches what a directory holds
        (root / bucket).mkdir()
    process = subprocess.Popen(
        [RCLONE, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", f"{KEY},{SECRET}", str(root)],
        stderr=subprocess.DEVNULL,
    )
    for _ in range(200):
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}", root
    process.terminate()
    process.wait(10)


@pytest.fixture(scope="module")
def gcs_process():
    """The embedded GCS as a process of its own, so that memory measured here is the client's."""
    process = subprocess.Popen(
        [sys.executable, "-m", "crossdock.testing.gcs", "--port", "0", "--bucket", "dst"],
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process.stdout.readline().strip()
    process.terminate()
    process.wait(10)
    process.stdout.close()


@pytest.fixture
def s3_options(s3):
    return s3[1]


def _move(s3, gcs, **more):
    return xd.migrate(s3[0] + "in/", gcs[0] + "out/", source_options=s3[1], sink_options=gcs[1], **more)


def test_a_thousand_objects_then_nothing_then_exactly_three(s3, gcs, tmp_path):
    """Zero differences; a second run copies nothing; a third after changing three copies exactly three."""
    source = xd.source(s3[0], **s3[1])
    bodies = {f"in/{number:04d}": os.urandom(number % 50) for number in range(1000)}
    for key, body in bodies.items():
        source.store.put(key, body)

    first = _move(s3, gcs, run_dir=f"{tmp_path}/one")
    second = _move(s3, gcs, run_dir=f"{tmp_path}/two")
    for key in ("in/0007", "in/0501", "in/0999"):  # the same size, other bytes: found by digest
        bodies[key] = bytes(len(bodies[key]) - 1) + b"!"
        source.store.put(key, bodies[key])
    third = _move(s3, gcs, run_dir=f"{tmp_path}/three")

    assert (first.counts.copied, first.counts.skipped, first.counts.failed) == (1000, 0, 0)
    assert (second.counts.copied, second.counts.skipped, second.counts.failed) == (0, 1000, 0)
    assert (third.counts.copied, third.counts.skipped, third.counts.failed) == (3, 997, 0)
    held = gcs[2].objects(gcs[3])
    assert {key.replace("in/", "out/", 1) for key in bodies} == set(held)
    assert all(bodies[key.replace("out/", "in/", 1)] == bytes(stored.data) for key, stored in held.items())


def test_a_server_that_is_not_ours(rclone_s3, gcs, tmp_path):
    """`rclone serve s3` as source: zero differences, and a second run copies nothing."""
    url, root = rclone_s3
    (root / "src" / "sub").mkdir()
    bodies = {f"sub/{number:03d}.bin": os.urandom(number * 37) for number in range(200)}
    bodies["big.bin"] = os.urandom(40 * MIB)
    for key, body in bodies.items():
        (root / "src" / key).write_bytes(body)
    options = {"endpoint_url": url, "key": KEY, "secret": SECRET, "region": "us-east-1"}

    reports = [
        xd.migrate(
            "s3://src/", gcs[0], source_options=options, sink_options=gcs[1], run_dir=f"{tmp_path}/{n}"
        )
        for n in range(2)
    ]

    assert [(report.counts.copied, report.counts.skipped, report.counts.failed) for report in reports] == [
        (201, 0, 0),
        (0, 201, 0),
    ]
    assert bodies == {key: bytes(stored.data) for key, stored in gcs[2].objects(gcs[3]).items()}


def test_a_large_object_moves_in_little_memory(rclone_s3, gcs_process, tmp_path):
    """One object of 2 GiB, default settings, one process: peak RSS under 400 MiB."""
    url, root = rclone_s3
    with (root / "large" / "two-gib").open("wb") as file:
        file.truncate(2 << 30)
        file.seek(123_456_789)
        file.write(b"not only zeros")
    command = [sys.executable, "-m", "crossdock", "cp", "s3://large/", "gs://dst/", "--json", "-q"]
    command += ["--source-option", f"endpoint_url={url}", "--sink-option", f"endpoint_url={gcs_process}"]
    command += ["--run-dir", f"{tmp_path}/run"]
    env = {**os.environ, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}
    # A process starts with its parent's peak, so a small one stands between this one and what is measured.
    measure = (
        "import resource as r, subprocess, sys; sys.stderr.flush(); code = subprocess.call(sys.argv[1:]); "
    )
    measure += "print('peak', r.getrusage(r.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
    done = subprocess.run(
        [sys.executable, "-c", measure, *command], env=env, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    peak_kib = int(done.stdout.splitlines()[-1].split()[1])
    assert 50 * 1024 < peak_kib < 400 * 1024, f"peak {peak_kib // 1024} MiB"
    with urllib.request.urlopen(f"{gcs_process}/storage/v1/b/dst/o/two-gib") as answer:
        assert str(2 << 30) == json.load(answer)["size"]


@pytest.fixture
def dask_runner():
    runner = xd.DaskRunner(cluster_kwargs={"n_workers": 2, "threads_per_worker": 1})
    yield runner
    runner.close()


class _Frames:
    """Bytes of all messages that the driver's process (client and scheduler) sends and receives."""

    def __init__(self, monkeypatch):
        from distributed.comm import tcp

        self.total = 0
        self._lock = threading.Lock()
        read, write = tcp.TCP.read, tcp.TCP.write
        load = tcp.from_frames

        async def counted(frames, **kwargs):
            with self._lock:
                self.total += sum(len(memoryview(frame).cast("B")) for frame in frames)
            return await load(frames, **kwargs)

        async def written(comm, *args, **kwargs):
            size = await write(comm, *args, **kwargs)
            with self._lock:
                self.total += size or 0
            return size

        assert read
        monkeypatch.setattr(tcp, "from_frames", counted)
        monkeypatch.setattr(tcp.TCP, "write", written)


def test_only_receipts_reach_scheduler_and_client(s3, gcs, tmp_path, dask_runner, monkeypatch):
    """128 MiB move on two workers; all messages of scheduler and client together are a fraction of that."""
    frames = _Frames(monkeypatch)
    source = xd.source(s3[0], **s3[1])
    for number in range(16):
        source.store.put(f"in/{number}", os.urandom(8 * MIB))

    report = _move(s3, gcs, run_dir=f"{tmp_path}/run", runner=dask_runner)

    assert report.counts.copied == 16
    assert 0 < frames.total < 8 * MIB
    report.raise_for_failures()


def test_ten_thousand_objects_are_a_few_dask_tasks(gcs, tmp_path, dask_runner):
    """Shards, not objects, are the scheduler's tasks."""
    root = tmp_path / "many"
    root.mkdir()
    for number in range(10_000):
        (root / f"{number:05d}").write_bytes(b"%d" % number)

    report = xd.migrate(
        f"file://{root}/", gcs[0], sink_options=gcs[1], run_dir=f"{tmp_path}/run", runner=dask_runner
    )

    assert 10_000 == report.counts.copied == len(gcs[2].objects(gcs[3]))
    keys = {entry[0] for entry in dask_runner.cluster.scheduler.transition_log}
    assert 0 < len(keys) < 200


def test_small_objects_reach_v2(s3, gcs, tmp_path):
    """Single-part objects are proven end to end without an extra request."""
    source = xd.source(s3[0], **s3[1])
    source.store.put("in/a", b"abc")

    with xd.one_task() as move:
        xd.sink(gcs[0], **gcs[1])(xd.source(s3[0], **s3[1])(xd.param("key")))

    assert move(key="in/a").verification == Verification.V2
