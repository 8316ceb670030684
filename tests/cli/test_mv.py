"""``crossdock mv``: what arrived is gone from the source, what did not is not."""

import json

import pytest
from click.testing import CliRunner

from crossdock.cli.main import cli
from crossdock.testing import EmbeddedGCS, Rule


def crossdock(*arguments):
    result = CliRunner().invoke(cli, arguments)
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """Runs of these tests are kept in a place of their own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def source(tmp_path):
    for name in ("a", "d/b"):
        (tmp_path / "from" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "from" / name).write_bytes(name.encode())
    return tmp_path / "from"


@pytest.fixture
def gcs():
    with EmbeddedGCS(buckets=("archive",)) as server:
        yield server


def to(gcs):
    return "gs://archive/", "--sink-option", f"endpoint_url={gcs.url}"


def left(source):
    return sorted(str(path.relative_to(source)) for path in source.rglob("*") if path.is_file())


def test_everything_is_moved_and_the_numbers_say_so(source, gcs):
    code, out, err = crossdock("mv", f"{source}/", *to(gcs))

    assert (code, err, left(source)) == (0, f"deleting 2 objects of file://{source}\n", [])
    assert set(gcs.objects("archive")) == {"a", "d/b"}
    assert out.startswith("done: every object is at the destination, proven, and gone from the source\n")
    assert "deletes   2 objects = 2 deleted + 0 changed + 0 kept + 0 failed + 0 pending" in out
    assert crossdock("mv", f"{source}/", *to(gcs))[0] == 3


def test_a_resume_with_nothing_left_to_delete_announces_no_deletions(source, gcs):
    run = source.parent / "run"
    assert crossdock("mv", f"{source}/", *to(gcs), "--run-dir", str(run))[0] == 0

    code, out, err = crossdock("runs", "resume", str(run))

    assert (code, err) == (0, "")
    assert "deletes   2 objects = 2 deleted" in out


def test_one_object_gets_a_new_name_and_never_its_own(source):
    assert crossdock("mv", str(source / "a"), str(source / "c"))[0] == 0
    assert left(source) == ["c", "d/b"]
    code, _, err = crossdock("mv", str(source / "c"), str(source / "c"))
    assert (code, "same object" in err) == (2, True)
    assert crossdock("mv", f"{source}/", f"{source}/d/")[0] == 8
    assert left(source) == ["c", "d/b"]


def test_what_failed_stays_and_the_same_command_is_named(source, gcs):
    gcs.faults.add(Rule(operation="object.insert", status=403, first=1, name="denied"))

    code, out, _ = crossdock("mv", f"{source}/", *to(gcs), "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    stayed = left(source)

    assert gcs.faults.fired["denied"] == 1
    assert (code, len(stayed), {*stayed, *gcs.objects("archive")}) == (5, 1, {"a", "d/b"})
    assert [row["key"] for row in rows if row["type"] == "failure"] == stayed
    assert (rows[-1]["copied"], rows[-1]["failed"], rows[-1]["deleted"]) == (1, 1, 1)
    gcs.faults.clear()
    assert crossdock("mv", f"{source}/", *to(gcs))[0] == 0
    assert left(source) == []


def test_a_dry_run_moves_nothing(source, gcs):
    code, out, _ = crossdock("mv", f"{source}/", *to(gcs), "-n")

    assert (code, left(source), gcs.objects("archive")) == (0, ["a", "d/b"], {})
    assert out.startswith("plan: nothing was moved\n")
    assert f"next      crossdock mv {source}/" in out


def test_a_length_alone_is_no_proof(source, gcs):
    code, _, err = crossdock("mv", f"{source}/", *to(gcs), "--require", "v0")

    assert (code, "v0" in err) == (2, True)


def test_after_a_limit_nothing_is_deleted_and_a_resume_does_the_rest(source, gcs):
    for number in range(300):
        (source / f"n{number:03d}").write_bytes(bytes(1_000))
    before, run = left(source), source.parent / "run"
    words = ("--run-dir", str(run), "--concurrency", "1", "--max-bytes", "5kB", "--bwlimit", "100MB")

    code, out, _ = crossdock("mv", f"{source}/", *to(gcs), *words)

    assert (code, left(source)) == (7, before)
    assert out.startswith("stopped by a limit")
    assert "objects: a limit stopped the copies: 0 failed, " in out
    assert f"next      crossdock runs resume file://{run}\n" in out
    code, out, _ = crossdock("runs", "resume", str(run), "--json")
    summary = json.loads(out.splitlines()[-1])
    assert (code, left(source), set(gcs.objects("archive"))) == (0, [], set(before))
    assert (summary["copied"], summary["deleted"]) == (302, 302)


def test_a_deadline_that_has_passed_is_refused_before_anything(source, gcs):
    code, _, err = crossdock("mv", f"{source}/", *to(gcs), "--deadline", "2020-01-01T00:00:00Z")

    assert (code, "passed already" in err, left(source)) == (2, True, ["a", "d/b"])
