"""What goes wrong around filesystems of fsspec: nothing truncated, nothing mixed, nothing left; and plain fsspec for comparison."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import tarfile
import zipfile

import fsspec
import pytest
from fsspec_filesystems import OtherLocal, OtherMemory
from ftp_server import PASSWORD, FaultyFiles, ftp_server

import crossdock as xd
from crossdock.connectors.fsspec_bridge.options import options_for
from crossdock.connectors.fsspec_bridge.store import FsspecStore
from crossdock.errors import ConnectionLostError, IntegrityError, PreconditionError, UnsupportedError
from crossdock.events import Retried, listening
from crossdock.model import Verification
from crossdock.options import Secret
from crossdock.testing import EmbeddedS3

GOOD = os.urandom(100_000)
NEW = os.urandom(300_000)


class SourceDiedError(Exception):
    """What a source raises in the middle."""


def dying(data):
    yield data[: len(data) // 2]
    raise SourceDiedError


@pytest.fixture(params=["local", "memory", "ftp"])
def place(request, tmp_path):
    """A URL to write below, its options, and a look at what is there by another route."""
    if request.param == "local":
        yield f"otherlocal://{tmp_path}/", {}, lambda: files_below(tmp_path)
    elif request.param == "memory":
        OtherMemory.store.clear()
        OtherMemory.pseudo_dirs[:] = ["", "/bucket"]
        yield (
            "othermemory://bucket/",
            {},
            lambda: {
                path.removeprefix("/bucket/"): file.getvalue() for path, file in OtherMemory.store.items()
            },
        )
    else:
        with ftp_server(tmp_path) as (url, _):
            yield f"{url}/", {"password": PASSWORD}, lambda: files_below(tmp_path)


def files_below(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


class TestAgainstPlainFsspec:
    """The same failure, written by fsspec itself and by us."""

    def test_plain_fsspec_leaves_a_truncated_object(self, place):
        """The negative control: without it the next test would prove nothing."""
        url, options, look = place
        xd.sink(url, **options)(GOOD, key="object")
        fs, path = fsspec.url_to_fs(f"{url}object", **options)

        def write():
            with fs.open(path, "wb") as file:
                for chunk in dying(NEW):
                    file.write(chunk)

        with pytest.raises(SourceDiedError):
            write()

        assert look()["object"] == NEW[: len(NEW) // 2]

    @pytest.mark.parametrize("part_size", [10_000, 1_000_000], ids=["parts", "one put"])
    def test_ours_leaves_what_was_there(self, place, part_size):
        url, options, look = place
        xd.sink(url, **options)(GOOD, key="object")
        with pytest.raises(SourceDiedError):
            xd.sink(url, part_size_bytes=part_size, **options)(dying(NEW), key="object")

        assert look() == {"object": GOOD}

    @pytest.mark.parametrize("size", [0, 1, 10_000, 10_001, 300_000])
    def test_and_a_whole_one_arrives(self, place, size):
        url, options, look = place
        receipt = xd.sink(url, part_size_bytes=10_000, **options)(
            iter([NEW[:size]] if size else []), key="a/b"
        )

        assert look() == {"a/b": NEW[:size]}
        assert (receipt.size, receipt.method) == (size, "put" if size <= 10_000 else "stream")

    def test_v3_reads_back_what_is_there(self, place):
        url, options, _ = place
        sink = xd.sink(url, part_size_bytes=10_000, verify="v3", **options)

        assert sink(NEW, key="a").verification is Verification.V3

    def test_read_back_proves_it_before_it_is_visible(self, place):
        url, options, _ = place
        receipt = xd.sink(url, part_size_bytes=10_000, read_back=True, **options)(NEW, key="a")

        assert receipt.verification is Verification.V1


class TestKilled:
    """A process that dies in the middle."""

    SCRIPT = """
import os, signal, sys
from crossdock.connectors.fsspec_bridge.store import FsspecStore
store = FsspecStore(f"dir::file://{sys.argv[1]}!")
store.put("dir/kept", b"kept")
for key in ("dir/object", "n" * 250):
    upload = store.begin(key, part_size_bytes=1000)
    store.put_part(upload, 1, b"x" * 1000)
