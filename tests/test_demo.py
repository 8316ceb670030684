"""The main job, whole: ``crossdock demo`` with a smaller large object, as a user would run it."""

import os
import re
import signal
import subprocess
import sys

import psutil
import pytest

COMMAND = [sys.executable, "-m", "crossdock", "demo", "--size", "40"]


def left_of(marker):
    """Processes that carry the marker in their environment: whatever the demo started, however deep."""
    left = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("CROSSDOCK_TEST_MARKER") == marker and process.pid != os.getpid():
                left.append(process.cmdline())
        except psutil.Error:
            continue
    return left


@pytest.mark.timeout(300)
def test_the_main_job_ends_with_every_byte_and_every_field(tmp_path):
    """Faults fire, a worker dies, and the other route finds no difference; nothing is left running or on disk."""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "CROSSDOCK_TEST_MARKER": str(tmp_path)}
    done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=280, env=environment, check=False)
    told = done.stdout

    assert done.returncode == 0, told + done.stderr
    assert "every byte and every metadata field arrived" in told
    assert "kill -9" in told
    fired = dict(re.findall(r"^  ((?:S3|GCS) .*): (\d+) times?$", told, re.MULTILINE))
    assert len(fired) >= 3
    assert all(int(times) > 0 for times in fired.values())
    commands = re.findall(r"^  \$ (crossdock .*)$", told, re.MULTILINE)
    assert any("--dry-run" in command for command in commands)
    assert any("--workers 2" in command for command in commands)
    assert "\x1b" not in told + done.stderr
    assert "Traceback" not in done.stderr
    assert left_of(str(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.timeout(300)
def test_ctrl_c_in_the_middle_leaves_no_process_and_no_directory(tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path), "CROSSDOCK_TEST_MARKER": str(tmp_path)}
    process = subprocess.Popen(
        COMMAND, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    for line in process.stdout:
        if "kill -9" in line:
            process.send_signal(signal.SIGINT)
            break
    told = process.stdout.read()
    process.stdout.close()

    assert process.wait(60) == 130, told
    assert "Traceback" not in told
    assert left_of(str(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []
