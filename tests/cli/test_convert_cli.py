"""``crossdock convert``: what is typed reaches the flow, and the last screen tells of rows."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import crossdock as xd
from crossdock.cli.main import cli


def crossdock(*arguments):
    result = CliRunner().invoke(cli, arguments)
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """Runs of these tests are kept in a place of their own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "from"
    root.mkdir()
    for number in range(3):
        (root / f"{number}.csv").write_text(f"id;name;more\n{number};n{number};x\n")
    return root


CSV = ("--from", "csv", "--read-option", "delimiter=;")


def rows(path):
    return xd.decode()(path.read_bytes()).read_all().to_pylist()


def test_small_files_become_one_and_the_verdict_counts_rows(source, tmp_path):
    code, out, _ = crossdock("convert", f"{source}/", f"{tmp_path}/to/", *CSV, "--target-size", "1MB")

    (made,) = (tmp_path / "to").glob("*.parquet")
    assert code == 0
    assert "planned   3 objects = 3 copied" in out
    assert "made      1 output with 3 rows" in out
    assert [row["id"] for row in rows(made)] == [0, 1, 2]


def test_columns_types_and_options_of_the_format_written(source, tmp_path):
    code, _, err = crossdock(
        "convert",
        f"{source}/",
        f"{tmp_path}/to/",
        *CSV,
        *("--to", "csv", "--compression", "gzip", "--write-option", "header=no", "--write-option", "level=9"),
        *("--columns", "name, id", "--type", "id=string"),
    )

    assert code == 0, err
    text = xd.decompress("gzip")((tmp_path / "to" / "1.csv.gz").read_bytes())
    assert b"".join(text) == b'"n1","1"\n'


def test_a_partitioned_dataset(source, tmp_path):
    code, out, err = crossdock(
        "convert",
        f"{source}/",
        f"{tmp_path}/to/",
        *CSV,
        "--target-size",
        "1MB",
        "--partition-by",
        "more, name",
    )

    assert code == 0, err
    assert "made      1 output with 3 rows" in out
    assert len(list((tmp_path / "to" / "more=x").glob("name=n*/part-*.parquet"))) == 3


def test_json_ends_with_the_summary(source, tmp_path):
    code, out, _ = crossdock("convert", f"{source}/", f"{tmp_path}/to/", *CSV, "--json")

    summary = json.loads(out.splitlines()[-1])
    assert code == 0
    assert [summary[name] for name in ("kind", "rows", "outputs", "copied")] == ["convert", 3, 3, 3]


def test_a_bad_object_ends_with_5_and_a_resume_that_goes_on(source, tmp_path):
    (source / "1.csv").write_text('id;name;more\n"1;n\n')
    run = f"{tmp_path}/run/"

    code, out, _ = crossdock("convert", f"{source}/", f"{tmp_path}/to/", *CSV, "--run-dir", run)
    shown, shown_out, _ = crossdock("runs", "show", run)
    resumed, _, _ = crossdock("resume", run)

    assert (code, shown, resumed) == (5, 0, 5)
    assert "1 rows: 1.csv" in out
    assert "made      2 outputs with 2 rows" in shown_out


def test_a_dry_run_writes_nothing(source, tmp_path):
    code, out, _ = crossdock("convert", f"{source}/", f"{tmp_path}/to/", *CSV, "-n")

    assert code == 0
    assert out.startswith("plan: nothing was moved")
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--to", "xlsx"), "there is no format 'xlsx'"),
        (("--write-option", "row_group_rows=many"), "row_group_rows is no int"),
        (("--read-option", "delimiter=;"), "name the format"),
        (("--target-size", "lots"), "crossdock: convert: target size: 'lots' is not a size"),
        (("--columns", "nme"), "there is no column 'nme'; columns: "),
    ],
)
def test_mistakes_are_one_line(source, tmp_path, flags, text):
    code, _, err = crossdock("convert", f"{source}/", f"{tmp_path}/to/", *flags)

    assert code == 2
    assert text in err
    assert "Traceback" not in err
