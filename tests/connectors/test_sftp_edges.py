"""SFTP among people and networks as they are: links, cuts, leftovers, lost servers."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading

import asyncssh
import pytest
from sftp_server import PASSWORD, USER, SSHInProcess

import crossdock as xd
from crossdock.connectors.layers import layered
from crossdock.connectors.local import LocalStore
from crossdock.connectors.sftp import SFTPOptions, SFTPStore, session
from crossdock.errors import (
    NotFoundError,
    PreconditionError,
    StalledError,
    UnsupportedError,
)
from crossdock.model import ABSENT, MIB, Verification
from crossdock.options import Secret
from crossdock.testing.suite.base import content


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    return root


@pytest.fixture
def server(tmp_path):
    with SSHInProcess(tmp_path) as server:
        yield server


def store_at(server, root, **options):
    chosen = {"password": Secret(PASSWORD), "host_key": server.fingerprint, **options}
    return SFTPStore(f"{USER}@127.0.0.1:{server.port}{root}", SFTPOptions(**chosen))


@pytest.fixture
def store(server, root):
    return store_at(server, root)


def everything_below(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


class TestURLs:
    def test_there_and_back_by_url(self, server, root, tmp_path):
        options = {"password": PASSWORD, "host_key": server.fingerprint}
        base = f"sftp://{USER}@127.0.0.1:{server.port}{root}"
        data = content(3 * MIB + 5)
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "a.bin").write_bytes(data)
        there = xd.copy(
            f"{tmp_path}/in/a.bin", f"{base}/sub/", sink_options={**options, "part_size": "1MiB"}, verify="v3"
        )
        back = xd.copy(
            f"{base}/sub/a.bin",
            f"{tmp_path}/out/",
            source_options=options,
            sink_options={"part_size": "1MiB"},
        )

        assert data == (root / "sub" / "a.bin").read_bytes() == (tmp_path / "out" / "a.bin").read_bytes()
        assert (there.method, there.verification) == ("parts", Verification.V3)
        assert (back.method, back.source_version.is_weak) == ("parts", True)
        assert everything_below(root) == ["sub", "sub/a.bin"]

    def test_a_migration_and_its_rerun(self, server, root, tmp_path):
        """A prefix named without its slash; the second run moves nothing."""
        options = {"password": PASSWORD, "host_key": server.fingerprint}
        for number in range(30):
            (tmp_path / "in" / f"d{number % 3}").mkdir(parents=True, exist_ok=True)
            (tmp_path / "in" / f"d{number % 3}" / str(number)).write_bytes(content(number * 100, seed=number))
        url = f"sftp://{USER}@127.0.0.1:{server.port}{root}/new/deep"
        first, second = (
            xd.migrate(f"{tmp_path}/in/", url, sink_options=options, run_dir=f"{tmp_path}/run{n}")
            for n in range(2)
        )

        assert (first.counts.copied, first.counts.failed) == (30, 0)
        assert (second.counts.copied, second.counts.skipped) == (0, 30)
        back = xd.migrate(url, f"{tmp_path}/out/", source_options=options, run_dir=f"{tmp_path}/run3")
        assert back.counts.copied == 30
        assert everything_below(tmp_path / "in") == everything_below(tmp_path / "out")

    def test_named_classes(self, server, root):
        options = {"password": PASSWORD, "host_key": server.fingerprint}
        place = f"{USER}@127.0.0.1:{server.port}{root}"
        xd.SFTPSink(place, "2024/", **options)(b"data", key="k")

        assert xd.SFTPSource(place, "2024/", **options)("k").read() == b"data"
        assert [*xd.SFTPSource(place, **options).list()] == ["2024/k"]


class TestContainment:
    def test_links_are_neither_followed_nor_listed(self, store, root, tmp_path):
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "file").write_text("outside")
        (root / "dir").symlink_to(outside)
        (root / "link").symlink_to(outside / "file")
        os.mkfifo(root / "pipe")
        (root / "file").write_text("x")

        for use in (
            lambda: store.read("dir/file"),
            lambda: store.stat("dir/file"),
            lambda: store.put("dir/file", b"new"),
            lambda: store.put("dir/sub/file", b"new"),
            lambda: store.begin("dir/file", part_size_bytes=10),
            lambda: store.delete("dir/file"),
            lambda: store.read("link"),
            lambda: store.delete("link"),
        ):
            with pytest.raises(UnsupportedError, match="symbolic link"):
                use()
        with pytest.raises(UnsupportedError, match="not a regular file"):
            store.read("pipe")
        assert [info.key for page in store.list() for info in page] == ["file"]
        assert [*store.list("dir/")] == []
        assert everything_below(outside) == ["file"]
        assert (outside / "file").read_text() == "outside"

    def test_a_write_replaces_a_link_not_its_target(self, store, root, tmp_path):
        (tmp_path / "target").write_text("outside")
        (root / "link").symlink_to(tmp_path / "target")
        store.put("link", b"inside")

        assert (tmp_path / "target").read_text() == "outside"
        assert not (root / "link").is_symlink()
        assert (root / "link").read_bytes() == b"inside"

    @pytest.mark.parametrize("upload_id", ["../../x", "0" * 32 + "-1/../..", ""])
    def test_a_forged_upload_leads_nowhere(self, store, root, upload_id):
        (root / "x").write_text("before")
        forged = xd.model.Upload(key="k", id=upload_id, part_size_bytes=4)

        with pytest.raises(NotFoundError):
            store.put_part(forged, 1, b"data")
        with pytest.raises(NotFoundError):
            store.complete(forged, [], size=0)
        store.abort(forged)
        assert everything_below(root) == ["x"]

    def test_names_that_are_no_keys_are_loud(self, store, root):
        (root / os.fsdecode(b"\xff\xfe")).write_text("x")
        (root / "fine").mkdir()
        (root / "fine" / "file").write_text("x")

        with pytest.raises(UnsupportedError, match="not UTF-8"):
            list(store.list())
        assert [info.key for page in store.list("fine/") for info in page] == ["fine/file"]


class TestCommits:
    @pytest.mark.parametrize("failing", ["write", "fsync", "posix_rename"])
    @pytest.mark.parametrize("old", [None, b"before"])
    def test_a_failed_put_leaves_what_was_there(self, server, store, root, failing, old):
        if old is not None:
            (root / "k").write_bytes(old)
        fired = []

        def before(operation):
            if operation == failing:
                fired.append(operation)
                raise asyncssh.SFTPFailure("disk full")

        server.manners.before = before
        with pytest.raises(xd.StorageError, match="disk full"):
            store.put("k", content(200_000))

        assert fired
        assert everything_below(root) == ([] if old is None else ["k"])
        assert old is None or (root / "k").read_bytes() == old
        assert not server.manners.handles

    def test_a_replacement_is_told_from_what_it_replaced_within_a_second(self, store):
        """SFTP's times have seconds; ours never repeat one for a key that is replaced."""
        versions = [store.put("k", b"same size").version for _ in range(5)]

        assert len({*versions}) == 5
        assert store.stat("k").version == versions[-1]

    def test_without_hard_links_creating_on_condition_is_refused(self, root, tmp_path, monkeypatch):
        greet = session.Session._greet

        def poor(self):
            greet(self)
            self.extensions.pop(b"hardlink@openssh.com")

        monkeypatch.setattr(session.Session, "_greet", poor)
        with SSHInProcess(tmp_path) as server:
            store = store_at(server, root)
            with pytest.raises(UnsupportedError, match="only if it is absent"):
                store.put("k", b"data", condition=ABSENT)
            assert not store.capabilities.create_if_absent
            trusting = store_at(server, root, conditional_writes=True)
            trusting.put("k", b"data", condition=ABSENT)
            with pytest.raises(PreconditionError):
                trusting.put("k", b"other", condition=ABSENT)
        assert (root / "k").read_bytes() == b"data"
        assert everything_below(root) == ["k"]

    def test_without_atomic_renames_replacing_is_refused(self, root, store):
        (root / "k").write_bytes(b"before")
        store.check()
        for each in store._pool._sessions:
            each.extensions.pop(b"posix-rename@openssh.com")

        with pytest.raises(UnsupportedError, match="in one step"):
            store.put("k", b"new")
        store.put("fresh", b"new")
        assert (root / "k").read_bytes() == b"before"
        assert everything_below(root) == ["fresh", "k"]

    def test_what_a_killed_process_left_is_found_and_removed(self, server, store, root):
        """SIGKILL in the middle of a put: the key is untouched, the leftover is listed under its key, and aborted."""
        reached, script = (
            threading.Event(),
            (
                "import pickle, sys; store = pickle.loads(sys.stdin.buffer.read()); store.put('dir/k', bytes(50_000_000))"
            ),
        )
        server.manners.before = lambda operation: reached.set() if operation == "write" else None
        recipe = pickle.dumps(store)  # before the process starts, which inherits the secret by environment
        process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE)
        process.stdin.write(recipe)
        process.stdin.close()
        assert reached.wait(30)
        process.kill()
        process.wait()
        (left,) = store.list_uploads()

        assert left.key == "dir/k"
        assert [*store.list()] == []
        assert [*store.list_uploads("other")] == []
        assert [upload.id for upload in LocalStore(str(root)).list_uploads()] == [left.id]
        store.abort(left)
        assert everything_below(root) == ["dir"]


