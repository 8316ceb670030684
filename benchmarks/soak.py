"""The soak: a bucket moves from S3 to GCS while everything goes wrong at once, and nobody of ours judges the result.

Both servers are processes of their own. They are filled, and read at the end, in plain HTTP by the demo's other route
(``crossdock.testing.demo.plain``), so nothing of crossdock's is a witness for itself. A run that ends with failures is
called again in the same words until it is complete, as a person would; how often is part of the result.
"""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import crossdock as xd
from benchmarks.soak_faults import destination_rules, source_rules
from crossdock.connectors.gcs.resources import RESERVED_PREFIX
from crossdock.errors import CrossdockError
from crossdock.events import Event, Retried
from crossdock.model import MIB
from crossdock.testing.demo.plain import PlainGCS, PlainHTTP, PlainS3

__all__ = ["Load", "Soaked", "full", "soak"]

SOURCE, DESTINATION = "landing", "archive"
SHARE = 0.05
MOST_ROUNDS = 10
_CREDENTIALS = {"key": "access-key-of-a-soak", "secret": "secret-key-of-a-soak", "region": "us-east-1"}
_TIMEOUTS = {"connect_timeout_s": 5.0, "no_progress_timeout_s": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is moved. Large objects have between ``least`` and ``most`` bytes, evenly by their logarithm."""

    small: int = 5_000
    large: int = 20
    least: int = 8 * MIB
    most: int = 200 * MIB
    part_size_bytes: int = 5 * MIB

    def objects(self, seed: int) -> Iterator[tuple[str, int, int | None]]:
        """Key, size and part size at the source of each object. One small key in ten takes the SDK's route."""
        dice = random.Random(seed)
        for number in range(self.small):
            size = dice.choice((0, 1, dice.randrange(4096), dice.randrange(64 * 1024)))
            yield f"small/{number % 7}{'//' if number % 10 == 0 else '/'}{number:05d}", size, None
        for number in range(self.large):
            size = int(self.least * (self.most / self.least) ** dice.random())
            yield f"large/{number:03d}", size, (None, 5 * MIB, 8 * MIB)[number % 3]


@dataclass(kw_only=True)
class Soaked:
    """What one soak came to. ``wrong``, ``lost``, ``duplicated`` and ``leaked`` are what must be empty."""

    seed: int
    objects: int = 0
    size: int = 0
    rounds: int = 0
    retries: int = 0
    began: float = 0.0
    at: list[float] = field(default_factory=list)
    seconds: float = 0.0
    failures: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)
    fired: dict[str, int] = field(default_factory=dict)
    cleaned: int = 0
    wrong: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)
    unsound: list[str] = field(default_factory=list)

    @property
    def flaws(self) -> list[str]:
        """Everything that must not be, one line each; also kinds of fault that never fired."""
        silent = [f"never fired: {name}" for name, count in self.fired.items() if not count]
        named = {"wrong": self.wrong, "lost": self.lost, "duplicated": self.duplicated, "leaked": self.leaked}
        found = [f"{name}: {one}" for name, those in named.items() for one in those]
        return [*found, *self.unsound, *silent]


@contextmanager
def _server(name: str, bucket: str, seed: int) -> Iterator[str]:
    command = [sys.executable, "-m", f"crossdock.testing.{name}", "--bucket", bucket, "--seed", str(seed)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()


def soak(seed: int, load: Load, *, share: float = SHARE) -> Soaked:
    """One soak from empty servers to the verdict."""
    soaked = Soaked(seed=seed)
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as scratch,
        _server("s3", SOURCE, seed) as s3,
        _server("gcs", DESTINATION, seed) as gcs,
    ):
        expected = _fill(s3, seed, load)
        soaked.objects, soaked.size = len(expected), sum(size for size, _ in expected.values())
        _tell(s3, source_rules(share))
        _tell(gcs, destination_rules(share))
        soaked.began = time.monotonic()
        _move(soaked, s3, gcs, scratch, load)
        soaked.seconds = time.monotonic() - soaked.began
        for url in (s3, gcs):
            for name, count in _heal(url).items():  # a kind may hit both
                soaked.fired[name] = soaked.fired.get(name, 0) + count
        report = xd.cleanup(f"{scratch}/run", sink_options=_sink_options(gcs, load))
        soaked.cleaned = len(report.removed)
        _judge(soaked, gcs, expected)
        _demand_nothing_left(soaked, s3, gcs, scratch, load)
    return soaked


def _fill(url: str, seed: int, load: Load) -> dict[str, tuple[int, str]]:
    expected = {}
    with PlainS3(url) as s3:
        for number, (key, size, part_size) in enumerate(load.objects(seed)):
            data = random.Random(f"{seed} {key}").randbytes(size)
            s3.put(SOURCE, key, data, {"x-amz-meta-number": str(number)}, part_size)
            expected[key] = size, hashlib.sha256(data).hexdigest()
    return expected


def _tell(url: str, rules: list[dict[str, Any]]) -> None:
    with PlainHTTP(url) as http:
        http.admin("POST", "faults", rules)


