"""Ctrl-C while a map runs, in a process of its own: nothing more begins, what runs ends, nothing is left, no noise."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

_SCRIPT = """\
import sys, pathlib, threading, time, crossdock as xd
out = pathlib.Path(sys.argv[1])

def work(n):
    (xd.current().scratch / "half").touch()
    (out / f"began-{n}").touch()
    if n == 20:
        print("go", flush=True)
    threading.Event().wait(0.05)
    (out / f"ended-{n}").touch()
    if n > 10 and RETRY:
        raise OSError("again")

def main():
    numbers = (n for n in range(100_000))
    with RUNNER as runner:
        result = xd.task(work, retries=3, retry_delay=3600).map(
            n=numbers, runner=runner, on_completion=lambda record: (out / f"status-{record.status}").touch()
        )
        WAIT

RETRY = False
if __name__ == "__main__":
    main()
"""

_RUNNERS = {
    "threads": "xd.LocalRunner(4)",
    "dask": "xd.DaskRunner(n_workers=2, threads=4, shard_size=4)",
}
_WAITS = {
    "in results": "result.results()",
    "in a loop": "[time.sleep(0.001) for _ in result]",
    "elsewhere": "threading.Event().wait()",
}


def interrupted(tmp_path, script):
    """Run the script, send SIGINT once the 20th item began; what it said, and how it ended."""
    (tmp_path / "script.py").write_text(script)
    out, tmp = tmp_path / "out", tmp_path / "tmp"
    out.mkdir()
    tmp.mkdir()
    with subprocess.Popen(
        [sys.executable, tmp_path / "script.py", out],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp)},
    ) as process:
        try:
            assert process.stdout.readline() == "go\n"
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=60)
        finally:
            process.kill()
    began = {path.name[6:] for path in out.glob("began-*")}
    ended = {path.name[6:] for path in out.glob("ended-*")}
    assert [path.name for path in out.glob("status-*")] == ["status-interrupted"]
    return process.returncode, stderr, began, ended, list(tmp.iterdir())


@pytest.mark.parametrize("wait", list(_WAITS))
@pytest.mark.parametrize("runner", list(_RUNNERS))
def test_ctrl_c_begins_nothing_more_and_leaves_nothing(runner, wait, tmp_path):
    script = _SCRIPT.replace("RUNNER", _RUNNERS[runner]).replace("WAIT", _WAITS[wait])

    returncode, stderr, began, ended, left = interrupted(tmp_path, script)

    assert began == ended
    assert 20 <= len(began) < 2_000
    assert returncode in (-signal.SIGINT, 130)
    assert stderr.count("Traceback (most recent call last)") == 1, stderr
    assert stderr.rstrip().endswith("KeyboardInterrupt"), stderr
    assert left == []


@pytest.mark.parametrize("runner", list(_RUNNERS))
def test_ctrl_c_ends_pauses_between_retries(runner, tmp_path):
    """Every thread waits an hour for its next attempt, and no item ends meanwhile."""
    script = _SCRIPT.replace("RUNNER", _RUNNERS[runner]).replace("WAIT", _WAITS["in results"])
    script = script.replace("RETRY = False", "RETRY = True").replace("if n == 20", "if n == 12")

    returncode, stderr, began, ended, left = interrupted(tmp_path, script)

    assert began == ended
    assert len(began) < 200
    assert returncode in (-signal.SIGINT, 130)
    assert stderr.rstrip().endswith("KeyboardInterrupt"), stderr
    assert left == []


@pytest.mark.parametrize("runner", ["threads"])
def test_ctrl_c_while_the_process_waits_for_its_last_map(runner, tmp_path):
    """The script is at its end; the process is not, and dies of the interrupt, not with a success."""
    script = _SCRIPT.replace("with RUNNER as runner:", f"for runner in [{_RUNNERS[runner]}]:").replace(
        "WAIT", "pass"
    )

    returncode, stderr, began, ended, left = interrupted(tmp_path, script)

    assert began == ended
    assert len(began) < 2_000
    assert returncode in (-signal.SIGINT, 130)
    assert stderr.count("Traceback") <= 1, stderr
    assert left == []
