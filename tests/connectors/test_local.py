"""The local store keeps the specification, never leaves its root, and cleans up after crashes."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from crossdock.connectors import local_tree
from crossdock.connectors.local import LocalOptions, LocalStore
from crossdock.errors import (
    ConfigError,
    ConnectionLostError,
    DeniedError,
    IntegrityError,
    NotFoundError,
    PreconditionError,
    Retry,
    StorageError,
    UnexpectedError,
    UnsupportedError,
)
from crossdock.model import ABSENT, ByteRange, Condition, Digests, Metadata, Version
from crossdock.testing.store_suite import FULL_METADATA, StoreSuite


@pytest.fixture
def store(tmp_path):
    return LocalStore(str(tmp_path / "root"), LocalOptions(missing_root_is_empty=True))


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    return root


def everything_below(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


class TestLocalStore(StoreSuite):
    nested_keys = False

    @pytest.fixture
    def store(self, tmp_path):
        return LocalStore(str(tmp_path / "root"), LocalOptions(missing_root_is_empty=True))

    def back_door(self, store, key):
        try:
            return Path(store.root, key).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def missing_store(self, store):
        return LocalStore(f"{store.root}-missing")

    def supports_key(self, key):
        segments = key.split("/")
        return not {"", ".", ".."} & {*segments} and all(len(segment.encode()) <= 255 for segment in segments)


class TestLocalStoreWithoutFsync(TestLocalStore):
    """Durability is an option; every other promise holds without it."""

    @pytest.fixture
    def store(self, tmp_path):
        return LocalStore(str(tmp_path / "root"), LocalOptions(missing_root_is_empty=True, fsync=False))


class TestContainment:
    """Nothing below the root leads out of it."""

    def test_reading_a_link_is_refused_and_names_it(self, root, tmp_path):
        (tmp_path / "secret").write_text("outside")
        (root / "link").symlink_to(tmp_path / "secret")
        store = LocalStore(str(root))

        for use in (store.read, store.stat, store.delete):
            with pytest.raises(UnsupportedError, match=r"link: .*symbolic link"):
                use("link")
        assert (root / "link").is_symlink()

    def test_a_linked_directory_is_never_entered(self, root, tmp_path):
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "file").write_text("outside")
        (root / "dir").symlink_to(outside)
        store = LocalStore(str(root))
        upload = store.begin("fine", part_size_bytes=10)

        for use in (
            lambda: store.read("dir/file"),
            lambda: store.stat("dir/file"),
            lambda: store.put("dir/file", b"new"),
            lambda: store.put("dir/sub/file", b"new"),
            lambda: store.begin("dir/file", part_size_bytes=10),
            lambda: store.delete("dir/file"),
            lambda: store.put_part(replace(upload, key="dir/file"), 1, b"x"),
        ):
            with pytest.raises(UnsupportedError, match="symbolic link"):
                use()
        assert everything_below(outside) == ["file"]
        assert (outside / "file").read_text() == "outside"

    def test_links_and_special_files_are_not_listed(self, root, tmp_path):
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside" / "file").write_text("x")
        (root / "file").write_text("x")
        (root / "link").symlink_to(root / "file")
        (root / "dir").symlink_to(tmp_path / "outside")
        os.mkfifo(root / "pipe")

        assert [info.key for page in LocalStore(str(root)).list() for info in page] == ["file"]

    def test_a_pipe_is_refused_and_does_not_block(self, root):
        os.mkfifo(root / "pipe")

        with pytest.raises(UnsupportedError, match="not a regular file"):
            LocalStore(str(root)).read("pipe")

    def test_writing_over_a_link_replaces_the_link_not_its_target(self, root, tmp_path):
        (tmp_path / "target").write_text("outside")
        (root / "link").symlink_to(tmp_path / "target")
        LocalStore(str(root)).put("link", b"inside")

        assert (tmp_path / "target").read_text() == "outside"
        assert not (root / "link").is_symlink()
        assert (root / "link").read_bytes() == b"inside"

    def test_creating_over_a_dangling_link_fails(self, root, tmp_path):
        (root / "link").symlink_to(tmp_path / "nowhere")

        with pytest.raises(PreconditionError):
            LocalStore(str(root)).put("link", b"inside", condition=ABSENT)
        assert not (tmp_path / "nowhere").exists()

    @pytest.mark.parametrize("key", ["../out", "a/../../out", "/etc/passwd", "a/./b", "nul\0byte", "dir/"])
    def test_keys_that_paths_would_bend_are_refused(self, root, key):
        store = LocalStore(str(root))

        assert store.refusal(key)
        with pytest.raises(UnsupportedError):
            store.put(key, b"x")
        assert everything_below(root) == []

    def test_an_upload_id_cannot_lead_out(self, root, tmp_path):
        (tmp_path / "victim").mkdir()
        (tmp_path / "victim" / "file").write_text("x")
        store = LocalStore(str(root))
        forged = replace(store.begin("key", part_size_bytes=10), id="../../victim")
        store.abort(forged)

        with pytest.raises(NotFoundError):
            store.put_part(forged, 1, b"x")
        assert (tmp_path / "victim" / "file").exists()

    def test_the_root_itself_may_be_a_link(self, root, tmp_path):
        (tmp_path / "alias").symlink_to(root)
        LocalStore(str(tmp_path / "alias")).put("a/b", b"x")

        assert (root / "a" / "b").read_bytes() == b"x"


class TestRoot:
    def test_a_missing_root_is_not_found(self, tmp_path):
        store = LocalStore(str(tmp_path / "missing"))

        for use in (
            store.check,
            lambda: [*store.list()],
            lambda: store.stat("key"),
            lambda: store.read("key"),
        ):
            with pytest.raises(NotFoundError, match="no such directory"):
                use()
        assert not (tmp_path / "missing").exists()

    def test_a_sinks_missing_root_is_empty_and_made_by_the_first_write(self, tmp_path):
        store = LocalStore(str(tmp_path / "deep" / "missing"), LocalOptions(missing_root_is_empty=True))
        store.check()

        assert [*store.list()] == []
        assert [*store.list_uploads()] == []
        assert not (tmp_path / "deep").exists()
        store.put("a/b", b"x")
        assert [info.key for page in store.list() for info in page] == ["a/b"]

    @pytest.mark.parametrize("options", [LocalOptions(), LocalOptions(missing_root_is_empty=True)])
    def test_a_root_that_is_a_file_is_found(self, tmp_path, options):
        (tmp_path / "file").write_text("x")
        store = LocalStore(str(tmp_path / "file"), options)

        for use in (store.check, lambda: [*store.list()], lambda: store.put("key", b"x")):
            with pytest.raises(NotFoundError, match="not a directory"):
                use()

    def test_a_relative_root_means_one_place(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        recipe = pickle.dumps(LocalStore("here"))
        monkeypatch.chdir("/")

        there = pickle.loads(recipe)  # noqa: S301 - our own bytes

        assert there.root == str(tmp_path / "here")

    def test_the_url_names_objects(self):
        assert LocalStore("/data/in/").url == "file:///data/in"
        assert f"{LocalStore('/').url}/etc/hosts" == "file:///etc/hosts"

    @pytest.mark.parametrize("root", ["", "nul\0byte"])
    def test_what_is_no_path_is_refused(self, root):
        with pytest.raises(ConfigError):
            LocalStore(root)


class TestNames:
    def test_a_name_that_is_not_utf8_is_named_and_ends_the_listing(self, root):
        os.close(os.open(os.fsencode(root) + b"/bad\xff", os.O_CREAT | os.O_WRONLY))
        (root / "good").write_text("x")
        store = LocalStore(str(root))

        with pytest.raises(UnsupportedError, match="not UTF-8"):
            [*store.list()]
        assert [info.key for page in store.list("good") for info in page] == ["good"]

    def test_a_path_that_no_other_program_could_open_is_refused(self, root):
        store = LocalStore(str(root))
        key = "/".join(["d" * 200] * 25)

        assert "path" in store.refusal(key)

    def test_names_of_unfinished_uploads_are_kept_for_them(self, root):
        store = LocalStore(str(root))
        store.begin("key", part_size_bytes=10)
        (name,) = everything_below(root)[:1]

        assert "unfinished uploads" in store.refusal(name)
        assert "unfinished uploads" in store.refusal(f"{name}/key")
        assert store.refusal(".crossdock-notes.part") is None

    def test_a_directory_is_not_an_object(self, root):
        (root / "dir" / "inner").mkdir(parents=True)
        store = LocalStore(str(root))
        store.delete("dir")

        for use in (store.stat, store.read):
            with pytest.raises(NotFoundError, match="directory"):
                use("dir")
        assert [*store.list()] == []

    @pytest.mark.parametrize("condition", [ABSENT, Condition()])
    def test_a_key_whose_name_is_a_directory_is_refused_with_a_hint(self, root, condition):
        store = LocalStore(str(root))
        store.put("x/y", b"first")

        with pytest.raises(UnsupportedError, match="x and x/y cannot both be files") as raised:
            store.put("x", b"second", condition=condition)
        assert (raised.value.operation, raised.value.key) == ("put", "x")
        assert everything_below(root) == ["x", "x/y"]

    def test_a_key_below_a_file_is_refused_for_writing_and_not_found_for_reading(self, root):
        store = LocalStore(str(root))
        store.put("x", b"first")

        with pytest.raises(UnsupportedError, match="x and x/y cannot both be files"):
            store.put("x/y", b"second")
        with pytest.raises(NotFoundError):
            store.read("x/y")
        store.delete("x/y")
        assert everything_below(root) == ["x"]


class TestCommit:
    def test_no_metadata_is_kept_and_capabilities_say_so(self, root):
        store = LocalStore(str(root))
        store.put("key", b"x", metadata=FULL_METADATA)

        assert store.capabilities.metadata_fields == frozenset()
        assert store.stat("key").metadata == Metadata()
        assert os.listxattr(root / "key") == []

    def test_nothing_but_the_object_is_left_after_success(self, root):
        store = LocalStore(str(root))
        store.put("a/put", b"x", condition=ABSENT)
        upload = store.begin("a/parts", part_size_bytes=2)
        parts = [store.put_part(upload, 2, b"z"), store.put_part(upload, 1, b"xy")]
        store.complete(upload, parts[::-1], size=3, condition=ABSENT)

        assert everything_below(root) == ["a", "a/parts", "a/put"]
        assert (root / "a" / "parts").stat().st_nlink == 1

    def test_permissions_follow_the_umask(self, root):
        before = os.umask(0o027)
        try:
            LocalStore(str(root)).put("dir/key", b"x")
        finally:
            os.umask(before)

        assert stat.S_IMODE((root / "dir" / "key").stat().st_mode) == 0o640
        assert stat.S_IMODE((root / "dir").stat().st_mode) == 0o750

    def test_versions_of_quick_replacements_differ(self, root):
        """A kernel's clock may tick in ms and inodes are used again: fifty versions in a row are still fifty."""
        store = LocalStore(str(root), LocalOptions(fsync=False))

        assert len({store.put("key", b"same size").version.etag for _ in range(50)}) == 50

    def test_the_whole_is_compared_without_reading_again(self, root, monkeypatch):
        """CRC32C of the whole follows from the parts: no byte is read at completion."""
        store = LocalStore(str(root))
        upload = store.begin("key", part_size_bytes=4)
        parts = [store.put_part(upload, 1, b"0123"), store.put_part(upload, 2, b"45")]
        for name in ("read", "pread", "preadv"):
            monkeypatch.setattr(os, name, None)

        with pytest.raises(IntegrityError, match="crc32c"):
            store.complete(upload, parts, size=6, digests=Digests(crc32c=b"\0\0\0\0"))
        assert not (root / "key").exists()

    def test_parts_without_digests_prove_nothing(self, root):
        store = LocalStore(str(root))
        upload = store.begin("key", part_size_bytes=4)
        bare = replace(store.put_part(upload, 1, b"0123"), digests=Digests())

        with pytest.raises(IntegrityError, match="do not say their crc32c"):
            store.complete(upload, [bare], size=4, digests=Digests(crc32c=b"\0\0\0\0"))
        assert not (root / "key").exists()

    @pytest.mark.parametrize("gap", ["missing", "short"])
    def test_parts_with_a_gap_are_refused(self, root, gap):
        store = LocalStore(str(root))
        upload = store.begin("key", part_size_bytes=4)
        first = store.put_part(upload, 1, b"01" if gap == "short" else b"0123")
        last = store.put_part(upload, 3 if gap == "missing" else 2, b"45")

        with pytest.raises(IntegrityError):
            store.complete(upload, [first, last], size=first.size + last.size)
        assert not (root / "key").exists()

    def test_acknowledged_bytes_that_are_gone_are_missed(self, root):
        """Parts say what was sent; the file must also have it."""
        store = LocalStore(str(root))
        upload = store.begin("key", part_size_bytes=4)
        part = store.put_part(upload, 1, b"0123")
        os.truncate(next(root.rglob("key")), 2)

        with pytest.raises(IntegrityError, match="2 bytes, not 4"):
            store.complete(upload, [part], size=4)
        assert not (root / "key").exists()

    def test_a_part_longer_than_a_part_is_refused(self, root):
        """It would run into its neighbour."""
        store = LocalStore(str(root))
        upload = store.begin("key", part_size_bytes=4)

        for number, data in ((1, b"01234"), (0, b"0")):
            with pytest.raises(UnsupportedError):
                store.put_part(upload, number, data)

    def test_a_part_that_waits_for_the_commit_finds_the_upload_gone(self, root):
        """Opened before the commit, locked after it: the late part must not write into the visible object."""
        store = LocalStore(str(root))
        upload = store.begin("key", part_size_bytes=4)
        part = store.put_part(upload, 1, b"good")
        opened_late, committed = threading.Event(), threading.Event()
        real, outcome = local_tree.fcntl.flock, []

        def flock(descriptor, how):
            if threading.current_thread().name == "late" and how == local_tree.fcntl.LOCK_SH:
                opened_late.set()
                committed.wait(10)
            real(descriptor, how)

        def late():
            try:
                store.put_part(upload, 1, b"evil")
            except NotFoundError as error:
                outcome.append(error)

        local_tree.fcntl.flock = flock
        try:
            thread = threading.Thread(target=late, name="late")
            thread.start()
            assert opened_late.wait(10)
            store.complete(upload, [part], size=4)
            committed.set()
            thread.join()
        finally:
            local_tree.fcntl.flock = real

        assert len(outcome) == 1
        assert (root / "key").read_bytes() == b"good"

    def test_no_hard_links_means_no_create_if_absent(self, root, monkeypatch):
        """Loud, not weaker: a file system without links cannot create only if absent."""

        def refuse(*_, **__):
            raise OSError(errno.EPERM, "no links here")

        monkeypatch.setattr(os, "link", refuse)
        store = LocalStore(str(root))

        with pytest.raises(UnsupportedError, match="no hard links"):
            store.put("key", b"x", condition=ABSENT)
        assert everything_below(root) == []


