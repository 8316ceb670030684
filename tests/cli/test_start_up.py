"""Asking for help loads nothing heavy, and errors of a user are one line with the right exit code."""

import json
import os
import subprocess
import sys

import pytest

from crossdock.cli.main import cli

HEAVY = (
    "pandas",
    "pyarrow",
    "distributed",
    "dask",
    "botocore",
    "boto3",
    "s3fs",
    "gcsfs",
    "adlfs",
    "obstore",
    "rich",
)


def run(*arguments, **environment):
    """Run the command line as a process, without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "crossdock", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
        check=False,
    )


def loaded_by(*arguments):
    """Which heavy packages a command line has imported when it ends."""
    code = (
        "import json, sys\n"
        "from crossdock.cli.main import cli\n"
        "try:\n    cli.main(sys.argv[1:], prog_name='crossdock')\n"
        "except SystemExit:\n    pass\n"
        f"sys.stderr.write(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    return json.loads(done.stderr.splitlines()[-1])


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["cp", "--help"], ["runs", "--help"], ["demo", "--help"]]
)
def test_help_loads_no_sdk_and_no_data_frame(arguments):
    assert loaded_by(*arguments) == []


def test_the_probe_sees_what_a_command_loads_when_it_runs():
    assert "obstore" in loaded_by("ls", "gs://b/", "--option", "endpoint_url=http://127.0.0.1:1")


def test_listing_a_directory_loads_no_cloud_sdk(tmp_path):
    (tmp_path / "a").write_bytes(b"x")

    assert loaded_by("ls", f"{tmp_path}/") == []


def test_the_module_and_the_group_are_the_same_program():
    done = run("--version")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("crossdock, version ")


def every_command(group, path=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from every_command(command, (*path, name))
        else:
            yield (*path, name), command


@pytest.mark.parametrize(("path", "command"), list(every_command(cli)))
def test_every_command_and_option_says_what_it_is_for(path, command):
    assert command.help
    assert command.epilog
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert parameter.help, parameter.name


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["ls", "s4://bucket/"], 2, "no connector opens s4:// URLs"),
        (["ls", "s3://"], 2, "the URL names no bucket"),
        (["ls", "gs://b/", "--option", "endpont_url=x"], 2, "did you mean 'endpoint_url'?"),
        (["ls", "/nonexistent/place/"], 3, "/nonexistent/place"),
        (["ls", "gs://b/", "--option", "endpoint_url=http://127.0.0.1:1"], 5, "refused"),
        (
            [
                "ls",
                "s3://b/",
                "--option",
                "endpoint_url=http://127.0.0.1:1",
                "--option",
                "key=k",
                "--option",
                "secret=s",
            ],
            5,
            "refused",
        ),
    ],
)
def test_a_mistake_is_one_line_and_its_exit_code(arguments, code, told):
    done = run(*arguments)

    assert code == done.returncode
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["lss"], "Did you mean"),
        (["ls", "--jsn", "x"], "Did you mean"),
        (["ls", "x", "--option", "nothing"], "is not KEY=VALUE"),
        (["ls", "x", "--option", "a=1", "--option", "a=2"], "given twice"),
        (["cp", "a", "b", "--workers", "2", "--dask", "tcp://x"], "--workers and --dask exclude each other"),
        (["cp", "a", "b", "--cluster-kwargs", "{}"], "needs --cluster-class"),
        (["cp", "a", "b", "--cluster-class", "x.Y", "--cluster-kwargs", "[1]"], "is a JSON object"),
        (["cp", "a", "b", "--verify", "v4"], "v4"),
        (["cp", "a"], "DST"),
    ],
)
def test_wrong_usage_is_2_and_says_what_is_right(arguments, told):
    done = run(*arguments)

    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unexpected_error_points_to_v_and_v_shows_the_traceback(tmp_path):
    """A file where an option class expects none: whatever is not ours is one line, and a traceback only when asked for."""
    (tmp_path / "sitecustomize.py").write_text(
        "import crossdock.connectors.objects as o\ndef source(*a, **k): raise RuntimeError('boom\\nbang')\no.source = source\n"
    )
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    plain = run("ls", "x", PYTHONPATH=path)
    told = run("ls", "x", "-v", PYTHONPATH=path)

    assert 1 == plain.returncode == told.returncode
    assert len(plain.stderr.splitlines()) == 1
    assert "RuntimeError: boom bang; run with -v" in plain.stderr
    assert "Traceback" in told.stderr


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    for number in range(3000):
        (tmp_path / f"{number:0100}").touch()
    listing = subprocess.Popen(
        [sys.executable, "-m", "crossdock", "ls", f"{tmp_path}/"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    listing.stdout.readline()
    listing.stdout.close()
    told = listing.stderr.read()
    listing.stderr.close()

    assert listing.wait(60) == 141
    assert told == b""
