"""``crossdock runs ls|report|export|rm|compact``, ``retry`` and ``resume``: what they print and how they end."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil

import pytest
from click.testing import CliRunner

import crossdock as xd
from crossdock.cli.main import cli
from crossdock.flows.runs.directory import default_runs_url, run_files
from crossdock.flows.runs.ownership import Owner


def crossdock(*arguments):
    result = CliRunner().invoke(cli, [*arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """Runs of these tests are kept in a place of their own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def ends(tmp_path):
    """A source of three objects, and a destination where a directory stands where an object should be."""
    (tmp_path / "from").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "from" / name).write_text(name)
    (tmp_path / "to" / "b").mkdir(parents=True)
    return f"{tmp_path}/from/", f"{tmp_path}/to/"


@pytest.fixture
def run(ends):
    """A run of three objects, one of which failed."""
    report = xd.migrate(*ends)
    assert (report.counts.copied, report.counts.failed) == (2, 1)
    return report.run_id


def failure(run):
    return next(iter(json.loads(crossdock("runs", "report", run, "--format", "json")[1])["failures"]))


def test_ls_has_age_state_and_numbers(run):
    code, out, _ = crossdock("runs", "ls")
    row = json.loads(crossdock("runs", "ls", "--json")[1])

    assert code == 0
    assert run in out
    assert " s ago  incomplete " in out
    assert "2 of 3, 1 failed" in out
    assert (row["run_id"], row["copied"], row["failed"], row["pending"], row["planned"]) == (run, 2, 1, 0, 3)


def test_ls_shows_the_key_of_one_object_at_both_ends(ends, tmp_path):
    xd.migrate(f"{ends[0]}a", f"{tmp_path}/other/b")

    assert crossdock("runs", "ls")[1].endswith(f"file://{ends[0]}a -> file://{tmp_path}/other/b\n")


@pytest.mark.parametrize("command", ["show", "report"])
def test_a_plan_that_was_not_begun_is_shown_with_the_command_that_carries_it_out(ends, tmp_path, command):
    xd.plan(*ends, out=f"{tmp_path}/plan")

    assert (
        f"next      crossdock cp --plan file://{tmp_path}/plan"
        in crossdock("runs", command, f"{tmp_path}/plan")[1]
    )


def test_a_run_whose_driver_died_is_shown_as_killed(run):
    files = run_files(f"{default_runs_url()}/{run}")
    document, _ = files.get_json("run.json")
    files.put_json("run.json", document | {"state": "running"})

    assert json.loads(crossdock("runs", "ls", "--json")[1])["state"] == "killed"


def test_report_in_three_forms_to_stdout_or_a_file(run, tmp_path):
    text = crossdock("runs", "report", run)
    page = crossdock("runs", "report", run, "--format", "html")
    data = crossdock("runs", "report", run, "--format", "json")
    written = crossdock("runs", "report", run, "--format", "html", "--to", f"{tmp_path}/report.html")

    assert (text[0], page[0], data[0], written[0]) == (0, 0, 0, 0)
    assert "not done: of 3 objects 1 failed" in text[1]
    assert "what to do" in text[1]
    assert page[1].startswith("<!doctype html>")
    assert json.loads(data[1])["failed"] == 1
    assert (tmp_path / "report.html").read_text() == page[1]
    assert written[1] == ""
    nowhere = crossdock("runs", "report", run, "--to", f"{tmp_path}/")
    assert nowhere[0] == 2
    assert "names no file" in nowhere[2]


def test_export_to_a_file_and_to_stdout(run, tmp_path):
    to = tmp_path / "ends.csv"
    code, out, told = crossdock("runs", "export", run, "--to", str(to))
    streamed = crossdock("runs", "export", run, "--to", "-", "--format", "jsonl")
    states = {"a": "copied", "b": "failed", "c": "copied"}

    assert (code, out) == (0, "")
    assert "3 objects" in told
    assert states == {
        row["key"]: row["state"] for row in csv.DictReader(io.StringIO(to.read_text(), newline=""))
    }
    assert states == {row["key"]: row["state"] for row in map(json.loads, streamed[1].splitlines())}
    assert crossdock("runs", "export", run, "--to", f"{tmp_path}/ends.xml")[0] == 2
    assert crossdock("runs", "export", run, "--to", "-")[0] == 2
    assert crossdock("runs", "export", "20990101T000000-000000", "--to", "-", "--format", "csv")[0] == 3


def test_retry_does_the_failures_and_then_has_nothing_to_do(run, ends, tmp_path):
    reason = failure(run)["reason"]
    other = crossdock("retry", run, "--where", "reason=stalled")
    again = crossdock("retry", run, "--where", f"reason={reason}", "--json")
    shutil.rmtree(tmp_path / "to" / "b")
    done = crossdock("retry", run, "--where", f"reason={reason}", "--where", "key=b")
    nothing = crossdock("retry", run)

    assert (other[0], other[1]) == (0, "")
    assert other[2] == "nothing to try again: none of 1 failures matches reason=stalled\n"
    assert again[0] == 5
    assert json.loads(again[1].splitlines()[-1])["failed"] == 1
    assert done[0] == 0
    assert "3 objects = 3 copied" in done[1]
    assert (tmp_path / "to" / "b").read_text() == "b"
    assert nothing == (0, "", "nothing to try again: no object failed\n")
    assert json.loads(crossdock("retry", run, "--json")[1])["exit_code"] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--where", "reason=denyed"), 2, "did you mean 'denied'"),
        (("--where", "colour=red"), 2, "neither reason=CLASS nor key=GLOB"),
    ],
)
def test_a_wrong_condition_is_one_line(run, arguments, code, told):
    ended, _, err = crossdock("retry", run, *arguments)

    assert code == ended
    assert told in err
    assert len(err.splitlines()) == 1


def test_resume_is_a_command_of_its_own_too(run, tmp_path):
    shutil.rmtree(tmp_path / "to" / "b")
    xd.retry(run)
    code, out, _ = crossdock("resume", run)

    assert code == 0
    assert "3 objects = 3 copied" in out


def test_rm_removes_the_record_and_not_what_was_moved(run, ends, tmp_path):
    second = xd.migrate(*ends, include=["a"], overwrite="always").run_id
    code, out, _ = crossdock("runs", "rm", run, second)

    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["removed", "removed"]
    assert crossdock("runs", "ls") == (0, "", "")
    assert (tmp_path / "to" / "a").read_text() == "a"
    assert crossdock("runs", "rm", run)[0] == 3


def test_rm_of_a_run_at_work_is_refused_with_8(run):
    with Owner(run_files(f"{default_runs_url()}/{run}/")):
        code, _, told = crossdock("runs", "rm", run, "--force")

    assert code == 8
    assert "another driver owns this run" in told
    assert crossdock("runs", "show", run)[0] == 0


def test_rm_names_what_it_leaves(run):
    directory = default_runs_url().removeprefix("file://")
    with open(f"{directory}/{run}/notes.txt", "w") as notes:  # noqa: PTH123 - one line
        notes.write("mine")
    _, _, told = crossdock("runs", "rm", run)

    assert "notes.txt" in told
    assert os.listdir(f"{directory}/{run}") == ["notes.txt"]  # noqa: PTH208 - one line


def test_compact_says_what_it_did(run):
    first = crossdock("runs", "compact", run)
    again = crossdock("runs", "compact", run, "--json")

    assert first[0] == again[0] == 0
    assert " segments became " in first[1]
    assert json.loads(again[1]) == {"merged": 0, "written": 0, "records": 0}
