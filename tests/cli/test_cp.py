"""``crossdock cp`` and ``crossdock runs`` against real stores: outcomes, exit codes, JSON, the next command."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from crossdock.cli.main import cli
from crossdock.testing import EmbeddedGCS, EmbeddedS3, Rule
from crossdock.testing.demo.plain import PlainS3


def crossdock(*arguments, **environment):
    result = CliRunner().invoke(cli, arguments, env=environment)
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """Runs of these tests are kept in a place of their own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def source(tmp_path):
    place = tmp_path / "source"
    for name in ("a.csv", "b.bin", "nested/c.csv"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(name.encode())
    return f"{place}/"


@pytest.fixture
def gcs():
    with EmbeddedGCS(buckets=("archive",)) as server:
        yield server


@pytest.fixture
def s3():
    """A source whose reads can be made to fail, with the same three objects."""
    with EmbeddedS3(buckets=("landing",)) as server:
        with PlainS3(server.url) as plain:
            for name in ("a.csv", "b.bin", "nested/c.csv"):
                plain.put("landing", name, name.encode(), {}, None)
        yield server


@pytest.fixture
def copying(s3, gcs, monkeypatch):
    """The words that copy from it; credentials come from the environment, as AWS's own tools read them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-access-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret-key")
    return ("cp", "s3://landing/", "gs://archive/", "--source-option", f"endpoint_url={s3.url}", *to(gcs))


def to(gcs):
    return "--sink-option", f"endpoint_url={gcs.url}"


def rows(text):
    return [json.loads(line) for line in text.splitlines()]


def test_everything_is_copied_and_the_same_again_copies_nothing(source, gcs):
    code, told, _ = crossdock("cp", source, "gs://archive/in", *to(gcs))
    again = crossdock("cp", source, "gs://archive/in", *to(gcs))

    assert code == 0
    assert "3 objects = 3 copied + 0 skipped + 0 failed + 0 pending" in told
    assert {key: bytes(held.data) for key, held in gcs.objects("archive").items()} == {
        "in/a.csv": b"a.csv",
        "in/b.bin": b"b.bin",
        "in/nested/c.csv": b"nested/c.csv",
    }
    assert again[0] == 0
    assert "3 objects = 0 copied + 3 skipped + 0 failed + 0 pending" in again[1]


def test_json_is_one_object_a_line_and_the_last_is_the_summary(source, gcs):
    code, out, told = crossdock("cp", source, "gs://archive/", "--json", *to(gcs))
    found = rows(out)

    assert code == 0
    assert found[0]["type"] == "phase"
    assert tuple(found[-1][name] for name in ("type", "planned", "copied", "exit_code", "state")) == (
        "summary",
        3,
        3,
        0,
        "complete",
    )
    assert told.startswith("done: every object")


def test_a_dry_run_names_each_object_and_writes_nothing(source, gcs):
    code, out, _ = crossdock("cp", source, "gs://archive/in/", "-n", "--json", *to(gcs))
    plan = [row for row in rows(out) if row["type"] == "plan"]

    assert code == 0
    assert [row["destination"] for row in plan] == ["in/a.csv", "in/b.bin", "in/nested/c.csv"]
    assert {"copy"} == {row["action"] for row in plan}
    assert gcs.objects("archive") == {}


def test_the_command_a_plan_ends_with_does_it(source, gcs):
    _, told, _ = crossdock("cp", "--dry-run", source, "gs://archive/", *to(gcs))
    command = shlex.split(re.search(r"^  next +crossdock (.*)$", told, re.MULTILINE)[1])

    assert crossdock(*command)[0] == 0
    assert len(gcs.objects("archive")) == 3


def test_filters_say_what_is_copied(source, gcs):
    crossdock("cp", source, "gs://archive/", "--include", "**.csv", "--exclude", "nested/**", *to(gcs))

    assert list(gcs.objects("archive")) == ["a.csv"]


def test_overwrite_never_keeps_what_is_there(source, gcs, tmp_path):
    crossdock("cp", source, "gs://archive/", *to(gcs))
    (tmp_path / "source" / "a.csv").write_bytes(b"changed")
    crossdock("cp", source, "gs://archive/", "--overwrite", "never", *to(gcs))
    kept = gcs.objects("archive")["a.csv"].data
    crossdock("cp", source, "gs://archive/", *to(gcs))

    assert bytes(kept) == b"a.csv"
    assert bytes(gcs.objects("archive")["a.csv"].data) == b"changed"


def test_verify_v3_reads_everything_back(source, gcs):
    _, out, _ = crossdock("cp", source, "gs://archive/", "--verify", "v3", "--json", *to(gcs))

    assert rows(out)[-1]["levels"] == {"V3": 3}
    assert gcs.faults.requests["object.get"] >= 3


def test_a_failed_object_is_5_named_and_resumed_by_the_command_printed(s3, gcs, copying):
    name = s3.faults.add(Rule(operation="object.get", key="b.bin", status=403))
    code, out, told = crossdock(*copying, "--json")
    failures = [row for row in rows(out) if row["type"] == "failure"]
    command = shlex.split(re.search(r"^  next +crossdock (.*)$", told, re.MULTILINE)[1])
    s3.faults.clear()
    resumed = crossdock(*command)

    assert s3.faults.fired[name] > 0
    assert code == 5
    assert [row["key"] for row in failures] == ["b.bin"]
    assert failures[0]["reason"] == "denied"
    assert "what to do: grant the permission" in told
    assert resumed[0] == 0, resumed
    assert "3 objects = 3 copied" in resumed[1]
    assert len(gcs.objects("archive")) == 3


def test_a_run_is_listed_shown_and_found_by_its_url(source, gcs, tmp_path):
    place = f"{tmp_path}/runs/nightly"
    crossdock("cp", source, "gs://archive/", "--run-dir", place, *to(gcs))
    listed = crossdock("runs", "ls", f"{tmp_path}/runs/")
    shown = crossdock("runs", "show", place, "--json")

    assert listed[0] == 0
    assert re.search(r"^nightly  .*complete .* 3 of 3  .*source/ -> gs://archive/$", listed[1], re.MULTILINE)
    assert (shown[0], rows(shown[1])[-1]["copied"]) == (0, 3)


def test_own_runs_are_found_by_id(source, gcs):
    crossdock("cp", source, "gs://archive/", *to(gcs))
    run = rows(crossdock("runs", "ls", "--json")[1])[0]["run_id"]

    assert "3 objects = 3 copied" in crossdock("runs", "show", run)[1]


def test_no_runs_is_an_empty_list():
    assert crossdock("runs", "ls") == (0, "", "")


@pytest.mark.parametrize("command", ["show", "resume"])
def test_an_unknown_run_is_exit_code_3(command):
    code, out, told = crossdock("runs", command, "20990101T000000-000000")

    assert (code, out) == (3, "")
    assert "there is no run here" in told
    assert len(told.splitlines()) == 1


def test_quiet_says_nothing_when_all_is_well_and_the_verdict_when_not(s3, copying):
    well = crossdock(*copying, "-q")
    s3.faults.add(Rule(operation="object.get", key="b.bin", status=403))
    wrong = crossdock(*copying, "-q", "--overwrite", "always")

    assert well == (0, "", "")
    assert wrong[:2] == (5, "")
    assert "not done: of 3 objects 1 failed" in wrong[2]


def test_an_empty_source_is_exit_code_3(tmp_path, gcs):
    (tmp_path / "empty").mkdir()
    code, _, told = crossdock("cp", f"{tmp_path}/empty/", "gs://archive/", *to(gcs))

    assert code == 3
    assert len(told.splitlines()) == 1


def test_a_missing_destination_bucket_is_exit_code_3(source, gcs):
    code, _, told = crossdock("cp", source, "gs://nowhere/", *to(gcs))

    assert code == 3
    assert "nowhere" in told


def test_workers_do_the_same_and_the_next_command_keeps_them(s3, copying):
    """In a process of its own: a cluster's logs and signals belong to a program."""
    s3.faults.add(Rule(operation="object.get", key="b.bin", status=403))
    done = subprocess.run(
        [sys.executable, "-m", "crossdock", *copying, "--workers", "2"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 5, done.stderr
    assert "3 objects = 2 copied + 0 skipped + 1 failed + 0 pending" in done.stdout
    assert re.search(r"^  next +crossdock runs resume \S+ --workers 2$", done.stdout, re.MULTILINE)
    assert re.fullmatch(r"The Dask dashboard .*\n", done.stderr)


def test_a_dask_scheduler_that_is_not_there_is_one_line(source, gcs):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "crossdock",
            "cp",
            source,
            "gs://archive/",
            "--dask",
            "tcp://127.0.0.1:1",
            *to(gcs),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "1s"},
    )

    assert done.returncode == 5
    assert "tcp://127.0.0.1:1" in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_is_130_with_the_state_saved_and_the_command_to_go_on(s3, gcs, copying, number):
    """The signal comes while the source holds one object up; the others are done."""
    s3.faults.add(Rule(operation="object.get", key="b.bin", delay_s=4, name="held up"))
    process = subprocess.Popen(
        [sys.executable, "-m", "crossdock", *copying, "--concurrency", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while s3.faults.requests.get("object.get", 0) < 3 or len(gcs.objects("archive")) < 2:
        assert process.poll() is None, process.communicate()
    process.send_signal(number)
    out, told = process.communicate(timeout=60)
    s3.faults.clear()

    assert process.returncode == 130, told
    assert "interrupted: what was done is recorded" in out
    assert told == ""
    assert s3.faults.fired["held up"] > 0
    assert {"a.csv", "nested/c.csv"} <= set(gcs.objects("archive"))
    command = re.search(r"^  next +crossdock (runs resume .*)$", out, re.MULTILINE)
    if command is not None:  # what was in flight may have ended in time: then nothing is left
        assert crossdock(*shlex.split(command[1]))[0] == 0
    assert len(gcs.objects("archive")) == 3


def test_ctrl_c_at_a_terminal_stops_workers_in_order(s3, gcs, copying):
    """A terminal sends SIGINT to the whole process group: workers must not die of it under their driver."""
    s3.faults.add(Rule(operation="object.get", key="b.bin", delay_s=4, name="held up"))
    process = subprocess.Popen(
        [sys.executable, "-m", "crossdock", *copying, "--workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while s3.faults.requests.get("object.get", 0) < 3 or len(gcs.objects("archive")) < 2:
        assert process.poll() is None, process.communicate()
    os.killpg(process.pid, signal.SIGINT)
    out, told = process.communicate(timeout=60)

    assert process.returncode == 130, told
    assert "interrupted: what was done is recorded" in out
    assert re.fullmatch(r"(The Dask dashboard .*\n)?", told)