class TestReading:
    def test_a_change_in_place_is_found(self, root):
        """Same inode, same size: the bytes of two states never come as one object."""
        (root / "key").write_bytes(b"a" * 3_000_000)
        reader = LocalStore(str(root)).read("key")
        chunks = iter(reader)
        next(chunks)
        with (root / "key").open("r+b") as file:
            file.seek(2_000_000)
            file.write(b"b" * 1_000)
        os.utime(root / "key", ns=(1, 1))

        with pytest.raises(PreconditionError, match="changed while it was read"):
            list(chunks)

    def test_a_file_cut_while_it_is_read_is_found(self, root):
        (root / "key").write_bytes(b"a" * 3_000_000)
        reader = LocalStore(str(root)).read("key")
        os.truncate(root / "key", 100)

        with pytest.raises(PreconditionError):
            reader.read_all()

    def test_descriptors_are_given_back(self, root):
        """Reading, refusing, listing and writing leave no descriptor open."""
        store = LocalStore(str(root))
        store.put("a/b/key", b"data")
        before = set(Path("/proc/self/fd").iterdir())
        store.read("a/b/key").read_all()
        [*store.read("a/b/key")]
        store.read("a/b/key")  # dropped without close
        next(iter(store.list()))
        store.put("a/b/key", b"data")
        for use in (
            lambda: store.read("a/b/key", ByteRange(10, 20)),
            lambda: store.read("a/b/missing"),
            lambda: store.read("a/b/key", version=Version(etag="other")),
            lambda: store.put("a/b", b"in the way"),
            lambda: store.put("a/b/key/under", b"in the way"),
        ):
            with pytest.raises(Exception):  # noqa: B017 - which one is tested elsewhere
                use()

        assert set(Path("/proc/self/fd").iterdir()) == before

    def test_a_version_with_a_generation_is_not_a_files(self, root):
        store = LocalStore(str(root))
        store.put("key", b"x")

        with pytest.raises(PreconditionError):
            store.stat("key", version=Version(generation="1"))