class TestConnections:
    def test_a_cut_connection_is_lost_and_then_made_anew(self, server, store):
        store.put("k", content(100_000))
        server.drop_connections()
        layer = layered(store)

        assert content(100_000) == bytes(layer.read("k").read_all())
        assert server.manners.connections >= 2

    def test_a_read_that_is_cut_goes_on_at_the_offset(self, server, root):
        data = content(8 * MIB)
        (root / "k").write_bytes(data)
        reads = []

        def before(operation):
            if operation == "read":
                reads.append(operation)
                if len(reads) == 30:
                    server.drop_connections()

        server.manners.before = before
        read = b"".join(bytes(chunk) for chunk in layered(store_at(server, root)).read("k"))

        assert data == read
        assert server.manners.connections == 2

    def test_silence_is_stalled(self, server, root):
        (root / "k").write_bytes(b"data")
        release = threading.Event()
        server.manners.before = lambda operation: release.wait(20) and None if operation == "read" else None
        store = store_at(server, root, no_progress_timeout_s=0.3)
        try:
            with pytest.raises(StalledError, match="silent"):
                store.read("k").read_all()
        finally:
            release.set()

    def test_a_file_changed_in_place_is_loud(self, store, root):
        """The end is never handed out before the file is known to be the one that was opened."""
        (root / "k").write_bytes(content(3 * MIB))
        reader = store.read("k")
        chunks = iter(reader)
        seen = [next(chunks)]
        with (root / "k").open("r+b") as file:
            file.truncate(2 * MIB + 1)

        with pytest.raises(PreconditionError, match="changed while it was read"):
            seen.extend(chunks)
        assert sum(map(len, seen)) < 3 * MIB

    def test_few_connections_serve_many_threads(self, server, root):
        """Readers that nobody empties keep nobody else from writing: no deadlock with more streams than connections."""
        store = store_at(server, root, connections=2)
        for number in range(12):
            (root / f"r{number}").write_bytes(content(4 * MIB, seed=number))
        readers = [store.read(f"r{number}") for number in range(12)]
        store.put("k", content(3 * MIB))

        assert content(3 * MIB) == (root / "k").read_bytes()
        for number, reader in enumerate(readers):
            assert content(4 * MIB, seed=number) == bytes(reader.read_all())
        assert server.manners.connections <= 2

    def test_every_handle_is_closed(self, server, store, root):
        (root / "k").write_bytes(content(MIB))
        store.read("k").close()
        store.read("k").read_all()
        iter(store.read("k"))
        for part in (1, 2):
            upload = store.begin("new", part_size_bytes=10)
            store.put_part(upload, part, b"0123456789")
            store.abort(upload)
        store.check()  # closing is not waited for; an answer to a later request shows that it was done

        assert _eventually(lambda: not server.manners.handles)


def _eventually(true) -> bool:
    """Poll what another thread is about to do, within a bound."""
    done = threading.Event()
    for _ in range(500):
        if true():
            return True
        done.wait(0.02)
    return False
