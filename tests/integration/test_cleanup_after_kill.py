"""SIGKILL in the middle of a large object, then ``crossdock cleanup``: nothing is left open, and objects are untouched.

On every kind of store that outlives the process that is killed. What others left is told from what the run left.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid

import fsspec_filesystems
import pytest
from azurite import ACCOUNT, KEY as ACCOUNT_KEY, BackDoor, serve_azurite
from ftp_server import PASSWORD as FTP_PASSWORD, ftp_server

import crossdock as xd
from crossdock.model import MIB

PART = 5 * MIB

# A process that moves two objects and stops for ever in the middle of the second: it says so, and waits to be killed.
CHILD = """
import json, sys, threading
import crossdock as xd
from crossdock.connectors.layers import layered
from crossdock.connectors.memory import MemoryStore
from crossdock.connectors.objects import ObjectSource

class Stopping(MemoryStore):
    endpoint = "nowhere"
    def read(self, key, byte_range=None, **more):
        reader = super().read(key, byte_range, **more)
        if key != "big":
            return reader
        if byte_range is None:
            return Trickle(reader)
        if byte_range.start >= 2 * PART:
            stop()
        return reader

class Trickle:
    def __init__(self, reader):
        self.info, self.close, self._reader = reader.info, reader.close, reader
    def __iter__(self):
        whole = bytes(self._reader.read_all())
        for start in range(0, 3 * PART, 1024 * 1024):
            yield whole[start : start + 1024 * 1024]
        stop()

def stop():
    print("in the middle", flush=True)
    threading.Event().wait()

PART = 5 * 1024 * 1024
url, options, place = json.loads(sys.argv[1])
store = Stopping("from")
store.put("aaa", b"first")
store.put("big", b"x" * (4 * PART))
if "fsspec_filesystems" in sys.argv:
    import fsspec_filesystems
sink = xd.sink(url, part_size_bytes=PART, part_concurrency=1, **options)
xd.migrate(ObjectSource(layered(store)), sink, run_dir=place, concurrency=1)
"""


@pytest.fixture(autouse=True)
def _state_home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def azurite():
    with serve_azurite() as url:
        door = BackDoor(url)
        yield door
        door.close()


@pytest.fixture
def azure(azurite):
    options = {"endpoint_url": azurite.url, "account_name": ACCOUNT, "account_key": ACCOUNT_KEY}
    return f"az://{azurite.make_container()}/", options, None, None


@pytest.fixture
def ftp(tmp_path):
    root = tmp_path / "ftp"
    root.mkdir()
    with ftp_server(root) as (url, _):
        yield f"{url}/", {"password": FTP_PASSWORD}, None, None


@pytest.fixture
def fsspec(tmp_path):
    root = tmp_path / "other"
    root.mkdir()
    assert fsspec_filesystems.OtherLocal
    return f"otherlocal://{root}/", {}, None, None


def kill_in_the_middle(url, options, place):
    command = [sys.executable, "-c", CHILD, json.dumps([url, options, place]), "fsspec_filesystems"]
    path = os.pathsep.join(sys.path)
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
    )
    try:
        assert child.stdout.readline() == b"in the middle\n", child.stderr.read().decode()
    finally:
        child.kill()
        child.wait(60)
        child.stdout.close()
        child.stderr.close()


@pytest.mark.parametrize("end", ["s3", "gcs", "azure", "local", "sftp", "ftp", "fsspec"], indirect=True)
def test_nothing_is_left_open_and_no_object_touched(end, tmp_path):
    url, options = f"{end[0]}out-{uuid.uuid4().hex[:6]}/", end[1]
    place = f"{tmp_path}/run/"
    sink = xd.sink(url, **options)
    sink(iter([b"was there"]), key="kept")
    store, prefix = sink.store, sink.prefix

    kill_in_the_middle(url, options, place)
    left = [*store.list_uploads(prefix)]
    foreign = None
    if (
        not store.capabilities.ordered_parts
    ):  # elsewhere an open upload belongs to one process: a kill would be needed
        foreign = store.begin(f"{prefix}theirs", part_size_bytes=PART)
    before = {info.key: info.version for page in store.list(prefix) for info in page}

    planned = xd.cleanup(place, sink_options=secrets(options), dry_run=True)
    still = [*store.list_uploads(prefix)]
    report = xd.cleanup(place, sink_options=secrets(options))

    assert [f"{prefix}big"] == [upload.key for upload in left]  # the fault fired: an upload was left
    assert len(left) + (foreign is not None) == len(still)
    assert (
        [upload.id for upload in left]
        == [each.id for each in report.removed]
        == [each.id for each in planned.removed]
    )
    assert ([foreign.key] if foreign else []) == [upload.key for upload in store.list_uploads(prefix)]
    assert before == {info.key: info.version for page in store.list(prefix) for info in page}
    assert [f"{prefix}aaa", f"{prefix}kept"] == sorted(before)
    if foreign is not None:
        young = xd.cleanup(url, options=options, older_than="1h")
        old = xd.cleanup(url, options=options, older_than="0s")
        assert [foreign.key] == [each.key for each in young.kept] == [each.key for each in old.removed]
        assert [*store.list_uploads(prefix)] == []


def secrets(options):
    """What a run does not keep; everything it does keep is taken from there."""
    return {
        name: value
        for name, value in options.items()
        if name in ("key", "secret", "token", "password", "account_key")
    }
