"""A local sink never leaves its root and follows no link, whatever the keys are and whenever a link is planted.

The swap is made in the middle of an operation, before each of its system calls that take a name in turn: the directory at
each level becomes a link to a twin outside of the root, and a file becomes a link to a file there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import pytest

import crossdock as xd
from crossdock.connectors.layers import layered
from crossdock.connectors.local import LocalStore
from crossdock.connectors.memory import MemoryStore
from crossdock.connectors.objects import ObjectSource
from crossdock.errors import CrossdockError, UnsupportedError
from crossdock.model import ABSENT, Upload

KEY = "a/b/c/file"
SECRET = b"what is outside"
PART = 4
# Every call of the standard library that the store makes with a name in it.
CALLS = ("open", "mkdir", "stat", "rename", "link", "unlink", "rmdir", "listdir", "scandir")


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


@pytest.fixture
def outside(tmp_path):
    return tmp_path / "outside"


def fresh(root, outside):
    """A tree with one file, and the same tree outside."""
    for place, data in ((root, b"inside"), (outside, SECRET)):
        shutil.rmtree(place, ignore_errors=True)
        (place / KEY).parent.mkdir(parents=True)
        (place / KEY).write_bytes(data)
    return LocalStore(str(root))


def state(place):
    """Every path below a place with what it is: nothing there may be made, changed or removed."""
    return {
        str(path.relative_to(place)): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            path.is_file() and path.read_bytes(),
        )
        for path in sorted(place.rglob("*"))
    }


def plant(root, outside, level):
    """Swap the directory at a level (or, at the last, the file) for a link to its twin outside."""
    names = Path(KEY).parts[: level + 1]
    target = root.joinpath(*names)
    if target.is_symlink():
        return
    if target.exists():
        target.rename(target.with_name(f"{target.name}-moved"))
    target.symlink_to(outside.joinpath(*names))


def plant_in_draft(root, outside, level):
    """Swap the directory of an unfinished upload, or the file in it, for a link to its twin outside; false if there is none."""
    draft = next((path for path in root.rglob(".crossdock-*.part") if not path.is_symlink()), None)
    target = draft if draft is None or level == "draft" else draft / Path(KEY).name
    if target is None or not target.exists():
        return False
    target.rename(target.parent / "moved-away")
    target.symlink_to(outside / KEY if level == "file of the draft" else (outside / KEY).parent)
    return True


def put(store):
    store.put(KEY, b"new")


def create(store):
    store.put(KEY, b"new", condition=ABSENT)


def in_parts(store):
    upload = store.begin(KEY, part_size_bytes=PART)
    parts = [store.put_part(upload, number, b"1234") for number in (1, 2)]
    store.complete(upload, parts, size=8)


def given_up(store):
    upload = store.begin(KEY, part_size_bytes=PART)
    store.put_part(upload, 1, b"1234")
    store.abort(upload)


def leftovers(store):
    store.begin(KEY, part_size_bytes=PART)
    for upload in list(store.list_uploads()):
        store.abort(upload)


def delete(store):
    store.delete(KEY)


def read(store):
    return bytes(store.read(KEY).read_all())


def stat(store):
    return store.stat(KEY).size


def listing(store):
    return [(info.key, info.size) for page in store.list() for info in page]


OPERATIONS = (put, create, in_parts, given_up, leftovers, delete, read, stat, listing)


class Swapping:
    """Counts the store's system calls, and plants a link before one of them."""

    def __init__(self, monkeypatch, act):
        self.calls, self.at, self.act = 0, -1, act
        for name in CALLS:
            monkeypatch.setattr(os, name, self._watched(getattr(os, name)))

    def _watched(self, inner):
        def call(*args, **kwargs):
            mine, self.calls = self.calls, self.calls + 1
            if mine == self.at:
                self.at = -1
                self.act()
            return inner(*args, **kwargs)

        return call


@pytest.mark.parametrize("level", [0, 1, 2, 3], ids=["a", "a/b", "a/b/c", "file"])
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_a_link_planted_at_any_moment_leads_nowhere(operation, level, root, outside, monkeypatch):
    """Before every system call in turn: nothing outside is read, made, changed or removed; what is refused is ours."""
    planted = 0
    moment = 0
    while True:
        store = fresh(root, outside)
        before = state(outside)
        with monkeypatch.context() as patch:
            swapping = Swapping(patch, lambda: plant(root, outside, level))
            swapping.at = moment
            try:
                found = operation(store)
            except CrossdockError:
                found = None
        if moment >= swapping.calls:
            break
        planted += swapping.at == -1
        assert before == state(outside), (
            f"outside was touched: {operation.__name__}, link before call {moment}"
        )
        assert found != SECRET
        assert found != len(SECRET)
        assert not isinstance(found, list) or len(SECRET) not in [size for _, size in found]
        moment += 1

    assert planted == moment > 0


