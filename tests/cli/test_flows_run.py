"""``crossdock flows`` and ``crossdock run``: what is listed and written, what is printed, how it ends."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from crossdock.cli.main import cli
from crossdock.flows.templates import TEMPLATES

FLOWS = '''
"""Flows of somebody."""
from dataclasses import dataclass
from datetime import date

import crossdock as xd


@dataclass
class Answer:
    day: date
    n: int


def answer(day: date, n: int = 1, words: list[str] = ("a",)):
    """Answer.

    Args:
        day: Which day.
        n: How many.
    """
    return Answer(day, n)


def text(): return "two\\nlines"
def rows(): return [{"a": 1}, {"a": 2}]
def nothing(): return None
def broken(): raise RuntimeError("it broke")
def denied(): raise xd.DeniedError("not yours", operation="get")


def halves(numbers: list[int]):
    return xd.task(lambda n: 1 // n, name="half").map(numbers).wait()
'''


def run(*arguments):
    result = CliRunner().invoke(cli, list(arguments))
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def flows(tmp_path, monkeypatch):
    (tmp_path / "flows_of_a_test.py").write_text(FLOWS)
    path = list(sys.path)
    monkeypatch.chdir(tmp_path)
    yield "flows_of_a_test.py"
    sys.path[:] = path
    sys.modules.pop("flows_of_a_test", None)


def test_templates_are_listed():
    code, out, told = run("flows", "ls")
    rows = [json.loads(each) for each in run("flows", "ls", "--json")[1].splitlines()]

    assert (code, told) == (0, "")
    assert out.splitlines()[0].split() == ["NAME", "NEEDS", "SUMMARY"]
    assert [row["name"] for row in rows] == [each.name for each in TEMPLATES]
    assert [line.split()[0] for line in run("flows", "ls", "-q")[1].splitlines()] == [
        row["name"] for row in rows
    ]


def test_a_templates_code_is_shown():
    shown = run("flows", "show", "etl")[1]

    assert shown.startswith('"""Extract, transform, load')
    compile(shown, "flow.py", "exec")
    assert run("flows", "show", "etl", "--file", "README.md")[1].startswith("# etl\n")


def test_init_writes_a_project_that_runs_and_never_overwrites(tmp_path):
    place = str(tmp_path / "new" / "etl")
    code, out, told = run("flows", "init", "etl", place)
    again = run("flows", "init", "etl", place)

    assert (code, out.split()) == (0, [f"{place}/{name}" for name in ("README.md", "flow.py", "sandbox.py")])
    assert told == f"try it: crossdock run {place}/flow.py:etl --sandbox\n"
    assert (again[0], again[1]) == (8, "")
    assert "nothing is overwritten" in again[2]
    assert run("flows", "init", "etl", f"{place}/flow.py")[0] == 2
    assert "did you mean 'etl'" in run("flows", "init", "elt", place)[2]


def test_parameters_are_listed(flows):
    code, out, _ = run("run", f"{flows}:answer", "--params")
    rows = [json.loads(each) for each in run("run", f"{flows}:answer", "--params", "--json")[1].splitlines()]

    assert code == 0
    assert [line.split()[:3] for line in out.splitlines()[1:3]] == [
        ["day", "date", "required"],
        ["n", "int", "1"],
    ]
    assert out.splitlines()[3].split() == ["words", "list", "of", "str", '["a"]']
    assert rows == [
        {"name": "day", "type": "date", "required": True, "help": "Which day."},
        {"name": "n", "type": "int", "required": False, "help": "How many.", "default": 1},
        {"name": "words", "type": "list of str", "required": False, "help": "", "default": ["a"]},
    ]


@pytest.mark.parametrize(
    ("flow", "arguments", "out"),
    [
        ("answer", ["-p", "day=2026-11-21", "-p", "n=3"], '{"day": "2026-11-21", "n": 3}\n'),
        ("text", [], "two\nlines\n"),
        ("rows", [], '{"a": 1}\n{"a": 2}\n'),
        ("nothing", [], ""),
    ],
)
def test_what_a_flow_returns_is_printed(flows, flow, arguments, out):
    assert run("run", f"{flows}:{flow}", *arguments, "-q") == (0, out, "")


