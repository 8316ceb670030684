"""``crossdock ingest`` and ``crossdock export``: the screen, exit codes, flags, and no secret anywhere."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from postgres_server import PASSWORD, postgres  # noqa: F401 - a fixture

import crossdock as xd
from crossdock.cli.main import cli


def crossdock(*arguments):
    result = CliRunner().invoke(cli, [str(each) for each in arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """Runs of these tests are kept in a place of their own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def landing(tmp_path):
    place = tmp_path / "landing"
    place.mkdir()
    for number in range(3):
        (place / f"{number}.csv").write_text(f"id;name\n{number};n{number}\n")
    return f"{place}/"


def rows(url, table="t"):
    return xd.source(url)(table).read_all().sort_by("id").to_pylist()


def test_files_go_in_and_come_out_again(landing, tmp_path):
    base = f"sqlite://{tmp_path}/t.db"
    into = ("ingest", landing, base, "--table", "t", "--from", "csv", "--read-option", "delimiter=;")
    code, out, err = crossdock(*into)
    assert (code, err) == (0, "")
    assert out.startswith("done: every row is in the table\n")
    assert "planned   3 objects = 3 copied + 0 skipped + 0 failed + 0 pending" in out
    assert "visible   all 3 rows at once, 3 of the table changed" in out
    code, out, _ = crossdock(*into)
    assert (code, "visible   no: there was nothing to load" in out) == (0, True)
    code, out, _ = crossdock("export", base, f"{tmp_path}/out/", "--table", "t", "--slices", 2, "--by", "id")
    assert (code, out.splitlines()[0]) == (0, "done: every row is in the files, proven")
    assert "made      2 outputs with 3 rows" in out
    code, _, err = crossdock("export", base, f"{tmp_path}/out/", "--table", "t")
    assert (code, "overwrite" in err) == (8, True)

    assert rows(base) == [{"id": number, "name": f"n{number}"} for number in range(3)]
    assert sorted(os.listdir(f"{tmp_path}/out")) == ["part-00000.parquet", "part-00001.parquet"]  # noqa: PTH208


def test_types_columns_keys_and_modes(landing, tmp_path):
    base = f"sqlite://{tmp_path}/t.db"
    more = ("--from", "csv", "--read-option", "delimiter=;", "--type", "id=string", "--columns", "id")
    code, _, err = crossdock(
        "ingest", landing, base, "--table", "t", "--mode", "upsert", "--key", "id", *more
    )

    assert (code, err) == (0, "")
    assert rows(base) == [{"id": f"{number}"} for number in range(3)]


def test_what_programs_read(landing, tmp_path):
    base = f"sqlite://{tmp_path}/t.db"
    (Path(landing) / "9.csv").write_text("id;name\nx;y\n")
    more = (
        "--table",
        "t",
        "--from",
        "csv",
        "--read-option",
        "delimiter=;",
        "--type",
        "id=int64",
        "--json",
        "-q",
    )
    code, out, _ = crossdock("ingest", landing, base, *more)
    lines = [json.loads(line) for line in out.splitlines()]

    assert code == 5
    assert {"failure", "summary"} <= {line["type"] for line in lines}
    assert (lines[-1]["kind"], lines[-1]["finished"]["published"]) == ("ingest", False)
    assert not xd.source(base).has("t")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("ingest", "a", "sqlite://t.db"), 2, "--table"),
        (("ingest", "{landing}", "{base}", "--table", "t", "--mode", "upsert"), 2, "upsert needs a key"),
        (("ingest", "{landing}", "s3://bucket/", "--table", "t"), 2, "no database"),
        (("ingest", "{landing}none/", "{base}", "--table", "t"), 3, "no such directory"),
        (("export", "{base}", "{landing}"), 2, "one of the two"),
        (("export", "{landing}", "{landing}", "--table", "t"), 2, "no database"),
    ],
)
def test_mistakes_are_one_line(landing, tmp_path, arguments, code, words):
    base = f"sqlite://{tmp_path}/t.db"
    found, _, err = crossdock(*(each.format(landing=landing, base=base) for each in arguments))

    assert (found, words in err) == (code, True), err
    assert "Traceback" not in err


