"""``remove``: one object, or what is listed below a prefix, each only in the version that was listed."""

from __future__ import annotations

import pytest
from flow_kit import HOSTILE, contents, filled

import crossdock as xd
from crossdock.connectors.memory import MemoryStore
from crossdock.errors import ConfigError, DeniedError, NotFoundError, UnsupportedError
from crossdock.testing import EmbeddedGCS, EmbeddedS3

TREE = {"logs": b"0", "logs/a": b"1", "logs/b/c": b"22", "logs-2/d": b"3", "x": b"4"}


@pytest.fixture
def tree():
    return filled(TREE)


def test_one_object_and_no_other(tree):
    erased = xd.remove(f"{tree}/logs")

    assert (erased.deletions.deleted, erased.deletions.planned, erased.exit_code) == (1, 1, 0)
    assert contents(tree) == {key: body for key, body in TREE.items() if key != "logs"}


@pytest.mark.parametrize(
    ("url", "gone"),
    [("logs/", {"logs/a", "logs/b/c"}), ("logs", {"logs", "logs/a", "logs/b/c"}), ("", set(TREE))],
)
def test_a_prefix_is_what_ls_lists(tree, url, gone):
    erased = xd.remove(f"{tree}/{url}", recursive=True)

    assert contents(tree).keys() == TREE.keys() - gone
    assert (erased.deletions.deleted, erased.deletions.ok) == (len(gone), True)


def test_filters_choose_and_exclude_wins(tree):
    xd.remove(f"{tree}/", recursive=True, include=["logs/**"], exclude=["**/c"])

    assert contents(tree).keys() == TREE.keys() - {"logs/a"}


def test_sizes_and_ages_choose_too(tree):
    young = xd.remove(f"{tree}/", recursive=True, max_size="1B", max_age="1h", exclude=["x"], dry_run=True)
    with pytest.raises(NotFoundError, match="nothing matches"):
        xd.remove(f"{tree}/", recursive=True, min_age="1h")
    with pytest.raises(ConfigError, match="-r"):
        xd.remove(f"{tree}/x", min_age="1h")
    xd.remove(f"{tree}/", recursive=True, min_size=2)

    assert young.deletions.planned == 3
    assert contents(tree).keys() == TREE.keys() - {"logs/b/c"}


@pytest.mark.parametrize("url", ["logs/", ""])
def test_a_prefix_without_recursive_is_refused(tree, url):
    with pytest.raises(ConfigError, match="recursive=True, or -r"):
        xd.remove(f"{tree}/{url}")
    with pytest.raises(ConfigError):
        xd.remove(f"{tree}/x", include=["x"])
    assert contents(tree) == TREE


def test_a_dry_run_deletes_nothing_and_shows_each(tree):
    seen = []
    erased = xd.remove(f"{tree}/logs/", recursive=True, dry_run=True, on_listed=seen.append)

    assert [info.key for info in seen] == ["logs/a", "logs/b/c"]
    assert (erased.deletions.planned, erased.deletions.planned_bytes, erased.deletions.deleted) == (2, 3, 0)
    assert (erased.exit_code, contents(tree)) == (0, TREE)


def test_it_asks_with_the_numbers_and_no_means_no(tree):
    asked = []
    erased = xd.remove(
        f"{tree}/logs/", recursive=True, confirm=lambda objects, size: asked.append((objects, size))
    )

    assert asked == [(2, 3)]
    assert (erased.asked, erased.exit_code, contents(tree)) == (False, 8, TREE)


def test_what_was_shown_is_what_goes(tree):
    """An object that appears while somebody thinks was not shown, and stays; one replaced meanwhile stays too."""
    store = MemoryStore(tree.removeprefix("memory://"))

    def think(objects, size):
        store.put("logs/new", b"new")
        store.put("logs/a", b"replaced")
        return True

    erased = xd.remove(f"{tree}/logs/", recursive=True, confirm=think)

    assert contents(tree)["logs/a"] == b"replaced"
    assert contents(tree)["logs/new"] == b"new"
    assert "logs/b/c" not in contents(tree)
    assert (erased.deletions.deleted, erased.deletions.changed, erased.exit_code) == (1, 1, 5)
    assert [(each.key, each.fate.value) for each in erased.deletions.examples] == [("logs/a", "changed")]


def test_one_that_fails_fails_alone(tree, monkeypatch):
    delete = MemoryStore.delete

    def refuse(self, key, **kwargs):
        if key == "logs/a":
            raise DeniedError("not this one", operation="delete", where=self.url, key=key)
        return delete(self, key, **kwargs)

    monkeypatch.setattr(MemoryStore, "delete", refuse)
    erased = xd.remove(f"{tree}/logs/", recursive=True)

    assert (erased.deletions.deleted, erased.deletions.failed, erased.exit_code) == (1, 1, 5)
    assert contents(tree).keys() == TREE.keys() - {"logs/b/c"}


def test_hostile_keys_go_alone():
    url = filled(dict.fromkeys(HOSTILE, b""))
    for key in (key for key in HOSTILE if not key.endswith("/")):
        before = contents(url).keys()
        xd.remove(f"{url}/{key}")
        assert before - contents(url).keys() == {key}, key
    assert contents(url).keys() == {"a/"}
    xd.remove(f"{url}/a/", recursive=True)
    assert contents(url) == {}


def test_nothing_there_is_not_found(tree):
    for url, recursive in (("none", False), ("none/", True), ("none", True)):
        with pytest.raises(NotFoundError):
            xd.remove(f"{tree}/{url}", recursive=recursive)
    with pytest.raises(NotFoundError, match="nothing matches"):
        xd.remove(f"{tree}/", recursive=True, include=["*.none"])
    assert contents(tree) == TREE


def test_a_store_that_can_only_be_read_is_refused():
    with pytest.raises(UnsupportedError, match="only be read"):
        xd.remove("http://127.0.0.1:1/a")


def test_a_listing_that_fails_deletes_nothing(tree, monkeypatch):
    def broken(self, prefix="", *, start_after=None):
        yield from [[MemoryStore.stat(self, "logs/a")]]
        raise DeniedError("no second page", operation="list", where=self.url)

    monkeypatch.setattr(MemoryStore, "list", broken)
    with pytest.raises(DeniedError):
        xd.remove(f"{tree}/logs/", recursive=True)
    monkeypatch.undo()

    assert contents(tree) == TREE


@pytest.mark.parametrize("kind", ["s3", "gs", "local"])
def test_servers_and_disks(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-access-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret-key")
    with EmbeddedS3(buckets=("shelf",)) as s3, EmbeddedGCS(buckets=("shelf",)) as gcs:
        url, options = {
            "s3": ("s3://shelf/", {"endpoint_url": s3.url, "region": "us-east-1"}),
            "gs": ("gs://shelf/", {"endpoint_url": gcs.url}),
            "local": (f"{tmp_path}/b/", {}),
        }[kind]
        sink = xd.sink(url, **options)
        for number in range(30):
            sink(b"12", key=f"tmp/{number}")
        sink(b"1", key="tmp-2/kept")
        erased = xd.remove(f"{url}tmp/", recursive=True, options=options)

        assert (erased.deletions.deleted, erased.deletions.planned_bytes) == (30, 60)
        assert list(xd.source(url, **options).list()) == ["tmp-2/kept"]
        assert xd.remove(f"{url}tmp-2/kept", options=options).deletions.ok
        assert list(xd.source(url, **options).list()) == []
