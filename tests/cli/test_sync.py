"""``crossdock sync``: the plan is shown, safeties have exit code 8, deletions are counted beside copies."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

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
def ends(tmp_path):
    for place, names in {"from": "abc", "to": "cde"}.items():
        (tmp_path / place).mkdir()
        for name in names:
            (tmp_path / place / name).write_bytes(name.encode())
    return f"{tmp_path}/from/", f"{tmp_path}/to/"


def names(place):
    return sorted(os.listdir(place))  # noqa: PTH208 - a text


def test_without_delete_nothing_is_deleted(ends):
    code, out, err = crossdock("sync", *ends)

    assert (code, err) == (0, "")
    assert "3 objects = 2 copied + 1 skipped + 0 failed + 0 pending" in out
    assert "deletes" not in out
    assert names(ends[1]) == ["a", "b", "c", "d", "e"]


def test_with_delete_the_plan_is_shown_and_the_deletions_are_counted(ends):
    code, out, err = crossdock("sync", *ends, "--delete")

    assert code == 0
    assert err.splitlines()[:3] == [
        "plan: 2 new, 1 at both ends to compare, 2 only at the destination to delete (2 B)",
        "  delete d",
        "  delete e",
    ]
    assert out.startswith("done: the destination holds what the source holds, proven\n")
    assert "planned   3 objects = 2 copied + 1 skipped + 0 failed + 0 pending" in out
    assert "deletes   2 objects = 2 deleted + 0 changed + 0 kept + 0 failed + 0 pending" in out
    assert names(ends[1]) == ["a", "b", "c"]


@pytest.mark.parametrize("command", ["cp", "sync"])
def test_what_was_not_compared_is_not_called_proven(ends, command):
    """With ``--overwrite never`` an object that is there is left, whatever it is."""
    Path(ends[1], "c").write_bytes(b"something else")

    code, out, _ = crossdock(command, *ends, "--overwrite", "never")
    _, fresh, _ = crossdock(command, ends[0], f"{ends[1]}new/", "--overwrite", "never")

    assert code == 0
    assert out.startswith(
        "done: what was copied is proven; what was there already was left as it is, and not compared\n"
    )
    assert "2 copied + 1 skipped" in out
    assert ", proven\n" in fresh  # nothing was there


def test_a_dry_run_names_the_command_and_does_nothing(ends):
    code, out, err = crossdock("sync", *ends, "--delete", "-n")

    assert code == 0
    assert "  delete d\n" in err
    assert out.startswith("plan: nothing was moved\n")
    assert "deletes   2 objects = 0 deleted + 0 changed + 0 kept + 0 failed + 2 pending" in out
    assert f"next      crossdock sync {ends[0]} {ends[1]} --delete\n" in out
    assert names(ends[1]) == ["c", "d", "e"]


def test_json_has_the_deletions_in_the_summary(ends):
    code, out, _ = crossdock("sync", *ends, "--delete", "--yes", "--json", "-q")
    summary = json.loads(out.splitlines()[-1])

    assert (code, summary["type"], summary["copied"], summary["deleted"]) == (0, "summary", 2, 2)
    assert summary["deletes"]["planned"] == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--max-delete", "1"), "2 of 3 objects would be deleted, more than the limit of 1 objects"),
        (("--max-delete", "50%"), "more than the limit of 50 %"),
        (("--include", "[de]"), "the source has no object that the filters take"),
    ],
)
def test_a_refusal_is_8_and_nothing_was_done(ends, words, told):
    code, out, err = crossdock("sync", *ends, "--delete", *words)

    assert (code, out) == (8, "")
    assert told in err
    assert "nothing was done" in err
    assert names(ends[1]) == ["c", "d", "e"]


def test_one_end_within_the_other_is_8(ends):
    assert crossdock("sync", ends[0], f"{ends[0]}inner/")[0] == 8


@pytest.mark.parametrize("words", [("--max-delete", "3"), ("--delete", "--max-delete", "x")])
def test_what_makes_no_sense_is_2(ends, words):
    assert crossdock("sync", *ends, *words)[0] == 2


def test_after_a_failed_copy_the_verdict_says_that_nothing_was_deleted(ends):
    with EmbeddedGCS(buckets=("archive",)) as gcs:
        where = ("--sink-option", f"endpoint_url={gcs.url}")
        assert crossdock("sync", ends[1], "gs://archive/", *where)[0] == 0
        gcs.faults.add(Rule(operation="object.insert", status=403, first=1, name="denied"))

        code, out, _ = crossdock("sync", ends[0], "gs://archive/", "--delete", *where)

        assert gcs.faults.fired["denied"] == 1
        assert code == 5
        assert {"c", "d", "e"} < set(gcs.objects("archive"))
        assert "deletes   none of 2 objects: 1 copies failed, 0 are pending" in out
        run = out.rsplit("next      crossdock runs resume ", 1)[1].strip()
        gcs.faults.clear()
        assert crossdock("runs", "resume", run, *where)[0] == 0
        assert set(gcs.objects("archive")) == {"a", "b", "c"}


def test_an_object_that_cannot_be_deleted_is_named(ends):
    with EmbeddedGCS(buckets=("archive",)) as gcs:
        where = ("--sink-option", f"endpoint_url={gcs.url}")
        assert crossdock("sync", ends[1], "gs://archive/", *where)[0] == 0
        gcs.faults.add(Rule(operation="object.delete", key="^d$", status=403, name="held"))

        code, out, _ = crossdock("sync", ends[0], "gs://archive/", "--delete", *where)

        assert gcs.faults.fired["held"] >= 1
        assert (code, set(gcs.objects("archive"))) == (5, {"a", "b", "c", "d"})
        assert out.startswith("not done: 1 of 2 objects were not deleted\n")
        assert "            failed: d: delete gs://archive/d:" in out
        run = out.rsplit("next      crossdock runs resume ", 1)[1].strip()
        gcs.faults.clear()
        assert crossdock("resume", run, *where)[0] == 0
        assert set(gcs.objects("archive")) == {"a", "b", "c"}


@pytest.mark.parametrize(("answer", "code", "left"), [("y", 0, ["a", "b", "c"]), ("n", 8, ["c", "d", "e"])])
def test_at_a_terminal_somebody_is_asked(ends, answer, code, left):
    """A real terminal: the question comes after the plan, and No is a refusal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "crossdock", "sync", *ends, "--delete"]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        seen = b""
        while b"[y/N]" not in seen:
            seen += os.read(ours, 4096)
        os.write(ours, f"{answer}\n".encode())
        out, _ = process.communicate(timeout=60)
    os.close(ours)

    assert b"2 only at the destination to delete" in seen
    assert b"delete 2 objects of" in seen
    assert (process.returncode, names(ends[1])) == (code, left), out