def test_a_dry_run_names_the_command(landing, tmp_path):
    base = f"sqlite://{tmp_path}/t.db"
    code, out, _ = crossdock("ingest", landing, base, "--table", "t", "-n")

    assert (code, out.splitlines()[0]) == (0, "plan: nothing was moved")
    assert not Path(f"{tmp_path}/t.db").exists()


def test_a_password_is_nowhere(landing, tmp_path, postgres, state):  # noqa: F811
    """Given by reference: not in the run's directory, on no screen, in no error; the next command repeats the reference."""
    url, secret = postgres.fresh(), os.environ[PASSWORD]
    option = f"password=env:{PASSWORD}"
    more = ("--from", "csv", "--read-option", "delimiter=;", "--sink-option", option)
    said = [crossdock("ingest", landing, url, "--table", "t", *more)]
    (Path(landing) / "9.csv").write_text("id;name\nx;y\n")
    said.append(crossdock("ingest", landing, url, "--table", "t", *more))
    said.append(crossdock("export", url, f"{tmp_path}/out/", "--table", "t", "--source-option", option))
    said.append(
        crossdock(
            "export",
            url,
            f"{tmp_path}/more/",
            "--query",
            "select 1/(g-5) as x from generate_series(1, 9) as g",
            "--source-option",
            option,
        )
    )
    files = [each for each in state.rglob("*") if each.is_file()]

    assert [code for code, _, _ in said] == [0, 5, 0, 5]
    assert f"--sink-option password=env:{PASSWORD}" in said[1][1]
    assert secret not in repr(said)
    assert len(files) > 10
    assert not [each for each in files if secret.encode() in each.read_bytes()]


def test_a_password_in_a_url_is_refused_and_not_repeated(landing):
    for arguments in (("ingest", landing), ("export",)):
        url = "postgresql://etl:secret-canary@127.0.0.1:1/db"
        code, out, err = crossdock(
            *arguments, url, *([landing] if arguments[0] == "export" else []), "--table", "t"
        )
        assert (code, "env:NAME" in err) == (2, True)
        assert "secret-canary" not in out + err


def test_an_ending_that_is_no_format_is_no_directory(tmp_path):
    url = f"sqlite:///{tmp_path}/a.db"  # as SQLAlchemy writes it: four slashes
    xd.sink(url)([{"id": 1}], table="t")

    ended = CliRunner().invoke(cli, ["export", url, f"{tmp_path}/out.prquet", "--table", "t"])
    named = CliRunner().invoke(cli, ["export", url, f"{tmp_path}/v1.2", "--table", "t", "--to", "csv"])

    assert ended.exit_code == 2
    assert ".prquet is the ending of no format" in ended.stderr
    assert not (tmp_path / "out.prquet").exists()
    assert named.exit_code == 0, named.stderr
    assert (tmp_path / "v1.2" / "part-00000.csv").read_text().split() == ['"id"', "1"]
    assert "copies only what changes" not in named.output


def test_what_waits_unseen_is_said_and_how_it_goes(landing, tmp_path):
    base = f"sqlite://{tmp_path}/t.db"
    words = (
        "ingest",
        landing,
        base,
        "--table",
        "t",
        "--from",
        "csv",
        "--type",
        "id=int64",
        "--unit-size",
        "1",
    )
    (Path(landing) / "9.csv").write_text((Path(landing) / "0.csv").read_text().splitlines()[0] + "\nx;y\n")

    code, out, _ = crossdock(*words, "--read-option", "delimiter=;")

    assert code == 5
    assert "3 rows wait unseen: go on, or remove them with crossdock cleanup" in out
