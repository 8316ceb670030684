"""``crossdock rm``, ``du`` and ``cat`` against real servers: bytes, numbers, questions and exit codes."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest
from click.testing import CliRunner

import crossdock as xd
from crossdock.cli.main import cli
from crossdock.testing import EmbeddedGCS, EmbeddedS3

TREE = {"logs/a": b"1", "logs/b": b"22", "logs-2/c": b"333", "x": bytes(range(256)) * 8}


def crossdock(*arguments):
    result = CliRunner().invoke(cli, [*arguments])
    return result.exit_code, result.stdout_bytes, result.stderr


@pytest.fixture(params=["s3", "gs"])
def shelf(request, monkeypatch):
    """URL of a bucket, and the words that open it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-access-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret-key")
    server = (EmbeddedS3 if request.param == "s3" else EmbeddedGCS)(buckets=("shelf",))
    with server:
        sink = xd.sink(f"{request.param}://shelf/", endpoint_url=server.url)
        for key, body in TREE.items():
            sink(body, key=key)
        yield f"{request.param}://shelf/", ("--option", f"endpoint_url={server.url}")


@pytest.fixture
def disk(tmp_path):
    """A directory of the same objects, for what does not depend on a server."""
    for key, body in TREE.items():
        (tmp_path / "shelf" / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "shelf" / key).write_bytes(body)
    return f"{tmp_path}/shelf/"


def keys(url, *options):
    return [json.loads(line)["key"] for line in crossdock("ls", "--json", url, *options)[1].splitlines()]


def test_rm_of_one_object_and_of_a_prefix(shelf):
    url, options = shelf
    one = crossdock("rm", f"{url}x", *options)
    refused = crossdock("rm", f"{url}logs/", *options)
    dry = crossdock("rm", "-r", "-n", f"{url}logs/", *options)
    silent = crossdock("rm", "-r", f"{url}logs/", *options)
    assert keys(url, *options) == ["logs-2/c", "logs/a", "logs/b"]
    done = crossdock("rm", "-r", "--yes", f"{url}logs/", *options, "--json")

    assert (one[0], one[2]) == (0, "1 objects = 1 deleted + 0 changed + 0 failed\n")
    assert refused[0] == 2
    assert "or -r" in refused[2]
    assert (dry[0], dry[1].splitlines()) == (0, [b"would be deleted  logs/a", b"would be deleted  logs/b"])
    assert silent[0] == 8
    assert "2 objects, 3 B, below" in silent[2]
    assert "--yes" in silent[2]
    assert len(silent[2].splitlines()) == 1
    assert (done[0], json.loads(done[1])["deleted"]) == (0, 2)
    assert keys(url, *options) == ["logs-2/c"]
    assert crossdock("rm", f"{url}x", *options)[0] == 3
    assert crossdock("rm", "-r", "--yes", f"{url}logs/", *options)[0] == 3


def answered(answer, *arguments):
    """The command on a terminal, where somebody types an answer."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "crossdock", *arguments],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.write(ours, answer.encode())
    out, err = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    return process.returncode, out, err


def test_rm_asks_on_a_terminal(disk):
    no = answered("n\n", "rm", "-r", f"{disk}logs/")
    assert keys(disk) == ["logs-2/c", "logs/a", "logs/b", "x"]
    yes = answered("y\n", "rm", "-r", f"{disk}logs/")

    assert no[0] == 8
    assert "delete 2 objects, 3 B, below" in no[2]
    assert "nothing was deleted: 2 objects stay" in no[2]
    assert yes[0] == 0
    assert keys(disk) == ["logs-2/c", "x"]


def test_rm_filters(disk):
    assert crossdock("rm", "-r", "-y", disk, "--include", "logs/*", "--exclude", "**/b")[0] == 0
    assert keys(disk) == ["logs-2/c", "logs/b", "x"]


def test_du(shelf):
    url, options = shelf
    whole = crossdock("du", url, *options)
    deep = crossdock("du", "--depth", "1", "--bytes", url, *options)
    data = [
        json.loads(line) for line in crossdock("du", "--json", "--depth", "1", url, *options)[1].splitlines()
    ]

    assert whole[0] == 0
    assert whole[1].decode().split() == ["2.0", "KiB", "4", url]
    assert [line.split() for line in deep[1].decode().splitlines()] == [
        ["3", "1", "logs-2/"],
        ["3", "2", "logs/"],
        ["2,054", "4", url],
    ]
    assert [(row["type"], row["prefix"], row["objects"], row["bytes"]) for row in data] == [
        ("prefix", "logs-2/", 1, 3),
        ("prefix", "logs/", 2, 3),
        ("summary", "", 4, 2054),
    ]
    assert crossdock("du", f"{url}none/", *options)[0] == 3
    assert crossdock("du", "--depth", "-1", url, *options)[0] == 2


def test_cat_is_the_bytes_and_nothing_else(shelf):
    url, options = shelf

    assert crossdock("cat", f"{url}x", *options) == (0, TREE["x"], "")
    assert crossdock("cat", f"{url}logs/a", f"{url}x", f"{url}logs/b", *options) == (
        0,
        b"1" + TREE["x"] + b"22",
        "",
    )
    assert crossdock("cat", "--range", "10-20", f"{url}x", *options) == (0, TREE["x"][10:20], "")
    assert crossdock("cat", "--range", "-3", f"{url}x", *options)[1] == TREE["x"][-3:]
    assert crossdock("cat", f"{url}none", *options)[0] == 3
    assert crossdock("cat", "--range", "5", f"{url}x", *options)[0] == 2
    assert crossdock("cat", url, *options)[0] == 2


def test_cat_of_damaged_bytes_is_exit_1_and_one_line(monkeypatch):
    """The store published a digest of other bytes: they left by then, and the exit code says that they are wrong."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-access-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret-key")
    with EmbeddedGCS(buckets=("shelf",)) as gcs:
        sink = xd.sink("gs://shelf/", endpoint_url=gcs.url)
        sink(b"good bytes", key="k")
        from crossdock.connectors.gcs.store import GCSStore

        stat = GCSStore.stat

        def damaged(self, key, **kwargs):
            from dataclasses import replace

            info = stat(self, key, **kwargs)
            return replace(info, digests=replace(info.digests, crc32c=b"\0\0\0\0", md5=None))

        monkeypatch.setattr(GCSStore, "stat", damaged)
        code, out, told = crossdock("cat", "gs://shelf/k", "--option", f"endpoint_url={gcs.url}")

    assert (code, out) == (1, b"good bytes")
    assert "than the source published" in told
    assert len(told.splitlines()) == 1


def test_cat_into_a_pipe_that_closes_is_quiet(disk, tmp_path):
    (tmp_path / "shelf" / "large").write_bytes(b"x" * 20_000_000)
    done = subprocess.run(
        ["bash", "-c", f"'{sys.executable}' -m crossdock cat '{disk}large' | head -c 3"],
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert (done.stdout, done.stderr) == (b"xxx", b"")
