"""``crossdock plan``, ``cp --plan`` and ``ls --explain``: what is said, in which exit code, and that nothing else happens."""

import json
import os
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from crossdock.cli.commands import carry_out_command
from crossdock.cli.main import cli
from crossdock.testing import EmbeddedGCS

DAY = 86_400


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
    for name, size, age in (("a.csv", 10, 0), ("b.bin", 2_000, 9), ("n/c.csv", 30, 0), ("n/d.tmp", 40, 0)):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(b"x" * size)
        then = (place / name).stat().st_mtime - age * DAY
        os.utime(place / name, (then, then))
    return f"{place}/"


@pytest.fixture
def gcs():
    with EmbeddedGCS(buckets=("archive", "runs")) as server:
        yield server


@pytest.fixture
def to(gcs):
    return "--sink-option", f"endpoint_url={gcs.url}"


def rows(text):
    """All lines but those that tell of phases."""
    read = [json.loads(line) for line in text.splitlines()]
    return [row for row in read if row.get("type", "plan") in ("plan", "summary")]


def held(gcs, bucket="archive"):
    return sorted(gcs.objects(bucket))


def test_a_plan_says_what_why_and_how_much_and_writes_nothing(source, gcs, to):
    code, told, _ = crossdock(
        "plan", source, "gs://archive/in/", *to, "--exclude", "**.tmp", "--rate", "1K/s"
    )

    assert code == 0
    assert "plan: nothing was moved" in told
    assert "3 objects = 3 to copy + 0 to compare + 0 to skip + 0 refused" in told
    assert "left out  1 by the filters" in told
    assert "copy      3 absent" in told
    assert "source: 1 LIST, 3 GET" in told
    assert "destination: 1 LIST, 3 PUT" in told
    assert f"no prices for gcs+{gcs.url}" in told
    assert "about 2.0 s at 1.0 KiB/s" in told
    assert held(gcs) == []


def test_what_comes_next_is_the_copy_itself_without_what_only_a_plan_knows(source, gcs, to):
    _, told, _ = crossdock(
        "plan", source, "gs://archive/", *to, "--rate=1K", "--prices", _prices(), "--compare", "size"
    )
    following = shlex.split(told.splitlines()[-1].split(maxsplit=1)[1])

    assert following == ["crossdock", "cp", source, "gs://archive/", *to, "--compare", "size"]
    assert crossdock(*following[1:])[0] == 0
    assert len(held(gcs)) == 4


def _prices():
    from crossdock.flows.planning import estimating

    return str(Path(estimating.__file__).parent / "prices.toml")


def test_json_has_a_row_for_each_object_and_the_estimate_last(source, gcs, to):
    code, told, shown = crossdock("plan", source, "gs://archive/", *to, "--json", "--rename", "s#.*/##")
    *planned, summary = rows(told)

    assert code == 0
    assert [(row["key"], row["destination"], row["action"]) for row in planned] == [
        ("a.csv", "a.csv", "copy"),
        ("b.bin", "b.bin", "copy"),
        ("n/c.csv", "c.csv", "copy"),
        ("n/d.tmp", "d.tmp", "copy"),
    ]
    assert (summary["type"], summary["state"], summary["planned"]) == ("summary", "planned", 4)
    assert summary["actions"] == {"copy": 4, "compare": 0, "skip": 0, "refuse": 0}
    assert summary["estimate"]["source_requests"] == {"list": 1, "get": 4}
    assert summary["estimate"]["cost"]["unpriced"] == [f"gcs+{gcs.url}"]
    assert "plan: nothing was moved" in shown


