"""``crossdock cp --files-from``, ``--files-from0`` and ``--manifest``."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from crossdock.cli.main import cli


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def ends(tmp_path):
    """A source of five objects, one with hostile characters, and where they go."""
    source = tmp_path / "source"
    for name in ("a.csv", "b.csv", "d/c.csv", "#1", " lead", "two\nlines"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(name.encode())
    return f"{source}/", f"{tmp_path / 'target'}/"


def cp(ends, *arguments, given=None):
    result = CliRunner().invoke(cli, ("cp", *ends, *arguments, "--json"), input=given)
    summary = json.loads(result.stdout.splitlines()[-1]) if result.stdout else {}
    return result.exit_code, summary, result.stderr


def arrived(ends, tmp_path):
    target = tmp_path / "target"
    return sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file())


def test_lines_of_a_file_name_what_is_copied(ends, tmp_path):
    """Unsorted, twice, with comments, blank lines and a line end of Windows; spaces belong to the key."""
    listed = tmp_path / "list.txt"
    listed.write_bytes(b"# wanted\nd/c.csv\n\na.csv\r\n; no more\n lead\na.csv")

    code, summary, _ = cp(ends, "--files-from", str(listed))

    assert (code, summary["copied"]) == (0, 3)
    assert arrived(ends, tmp_path) == [" lead", "a.csv", "d/c.csv"]


def test_stdin_names_what_is_copied(ends, tmp_path):
    assert cp(ends, "--files-from", "-", given=b"b.csv\n")[0] == 0
    assert arrived(ends, tmp_path) == ["b.csv"]


def test_zero_bytes_end_any_key(ends, tmp_path):
    assert cp(ends, "--files-from0", "-", given=b"#1\0two\nlines\0")[0] == 0
    assert arrived(ends, tmp_path) == ["#1", "two\nlines"]


def test_a_name_that_is_not_there_fails_alone_in_its_own_class(ends, tmp_path):
    code, summary, _ = cp(ends, "--files-from", "-", given=b"a.csv\nnowhere\n../outside\n")

    groups = {group["reason"]: (group["count"], group["keys"]) for group in summary["failures"]}
    assert (code, summary["planned"], summary["copied"]) == (5, 3, 1)
    assert groups["missing"][0] == 1
    assert groups["missing"][1][0].endswith("nowhere")
    assert arrived(ends, tmp_path) == ["a.csv"]


def test_filters_go_for_names_too(ends, tmp_path):
    assert cp(ends, "--files-from", "-", "--exclude", "d/**", given=b"a.csv\nd/c.csv\n")[0] == 0
    assert arrived(ends, tmp_path) == ["a.csv"]


@pytest.mark.parametrize(
    ("arguments", "given", "says"),
    [
        (("--files-from", "-"), b"", "empty"),
        (("--files-from", "-"), b"# only this\n", "empty"),
        (("--files-from", "-"), b"a\n\xff\n", "name 2 is not UTF-8"),
        (("--files-from", "/no/such/file"), b"", "No such file"),
        (("--files-from", "-", "--manifest", "run:x"), b"", "exclude each other"),
        (("--manifest-option", "key=x"), b"", "needs --manifest"),
        (("--manifest", "/no/such/list.csv"), b"", "no such directory"),
        (("--manifest", "run:19990101T000000-abcdef"), b"", "no run"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(ends, arguments, given, says):
    code, _, stderr = cp(ends, *arguments, given=given)

    assert code in (2, 3)
    assert says in stderr
    assert "Traceback" not in stderr


def test_a_dry_run_from_stdin_says_the_same_command_again(ends):
    result = CliRunner().invoke(cli, ("cp", *ends, "-n", "--files-from", "-"), input=b"a.csv\n")

    assert result.exit_code == 0
    assert "--files-from -" in result.stdout + result.stderr


def test_a_csv_of_one_s_own_names_what_is_copied(ends, tmp_path):
    """Full keys of the store: of a directory's, what is below it."""
    listed = tmp_path / "list.csv"
    listed.write_text('key,size\n"a.csv",5\nd/c.csv,\n')

    code, summary, _ = cp(ends, "--manifest", str(listed))

    assert (code, summary["copied"]) == (0, 2)


def test_an_earlier_run_names_what_is_copied(ends, tmp_path):
    _, first, _ = cp((ends[0], f"{tmp_path / 'first'}/"), "--include", "*.csv")

    code, summary, _ = cp(ends, "--manifest", f"run:{first['run_id']}")

    assert (code, summary["copied"]) == (0, 2)
    assert arrived(ends, tmp_path) == ["a.csv", "b.csv"]
