"""The SFTP store keeps the specification on asyncssh's server, on rclone's, and on OpenSSH's where there is one."""

from __future__ import annotations

import getpass
import os
import subprocess
from pathlib import Path

import pytest
from rclone_server import serve_sftp
from sftp_server import PASSWORD, SSHD, USER, SSHInProcess, openssh

from crossdock.connectors.sftp import SFTPOptions, SFTPStore
from crossdock.model import NO_METADATA
from crossdock.options import Secret
from crossdock.testing.store_suite import StoreSuite
from crossdock.testing.suite.reading import ReadingChecks


class _OnFiles(StoreSuite):
    """A directory of this machine behind a server: the back door reads the files."""

    nested_keys = False
    secrets = (PASSWORD,)

    def back_door(self, store, key):  # noqa: ARG002 - the suite says so
        try:
            return (self.root / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def supports_key(self, key):
        segments = key.split("/")
        return not {"", ".", ".."} & {*segments} and all(len(segment.encode()) <= 255 for segment in segments)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with SSHInProcess(tmp_path_factory.mktemp("asyncssh")) as server:
        yield server


class TestSFTP(_OnFiles):
    @pytest.fixture
    def store(self, server, tmp_path):
        self.server, self.root = server, tmp_path / "root"
        return self.at(self.root, missing_root_is_empty=True)

    def at(self, root, **options):
        return SFTPStore(
            f"{USER}@127.0.0.1:{self.server.port}{root}",
            SFTPOptions(password=Secret(PASSWORD), host_key=self.server.fingerprint, **options),
        )

    def missing_store(self, store):  # noqa: ARG002 - the suite says so
        return self.at(Path(f"{self.root}-missing"))


@pytest.fixture(scope="module")
def sshd(tmp_path_factory):
    with openssh(tmp_path_factory.mktemp("sshd")) as served:
        yield served


class OnOpenSSH(_OnFiles):
    """What nearly everybody runs: hard links, atomic renames, fsync, limits."""

    secrets = ()

    @pytest.fixture
    def store(self, sshd, tmp_path):
        self.port, self.key, self.host = sshd
        self.root = tmp_path / "root"
        return self.at(self.root, missing_root_is_empty=True)

    def at(self, root, **options):
        return SFTPStore(
            f"{getpass.getuser()}@127.0.0.1:{self.port}{root}",
            SFTPOptions(key_file=str(self.key), host_key=self.host, **options),
        )

    def missing_store(self, store):  # noqa: ARG002 - the suite says so
        return self.at(Path(f"{self.root}-missing"))


if SSHD is not None:

    class TestSFTPOnOpenSSH(OnOpenSSH):
        """The whole specification."""

else:

    @pytest.mark.may_skip("needs an installed sshd; the in-process server always runs")
    def test_sftp_on_openssh():
        pytest.skip("there is no sshd here")


@pytest.fixture(scope="module")
def rclone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rclone")
    (folder / "files").mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "host"], check=True)
    with serve_sftp(folder / "files", USER, PASSWORD, folder / "host") as port:
        yield port, folder / "files", (folder / "host.pub").read_text()


class TestReadingFromRclone(ReadingChecks):
    """A server in Go, to read from: what it offers to write is no file system (no hard links, writes in order only)."""

    nested_keys = False

    @pytest.fixture
    def store(self, rclone, tmp_path):
        port, files, host = rclone
        self.root = files / tmp_path.name
        self.root.mkdir()
        options = SFTPOptions(password=Secret(PASSWORD), host_key=host)
        return SFTPStore(f"{USER}@127.0.0.1:{port}/{self.root.name}", options)

    def back_door(self, store, key):  # noqa: ARG002 - the suite says so
        return (self.root / key).read_bytes() if (self.root / key).is_file() else None

    def seed(self, store, key, data, *, metadata=NO_METADATA):  # noqa: ARG002 - a file has none
        path, fresh = self.root / key, self.root / "fresh"
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.stat().st_mtime if path.exists() else 1e9
        fresh.write_bytes(data)
        os.utime(fresh, (before + 1, before + 1))  # what only dates tell apart must differ in them
        fresh.rename(path)
        return store.stat(key)

    def unseed(self, store, key):  # noqa: ARG002 - the suite says so
        (self.root / key).unlink()