class TestCrash:
    """What a killed process leaves behind is not listed, is found, and goes."""

    SCRIPT = """
import os, signal, sys
from crossdock.connectors.local import LocalStore
store = LocalStore(sys.argv[1])
upload = store.begin("dir/in parts.bin", part_size_bytes=1000)
store.put_part(upload, 1, b"x" * 1000)
os.fsync = lambda fd: os.kill(os.getpid(), signal.SIGKILL)
store.put("dir/in one piece.bin", b"y" * 5000)
"""

    @pytest.fixture
    def crashed(self, root):
        (root / "dir").mkdir()  # there already, so that the first fsync is that of the file
        (root / "dir" / "kept").write_text("kept")
        done = subprocess.run([sys.executable, "-c", self.SCRIPT, str(root)], check=False)
        assert done.returncode == -signal.SIGKILL
        return LocalStore(str(root))

    def test_leftovers_are_hidden_and_found_and_removed(self, crashed, root):
        assert [info.key for page in crashed.list() for info in page] == ["dir/kept"]
        uploads = {upload.key: upload for upload in crashed.list_uploads()}
        assert {*uploads} == {"dir/in parts.bin", "dir/in one piece.bin"}
        assert all(upload.begun is not None for upload in uploads.values())
        assert [upload.key for upload in crashed.list_uploads("dir/in p")] == ["dir/in parts.bin"]

        for upload in uploads.values():
            crashed.abort(upload)

        assert everything_below(root) == ["dir", "dir/kept"]

    def test_an_upload_found_again_can_be_gone_on_with(self, crashed, root):
        """Its key, id and part size are those it was begun with."""
        (upload,) = crashed.list_uploads("dir/in parts")
        parts = [crashed.put_part(upload, 1, b"x" * 1000), crashed.put_part(upload, 2, b"end")]
        crashed.complete(upload, parts, size=1003)

        assert (root / "dir" / "in parts.bin").read_bytes() == b"x" * 1000 + b"end"

    def test_a_leftover_without_its_file_is_found_too(self, root):
        """Killed between the two first system calls."""
        store = LocalStore(str(root))
        upload = store.begin("key", part_size_bytes=10)
        next(root.rglob("key")).unlink()
        (found,) = store.list_uploads()
        store.abort(found)

        assert found.id == upload.id
        assert everything_below(root) == []


