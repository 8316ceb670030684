"""``crossdock cleanup`` against real servers: what it removes, what it says, how it ends."""

import json

import pytest
from click.testing import CliRunner

import crossdock as xd
from crossdock.cli.main import cli
from crossdock.flows.runs.directory import default_runs_url, list_runs, run_files
from crossdock.flows.runs.ownership import Owner
from crossdock.testing import EmbeddedS3

PART = 5 * 1024 * 1024


def cleanup(*arguments):
    result = CliRunner().invoke(cli, ["cleanup", *arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """Runs of these tests are kept in a place of their own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-access-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret-key")


@pytest.fixture
def server():
    with EmbeddedS3(buckets=("landing",)) as server:
        yield server


@pytest.fixture
def store(server):
    return xd.sink("s3://landing/", endpoint_url=server.url, region="us-east-1").store


@pytest.fixture
def run(server, store, tmp_path):
    """A finished run's id, and an upload it might have left."""
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "big").write_bytes(b"x" * (PART + 1))
    options = {"endpoint_url": server.url, "region": "us-east-1", "part_size_bytes": PART}
    report = xd.migrate(f"{tmp_path}/from/", "s3://landing/in/", sink_options=options)
    store.begin("in/big", part_size_bytes=PART)
    store.begin("in/others", part_size_bytes=PART)
    return report.run_id


def keys(store):
    return sorted(upload.key for upload in store.list_uploads())


def test_a_run_by_its_id(run, store):
    planned = cleanup(run, "-n")
    assert keys(store) == ["in/big", "in/others"]
    done = cleanup(run)

    assert (planned[0], done[0]) == (0, 0)
    assert planned[1].startswith("would be removed  ")
    assert done[1].startswith("removed  ")
    assert " s3://landing/in/big\n" in done[1].replace("  ", " ")
    assert planned[2] == "1 open = 1 would be removed + 0 kept + 0 failed\n"
    assert done[2] == "1 open = 1 removed + 0 kept + 0 failed\n"
    assert keys(store) == ["in/others"]
    assert [info.key for page in store.list() for info in page] == ["in/big"]


def test_json_is_one_object_a_line_and_the_last_is_the_summary(run):
    code, out, _ = cleanup(f"{default_runs_url()}/{run}", "--json", "-q")
    left, summary = (json.loads(line) for line in out.splitlines())

    assert code == 0
    assert (left["type"], left["store"], left["key"], left["fate"]) == (
        "upload",
        "s3://landing",
        "in/big",
        "removed",
    )
    assert {
        "type": "summary",
        "removed": 1,
        "kept": 0,
        "failed": 0,
        "exit_code": 0,
    }.items() <= summary.items()


def test_a_run_that_a_driver_works_on_is_refused_with_8(run, store):
    with Owner(run_files(f"{default_runs_url()}/{run}/")):
        refused = cleanup(run)
        dry = cleanup(run, "--dry-run")
        every = cleanup("--all")

    assert (refused[0], dry[0], every[0]) == (8, 8, 0)
    assert "another driver owns this run" in refused[2]
    assert len(refused[2].splitlines()) == 1
    assert every[1].startswith("left alone  ")
    assert keys(store) == ["in/big", "in/others"]


def test_all_runs(run, store):
    code, out, _ = cleanup("--all", "--json")

    assert code == 0
    assert json.loads(out.splitlines()[-1])["removed"] == 1
    assert [document["run_id"] for document in list_runs()] == [run]
    assert keys(store) == ["in/others"]


def test_a_destination_is_listed_and_cleaned_only_by_age(run, server, store):
    options = ("--option", f"endpoint_url={server.url}", "--option", "region=us-east-1")
    listed = cleanup("s3://landing/in/", *options)
    young = cleanup("s3://landing/in/", "--older-than", "1h", *options)
    dry = cleanup("s3://landing/in/", "--older-than", "0s", "-n", *options)
    assert keys(store) == ["in/big", "in/others"]
    old = cleanup("s3://landing/in/", "--older-than", "0s", *options)

    assert {0} == {each[0] for each in (listed, young, dry, old)}
    assert listed[1].count("only listed: say older_than") == 2
    assert young[1].count("younger than asked for") == 2
    assert dry[2] == "2 open = 2 would be removed + 0 kept + 0 failed\n"
    assert old[2] == "2 open = 2 removed + 0 kept + 0 failed\n"
    assert keys(store) == []
    assert [info.key for page in store.list() for info in page] == ["in/big"]


def test_control_characters_of_keys_do_not_reach_the_screen(store, server):
    store.begin("in/\x1b[31mred\nremoved  nothing", part_size_bytes=PART)
    _, out, _ = cleanup("s3://landing/in/", "--older-than", "0s", "--option", f"endpoint_url={server.url}")

    assert len(out.splitlines()) == 1
    assert "\x1b" not in out
    assert r"in/\x1b[31mred\nremoved  nothing" in out


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ((), 2, "name a run or a destination"),
        (("x", "--all"), 2, "name a run or a destination"),
        (("memory://b/", "--older-than", "soon"), 2, "not a length of time such as 30m"),
        (("20261120T000000-000000",), 3, "no run here"),
        (("/nonexistent/place/",), 3, "/nonexistent/place"),
        (("http://127.0.0.1:1/x/", "--older-than", "1d"), 2, "http"),
    ],
)
def test_a_mistake_is_one_line_and_its_exit_code(arguments, code, told):
    ended, _, err = cleanup(*arguments)

    assert code == ended
    assert told in err
    assert len(err.splitlines()) == 1
