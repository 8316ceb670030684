"""What crashes are judged by: servers that count what was sent, a migration in processes of its own, and what must be true after.

The servers live in the judging process, so they survive whatever is killed; what they counted is the evidence. The tests take a
few crashes, ``benchmarks.crashes`` all of them.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import crossdock as xd
from crossdock.crash_points import VARIABLE
from crossdock.flows.ledger.records import RecordState
from crossdock.flows.ledger.writing import read_records
from crossdock.flows.reporting.report import build_report
from crossdock.flows.runs.directory import open_run
from crossdock.model import MIB, Counts
from crossdock.testing import EmbeddedS3
from crossdock.testing.rules import Fault, Faults

__all__ = ["CREDENTIALS", "SECRETS", "Command", "Crash", "Seen", "cluster", "fill", "once_more", "start"]

CREDENTIALS = {"key": "env:CRASH_KEY", "secret": "env:CRASH_SECRET", "region": "us-east-1"}
SECRETS = {
    "CRASH_KEY": "access-key-of-a-crash",
    "CRASH_SECRET": "secret-key-of-a-crash",
}  # processes inherit them

PART = 5 * MIB
AT_A_TIME, PARTS_AT_A_TIME, SHARDS_AT_A_TIME = 4, 2, 2
SMALL, MIDDLE, BIG = (
    24,
    11 * MIB,
    30 * MIB + 7,
)  # objects of a put, one of three parts, one that is cut into seven
OBJECTS = SMALL + 2

# The command that is killed, and given again. Processes of a cluster are its children, but for one that was there before.
_CODE = """
import json, sys
import crossdock as xd

def main():
    asked = json.loads(sys.argv[1])
    dask = asked.pop("dask")
    runner = xd.LocalRunner(threads=2, window=2)
    if dask:
        runner = xd.DaskRunner(n_workers=2) if dask == "own" else xd.DaskRunner(dask)
    with runner:
        report = xd.migrate(**asked, runner=runner)
    print("ended", report.exit_code, flush=True)

if __name__ == "__main__":
    main()
"""


class Seen(Faults):
    """The rules of a server that also remembers which part and object was sent how often, and acts on the n-th of them."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: Counter[tuple[str, int]] = Counter()
        self.puts: Counter[tuple[str, int]] = Counter()
        self.act_at: tuple[int, Callable[[], None]] | None = None
        self._seen_lock = threading.Lock()

    def decide(
        self,
        *,
        operation: str,
        method: str,
        target: str,
        bucket: str,
        key: str,
        headers: Mapping[str, str] | None = None,
    ) -> Fault | None:
        """Remember, act if it is time, and go on as ever."""
        act = None
        with self._seen_lock:
            if operation == "part.put":
                found = re.search(r"partNumber=(\d+)", target)
                self.parts[key, int(found[1]) if found else 0] += 1
            elif operation == "object.insert":
                self.puts[key, 0] += 1
            if self.act_at is not None and self.sent >= self.act_at[0]:
                act, self.act_at = self.act_at[1], None
        if act is not None:
            act()
        return super().decide(
            operation=operation, method=method, target=target, bucket=bucket, key=key, headers=headers or {}
        )

    @property
    def sent(self) -> int:
        """Requests that carried payload."""
        return sum(self.parts.values()) + sum(self.puts.values())

    def all(self) -> Counter[tuple[str, int]]:
        """How often each part of each object was sent; an object sent in one piece is part 0."""
        with self._seen_lock:
            return self.parts + self.puts

    def twice(self, key: str | None = None) -> int:
        """How many parts and objects were sent again."""
        return sum(count - 1 for (name, _), count in self.all().items() if key in (None, name))

    def forget(self) -> None:
        """Count from 0 again."""
        with self._seen_lock:
            self.parts.clear()
            self.puts.clear()
            self.act_at = None


@dataclass
class Command:
    """A migration in a process that leads a group, so that all of it can be killed."""

    process: subprocess.Popen[bytes]
    out: str = ""
    killed_worker: int = 0

    def kill_all(self) -> None:
        """SIGKILL of every process of it at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def kill_driver(self) -> None:
        """SIGKILL of the first process; its workers find out."""
        self.process.kill()

    def kill_worker(self) -> None:
        """SIGKILL of one process that a nanny started, if there is one."""
        for pid in _workers(self.process.pid)[:1]:
            os.kill(pid, signal.SIGKILL)
            self.killed_worker = pid

    def end(self, timeout_s: float = 90) -> tuple[int, str]:
        """Wait for it; its exit status and what it said on stderr."""
        try:
            out, errors = self.process.communicate(timeout=timeout_s)
        finally:
            self.kill_all()
        self.out = out.decode()
        return self.process.returncode, errors.decode()


def _workers(pid: int) -> list[int]:
    """The spawned processes of a group that are no helper of ``multiprocessing``."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != pid:
            with suppress(OSError):
                group = int((entry / "stat").read_text().rpartition(")")[2].split()[2])
                if group == pid and b"spawn_main" in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return sorted(found)