class TestErrors:
    """The system's errors become ours in one table."""

    @pytest.mark.parametrize(
        ("number", "expected", "retry"),
        [
            (errno.ENOSPC, StorageError, Retry.NEVER),
            (errno.EDQUOT, StorageError, Retry.NEVER),
            (errno.EACCES, DeniedError, Retry.NEVER),
            (errno.EPERM, DeniedError, Retry.NEVER),
            (errno.EROFS, DeniedError, Retry.NEVER),
            (errno.ENAMETOOLONG, UnsupportedError, Retry.NEVER),
            (errno.EMFILE, StorageError, Retry.LATER),
            (errno.ESTALE, ConnectionLostError, Retry.LATER),
            (errno.EIO, StorageError, Retry.NEVER),
            (errno.EDOM, UnexpectedError, Retry.NEVER),
        ],
    )
    def test_a_failed_write_is_named_and_leaves_nothing(self, root, monkeypatch, number, expected, retry):
        store = LocalStore(str(root))
        store.put("key", b"before")

        def fail(*_):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "pwrite", fail)

        with pytest.raises(expected) as raised:
            store.put("key", b"new")
        assert type(raised.value) is expected
        assert (raised.value.operation, raised.value.key, raised.value.retry) == ("put", "key", retry)
        assert raised.value.__cause__.errno == number
        assert everything_below(root) == ["key"]
        assert (root / "key").read_bytes() == b"before"

    def test_permission_denied(self, root, unprivileged):
        (root / "closed").mkdir()
        (root / "closed" / "key").write_text("x")
        (root / "closed").chmod(0o000)
        root.chmod(0o777)
        store = LocalStore(str(root))
        try:
            with unprivileged():
                for use in (
                    lambda: store.put("closed/key", b"new"),
                    lambda: store.read("closed/key"),
                    lambda: store.delete("closed/key"),
                    lambda: [*store.list()],
                ):
                    with pytest.raises(DeniedError, match="permission denied"):
                        use()
        finally:
            (root / "closed").chmod(0o700)

        assert everything_below(root) == ["closed", "closed/key"]
        assert (root / "closed" / "key").read_text() == "x"


