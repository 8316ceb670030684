"""fsspec's URLs: which are chains, where the store ends, whose options they take, what is refused and how."""

from __future__ import annotations

import pickle
import sys

import fsspec
import pytest

import crossdock as xd
from crossdock.connectors.fsspec_bridge.names import modified_of, temporary_name, upload_in, version_of
from crossdock.connectors.fsspec_bridge.options import options_for
from crossdock.connectors.fsspec_bridge.store import FsspecStore
from crossdock.connectors.registry import connector_for, key_last, split_url
from crossdock.flows.questions.endpoints import describe, kept_options, open_ends, rebuilt


@pytest.mark.parametrize(
    ("url", "root", "key"),
    [
        ("ftp://alice@host:2121/a//b#c", "ftp://alice@host:2121", "a//b#c"),
        ("ftp://host", "ftp://host", ""),
        ("github://org:repo@main/docs/a.md", "github://org:repo@main", "docs/a.md"),
        ("hdfs:///data/in/a.csv", "hdfs:///data/in", "a.csv"),
        ("hdfs:///data/in/", "hdfs:///data/in", ""),
        ("zip://in/a.csv::s3://bucket/x.zip", "zip::s3://bucket/x.zip!", "in/a.csv"),
        ("zip::s3://bucket/x.zip!/in/a.csv", "zip::s3://bucket/x.zip!", "in/a.csv"),
        ("zip://::/tmp/x.zip", "zip::/tmp/x.zip!", ""),
        ("tar://a::simplecache::s3://b/x.tar", "tar::simplecache::s3://b/x.tar!", "a"),
        ("simplecache::zip://a::ftp://h/x.zip", "simplecache::zip::ftp://h/x.zip!", "a"),
        ("simplecache::https://host/data/a.csv", "simplecache::https://host", "data/a.csv"),
        ("dir://a/b::ftp://host/base", "dir::ftp://host/base!", "a/b"),
    ],
)
def test_a_url_is_a_store_and_a_key(url, root, key):
    """And what a store says of itself, with a key behind it, is a URL of the same object."""
    assert split_url(url)[1:] == (root, key)
    assert split_url(f"{root}/{key}")[1:] == (root, key)
    assert split_url(key_last(url))[1:] == (root, key)


@pytest.mark.parametrize("url", ["s3://bucket/a::b", "s3://bucket/zip::x", "gs://b/simplecache::https://h"])
def test_colons_in_keys_of_our_own_stores_are_text(url):
    assert split_url(url)[2] == url.partition("://")[2].partition("/")[2]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("ftp://alice:hunter2@host/x", "a password in a URL shows in logs"),
        ("zip://a::ftp://alice:hunter2@host/x.zip", "password=env:NAME"),
        ("zip://a::", "does not say what zip opens"),
        ("simplecache://a::s3://b/x", "has no path of its own"),
        ("zip://a::ftps://host/x.zip", "does not know every link"),
        ("ftpp://host/", "did you mean ftp://"),
        ("ftp://", "names no place"),
    ],
)
def test_a_url_that_means_nothing_is_a_mistake_with_a_way_out(url, told):
    with pytest.raises(xd.ConfigError, match=told) as raised:
        split_url(url)

    assert "hunter2" not in str(raised.value)


def test_our_own_schemes_are_never_fsspecs():
    assert connector_for("s3").module == "crossdock.connectors.s3"
    assert connector_for("https").module == "crossdock.connectors.http"
    assert connector_for("ftp").module == "crossdock.connectors.fsspec_bridge.store"


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "smbclient", None)
    with pytest.raises(xd.MissingExtraError, match=r"smbprotocol.*pip install 'fsspec\[smb\]'"):
        xd.source("smb://host/share/")