@pytest.fixture
def stopped(ends, tmp_path):
    """A sync with two to delete that a limit stopped in the middle; the address of its run."""
    for number in range(300):
        (tmp_path / "from" / f"n{number:03d}").write_bytes(bytes(1_000))
    words = ("--delete", "--run-dir", f"{tmp_path}/run", "--concurrency", "1")
    code, out, _ = crossdock("sync", *ends, *words, "--max-bytes", "5kB", "--bwlimit", "100MB")

    assert code == 7
    assert out.startswith("stopped by a limit")
    assert "deletes   none of 2 objects: a limit stopped the copies: 0 failed, " in out
    assert f"next      crossdock runs resume file://{tmp_path}/run\n" in out
    assert {"d", "e"} < set(names(ends[1]))
    return f"{tmp_path}/run"


def test_after_a_limit_nothing_is_deleted_and_a_resume_shows_and_does_the_rest(ends, stopped):
    code, out, err = crossdock("runs", "show", stopped)
    assert (code, "deletes   2 objects = 0 deleted" in out, err) == (0, True, "")

    code, out, err = crossdock("runs", "resume", stopped)

    assert code == 0, out
    assert err.splitlines()[1:3] == ["  delete d", "  delete e"]
    assert out.startswith("done: everything was copied and deleted as it was asked\n")
    assert "deletes   2 objects = 2 deleted + 0 changed + 0 kept + 0 failed + 0 pending" in out
    assert names(ends[1]) == names(ends[0])
    assert crossdock("runs", "resume", stopped)[0] == 0


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 8)])
def test_at_a_terminal_a_resume_asks_as_the_sync_would(ends, stopped, answer, code):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "crossdock", "runs", "resume", stopped]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        seen = b""
        while b"[y/N]" not in seen:
            seen += os.read(ours, 4096)
        os.write(ours, f"{answer}\n".encode())
        out, _ = process.communicate(timeout=60)
    os.close(ours)

    assert b"delete 2 objects of" in seen
    assert (process.returncode, names(ends[1]) == names(ends[0])) == (code, answer == "y"), out
