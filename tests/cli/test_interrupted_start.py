"""Ctrl-C while ``--workers`` still start: the command ends as after any Ctrl-C, and its workers say nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

PATIENCE_S = 60
BIT = 1 << (signal.SIGINT - 1)


def workers_of(pid):
    """Worker processes that Dask has started, however far they are."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        try:
            if "multiprocessing.spawn" in " ".join(child.cmdline()):
                found.append(child.pid)
        except psutil.NoSuchProcess:
            continue
    return found


def is_deaf(pid):
    """Whether the process cannot hear SIGINT, by what the kernel says of it."""
    with Path(f"/proc/{pid}/status").open(encoding="ascii") as status:
        lines = dict(line.split(":", 1) for line in status)
    return bool((int(lines["SigBlk"], 16) | int(lines["SigIgn"], 16)) & BIT)


def test_workers_that_are_still_starting_say_nothing(tmp_path):
    """The terminal's way: SIGINT to the whole group, at the moment the workers appear."""
    (tmp_path / "from").mkdir()
    for number in range(100):
        (tmp_path / "from" / str(number)).write_bytes(b"1")
    words = ["cp", f"{tmp_path}/from/", f"{tmp_path}/to/", "--run-dir", f"{tmp_path}/run", "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "crossdock", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    until = time.monotonic() + PATIENCE_S
    while not (workers := workers_of(process.pid)) and time.monotonic() < until and process.poll() is None:
        pass
    deaf = [is_deaf(pid) for pid in workers]
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)

    assert deaf
    assert all(deaf)
    assert (process.returncode, "Traceback" in err, "KeyboardInterrupt" in err) == (130, False, False), err
    assert out.startswith("interrupted: what was done is recorded")