def test_a_receipt_is_json_and_tasks_that_were_not_run_are_no_mistake(tmp_path):
    (tmp_path / "pairs_of_a_test.py").write_text(
        "import crossdock as xd\n\n"
        f"source, sink = xd.source({str(tmp_path)!r} + '/'), xd.sink({str(tmp_path)!r} + '/out/')\n"
        "with xd.one_task('copied') as copied:\n    sink(source(xd.param('name')))\n"
        "with xd.one_task('other') as other:\n    sink(source(xd.param('name')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "crossdock", "run", "pairs_of_a_test:copied", "-p", "name=pairs_of_a_test.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    receipt = json.loads(done.stdout)

    assert (done.returncode, len(done.stderr.splitlines())) == (0, 1), done.stderr
    assert receipt["destination"] == f"file://{tmp_path}/out/pairs_of_a_test.py"
    assert bytes.fromhex(receipt["digests"]["crc32c"])


def test_json_is_one_object(flows):
    told = json.loads(run("run", f"{flows}:rows", "--json")[1])

    assert (told["flow"], told["result"]) == (f"{flows}:rows", [{"a": 1}, {"a": 2}])
    assert told["duration_s"] >= 0


def test_a_map_with_failed_items_is_a_summary_and_exit_code_5(flows):
    code, out, _ = run("run", f"{flows}:halves", "-p", "numbers=[1, 0, 2]")
    all_well = run("run", f"{flows}:halves", "-p", "numbers=[1, 2]")
    told = json.loads(run("run", f"{flows}:halves", "-p", "numbers=[1, 0]", "--json")[1])["result"]

    assert (code, all_well[0]) == (5, 0)
    assert "half: 3 items" in out
    assert "ZeroDivisionError" in out
    assert (told["items"], told["done"], told["failed"]) == (2, 1, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["answer"], 2, "parameter day is missing; its parameters: day, [n], [words]"),
        (["answer", "-p", "dya=2026-11-21"], 2, "did you mean 'day'?"),
        (["answer", "-p", "day=soon"], 2, "'soon' is no date"),
        (["nothing", "--sandbox"], 2, "it has no sandbox"),
        (["gone"], 2, "there is no function 'gone'"),
        (["broken"], 5, "RuntimeError: it broke; run with -v for the traceback"),
        (["denied"], 4, "not yours"),
    ],
)
def test_a_mistake_is_one_line_and_its_exit_code(flows, arguments, code, told):
    ended = run("run", f"{flows}:{arguments[0]}", *arguments[1:])

    assert (ended[0], ended[1]) == (code, "")
    assert told in ended[2]
    assert len(ended[2].splitlines()) == 1


def test_v_shows_the_traceback_of_the_users_code(flows):
    ended = run("run", f"{flows}:broken", "-v")

    assert ended[0] == 5
    assert 'raise RuntimeError("it broke")' in ended[2]


def test_a_template_runs_by_its_name_in_its_sandbox():
    code, out, told = run("run", "lake_to_warehouse")

    assert code == 0
    assert json.loads(out)["changed"] == json.loads(out)["rows"] > 0
    assert told.startswith("sandbox of lake_to_warehouse, gone when it ends: lake=s3://lake/orders/")


def test_a_missing_package_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "moto", None)
    code, _, told = run("run", "migrate_bucket")

    assert code == 2
    assert (
        told == "crossdock: start: the embedded S3 needs moto; install it: pip install 'crossdock[testing]'\n"
    )


def test_a_project_runs_on_workers_of_this_machine(tmp_path):
    """Worker processes import what the flow's file defines, and reach the sandbox's servers."""
    run("flows", "init", "api_to_lake", str(tmp_path))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "crossdock", "run", f"{tmp_path}/flow.py:api_to_lake"),
            *("--sandbox", "-p", "workers=2", "-p", "last=2026-11-18", "--json"),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["result"]["done"] == 18


def test_a_sandbox_that_is_kept_is_used_by_another_command_until_ctrl_c(tmp_path):
    """What it prints is what to type; the second run has nothing to do; afterwards nothing is left."""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "AWS_PROFILE": "not of the sandbox"}
    command = [sys.executable, "-m", "crossdock", "run", "migrate_bucket", "--keep"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as first:
        told = []
        while not told or not told[-1].startswith("crossdock run"):
            told.append(first.stderr.readline().strip())
            assert first.poll() is None, told
        exported = dict(shlex.split(each)[1].split("=", 1) for each in told if each.startswith("export "))
        for each in told:
            if each.startswith("unset "):
                environment.pop(each.removeprefix("unset "))
        again = subprocess.run(
            [sys.executable, "-m", *shlex.split(told[-1])],
            capture_output=True,
            text=True,
            env={**environment, **exported},
            timeout=60,
            check=False,
        )
        first.send_signal(signal.SIGINT)
        shown, _ = first.communicate(timeout=60)

    assert {"AWS_ENDPOINT_URL_S3", "STORAGE_EMULATOR_HOST", "AWS_ACCESS_KEY_ID"} <= exported.keys()
    assert "unset AWS_PROFILE" in told
    assert (first.returncode, again.returncode) == (0, 0), again.stderr
    assert "107 copied + 0 skipped" in shown
    assert "0 copied + 107 skipped" in again.stdout
    assert list(tmp_path.glob("crossdock-*")) == []


@pytest.mark.parametrize("arguments", [["run", "--help"], ["flows", "ls"], ["flows", "show", "etl"]])
def test_looking_loads_nothing_heavy(arguments):
    code = (
        "import sys\nfrom crossdock.cli.main import cli\n"
        "try:\n    cli.main(sys.argv[1:], prog_name='crossdock')\nexcept SystemExit:\n    pass\n"
        "sys.stderr.write(repr([n for n in ('pandas', 'pyarrow', 'distributed', 'botocore', 'obstore', 'moto') "
        "if n in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )

    assert done.stderr.endswith("[]")