def test_a_plan_in_a_bucket_is_carried_out_by_the_command_it_names(source, gcs, to):
    """The filters, the comparison and the rename are the plan's; only where it is kept has to be said."""
    at = ("--out-option", f"endpoint_url={gcs.url}")
    asked = ("--include", "n/**", "--rename", "s#^n/#m/#", "--compare", "checksum")
    code, told, _ = crossdock("plan", source, "gs://archive/", *to, *asked, "--out", "gs://runs/1", *at)
    following = shlex.split(told.splitlines()[-1].split(maxsplit=1)[1])
    kept = held(gcs, "runs")
    before = held(gcs)

    done, ended, _ = crossdock(*following[1:])

    assert (code, done, before) == (0, 0, [])
    assert following == [
        "crossdock",
        "cp",
        "--plan",
        "gs://runs/1",
        "--run-option",
        f"endpoint_url={gcs.url}",
    ]
    assert {"1/run.json", "1/manifest/part-00000.parquet", "1/manifest/shards.parquet"} <= set(kept)
    assert "2 objects = 2 copied" in ended
    assert held(gcs) == ["m/c.csv", "m/d.tmp"]


def test_a_plan_of_another_question_is_refused(source, tmp_path):
    """Exit code 8: going on would do something that was not looked at."""
    sink, place = f"{tmp_path}/sink/", str(tmp_path / "plan")
    crossdock("plan", source, sink, "--out", place)

    code, _, said = crossdock("cp", "--plan", place, "--exclude", "a*")
    elsewhere, _, why = crossdock("cp", source, f"{tmp_path}/other/", "--plan", place)

    assert (code, elsewhere) == (8, 8)
    assert "another question: exclude differ" in said
    assert "another question: sink differ" in why
    assert not (tmp_path / "sink").exists()


def test_a_dry_run_of_a_plan_shows_its_rows_and_leaves_it_to_be_carried_out(source, tmp_path, monkeypatch):
    """Also by a name without a slash: a directory here, not a run's id."""
    monkeypatch.chdir(tmp_path)
    crossdock("plan", source, "sink/", "--out", "move-1", "--include", "*.csv")

    code, told, shown = crossdock("cp", "--plan", "move-1", "-n", "--json")
    *planned, summary = rows(told)

    assert (code, [row["key"] for row in planned]) == (0, ["a.csv"])
    assert (summary["state"], summary["pending"]) == ("planned", 1)
    assert shown.splitlines()[-1].endswith("crossdock cp --plan move-1 --json")
    assert not (tmp_path / "sink").exists()
    assert crossdock("cp", "--plan", "move-1")[0] == 0
    assert (tmp_path / "sink" / "a.csv").is_file()