def start(asked: Mapping[str, Any], *, dask: str = "", crash_at: str = "") -> Command:
    """Begin the migration.

    Args:
        asked: Arguments of ``xd.migrate``.
        dask: Empty for threads of one process, ``own`` for a cluster of two workers, or the address of a scheduler.
        crash_at: Where it is to die.
    """
    environment = {**os.environ, **SECRETS, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop(VARIABLE, None)
    if crash_at:
        environment[VARIABLE] = crash_at
    place = Path(
        f"{asked['run_dir'].rstrip('/')}-command.py"
    )  # workers import the main module: it has to be a file
    place.write_text(_CODE)
    return Command(
        subprocess.Popen(
            [sys.executable, str(place), json.dumps({**asked, "dask": dask})],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    )


@contextmanager
def cluster(scratch: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """A scheduler and two workers, each a process of its own: its address, and what kills the scheduler."""
    file = scratch / "scheduler.json"
    environment = {**os.environ, **SECRETS, "PYTHONPATH": os.pathsep.join(sys.path)}

    def begin(kind: str, *more: str) -> subprocess.Popen[bytes]:
        tool = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--scheduler-file", str(file)]
        return subprocess.Popen(
            [*tool, "--host", "127.0.0.1", "--no-dashboard", *more],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    scheduler = begin("scheduler", "--port", "0")
    workers = begin("worker", "--nworkers", "2", "--nthreads", "1", "--local-directory", str(scratch))
    try:
        until = time.monotonic() + 60
        while not (file.exists() and file.read_text().strip().endswith("}")):
            assert time.monotonic() < until, "the scheduler did not start"
            time.sleep(0.05)
        yield json.loads(file.read_text())["address"], scheduler.kill
    finally:
        for process in (scheduler, workers):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def fill(root: Path, seed: int) -> dict[str, bytes]:
    """Write the objects of the crash test below a directory; their bodies by key."""
    dice = random.Random(seed)
    bodies = {f"small/{number:02d}": dice.randbytes(number * 500) for number in range(SMALL)}
    bodies |= {"middle": dice.randbytes(MIDDLE), "big": dice.randbytes(BIG)}
    for key, body in bodies.items():
        (root / key).parent.mkdir(exist_ok=True, parents=True)
        (root / key).write_bytes(body)
    return bodies


@dataclass(kw_only=True)
class Crash:
    """One run that is killed, perhaps several times, and must come to the same result.

    ``bodies`` are the objects at ``source``; they go below ``prefix`` of the bucket ``dst``.
    """

    server: EmbeddedS3
    seen: Seen
    source: Path
    bodies: Mapping[str, bytes]
    prefix: str
    run_dir: Path
    kills: int = 1
    proven: set[str] = field(default_factory=set)
    counts: Counts | None = None

    @property
    def asked(self) -> dict[str, Any]:
        """The arguments of the command."""
        return {
            "source": f"file://{self.source}/",
            "sink": f"s3://dst/{self.prefix}",
            "run_dir": f"{self.run_dir}/",
            "concurrency": AT_A_TIME,
            "sink_options": {
                "endpoint_url": self.server.url,
                **CREDENTIALS,
                "part_size_bytes": PART,
                "part_concurrency": PARTS_AT_A_TIME,
                "split_above_bytes": 20 * MIB,
            },
        }

    def look(self) -> None:
        """At the run directory of the dead: its numbers add up, and what it has receipts of is there."""
        self.counts = _standing(self.run_dir)
        self.proven = _recorded(self.run_dir)

        assert _adds_up(self.counts), self.counts
        assert self.proven <= self.server.objects("dst").keys()

    def complete(self) -> None:
        """The destination equals the source, no more was sent again than was in flight, and nothing is left."""
        counts, seen = _standing(self.run_dir), self.seen

        assert counts is not None
        assert (counts.planned, counts.copied + counts.skipped, counts.pending) == (OBJECTS, OBJECTS, 0)
        found = {
            key.removeprefix(self.prefix): each.data
            for key, each in self.server.objects("dst").items()
            if key.startswith(self.prefix)
        }
        assert found == self.bodies
        assert seen.twice(f"{self.prefix}big") <= PARTS_AT_A_TIME * SHARDS_AT_A_TIME * self.kills
        assert seen.twice(f"{self.prefix}middle") <= -(-MIDDLE // PART) * self.kills
        assert sum(count - 1 for count in seen.puts.values()) <= AT_A_TIME * SHARDS_AT_A_TIME * self.kills
        _demand_nothing_left(self)


def once_more(crash: Crash) -> None:
    """The same command again ends well, and everything CONTRACT section 1 promises of a killed run is true.

    Raises:
        AssertionError: Something is not.
    """
    crash.look()
    before = crash.seen.all()
    command = start(crash.asked)
    status, errors = command.end()

    assert (status, command.out.strip()) == (0, "ended 0"), errors
    again = {key for (key, number), count in crash.seen.all().items() if count > before[key, number]}
    assert not again & crash.proven, "sent again after its receipt was recorded"
    crash.complete()


def _demand_nothing_left(crash: Crash) -> None:
    still_open = [key for key in crash.server.open_uploads("dst").values() if key.startswith(crash.prefix)]
    assert still_open == [], "open uploads"
    xd.cleanup(str(crash.run_dir) + "/", sink_options={name: CREDENTIALS[name] for name in ("key", "secret")})
    left = [path.name for path in crash.run_dir.rglob("*") if ".crossdock" in path.name]
    assert left == [], "temporary files"


def _standing(run_dir: Path) -> Counts | None:
    """The counts of a run as its directory tells them, whoever is dead; ``None`` if there is no run yet."""
    try:
        return build_report(open_run(f"{run_dir}/")).counts
    except xd.NotFoundError:
        return None


def _adds_up(counts: Counts | None) -> bool:
    if counts is None:
        return True
    each = (counts.copied, counts.skipped, counts.failed, counts.pending)
    return counts.planned == sum(each) and min(each) >= 0


def _recorded(run_dir: Path) -> set[str]:
    """Destination keys that the ledger has a receipt of."""
    with suppress(xd.NotFoundError):
        return {
            record.receipt.key
            for _, records in read_records(open_run(f"{run_dir}/").files)
            for record in records
            if record.state is RecordState.COPIED and record.receipt is not None
        }
    return set()
