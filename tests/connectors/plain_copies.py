"""The way everybody copies with fsspec, ``with fs.open(url, "wb")``, under the suites: their negative control.

``test_suite_catches.py`` runs this file and demands that it fails, and just where it loses data. Nothing here is wrong by
mistake: it is what the manuals show.
"""

from __future__ import annotations

import uuid

import fsspec
import pytest
from ends import *  # noqa: F403 - fixtures
from ends import S3_OPTIONS, files_end
from fsspec_filesystems import OtherMemory

import crossdock as xd
from crossdock.connectors.streams import as_byte_stream
from crossdock.model import Receipt, Version
from crossdock.testing import End
from crossdock.testing.pair_suite import PairSuite
from crossdock.testing.suite.end_base import PREFIX
from crossdock.testing.suite.sink_content import SinkContentChecks
from crossdock.testing.suite.sink_failures import SinkFailureChecks


class PlainSink(xd.Task):
    """Opens, writes, closes."""

    name = "plain fsspec"

    def __init__(self, filesystem, root, end, prefix=""):
        self.filesystem, self.root, self.prefix = filesystem, root, prefix
        self.store = end.root.store  # to look at

    def run(self, stream, key=None):
        pulled = as_byte_stream(stream)
        key = pulled.name if key is None else key
        size = 0
        with self.filesystem.open(f"{self.root}/{self.prefix}{key}", "wb") as file:
            for chunk in pulled:
                size += file.write(chunk)
        return Receipt(
            source="", destination=f"plain/{key}", key=self.prefix + key, size=size, version=Version()
        )


def on_disk(tmp_path):
    root = tmp_path / uuid.uuid4().hex
    root.mkdir()
    end = files_end(root, url=f"file://{root}/")
    return end, fsspec.filesystem("file", auto_mkdir=True), str(root)


def in_memory(tmp_path):
    bucket = uuid.uuid4().hex
    OtherMemory.pseudo_dirs.append(f"/{bucket}")

    def held(key):
        found = OtherMemory.store.get(f"/{bucket}/{key}")
        return None if found is None else found.getvalue()

    def names():
        return [key[len(bucket) + 2 :] for key in OtherMemory.store if key.startswith(f"/{bucket}/")]

    end = End(url=f"othermemory://{bucket}/", back_door=held, everything=names, nested_keys=False)
    return end, fsspec.filesystem("othermemory"), f"/{bucket}"


class _Plain:
    """Which filesystem is looked at and written to; a subclass says by ``make``."""

    @pytest.fixture
    def made(self, tmp_path):
        return self.make(tmp_path)

    @pytest.fixture
    def end(self, made):
        return made[0]

    @pytest.fixture
    def sink(self, made):
        end, filesystem, root = made
        return PlainSink(filesystem, root, end, PREFIX)


class TestOnDisk(_Plain, SinkContentChecks, SinkFailureChecks):
    make = staticmethod(on_disk)


class TestInMemory(_Plain, SinkContentChecks, SinkFailureChecks):
    make = staticmethod(in_memory)


class TestOnS3(_Plain, SinkContentChecks, SinkFailureChecks):
    @pytest.fixture
    def made(self, s3, s3_server):
        end = s3()
        filesystem = fsspec.filesystem(
            "s3",
            key=S3_OPTIONS["key"],
            secret=S3_OPTIONS["secret"],
            endpoint_url=s3_server.url,
            client_kwargs={"region_name": "us-east-1"},
            skip_instance_cache=True,
        )
        return end, filesystem, end.url.removeprefix("s3://").rstrip("/")


class TestPairs(PairSuite):
    """From memory and from a directory, onto a disk that is written to plainly."""

    ends = ("local",)
    sources_only = ("memory",)

    def open_sink(self, end, **transfer):  # noqa: ARG002 - it has no such options
        return PlainSink(
            fsspec.filesystem("file", auto_mkdir=True), end.url.removeprefix("file://").rstrip("/"), end
        )