def test_keys_that_meet_are_refused_before_a_byte_moves(source, tmp_path):
    code, told, _ = crossdock("plan", source, f"{tmp_path}/sink/", "--rename", "s/^.*[.]csv$/all.csv/")

    assert code == 5
    assert "2 to copy + 0 to compare + 0 to skip + 2 refused" in told
    assert "another object gets this destination key, too: 'a.csv'" in told


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--min-size", "1K"), ["b.bin"]),
        (("--max-size", "30"), ["a.csv", "n/c.csv"]),
        (("--min-age", "7d"), ["b.bin"]),
        (("--max-age", "7d", "--exclude", "**.csv"), ["n/d.tmp"]),
        (("--exclude", "n/**", "--include", "**.csv", "--max-size", "1G"), ["a.csv"]),
    ],
)
def test_sizes_and_ages_choose(source, tmp_path, flags, expected):
    _, told, _ = crossdock("cp", source, f"{tmp_path}/sink/", "-n", "--json", *flags)
    _, listed, _ = crossdock("ls", source, *flags)

    assert expected == [row["key"] for row in rows(told)[:-1]]
    assert expected == listed.splitlines()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("cp",), 2, "cp takes SRC and DST, or --plan URL"),
        (("cp", "a"), 2, "cp takes SRC and DST, or --plan URL"),
        (("plan", "SRC", "DST", "--min-size", "much"), 2, "'much' is not a size"),
        (("plan", "SRC", "DST", "--max-age", "soon"), 2, "is not a length of time"),
        (("plan", "SRC", "DST", "--rename", "x"), 2, "cannot be read"),
        (("plan", "SRC", "DST", "--rate", "fast"), 2, "is not a size"),
        (("plan", "SRC", "DST", "--prices", "/absent.toml"), 2, "prices cannot be read"),
        (("plan", "SRC", "DST", "--compare", "name"), 2, "'name' is not one of"),
        (("plan", "SRC", "DST", "--min-size", "1G"), 3, "none of 4 objects matches"),
        (("cp", "--plan", "DST"), 3, "there is no run here"),
        (("cp", "--plan", "DST", "--run-dir", "x"), 2, "carried out where it is"),
        (("ls", "SRC", "--min-size", "1G"), 3, "none of 4 objects matches"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(source, tmp_path, words, code, said):
    places = {"SRC": source, "DST": f"{tmp_path}/sink/"}

    ended, _, shown = crossdock(*(places.get(word, word) for word in words))

    assert (ended, said in shown) == (code, True), shown


@pytest.mark.parametrize(
    ("flags", "key", "expected"),
    [
        ((), "a.csv", "taken: no filters"),
        (("--exclude", "n/**"), "n/c.csv", "left out: exclude n/**"),
        (("--include", "**.csv"), "n/c.csv", "taken: include **.csv"),
        (("--include", "**.csv", "--exclude", "n/**"), "n/c.csv", "left out: exclude n/**"),
        (("--include", "**.csv"), "b.bin", "left out: no include matches"),
        (("--min-size", "1K"), "a.csv", "left out: min size 1K: it has 10 B"),
        (("--min-size", "1K"), "b.bin", "taken: within the bounds of size and age"),
        (("--min-size", "1K", "--include", "**.bin"), "b.bin", "taken: include **.bin"),
    ],
)
def test_the_rule_that_decides_is_named(source, flags, key, expected):
    assert crossdock("ls", source, "--explain", key, *flags) == (0, f"{expected}\n", "")


def test_the_rule_of_an_age_names_the_time(source):
    code, told, _ = crossdock("ls", source, "--explain", "b.bin", "--max-age", "7d", "--json")
    (row,) = rows(told)

    assert (code, row["taken"]) == (0, False)
    assert row["rule"].startswith("max age 7d: changed 20")


def test_a_key_elsewhere_and_one_that_is_not_there_are_told(source, gcs):
    code, told, _ = crossdock(
        "ls", "gs://archive/in", "--option", f"endpoint_url={gcs.url}", "--explain", "in-2/c.csv"
    )

    assert (code, told) == (
        0,
        "left out: the key is not below gs://archive/in; write it whole, as ls shows it\n",
    )
    assert crossdock("ls", source, "--explain", "absent", "--min-size", "1")[0] == 3


def test_filters_judge_the_key_below_the_prefix_as_in_a_copy(gcs, source, to):
    crossdock("cp", source, "gs://archive/in/", *to)
    option = ("--option", f"endpoint_url={gcs.url}")

    for url in ("gs://archive/in", "gs://archive/in/"):
        assert crossdock("ls", url, *option, "--include", "n/*.csv")[1] == "in/n/c.csv\n"
        assert crossdock("ls", url, *option, "--include", "n/*.csv", "--explain", "in/n/c.csv")[1] == (
            "taken: include n/*.csv\n"
        )


def test_the_command_that_carries_a_plan_out_repeats_secrets_as_references_only():
    """What the plan keeps is not repeated; what finds the plan is, and no secret is shown."""
    command = carry_out_command(
        "s3://runs/1",
        source_options={"key": "AKIA", "secret": "env:S", "profile": "work"},
        sink_options={"endpoint_url": "http://127.0.0.1:9000"},
        run_options={"key": "AKIA", "endpoint_url": "http://127.0.0.1:9000"},
    )

    assert command == (
        "crossdock cp --plan s3://runs/1 --source-option key=... --source-option secret=env:S "
        "--run-option key=... --run-option endpoint_url=http://127.0.0.1:9000"
    )
