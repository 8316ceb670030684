"""How fast a bucket is listed, beside ``rclone lsf`` and ``s5cmd ls``; and what planning a million objects takes.

The server is ``benchmarks.synthetic``: a process that makes up its pages, after 50 ms each, so that what is compared is how
the clients wait and parse. ``python -m benchmarks.listing keys URL`` is our client: it prints every key.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import Figures, run, side_by_side
from benchmarks.servers import KEY, SECRET, rclone

LIST_OBJECTS = 200_000
PLAN_OBJECTS = 1_000_000
LATENCY_S = 0.05
ROUNDS = 3
RSS_LIMIT = 500 * 2**20


def full() -> None:
    """All of it: minutes."""
    rate(LIST_OBJECTS)
    plan(PLAN_OBJECTS)
    rerun(PLAN_OBJECTS)


@contextmanager
def synthetic(count: int, latency_s: float) -> Iterator[str]:
    """The server as a process of its own; its URL."""
    command = [sys.executable, "-m", "benchmarks.synthetic", str(count), str(latency_s)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


def counts(url: str) -> dict[str, int]:
    """Requests by kind since the last time."""
    with urllib.request.urlopen(f"{url}/-/counts") as answer:
        known: dict[str, int] = json.load(answer)
    return known


def rate(count: int) -> None:
    """Every key of one flat prefix, printed."""
    with synthetic(count, LATENCY_S) as url:
        env = _env(url)
        ours = [sys.executable, "-m", "benchmarks.listing", "keys", "s3://bucket/"]
        others = {"rclone": [rclone(), "lsf", "-R", "--fast-list", "src:bucket"]}
        s5cmd = Path(sys.executable).parent / "s5cmd"
        if s5cmd.exists():
            others["s5cmd"] = [str(s5cmd), "--endpoint-url", url, "ls", "s3://bucket/*"]
        counts(url)
        mine, theirs = [], {name: list[Figures]() for name in others}
        for number in range(ROUNDS):
            mine.append(run(ours, env))
            if not number:
                print(f"LISTs for {count} keys: {counts(url)['LIST']}, from front to end {-(-count // 1000)}")
            for name, command in others.items():
                theirs[name].append(run(command, env))
        for name, figures in theirs.items():
            title = f"listing {count} keys, {LATENCY_S * 1000:.0f} ms a page"
            print(side_by_side(title, mine, figures, name), flush=True)


def plan(count: int) -> None:
    """Plan everything into an empty directory. Ends the benchmark if memory passes 500 MiB."""
    with synthetic(count, 0.0) as url, tempfile.TemporaryDirectory() as scratch:
        out = f"{scratch}/plan"
        figures = run([sys.executable, "-m", "benchmarks.listing", "plan", out], _env(url))
        _tell("plan", count, figures, counts(url))
        manifest = sum(path.stat().st_size for path in Path(out).rglob("*.parquet"))
        print(f"  manifest: {manifest / 2**20:.1f} MiB", flush=True)


def rerun(count: int) -> None:
    """Run where all is there already. Ends the benchmark if that does anything but list, or memory passes 500 MiB."""
    with synthetic(count, 0.0) as url, tempfile.TemporaryDirectory() as scratch:
        command = ["crossdock", "cp", "s3://bucket/", "s3://other/", "-q", "--run-dir", f"{scratch}/run"]
        figures = run([sys.executable, "-m", *command], _env(url))
        asked = counts(url)
    _tell("rerun", count, figures, asked)
    if set(asked) - {"LIST", "HEAD bucket"} or asked["LIST"] > 2 * (count / 1000 * 1.05 + 10):
        sys.exit("a rerun with nothing changed did more than list")


def _tell(what: str, count: int, figures: Figures, asked: dict[str, int]) -> None:
    print(
        f"{what} of {count} objects: {count / figures.wall_s:.0f} objects/s, {figures.cpu_s:.1f} s CPU, "
        f"peak {figures.peak_bytes / 2**20:.0f} MiB, requests {asked}",
        flush=True,
    )
    if figures.peak_bytes > RSS_LIMIT:
        sys.exit(f"memory passed {RSS_LIMIT // 2**20} MiB")


def _env(url: str) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": url,
        "RCLONE_CONFIG_SRC_TYPE": "s3",
        "RCLONE_CONFIG_SRC_PROVIDER": "Other",
        "RCLONE_CONFIG_SRC_ENDPOINT": url,
        "RCLONE_CONFIG_SRC_ACCESS_KEY_ID": KEY,
        "RCLONE_CONFIG_SRC_SECRET_ACCESS_KEY": SECRET,
        "RCLONE_CONFIG_SRC_LIST_VERSION": "2",
    }


def _keys(url: str) -> None:
    import crossdock as xd
    from crossdock.flows.listing import Listing

    source = xd.source(url)
    with Listing(source.store, source.prefix) as pages:
        for page in pages:
            sys.stdout.write("".join(f"{info.key}\n" for info in page))


def _plan(out: str) -> None:
    import crossdock as xd

    with tempfile.TemporaryDirectory() as empty:
        xd.plan("s3://bucket/", f"{empty}/", out=out)


if __name__ == "__main__":
    if sys.argv[1:2] == ["keys"]:
        _keys(sys.argv[2])
    elif sys.argv[1:2] == ["plan"]:
        _plan(sys.argv[2])
    else:
        full()