@pytest.mark.parametrize("level", ["draft", "file of the draft"])
@pytest.mark.parametrize(
    "operation", [put, create, in_parts, given_up, leftovers], ids=lambda each: each.__name__
)
def test_a_link_planted_in_an_unfinished_upload_leads_nowhere(operation, level, root, outside, monkeypatch):
    """Whoever may write into the root can spoil an upload; what is outside stays as it is."""
    planted, moment = [], 0
    while True:
        store = fresh(root, outside)
        before = state(outside)
        with monkeypatch.context() as patch:
            swapping = Swapping(patch, lambda: planted.append(plant_in_draft(root, outside, level)))
            swapping.at = moment
            with contextlib.suppress(CrossdockError):
                operation(store)
        if moment >= swapping.calls:
            break
        assert before == state(outside), (
            f"outside was touched: {operation.__name__}, link before call {moment}"
        )
        moment += 1

    assert any(planted)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_link_planted_between_plan_and_commit_fails_that_object_alone(level, root, outside, tmp_path):
    """The whole job: planned with directories, moved with a link in their place; the other objects arrive."""
    fresh(root, outside)
    before = state(outside)
    planted = []

    class Planting(MemoryStore):
        """The first read comes after the plan: the directory that was planned for is a link by then."""

        def read(self, *args, **kwargs):
            if not planted:
                planted.append(level)
                plant(root, outside, level)
            return super().read(*args, **kwargs)

    source = Planting(f"contained-{tmp_path.name}")
    for key in ("a/b/c/file", "a/b/c/other", "first", "x/y"):
        source.put(key, b"payload")
    report = xd.migrate(
        ObjectSource(layered(source)),
        f"{root}/",
        run_dir=f"{tmp_path}/run",
        concurrency=1,
        overwrite="always",
    )

    assert planted
    assert before == state(outside)
    assert (report.counts.copied, report.counts.failed) == (2, 2)
    assert {record.key for record in report.failed} == {KEY, "a/b/c/other"}
    assert "symbolic link" in report.failures[0].message


HOSTILE = (
    "../escaped",
    "a/../../escaped",
    "..",
    ".",
    "/escaped",
    "//escaped",
    "a//b",
    "a/./b",
    "./a",
    "a/..",
    "",
    "dir/",
    "nul\0byte",
    "\udcff",
    ".crossdock-" + "0" * 32 + "-1.part",
    ".crossdock-" + "0" * 32 + "-1.part/x",
)


@pytest.mark.parametrize("key", HOSTILE, ids=repr)
def test_a_key_that_is_no_path_below_the_root_is_refused_by_every_verb(key, root, outside):
    store = fresh(root, outside)
    before = state(outside.parent)
    upload = Upload(key=key, id="0" * 32 + "-4", part_size_bytes=4)

    assert store.refusal(key)
    for act in (
        lambda: store.put(key, b"x"),
        lambda: store.begin(key, part_size_bytes=4),
        lambda: store.put_part(upload, 1, b"x"),
        lambda: store.complete(upload, [], size=0),
        lambda: store.abort(upload),
        lambda: store.read(key),
        lambda: store.stat(key),
        lambda: store.delete(key),
    ):
        with pytest.raises(UnsupportedError):
            act()
    assert before == state(outside.parent)


@pytest.mark.parametrize(
    "key", ["~/x", "C:\\x", "..\\x", "%2e%2e/x", "..%2fx", "$HOME/x", "-rf", "a\nb", "file:x"]
)
def test_a_key_that_only_looks_dangerous_is_a_name(key, root, outside):
    """Nothing is expanded or decoded: the file is below the root, under exactly that name."""
    store = fresh(root, outside)
    before = state(outside)
    store.put(key, b"x")

    assert (root / key).read_bytes() == b"x"
    assert before == state(outside)


def test_hostile_keys_of_a_bucket_are_found_at_plan_time_and_the_others_arrive(root, tmp_path):
    source = MemoryStore(f"hostile-{tmp_path.name}")
    bad = ("../escaped", "/escaped", "a//b", "a/../../escaped", "dir/")
    for key in (*bad, "good", "a/good"):
        source.put(key, b"x")
    plan = xd.migrate(source.url, f"{root}/", dry_run=True)
    report = xd.migrate(source.url, f"{root}/", run_dir=f"{tmp_path}/run")

    assert plan.counts.failed == len(bad)
    assert not plan.directory
    assert (report.counts.copied, report.counts.failed) == (2, len(bad))
    assert [path.name for path in tmp_path.rglob("escaped")] == []
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()) == [
        "a/good",
        "good",
    ]


def test_a_link_in_the_source_is_not_taken_along(root, outside, tmp_path):
    """Neither listed nor, if it is planted after the listing, read."""
    fresh(root, outside)
    (root / "link").symlink_to(outside / KEY)
    (root / "linked").symlink_to(outside / "a")
    xd.migrate(f"{root}/", f"{tmp_path}/copy/", run_dir=f"{tmp_path}/run")

    assert [
        str(path.relative_to(tmp_path / "copy")) for path in (tmp_path / "copy").rglob("*") if path.is_file()
    ] == [KEY]
    assert SECRET not in (tmp_path / "copy" / KEY).read_bytes()


def test_cleanup_follows_no_link(root, outside):
    """A planted link that has the name of an unfinished upload is neither entered nor removed."""
    store = fresh(root, outside)
    name = ".crossdock-" + "0" * 32 + "-4.part"
    (root / "a" / name).symlink_to(outside)
    left = store.begin("a/own", part_size_bytes=4)
    before = state(outside)

    report = xd.cleanup(f"{root}/", older_than="0s")

    assert [each.id for each in report.removed] == [left.id]
    assert before == state(outside)
    assert (root / "a" / name).is_symlink()