class TestOptions:
    """An option class per protocol, made from the constructor of its filesystem."""

    def test_names_types_and_defaults_are_fsspecs(self):
        source = xd.source("ftp://host/", port="2121", tls="true", timeout="5", password="canary-1")
        options = source.store.inner.inner.options

        assert (options.port, options.tls, options.timeout, options.encoding) == (2121, True, 5, "utf-8")
        assert options.password.reveal() == "canary-1"

    def test_an_unknown_name_is_refused_with_the_nearest(self):
        with pytest.raises(xd.ConfigError, match="did you mean 'username'"):
            xd.source("ftp://host/", usrname="x")

    @pytest.mark.parametrize("name", ["block_size", "tempdir", "host", "fo", "mode"])
    def test_what_would_be_ignored_is_no_option(self, name):
        with pytest.raises(xd.ConfigError, match="unknown option"):
            xd.source("ftp://host/", **{name: 1})

    def test_a_source_only_has_no_option_for_writing(self):
        with pytest.raises(xd.ConfigError, match="unknown option 'read_back'"):
            xd.source("zip://a::/tmp/x.zip", read_back=True)

    def test_a_chain_takes_the_options_of_each_link_by_name(self):
        source = xd.source(
            "zip://a.csv::s3://bucket/x.zip",
            s3='{"key": "K", "secret": "canary-2", "endpoint_url": "http://e"}',
        )
        given = source.store.inner.inner.options.s3

        assert (given["key"].reveal(), given["secret"].reveal(), given["endpoint_url"]) == (
            "K",
            "canary-2",
            "http://e",
        )

    def test_more_arguments_go_unchecked(self):
        store = xd.source(
            "ftp://host/", storage_options={"pasv": "x", "my_token": "canary-3"}
        ).store.inner.inner

        assert store.options.storage_options["pasv"] == "x"
        assert store.options.storage_options["my_token"].reveal() == "canary-3"

    def test_secrets_are_in_no_text_no_pickle_and_no_run(self):
        """Top level, nested, in lists: pickled as references, left out of what a run keeps."""
        url = "zip://a::webhdfs://host/x.zip"
        given = {
            "webhdfs": {"token": "canary-4", "user": "u", "kerb_kwargs": {"password": ["canary-4"]}},
            "storage_options": {"headers": {"Authorization": "canary-4"}},
        }
        store = xd.source(url, **given).store.inner.inner
        shown = pickle.dumps(store) + repr(store).encode() + repr(store.options).encode() + store.url.encode()

        assert b"canary-4" not in shown
        assert "canary-4" not in repr(kept_options(url, given))
        assert kept_options(url, given)["webhdfs"] == {"user": "u", "kerb_kwargs": {}}
        twin = pickle.loads(pickle.dumps(store))  # noqa: S301 - our own bytes
        assert twin.options.webhdfs["token"].reveal() == "canary-4"

    def test_a_run_is_rebuilt_from_what_it_kept(self):
        ends = open_ends(
            "zip://in/*.csv::ftp://alice@h/x.zip",
            "ftp://alice@h/out",
            source_options={"ftp": {"password": "canary-5", "timeout": 7}},
            sink_options={"port": "99", "password": "canary-5"},
        )
        kept = describe(ends)
        source, sink = rebuilt(kept, {"ftp": {"password": "again"}}, {"password": "again"})

        assert ends.include == ("*.csv",)
        assert "canary-5" not in repr(kept)
        assert (source.url, sink.url) == ("zip::ftp://alice@h/x.zip!/in/", "ftp://alice@h/out")
        assert (sink.store.inner.inner.options.port, sink.store.inner.inner.options.password.reveal()) == (
            99,
            "again",
        )


class TestInfo:
    """What filesystems say, in all their ways."""

    @pytest.mark.parametrize(
        "info",
        [
            {"mtime": 1_700_000_000.0},
            {"mtime": 1_700_000_000},
            {"modificationTime": 1_700_000_000_000},
            {"modify": "20231114221320"},
            {"modify": "20231114221320.000"},
            {"LastModified": "2023-11-14T22:13:20Z"},
            {"last-modified": "2023-11-14T22:13:20"},
            {"date_time": (2023, 11, 14, 22, 13, 20)},
            {"created": 1_700_000_000.0},
        ],
    )
    def test_a_moment_is_found_in_every_form(self, info):
        assert modified_of(info).timestamp() == 1_700_000_000

    def test_size_alone_is_no_version(self):
        assert not version_of({"size": 5, "name": "a", "type": "file"})

    def test_everything_that_changes_with_the_content_counts(self):
        base = {"size": 5, "mtime": 1.0, "ETag": '"a"', "ino": 7}
        versions = {
            version_of({**base, **change}).etag
            for change in ({}, {"size": 6}, {"mtime": 2.0}, {"ETag": '"b"'}, {"ino": 8}, {"md5": "x"})
        }

        assert len(versions) == 6
        assert version_of({**base, "mode": 1, "nlink": 2}) == version_of(base)

    def test_a_temporary_name_carries_the_final_one_if_there_is_room(self):
        upload_id = f"{'0' * 32}-10"

        assert upload_in(temporary_name(upload_id, "a-b.part")) == (upload_id, "a-b.part")
        assert upload_in(temporary_name(upload_id, "x" * 250)) == (upload_id, upload_id)
        assert upload_in("a.csv") is None


def test_an_unknown_filesystem_is_a_source_and_says_why_it_is_no_sink():
    """GitHub, Dropbox, object stores by fsspec: no rename in one step, so no half-written object either."""
    store = FsspecStore("github://org:repo@main")

    assert not store.capabilities.writable
    with pytest.raises(xd.UnsupportedError, match=r"source only.*truncated object.*write to s3://"):
        store.put("a", b"x")
    with pytest.raises(xd.UnsupportedError, match=r"source only.*truncated object.*write to s3://"):
        xd.sink("github://org:repo@main/")


def test_a_sink_may_name_a_directory_that_is_not_there_yet(tmp_path):
    url = f"dir::file://{tmp_path}/new!/sub/"
    sink = xd.sink(url)
    sink.store.check()

    assert [*sink.store.list()] == []
    with pytest.raises(xd.NotFoundError, match="no such directory"):
        xd.source(url).store.check()
    sink(b"x", key="a")
    assert (tmp_path / "new" / "sub" / "a").read_bytes() == b"x"


def test_a_subclass_is_used_as_what_it_derives_from():
    class Mine(fsspec.implementations.local.LocalFileSystem):
        protocol = "minelocal"

    fsspec.register_implementation("minelocal", Mine, clobber=True)

    assert FsspecStore("minelocal:///tmp").capabilities.writable
    assert options_for(("minelocal",))().read_back is False
