"""URLs to connectors: late imports, clear mistakes, connectors of other packages."""

from __future__ import annotations

import sys

import pytest

import crossdock as xd
from crossdock.connectors import registry
from crossdock.connectors.registry import CONNECTORS, Connector, connector_for, split_url

OTHERS = """
from crossdock.connectors import Connector
from crossdock.connectors.memory import MemoryOptions, MemoryStore

row = Connector(
    name="others", schemes=("others",), module="others_connector", store="MemoryStore", options="MemoryOptions"
)
mine = Connector(name="mine", schemes=("s3",), module="others_connector", store="MemoryStore", options="MemoryOptions")
"""


@pytest.fixture
def others(tmp_path, monkeypatch):
    """A package of somebody else, installed: a module and the entry points of its distribution."""
    (tmp_path / "others_connector.py").write_text(OTHERS)
    info = tmp_path / "others-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[crossdock.connectors]\nothers = others_connector:row\ns3 = others_connector:mine\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._by_scheme.cache_clear()
    yield
    registry._by_scheme.cache_clear()
    sys.modules.pop("others_connector", None)


def test_a_connector_of_another_package_opens_its_urls(others):
    """Found by entry point, loaded when its URL is opened, and as good as ours from there on."""
    xd.sink("others://there/")(b"bytes", key="k")

    assert bytes(xd.source("others://there/")("k").read()) == b"bytes"


def test_ours_cannot_be_replaced_from_outside(others):
    assert connector_for("s3").module == "crossdock.connectors.s3"


def test_an_unknown_scheme_names_the_nearest():
    with pytest.raises(xd.ConfigError, match="did you mean gs://"):
        xd.source("gss://bucket/")


@pytest.mark.parametrize("url", ["s3:/bucket/x", "s3:bucket/x", "GS:bucket"])
def test_a_url_without_its_slashes_is_no_directory(url):
    """A stranger who types rclone's form must not find the objects in a local directory named ``s3:``."""
    with pytest.raises(xd.ConfigError, match="a URL has two slashes behind"):
        split_url(url)


def test_a_path_may_still_look_like_a_url():
    assert split_url("./s3:/bucket/x")[0].name == "local"


@pytest.mark.parametrize("url", ["s3://", "gs:///key", ""])
def test_a_url_without_a_place_is_a_mistake(url):
    with pytest.raises(xd.ConfigError, match="names no"):
        split_url(url)


def test_keys_in_urls_are_literal():
    """Nothing is percent-decoded, and every slash after the bucket's belongs to the key."""
    assert split_url("s3://b//a%2Fb/../c#d?e")[1:] == ("b", "/a%2Fb/../c#d?e")


def test_a_missing_package_is_named_with_the_command_that_installs_it():
    row = Connector(
        name="x", schemes=("x",), module="no_such_package_of_ours", store="S", options="O", extra="x"
    )

    with pytest.raises(xd.MissingExtraError, match=r"pip install 'crossdock\[x\]'"):
        row.load()


@pytest.mark.parametrize("row", CONNECTORS, ids=lambda row: row.name)
def test_every_row_leads_to_a_store_and_its_options(row):
    store, options = row.load()

    assert callable(store)
    assert options() == options()


def test_a_sink_may_name_a_directory_that_is_not_there_yet(tmp_path):
    """A source may not; and the sink can be told to mind, too."""
    missing = f"{tmp_path}/missing/"

    assert [*xd.sink(missing).store.list()] == []
    assert [*xd.LocalSink(missing).store.list()] == []
    for store in (xd.source(missing).store, xd.sink(missing, missing_root_is_empty=False).store):
        with pytest.raises(xd.NotFoundError):
            [*store.list()]


@pytest.mark.parametrize(
    ("url", "given", "name", "value"),
    [
        ("s3://b/", {"aws_virtual_hosted_style_request": "true"}, "addressing_style", "virtual"),
        ("s3://b/", {"virtual_hosted_style_request": False}, "addressing_style", "path"),
        ("gs://b/", {"requests_timeout": 7}, "no_progress_timeout_s", 7.0),
        ("/", {"mkdir": True}, "missing_root_is_empty", True),
    ],
)
def test_words_of_fsspec_and_object_store_are_understood(url, given, name, value):
    assert value == getattr(xd.source(url, **given).store.inner.inner.options, name)