os.kill(os.getpid(), signal.SIGKILL)
"""

    def test_leftovers_are_hidden_and_found_and_removed(self, tmp_path):
        done = subprocess.run([sys.executable, "-c", self.SCRIPT, str(tmp_path)], check=False)
        assert done.returncode == -signal.SIGKILL
        store = FsspecStore(f"dir::file://{tmp_path}!")
        left = {upload.key: upload for upload in store.list_uploads()}
        long = next(key for key in left if key != "dir/object")

        assert len(files_below(tmp_path)) == 3
        assert [info.key for page in store.list() for info in page] == ["dir/kept"]
        assert left[long].id == long
        assert [upload.key for upload in store.list_uploads("dir/o")] == ["dir/object"]
        with pytest.raises(UnsupportedError, match="another process"):
            store.put_part(left["dir/object"], 2, b"x")
        for upload in left.values():
            store.abort(upload)
        assert [*files_below(tmp_path)] == ["dir/kept"]


class TestFtpFaults:
    """Faults of the server, each proven to have fired."""

    @pytest.fixture
    def faults(self):
        return FaultyFiles()

    @pytest.fixture
    def server(self, tmp_path, faults):
        with ftp_server(tmp_path, faults) as (url, handler):
            self.handler, self.root = handler, tmp_path
            yield FsspecStore(url, options_for(("ftp",))(password=Secret(PASSWORD)))

    @pytest.mark.parametrize("at", [0, 1, 50_000, 99_999])
    @pytest.mark.parametrize("how", ["ends", "fails"])
    def test_a_read_cut_short_is_loud(self, server, faults, how, at):
        """The server says 226 after fewer bytes, or 426: never a short object."""
        server.put("object", GOOD)
        faults.read_limit, faults.read_fails = at, how == "fails"
        with pytest.raises(ConnectionLostError):
            server.read("object").read_all()

        assert faults.fired
        faults.read_limit = None
        assert bytes(server.read("object").read_all()) == GOOD

    def test_a_read_cut_short_once_is_begun_again_above(self, server, faults):
        """A copy is tried again as a whole: FTP has no version to pin the rest to."""
        server.put("object", GOOD)
        faults.read_limit, faults.only_once = 5_000, True
        source = xd.source(f"{server.url}/", password=PASSWORD)
        with pytest.raises(ConnectionLostError):
            xd.sink("memory://ftp-cut/")(source("object"))
        receipt = xd.sink("memory://ftp-cut/")(source("object"))

        assert faults.fired == 1
        assert bytes(xd.source("memory://ftp-cut/")("object").read()) == GOOD
        assert receipt.size == len(GOOD)

    def test_a_server_that_drops_bytes_is_found_before_the_rename(self, server, faults):
        server.put("object", GOOD)
        faults.drop_written = 10
        with pytest.raises(IntegrityError, match="299990 of 300000"):
            server.put("object", NEW)

        assert faults.fired
        assert files_below(self.root) == {"object": GOOD}

    def test_a_flipped_bit_is_found_by_reading_back(self, server, faults):
        url = server.url
        faults.flip_written = True
        with pytest.raises(IntegrityError, match="read back"):
            FsspecStore(url, options_for(("ftp",))(password=Secret(PASSWORD), read_back=True)).put(
                "object", NEW, digests=xd.Digests(crc32c=b"1234")
            )

        assert faults.fired
        assert files_below(self.root) == {}

    @pytest.mark.parametrize("happened", [True, False])
    def test_a_lost_answer_to_the_rename_is_resolved_by_looking(self, server, happened):
        """The temporary name is gone and the file is there: it happened. Else nothing did, and nothing is left."""
        fired = []
        rename = self.handler.ftp_RNTO

        def lose(handler, path):
            fired.append(path)
            handler.respond = lambda *_, **__: None
            if happened:
                rename(handler, path)
            handler.close()

        self.handler.ftp_RNTO = lose
        if happened:
            assert server.put("object", NEW).size == len(NEW)
        else:
            with pytest.raises(ConnectionLostError):
                server.put("object", NEW)

        assert len(fired) == 1
        assert files_below(self.root) == ({"object": NEW} if happened else {})

    def test_a_connection_lost_while_idle_is_replaced(self, server):
        """The retry layer's second attempt gets a fresh one."""
        source = xd.source(f"{server.url}/", password=PASSWORD)
        source.store.inner.inner.put("object", GOOD)
        (idle,) = source.store.inner.inner._filesystems._idle
        idle.fs.ftp.sock.shutdown(socket.SHUT_RDWR)
        events = []
        with listening(events.append):
            assert bytes(source("object").read()) == GOOD

        assert [type(event) for event in events].count(Retried) == 1

    def test_two_users_of_an_inner_link_have_a_connection_each(self, server):
        """``dir::`` calls itself asynchronous and fsspec keeps inner filesystems: neither may make threads share one."""
        store = FsspecStore(
            f"dir::{server.url}!", options_for(("dir", "ftp"))(ftp={"password": Secret(PASSWORD)})
        )
        with store._filesystems.lent("read") as one, store._filesystems.lent("read") as other:
            assert one.fs.fs.ftp is not other.fs.fs.ftp

    def test_replaced_while_it_is_read_is_loud(self, server):
        server.put("object", NEW * 10)
        reader = server.read("object")
        chunks = iter(reader)
        next(chunks)
        (self.root / "object").write_bytes(b"shorter")
        with pytest.raises((PreconditionError, ConnectionLostError)):
            list(chunks)

    def test_a_wrong_password_is_one_clear_error(self, server):
        store = FsspecStore(server.url, options_for(("ftp",))(password=Secret("wrong")))
        with pytest.raises(xd.CredentialsError, match="check username and password"):
            store.check()

    def test_nobody_there_is_reported_within_seconds(self):
        store = FsspecStore("ftp://127.0.0.1:1", options_for(("ftp",))())
        with pytest.raises(ConnectionLostError, match="refused"):
            store.check()

    def test_a_migration_and_its_rerun(self, server, tmp_path_factory):
        """FTP to a directory and back: the second run copies nothing."""
        state = tmp_path_factory.mktemp("run")
        for number in range(20):
            server.put(f"in/{number % 3}/{number}", os.urandom(1_000 + number))
        place = tmp_path_factory.mktemp("out")
        password = {"password": PASSWORD}
        down = xd.migrate(f"{server.url}/in/", f"{place}/", source_options=password, run_dir=str(state / "1"))
        up = xd.migrate(f"{place}/", f"{server.url}/out/", sink_options=password, run_dir=str(state / "2"))
        again = xd.migrate(f"{place}/", f"{server.url}/out/", sink_options=password, run_dir=str(state / "3"))

        assert [report.exit_code for report in (down, up, again)] == [0, 0, 0]
        assert [report.counts.copied for report in (down, up, again)] == [20, 20, 0]
        assert files_below(self.root / "in") == files_below(self.root / "out") == files_below(place)