@pytest.fixture
def unprivileged(root):
    """A block in which this process is nobody, if it was root; pytest's own directories are opened for it."""

    @contextmanager
    def block():
        if os.geteuid() != 0:
            yield
            return
        for path in root.parents:
            if path.stat().st_uid == 0 and path.stat().st_mode & 0o055 != 0o055:
                path.chmod(path.stat().st_mode | 0o011)
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)

    return block


def test_eight_processes_race_for_one_key(root):
    """Replace-if-match is one step among processes, too: exactly one of eight wins, four rounds in a row."""
    script = """
import sys
from crossdock.connectors.local import LocalStore
from crossdock.errors import PreconditionError
from crossdock.model import Condition, Version
store = LocalStore(sys.argv[1])
print("ready", flush=True)
for line in sys.stdin:
    try:
        store.put("key", sys.argv[2].encode(), condition=Condition(version=Version(etag=line.strip())))
    except PreconditionError:
        print("lost", flush=True)
    else:
        print("won", flush=True)
"""
    store = LocalStore(str(root))
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(root), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    try:
        assert [racer.stdout.readline() for racer in racers] == ["ready\n"] * 8
        for _ in range(4):
            etag = store.put("key", b"before").version.etag
            for racer in racers:
                racer.stdin.write(f"{etag}\n")
                racer.stdin.flush()
            said = [racer.stdout.readline().strip() for racer in racers]
            assert sorted(said) == ["lost"] * 7 + ["won"]
            assert (root / "key").read_text() == str(said.index("won"))
    finally:
        for racer in racers:
            racer.stdin.close()
            racer.wait()
            racer.stdout.close()
