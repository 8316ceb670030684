"""The story step by step. Each step prints the command a user would type and runs exactly that command, as a process of its own.

The commands know nothing of the demo; the only things it adds are dummy credentials in their environment and a directory for
run records that is removed at the end.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from crossdock.options import format_size
from crossdock.testing.demo.data import Sample, samples
from crossdock.testing.demo.plain import PlainS3
from crossdock.testing.demo.servers import Server, server
from crossdock.testing.demo.verify import Verdict, verify

__all__ = ["run_demo"]

SOURCE, DESTINATION = "landing", "archive"
_KILL_AT = 0.25  # of all objects: late enough to be in the middle, early enough to be before the end


def run_demo(*, size_mib: int = 256, keep: bool = False) -> int:
    """Tell the whole story on stdout.

    Leaves nothing behind, however it ends: servers, workers and directories are gone when it returns or raises.

    Args:
        size_mib: Size of the one large object.
        keep: Leave the servers running at the end, until Ctrl-C, to look around.

    Returns:
        0 if every byte and every metadata field arrived and every fault fired; 1 otherwise.

    Raises:
        MissingExtraError: The servers or the sample data are not installed.
    """
    began = time.monotonic()
    load = samples(size_mib)
    with ExitStack() as cleanup:
        home = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="crossdock-demo-")))
        _say("1. Two stores on this machine")
        s3 = cleanup.enter_context(server("s3", SOURCE))
        gcs = cleanup.enter_context(server("gcs", DESTINATION))
        _tell(f"S3 at {s3.url}, bucket {SOURCE}; GCS at {gcs.url}, bucket {DESTINATION}; a process each")
        _say("2. The source bucket is filled, by plain HTTP")
        _fill(s3, load)
        failures = _Story(s3, gcs, home, load).play()
        _say(f"Verdict, after {time.monotonic() - began:.0f} s")
        for failure in failures[:20]:
            _tell(f"FAILED: {failure}")
        _tell(
            "not everything arrived as it should"
            if failures
            else "every byte and every metadata field arrived"
        )
        if keep:
            _wait_for_interrupt(s3, gcs)
    return 1 if failures else 0


class _Story:
    """The steps that run crossdock, and what they were run with."""

    def __init__(self, s3: Server, gcs: Server, home: Path, load: Sequence[Sample]) -> None:
        self._s3, self._gcs, self._load = s3, gcs, load
        self._run_dir = home / "run"
        self._environment = {
            **os.environ,
            # Dummies: the embedded server verifies no signature, but a client without credentials refuses to start.
            "AWS_ACCESS_KEY_ID": "demo-access-key",
            "AWS_SECRET_ACCESS_KEY": "demo-secret-key",
            "AWS_REGION": "us-east-1",
            "XDG_STATE_HOME": str(home / "state"),
            "TMPDIR": str(home),  # Dask leaves its scratch space behind; the demo leaves nothing
        }
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
            self._environment.pop(name, None)
        self._copy = [
            "cp",
            f"s3://{SOURCE}/",
            f"gs://{DESTINATION}/",
            "--source-option",
            f"endpoint_url={s3.url}",
            "--sink-option",
            f"endpoint_url={gcs.url}",
        ]

    def play(self) -> list[str]:
        """Plan, migrate through faults and a kill, resume if that is needed, verify, run again; every failure as a line."""
        _say("3. The plan (nothing is moved)")
        if code := self._run([*self._copy, "--dry-run"]):
            return [f"the plan ended with exit code {code}"]
        if there := self._gcs.count(DESTINATION):
            return [f"the dry run wrote {there} objects"]
        failures = self._migrate()
        _say("6. Verified by another route: plain HTTP and hashlib, none of our code")
        failures += self._verify()
        _say("7. The same command again has nothing to do")
        before = self._gcs.count(DESTINATION)
        writes = self._writes()
        if code := self._run(self._copy):
            failures.append(f"the second run ended with exit code {code}")
        if self._writes() != writes or self._gcs.count(DESTINATION) != before:
            failures.append("the second run wrote something")
        return failures

    def _migrate(self) -> list[str]:
        _say("4. The migration: two workers, services that fail, and one worker killed in the middle")
        for place in (self._s3, self._gcs):
            place.inject()
        killer = _Killer(self._gcs, at=round(len(self._load) * _KILL_AT))
        code = self._run([*self._copy, "--workers", "2", "--run-dir", str(self._run_dir)], killer)
        failures = [] if killer.killed else ["no worker could be killed in the middle of the run"]
        if code:
            _say(f"5. It ended with exit code {code}: it is resumed")
            if code := self._run(["runs", "resume", str(self._run_dir), "--workers", "2"]):
                failures.append(f"the resumed run ended with exit code {code}")
        else:
            _say("5. It ended complete: nothing to resume")
        for place in (self._s3, self._gcs):
            for name, times in place.heal().items():
                _tell(f"{name}: {times} time{'s' * (times != 1)}")
                if not times:
                    failures.append(f"this fault never fired: {name}")
        return failures

    def _verify(self) -> list[str]:
        verdict = verify(
            self._s3.url, self._gcs.url, bucket=SOURCE, to_bucket=DESTINATION, expected=self._load
        )
        _print_verdict(verdict)
        return list(verdict.differences) + ([] if verdict.objects else ["the destination is empty"])

    def _writes(self) -> int:
        """How many requests that write an object the destination has seen."""
        requests = self._gcs.requests()
        return sum(
            count for name, count in requests.items() if name.split(".")[-1] not in ("list", "stat", "get")
        )

    def _run(self, arguments: Sequence[str], killer: _Killer | None = None) -> int:
        return _run_crossdock(arguments, self._environment, killer)


class _Killer:
    """Kills one Dask worker with SIGKILL once the destination holds ``at`` objects."""

    def __init__(self, destination: Server, *, at: int) -> None:
        self._destination = destination
        self._at = at
        self.killed: int | None = None

    def look(self, parent: int) -> None:
        """Kill if it is time; once."""
        if self.killed is not None or (there := self._destination.count(DESTINATION)) < self._at:
            return
        for child in _workers(parent):
            child.kill()
            self.killed = child.pid
            _tell(f"kill -9 {child.pid}    (a worker, with {there} objects at the destination)")
            return


def _workers(parent: int) -> list[psutil.Process]:
    """The worker processes below a crossdock process: Dask starts each by multiprocessing's spawn."""
    try:
        children = psutil.Process(parent).children(recursive=True)
        return [child for child in children if any("spawn_main" in word for word in child.cmdline())]
    except psutil.NoSuchProcess:  # one of them ended while we looked: look again later
        return []


