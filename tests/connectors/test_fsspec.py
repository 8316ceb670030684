"""Filesystems of fsspec behind the port: the suite on those that run here, and what is theirs alone."""

from __future__ import annotations

import io
import tarfile
import zipfile

import pytest
from fsspec_filesystems import OtherMemory
from ftp_server import PASSWORD, ftp_server

from crossdock.connectors.fsspec_bridge.options import options_for
from crossdock.connectors.fsspec_bridge.store import FsspecStore
from crossdock.options import Secret
from crossdock.testing.store_suite import ReadOnlyStoreSuite, StoreSuite


def is_path(key):
    """What the documents of POSIX say a relative path may be, as far as line-based protocols can write it."""
    segments = key.split("/")
    return (
        not {"", ".", ".."} & {*segments}
        and not any(char in key for char in "\0\r\n")
        and all(len(segment.encode(errors="replace")) <= 255 for segment in segments)
        and key.isprintable() | all(not 0xD800 <= ord(char) < 0xE000 for char in key)
    )


class OnDisk(StoreSuite):
    """Looks at the bytes below ``self.root`` with Python's own eyes."""

    nested_keys = False

    def back_door(self, store, key):  # noqa: ARG002 - the suite says so
        path = self.root / key
        return path.read_bytes() if path.is_file() else None

    def supports_key(self, key):
        return is_path(key)


class TestLocalLike(OnDisk):
    @pytest.fixture
    def store(self, tmp_path):
        self.root = tmp_path
        return FsspecStore(f"otherlocal://{tmp_path}")

    def missing_store(self, store):  # noqa: ARG002 - the suite says so
        return FsspecStore(f"otherlocal://{self.root}/missing")


class TestReadBack(OnDisk):
    """The same with every write read back before it is visible: all digests are checked."""

    @pytest.fixture
    def store(self, tmp_path):
        self.root = tmp_path
        return FsspecStore(f"otherlocal://{tmp_path}", options_for(("otherlocal",))(read_back=True))


class TestDirectoryOfAnother(OnDisk):
    """``dir::`` in front: the inner filesystem's rename is used."""

    @pytest.fixture
    def store(self, tmp_path):
        self.root = tmp_path
        return FsspecStore(f"dir::otherlocal://{tmp_path}!")


class TestMemoryLike(StoreSuite):
    nested_keys = False

    @pytest.fixture
    def store(self):
        OtherMemory.store.clear()
        OtherMemory.pseudo_dirs[:] = ["", "/bucket"]
        return FsspecStore("othermemory://bucket")

    def back_door(self, store, key):  # noqa: ARG002 - the suite says so
        found = OtherMemory.store.get(f"/bucket/{key}")
        return None if found is None else found.getvalue()

    def supports_key(self, key):
        return is_path(key)

    def missing_store(self, store):  # noqa: ARG002 - the suite says so
        return FsspecStore("othermemory://missing")


class TestFtp(OnDisk):
    secrets = (PASSWORD,)

    @pytest.fixture
    def store(self, tmp_path):
        self.root = tmp_path
        with ftp_server(tmp_path) as (url, _):
            yield FsspecStore(url, options_for(("ftp",))(password=Secret(PASSWORD)))


class Archived(ReadOnlyStoreSuite):
    """Archives are made anew for every object that is seeded, as their makers do."""

    nested_keys = False

    @pytest.fixture
    def store(self, tmp_path):
        self.objects = {}
        self.path = tmp_path / f"archive.{self.kind}"
        self.write()
        return FsspecStore(f"{self.kind}::otherlocal://{self.path}!")

    def seed(self, store, key, data, *, metadata=None):  # noqa: ARG002 - the suite says so
        self.objects[key] = data
        self.write()
        return store.stat(key)

    def unseed(self, store, key):  # noqa: ARG002 - the suite says so
        del self.objects[key]
        self.write()

    def back_door(self, store, key):  # noqa: ARG002 - the suite says so
        return self.objects.get(key)

    def supports_key(self, key):
        return is_path(key)

    def missing_store(self, store):  # noqa: ARG002 - the suite says so
        return FsspecStore(f"{self.kind}::otherlocal://{self.path}.missing!")


class TestZip(Archived):
    kind = "zip"

    def write(self):
        with zipfile.ZipFile(self.path, "w", zipfile.ZIP_DEFLATED) as archive:
            for key, data in self.objects.items():
                archive.writestr(key, data)


class TestTar(Archived):
    kind = "tar"

    def write(self):
        with tarfile.open(self.path, "w") as archive:
            for key, data in self.objects.items():
                member = tarfile.TarInfo(key)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
