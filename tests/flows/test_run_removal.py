"""``remove_run``: exactly a run's objects, in an order that never leaves a half that looks whole."""

from __future__ import annotations

from functools import partial

import pytest
from flow_kit import Troubled, bucket, contents, filled

import crossdock as xd
from crossdock.connectors.memory import MemoryStore
from crossdock.connectors.strategy import TransferOptions
from crossdock.errors import LedgerError, NotFoundError, UnsafeError
from crossdock.flows import compact, export_run, overview, remove_run, run_removal
from crossdock.flows.runs.directory import default_runs_url, list_runs, run_files
from crossdock.flows.runs.ownership import Owner

OBJECTS = {f"{number:03d}": b"x" for number in range(100)}


class Killed(BaseException):
    """SIGKILL, as a test sees it."""


@pytest.fixture
def place():
    """A complete run beside another one, and with a file of somebody else's in its directory."""
    runs = f"memory://{bucket()}"
    for name in ("one", "two"):
        xd.migrate(filled(OBJECTS), f"memory://{bucket()}/", run_dir=f"{runs}/{name}/")
    MemoryStore(runs.removeprefix("memory://")).put("one/notes.txt", b"mine")
    return f"{runs}/one/"


def parent(place):
    return place.removesuffix("/one/")


def test_its_objects_and_nothing_else(place):
    before = contents(parent(place))

    done = remove_run(place)

    after = contents(parent(place))
    left = {key: body for key, body in after.items() if key.startswith("one/")}
    assert left == {"one/notes.txt": b"mine"}
    assert {key for key in before if key.startswith("two/")} == {
        key for key in after if key.startswith("two/")
    }
    assert done.foreign == ("notes.txt",)
    assert done.objects == len([key for key in before if key.startswith("one/")]) - 1
    assert [document["url"] for document in list_runs(parent(place))] == [f"{parent(place)}/two"]
    with pytest.raises(NotFoundError, match="no run here"):
        remove_run(place)


def test_killed_at_any_instant_no_half_looks_whole_and_the_next_one_ends_it(place, monkeypatch):
    kept, at = contents(parent(place)), 0
    monkeypatch.setattr(run_removal, "_AT_A_TIME", 1)
    delete, put, changes = MemoryStore.delete, MemoryStore.put, [0]

    def counted(verb):
        def change(self, key, *args, **kwargs):
            if "one/" in key:
                changes[0] -= 1
                if changes[0] < 0:
                    raise Killed
            return verb(self, key, *args, **kwargs)

        return change

    while True:
        url = f"{filled(kept)}/one/"
        with monkeypatch.context() as patch:
            patch.setattr(MemoryStore, "delete", counted(delete))
            patch.setattr(MemoryStore, "put", counted(put))
            changes[0] = at
            try:
                remove_run(url)
                killed = False
            except Killed:
                killed = True
        if not killed:
            break
        MemoryStore(url.split("/")[2]).delete("one/driver.json")  # its process is dead
        left = {key for key in contents(parent(url)) if key.startswith("one/")}
        whole = {key for key in kept if key.startswith("one/")}
        if next(iter(list_runs(parent(url))))["state"] == "complete":
            assert whole <= left
            assert xd.resume(url).counts.copied == 100
        elif "one/run.json" in left:
            for use in (xd.resume, xd.retry, compact, partial(export_run, to=f"{parent(url)}/x.csv")):
                with pytest.raises(LedgerError, match="being removed"):
                    use(url)
            assert next(iter(overview(parent(url)))).state == "removing"
        else:
            assert left <= {"one/notes.txt"}
        if "one/run.json" in left:
            remove_run(url)
        assert {key for key in contents(parent(url)) if key.startswith("one/")} == {"one/notes.txt"}
        at += 1

    assert at >= 8


def test_a_run_at_work_is_refused_whatever_force_says(place):
    with Owner(run_files(place)):
        for force in (False, True):
            with pytest.raises(LedgerError, match="another driver owns"):
                remove_run(place, force=force)
    assert xd.resume(place).counts.copied == 100


def test_open_uploads_are_refused_without_force():
    """Only its ledger knows that they are its own: without it they stay, and are paid for, for ever."""
    store, place = Troubled(), f"memory://{bucket()}/"
    sink = store.sink(transfer=TransferOptions(part_size_bytes=1_000))
    store.put("zzz", b"")
    xd.migrate(filled({"big": b"x" * 3_000}), sink, run_dir=place)
    upload = store.begin("big", part_size_bytes=1_000)

    with pytest.raises(UnsafeError, match=r"1 uploads of it are open.*crossdock cleanup"):
        remove_run(place)
    assert xd.resume(place, sink=sink).state == "complete"
    store.abort(upload)
    remove_run(place)

    assert contents(place.rstrip("/")) == {}


def test_with_force_it_goes(place):
    assert remove_run(place, force=True).objects > 5


def test_a_destination_that_cannot_be_asked_is_refused_without_force(tmp_path):
    place, to = f"memory://{bucket()}/", tmp_path / "to"
    to.mkdir()
    xd.migrate(
        filled({"big": b"x" * 3_000}), f"{to}/", run_dir=place, sink_options={"part_size_bytes": 1_000}
    )
    (to / "big").unlink()
    to.rmdir()
    to.write_text("no directory any more")

    with pytest.raises(UnsafeError, match="cannot be found out"):
        remove_run(place)
    assert remove_run(place, force=True).objects


def test_on_a_disk_no_empty_directory_stays(tmp_path):
    report = xd.migrate(filled(OBJECTS), f"memory://{bucket()}/")
    place = default_runs_url().removeprefix("file://")

    remove_run(report.run_id)

    from pathlib import Path

    assert list(Path(place).iterdir()) == []
    assert list(overview()) == []


def test_overview_tells_a_killed_run_from_one_at_work(place):
    files = run_files(place)
    document, _ = files.get_json("run.json")
    files.put_json("run.json", document | {"state": "running"})

    with Owner(files):
        working = {each.name: each.state for each in overview(parent(place))}
    killed = {each.name: each.state for each in overview(parent(place))}

    assert working == {"one": "running", "two": "complete"}
    assert killed == {"one": "killed", "two": "complete"}