class TestArchives:
    """Inside of archives, on a disk and in a bucket."""

    def zipped(self, objects):
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in objects.items():
                archive.writestr(name, data)
        return made.getvalue()

    def test_a_zip_in_a_bucket_is_unpacked_through_a_chain(self):
        """s3fs underneath, pinned to one version of the archive by its ETag."""
        objects = {"in/a.csv": b"a,b\n1,2\n", "in/big.bin": NEW, "b": b""}
        with EmbeddedS3(buckets=("bucket",)) as s3:
            own = {"endpoint_url": s3.url, "key": "k" * 20, "secret": "canary-secret", "region": "us-east-1"}
            xd.sink("s3://bucket/", **own)(self.zipped(objects), key="dir/x.zip")
            theirs = {"endpoint_url": s3.url, "key": "k" * 20, "secret": "canary-secret"}
            source = xd.source("zip://::s3://bucket/dir/x.zip", s3=theirs)

            assert [*source.list()] == ["b", "in/a.csv", "in/big.bin"]
            assert (
                bytes(xd.source("zip://in/::s3://bucket/dir/x.zip", s3=theirs)("a.csv").read())
                == objects["in/a.csv"]
            )
            for key in source.list():
                xd.sink("memory://unpacked/")(source(key))
            xd.sink("s3://bucket/", **own)(self.zipped({"only": b"new"}), key="dir/x.zip")
            assert [*source.list()] == ["only"]
            assert b"canary-secret" not in repr(source.store.inner.inner).encode()
            with pytest.raises(xd.NotFoundError):
                [*xd.source("zip://::s3://bucket/missing.zip", s3=theirs).list()]
        for key, data in objects.items():
            assert bytes(xd.source("memory://unpacked/")(key).read()) == data

    def test_a_cache_in_front_gives_the_same_bytes_and_claims_no_version(self, tmp_path):
        (tmp_path / "a").write_bytes(NEW)
        source = xd.source(f"simplecache::otherlocal://{tmp_path}/a")

        assert source.prefix == "a"
        assert bytes(source.store.read("a").read_all()) == NEW
        assert not source.store.stat("a").version
        assert not source.store.capabilities.writable

    @pytest.mark.parametrize("kind", ["zip", "tar"])
    def test_an_archive_replaced_while_it_is_read_is_loud(self, tmp_path, kind):
        """Its members' own sums would not tell (tar has none): the archive's version does."""
        path = tmp_path / f"x.{kind}"
        store = FsspecStore(f"{kind}::otherlocal://{path}!")
        write_archive(path, {"a": NEW * 10})
        reader = store.read("a")
        chunks = iter(reader)
        next(chunks)
        write_archive(tmp_path / f"y.{kind}", {"a": GOOD * 30})
        (tmp_path / f"y.{kind}").replace(path)
        with pytest.raises(PreconditionError, match="replaced while it was read"):
            list(chunks)

        assert bytes(store.read("a").read_all()) == GOOD * 30

    def test_a_damaged_member_is_loud(self, tmp_path):
        path = tmp_path / "x.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a", NEW)
        damaged = bytearray(path.read_bytes())
        damaged[1_000] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(IntegrityError, match="CRC"):
            FsspecStore(f"zip::otherlocal://{path}!").read("a").read_all()

    def test_members_no_path_leads_to_are_listed_and_refused_alone(self, tmp_path):
        """Never silently left out, never taken for another; the others are read."""
        path = tmp_path / "x.tar"
        write_archive(path, {"a//b": b"1", "c": b"2", "../d": b"3"})
        store = FsspecStore(f"tar::otherlocal://{path}!")
        listed = [info.key for page in store.list() for info in page]

        assert listed == ["../d", "a//b", "c"]
        assert bytes(store.read("c").read_all()) == b"2"
        for key in ("a//b", "../d"):
            with pytest.raises(UnsupportedError):
                store.read(key)