def _run_crossdock(
    arguments: Sequence[str], environment: Mapping[str, str], killer: _Killer | None = None
) -> int:
    """Print a command as a user would type it, run it, and return its exit code; an interruption ends its whole tree."""
    sys.stdout.write(f"\n  $ crossdock {shlex.join(arguments)}\n\n")
    sys.stdout.flush()
    process = subprocess.Popen([sys.executable, "-m", "crossdock", *arguments], env=dict(environment))  # noqa: S603
    try:
        while process.poll() is None:
            if killer is not None:
                killer.look(process.pid)
            try:
                process.wait(timeout=0.05)
            except subprocess.TimeoutExpired:
                continue
    finally:
        if process.poll() is None:
            _end_tree(process)
    return process.returncode


def _end_tree(process: subprocess.Popen[bytes]) -> None:
    """Ask a command to stop, then kill whatever is left of it."""
    tree = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in tree:
        if child.is_running():
            child.kill()


def _fill(s3: Server, load: Sequence[Sample]) -> None:
    """Upload everything, four connections at a time."""
    here = threading.local()

    def put(sample: Sample) -> int:
        if not hasattr(here, "client"):
            here.client = clients.enter_context(PlainS3(s3.url))
        data = sample.read()
        here.client.put(SOURCE, sample.key, data, sample.headers, sample.part_size)
        return len(data)

    with ExitStack() as clients, ThreadPoolExecutor(4) as pool:
        sizes = list(pool.map(put, load))
    rows = sorted(zip(load, sizes, strict=True), key=lambda row: row[0].group)
    for group, members in groupby(rows, key=lambda row: row[0].group):
        its = [size for _, size in members]
        _tell(f"{len(its):5,} {group}, {format_size(sum(its))}")


def _print_verdict(verdict: Verdict) -> None:
    _tell(
        f"{verdict.objects:,} objects, {format_size(verdict.bytes)}: read at both ends and compared by SHA-256"
    )
    _tell(
        f"{verdict.published:,} of them compared with a digest known before: published, or of the generator"
    )
    _tell(f"{verdict.metadata_fields:,} metadata fields compared")
    _tell(
        "key sets equal, no temporary keys, no open uploads"
        if verdict.ok
        else f"{len(verdict.differences)} differences"
    )


def _wait_for_interrupt(s3: Server, gcs: Server) -> None:
    _say(f"The servers stay until Ctrl-C: S3 {s3.url}, GCS {gcs.url}")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        return


def _say(text: str) -> None:
    sys.stdout.write(f"\n{text}\n")
    sys.stdout.flush()


def _tell(text: str) -> None:
    sys.stdout.write(f"  {text}\n")
    sys.stdout.flush()