def _heal(url: str) -> dict[str, int]:
    with PlainHTTP(url) as http:
        fired: dict[str, int] = http.admin("DELETE", "faults")["fired"]
    return fired


def _sink_options(gcs: str, load: Load) -> dict[str, Any]:
    return {"endpoint_url": gcs, "token": "anon", "part_size_bytes": load.part_size_bytes, **_TIMEOUTS}


def _move(soaked: Soaked, s3: str, gcs: str, scratch: str, load: Load) -> None:
    """The same command until it says that everything is done; what each round says must add up."""

    def observe(event: Event) -> None:
        soaked.retries += isinstance(event, Retried)

    while soaked.rounds < MOST_ROUNDS:
        soaked.rounds += 1
        try:
            report = xd.migrate(
                f"s3://{SOURCE}/",
                f"gs://{DESTINATION}/",
                source_options={"endpoint_url": s3, **_CREDENTIALS, **_TIMEOUTS},
                sink_options=_sink_options(gcs, load),
                run_dir=f"{scratch}/run",
                observer=observe,
            )
        except (
            CrossdockError
        ) as error:  # a listing that failed eight times in a row, before anything was planned
            soaked.refused.append(str(error)[:200])
            continue
        counts = report.counts
        if counts.planned != counts.copied + counts.skipped + counts.failed + counts.pending:
            soaked.unsound.append(f"round {soaked.rounds}: the counts do not add up: {counts}")
        if counts.planned != soaked.objects:
            soaked.unsound.append(f"{counts.planned} planned of {soaked.objects} objects")
        if bool(report.exit_code) != bool(counts.failed + counts.pending):
            soaked.unsound.append(f"round {soaked.rounds}: exit code {report.exit_code} with {counts}")
        soaked.at.append(round(time.monotonic() - soaked.began, 1))
        for each in report.failures:
            soaked.failures[f"{each.reason}: {each.message[:160]}"] += each.count
        if report.exit_code == 0:
            return
    soaked.unsound.append(f"not done after {MOST_ROUNDS} rounds")


def _judge(soaked: Soaked, gcs: str, expected: Mapping[str, tuple[int, str]]) -> None:
    """Read every object at the destination in plain HTTP."""
    with PlainGCS(gcs) as http:
        held = {str(row["name"]): row for row in http.resources(DESTINATION)}
        soaked.lost = sorted(expected.keys() - held.keys())
        extra = sorted(held.keys() - expected.keys())
        soaked.leaked = [key for key in extra if key.startswith(RESERVED_PREFIX)]
        soaked.leaked += http.admin("GET", "uploads")[DESTINATION].values()
        soaked.duplicated = [key for key in extra if not key.startswith(RESERVED_PREFIX)]
        for number, (key, (size, digest)) in enumerate(expected.items()):
            if key not in held:
                continue
            seen = http.see(DESTINATION, held[key])
            if (seen.size, seen.sha256) != (size, digest):
                soaked.wrong.append(f"{key}: {seen.size} of {size} bytes, SHA-256 {seen.sha256}")
            if seen.metadata.get("x-goog-meta-number", seen.metadata.get("x-amz-meta-number")) != str(number):
                soaked.wrong.append(f"{key}: metadata {dict(seen.metadata)}")


def _demand_nothing_left(soaked: Soaked, s3: str, gcs: str, scratch: str, load: Load) -> None:
    """A run from scratch, healed, must find everything there."""
    report = xd.migrate(
        f"s3://{SOURCE}/",
        f"gs://{DESTINATION}/",
        source_options={"endpoint_url": s3, **_CREDENTIALS},
        sink_options=_sink_options(gcs, load),
        run_dir=f"{scratch}/again",
    )
    if (report.counts.skipped, report.counts.copied) != (soaked.objects, 0):
        soaked.unsound.append(f"afterwards, a new run did not find everything there: {report.counts}")


def full(seeds: int = 10) -> None:
    """The published soak."""
    total: Counter[str] = Counter()
    flaws = []
    for seed in range(1, seeds + 1):
        soaked = soak(seed, Load())
        total += Counter(soaked.fired)
        flaws += [f"seed {seed}: {flaw}" for flaw in soaked.flaws]
        print(
            f"seed {seed}: {soaked.objects:,} objects, {soaked.size / 2**30:.2f} GiB in {soaked.seconds:.0f} s; "
            f"{sum(soaked.fired.values()):,} faults of {len(soaked.fired)} kinds, {soaked.retries:,} retries, "
            f"{soaked.rounds} rounds, failures on the way {dict(soaked.failures)}; "
            f"{soaked.cleaned} uploads cleaned up; wrong {len(soaked.wrong)}, lost {len(soaked.lost)}, "
            f"duplicated {len(soaked.duplicated)}, leaked {len(soaked.leaked)}",
            flush=True,
        )
        if soaked.refused:
            print(f"  refused before anything moved: {json.dumps(soaked.refused)}")
    print(f"faults fired: {json.dumps(dict(sorted(total.items())), indent=2)}")
    if flaws:
        sys.exit("\n".join(flaws[:50]))


if __name__ == "__main__":
    full(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