def write_archive(path, objects):
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in objects.items():
                archive.writestr(name, data)
        return
    with tarfile.open(path, "w") as archive:
        for name, data in objects.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


class TestListings:
    """What a filesystem lists is taken at its word only if its word is exact."""

    @pytest.fixture
    def odd(self, tmp_path):
        class Odd(OtherLocal):
            protocol = "oddlocal"
            answer = staticmethod(lambda found: found)

            def ls(self, path, detail=True, **kwargs):
                return Odd.answer(super().ls(path, detail=detail, **kwargs))

        fsspec.register_implementation("oddlocal", Odd, clobber=True)
        from crossdock.connectors.fsspec_bridge.protocols import filesystem_class

        filesystem_class.cache_clear()
        self.root = tmp_path
        for name in ("a", "b"):
            (tmp_path / name).write_bytes(b"x")
        return Odd, FsspecStore(f"oddlocal://{tmp_path}")

    def listed(self, store):
        return [info.key for page in store.list() for info in page]

    def test_a_name_listed_twice_is_loud(self, odd):
        cls, store = odd
        cls.answer = staticmethod(lambda found: [*found, found[0]])
        with pytest.raises(UnsupportedError, match="twice"):
            self.listed(store)

    def test_a_name_from_elsewhere_is_loud(self, odd):
        cls, store = odd
        cls.answer = staticmethod(
            lambda found: [{**each, "name": f"/elsewhere{each['name']}"} for each in found]
        )
        with pytest.raises(UnsupportedError, match="leads to no key"):
            self.listed(store)

    def test_an_answer_for_another_name_is_no_object(self, odd, monkeypatch):
        cls, store = odd
        info = OtherLocal.info
        monkeypatch.setattr(
            cls, "info", lambda self, path, **_: {**info(self, path), "name": f"{path}x"}, raising=False
        )
        with pytest.raises(UnsupportedError, match="answers for"):
            store.stat("a")

    def test_a_link_that_leads_into_itself_is_not_followed(self, odd):
        _, store = odd
        (self.root / "loop").symlink_to(self.root)

        assert self.listed(store) == ["a", "b"]

    def test_vendors_texts_with_a_secret_are_masked(self, odd, monkeypatch):
        """Some libraries print whole URLs: neither our text nor its cause shows the secret."""
        cls, _ = odd
        store = FsspecStore(
            f"oddlocal://{self.root}",
            options_for(("oddlocal",))(storage_options={"token": Secret("canary-6")}),
        )

        def fail(self, path, **_):
            raise OSError(f"GET /x?token=canary-6 failed for {path}")

        monkeypatch.setattr(cls, "info", fail, raising=False)
        with pytest.raises(ConnectionLostError, match=r"token=\*\*\*") as raised:
            store.stat("a")
        assert raised.value.__cause__ is None
