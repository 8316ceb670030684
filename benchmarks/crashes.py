"""Every crash there is a label for, and 20 at random moments: each run killed once, given again, and judged.

And the large object: 2 GiB on two Dask workers, one of them killed in the middle. Seeds are printed; ``CRASH_SEED`` repeats them.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import crossdock as xd
from benchmarks.crash_kit import CREDENTIALS, SECRETS, SMALL, Crash, Seen, cluster, fill, once_more, start
from crossdock import crash_points
from crossdock.model import GIB, MIB
from crossdock.testing import EmbeddedS3

__all__ = ["full", "labelled", "large", "moments"]

RANDOM = 20
_WHO = ("everything", "driver", "worker", "everything with its cluster", "scheduler")


def full() -> None:
    """All of it: some five minutes."""
    seed = int(os.environ.get("CRASH_SEED") or random.SystemRandom().randrange(10**6))
    print(f"seed {seed}", flush=True)
    os.environ.update(SECRETS)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_STATE_HOME"] = scratch
        labelled(Path(scratch), seed)
        moments(Path(scratch), seed)
        large(Path(scratch))


@contextmanager
def _crashes(scratch: Path, seed: int) -> Iterator[Crash]:
    """One run to kill, on a server of its own."""
    source = scratch / f"from-{seed}"
    bodies = fill(source, seed)
    seen = Seen()
    name = uuid.uuid4().hex
    with EmbeddedS3(buckets=("dst",), faults=seen) as server:
        yield Crash(
            server=server,
            seen=seen,
            source=source,
            bodies=bodies,
            prefix=f"{name}/",
            run_dir=scratch / f"run-{name}",
        )
    shutil.rmtree(source)


def labelled(scratch: Path, seed: int) -> None:
    """A fresh run killed at each labelled point."""
    for label in crash_points.LABELS:
        with _crashes(scratch, seed) as crash:
            status, errors = start(crash.asked, crash_at=label).end()
            assert status == -signal.SIGKILL, (label, errors)
            before = crash.seen.sent
            once_more(crash)
            print(
                f"{label:18} {before:3} sent, {crash.seen.twice()} of them again; "
                f"{len(crash.proven)} had receipts: none of these",
                flush=True,
            )


def moments(scratch: Path, seed: int) -> None:
    """Killed when a random request with payload arrives."""
    dice = random.Random(seed)
    for number in range(RANDOM):
        who, moment = _WHO[number % len(_WHO)], dice.randrange(2, SMALL)
        with _crashes(scratch, seed + number) as crash:
            _kill_at(crash, who, moment, scratch)
            print(
                f"{who:27} at request {moment:2}: {crash.seen.twice()} sent again, "
                f"{len(crash.proven)} had receipts: none of these",
                flush=True,
            )


def _kill_at(crash: Crash, who: str, moment: int, scratch: Path) -> None:
    if who == "scheduler":
        place = scratch / crash.run_dir.name.replace("run", "dask")
        place.mkdir()
        with cluster(place) as (address, kill_scheduler):
            crash.seen.act_at = (moment, kill_scheduler)
            command = start(crash.asked, dask=address)
            status, _ = command.end()
            assert status != 0, "the run did not notice that its scheduler died"
            once_more(crash)
        return
    command = start(crash.asked, dask="" if who == "everything" else "own")
    kill = {"driver": command.kill_driver, "worker": command.kill_worker}.get(who, command.kill_all)
    crash.seen.act_at = (moment, kill)
    try:
        if who == "worker":  # the run itself goes on, and ends well
            status, errors = command.end()
            assert (status, command.out.strip()) == (0, "ended 0"), errors
            assert command.killed_worker
            crash.complete()
            return
        command.process.wait(60)
        assert command.process.returncode == -signal.SIGKILL
        once_more(crash)
    finally:
        command.kill_all()
        command.process.communicate()


def large(scratch: Path, size: int = 2 * GIB) -> None:
    """One object on two Dask workers, one killed in the middle: what the server counted."""
    source, at_a_time, part = scratch / "large", 4, 16 * MIB
    source.mkdir()
    block = os.urandom(64 * MIB)
    with (source / "big").open("wb") as file:
        for _ in range(size // len(block)):
            file.write(block)
    seen, killed = Seen(), []
    with EmbeddedS3(buckets=("dst",), faults=seen) as server, xd.DaskRunner(n_workers=2) as runner:
        pids = list(runner.workers().values())
        seen.act_at = (size // part // 2, lambda: killed.append(os.kill(pids[0], signal.SIGKILL)))
        began = time.monotonic()
        report = xd.migrate(
            f"file://{source}/",
            "s3://dst/large/",
            runner=runner,
            run_dir=f"{scratch}/run-large/",
            sink_options={
                "endpoint_url": server.url,
                **CREDENTIALS,
                "part_size_bytes": part,
                "part_concurrency": at_a_time,
            },
        )
        seconds = time.monotonic() - began
        requests = seen.requests
        left = server.open_uploads("dst")
    assert killed
    assert report.counts.copied == 1
    assert seen.twice() <= at_a_time
    assert not left
    print(
        f"{size // MIB} MiB in {size // part} parts on two workers, one killed in the middle: "
        f"{requests['upload.begin']} beginning, {seen.sent} parts sent, {seen.twice()} of them again "
        f"({at_a_time} were in flight), {requests['upload.complete']} completion, {seconds:.0f} s",
        flush=True,
    )
