"""One copy under a fault, judged by the contract's oracles: the benches on which every test of this room runs.

A bench is a source bucket and a sink bucket on two embedded servers with their fault rules. ``Bench.copy`` runs one
``xd.copy`` while a watcher looks at the destination, and checks what must hold whatever went wrong: exactly one version
of the source, or a loud error and the destination as before (O1); nothing left behind (O3); no more sent again than the
faults explain (O4); every rule fired (O6).
"""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import crossdock as xd
from crossdock.connectors.layers import ATTEMPTS
from crossdock.errors import CrossdockError
from crossdock.model import MIB, Metadata, Receipt
from crossdock.testing import EmbeddedGCS, EmbeddedS3, Rule
from crossdock.testing.watcher import Watcher, threads_left

SEED = 20261128
PART = 5 * MIB  # the least that S3 and GCS take as a part
SMALL, MEDIUM, LARGE = 100_003, 3 * MIB + 3, 2 * PART + MIB + 3
BODIES = {size: random.Random(SEED + size).randbytes(size) for size in (SMALL, MEDIUM, LARGE)}
OLD = b"what was there before"
S3_OPTIONS = {"key": "access-key-of-a-test", "secret": "secret-key-of-a-test", "region": "us-east-1"}
GCS_OPTIONS = {"token": "anon"}
DATA = frozenset({"object.get", "object.insert", "part.put"})  # requests that carry payload

# The key decides which engine an object takes: obstore does not address a double slash.
ROUTES = {
    "s3": ("s3", "k"),
    "s3-signed": ("s3", "a//k"),
    "gcs-xml": ("gcs", "k"),
    "gcs-json": ("gcs", "a//k"),
}


def body_of(size: int, seed: int = 0) -> bytes:
    """Bytes of the bench's seed; another ``seed`` gives another version of the same size."""
    return BODIES[size] if not seed else random.Random(SEED + size + seed).randbytes(size)


@dataclass(frozen=True, kw_only=True)
class Side:
    """One bucket on one server."""

    kind: str
    server: EmbeddedS3 | EmbeddedGCS
    bucket: str
    url: str
    options: Mapping[str, Any]

    def held(self, key: str) -> bytes | None:
        """What is under a key, not through HTTP."""
        found = self.server.objects(self.bucket).get(key)
        return None if found is None else bytes(found.data)

    def put(self, key: str, body: bytes, metadata: Metadata | None = None) -> None:
        """Bring an object about as another client would; in parts if it is large."""
        sink = xd.sink(self.url, **{**self.options, "part_size_bytes": PART})
        if len(body) <= PART:
            sink.store.put(sink.prefix + key, body, metadata=metadata or Metadata())
        else:
            sink(body, key=key)

    def delete(self, key: str) -> None:
        """Remove an object as another client would."""
        xd.source(self.url, **self.options).store.delete(key)

    def left(self) -> list[str]:
        """What a write left behind: open uploads and temporary objects."""
        temporary = [key for key in self.server.objects(self.bucket) if key.startswith(".crossdock/")]
        return [*self.server.open_uploads(self.bucket).values(), *temporary]

    def wrong(self, **rule: Any) -> str:
        """Add a rule for this bucket."""
        return self.server.faults.add(Rule(**{"bucket": self.bucket, **rule}))


@dataclass(kw_only=True)
class Outcome:
    """How one copy ended."""

    receipt: Receipt | None
    error: BaseException | None
    requests: Mapping[str, int]
    fired: Mapping[str, int]

    @property
    def ending(self) -> str:
        """For the matrix: ``exact``, or the class of the error."""
        return "exact" if self.error is None else type(self.error).__name__


@dataclass(kw_only=True)
class Bench:
    """A source, a sink, and the key between them."""

    source: Side
    sink: Side
    key: str = "k"
    route: str = ""
    timeouts: dict[str, float] = field(
        default_factory=lambda: {"connect_timeout_s": 5.0, "no_progress_timeout_s": 10.0}
    )
    spare: int = 1  # requests with payload that no fault explains
    transfer: dict[str, Any] = field(default_factory=lambda: {"part_size_bytes": PART, "part_concurrency": 3})

    def hasty(self, seconds: float = 0.5) -> None:
        """Give up on silence after so long; on a busy machine that may happen without a fault."""
        self.spare = ATTEMPTS
        self.timeouts["no_progress_timeout_s"] = seconds

    @property
    def source_url(self) -> str:
        return self.source.url + self.key

    @property
    def sink_url(self) -> str:
        return self.sink.url + self.key

    def requests(self) -> dict[str, int]:
        """Requests so far that carry payload, by side and operation."""
        found = {}
        for name, side in (("source", self.source), ("sink", self.sink)):
            for operation, count in side.server.faults.requests.items():
                if operation in DATA:
                    found[f"{name} {operation}"] = count
        return found

    def fired(self) -> dict[str, int]:
        return {**self.source.server.faults.fired, **self.sink.server.faults.fired}

    def heal(self) -> None:
        """Take all rules away; the counters stay."""
        self.source.server.faults.clear()
        self.sink.server.faults.clear()

    def copy(
        self,
        body: bytes,
        *,
        versions: Sequence[bytes] = (),
        old: bytes | None = OLD,
        others: Sequence[bytes] = (),
        resends: Mapping[str, int] | None = None,
        leaves_nothing: bool = True,
        unfired: Sequence[str] = (),
        **asked: Any,
    ) -> Outcome:
        """Run one copy and check what must always hold.

        Args:
            body: What the source holds now.
            versions: Later versions of the source that may arrive instead.
            old: What the destination holds before; it is put there by the caller's ``prepare``.
            others: What somebody else writes to the destination meanwhile.
            resends: How often payload may be sent again, by side and operation, beyond once for each rule that fired.
            leaves_nothing: Whether nothing may be left at the destination besides the object; otherwise what is left
                must be listed as an upload, and gone when that is aborted.
            unfired: Rules that are there to show that nothing meets them.
            **asked: For ``xd.copy``.
        """
        before = self.requests()
        watcher = Watcher(self._watched, [self.key])
        watcher.allow(self.key, old, body, *versions, *others)
        with watcher:
            receipt, error = self._run(asked)
        outcome = Outcome(receipt=receipt, error=error, requests=self._since(before), fired=self.fired())
        watcher.assert_exact()
        held = self.sink.held(self.key)
        if error is None:
            assert held in (body, *versions), (
                "the copy says success, and the destination holds something else"
            )
            assert receipt is not None
            assert len(held) == receipt.size
            assert receipt.verification.name != "V0"
        else:
            assert held in (old, *others), "the copy failed, and the destination is not as before"
        assert threads_left() == []
        if not leaves_nothing:
            self.clean()
        assert self.sink.left() == []
        self._demand_fired(outcome, unfired)
        self._demand_few_resends(outcome, len(body), resends or {})
        return outcome

    def clean(self) -> None:
        """What ``cleanup`` does when the trouble is over: end every upload that is listed."""
        self.heal()
        store = xd.sink(self.sink.url, **self.sink.options).store
        for upload in [*store.list_uploads()]:
            store.abort(upload)

    def _watched(self, key: str) -> bytes | None:
        threading.Event().wait(0.002)  # leave the processor to what is watched
        return self.sink.held(key)

    def _run(self, asked: Mapping[str, Any]) -> tuple[Receipt | None, BaseException | None]:
        try:
            return (
                xd.copy(
                    self.source_url,
                    self.sink_url,
                    source_options={**self.source.options, **self.timeouts},
                    sink_options={**self.sink.options, **self.timeouts, **self.transfer},
                    **asked,
                ),
                None,
            )
        except (CrossdockError, KeyboardInterrupt) as error:
            return None, error

    def _since(self, before: Mapping[str, int]) -> dict[str, int]:
        return {name: count - before.get(name, 0) for name, count in self.requests().items()}

    @staticmethod
    def _demand_fired(outcome: Outcome, unfired: Sequence[str]) -> None:
        assert outcome.fired, "no rule was added: nothing is shown"
        silent = [name for name, count in outcome.fired.items() if not count and name not in unfired]
        assert silent == [], "a fault never fired"

    def _demand_few_resends(self, outcome: Outcome, size: int, allowed: Mapping[str, int]) -> None:
        parts = -(-size // PART) if size > PART else 1
        fired = sum(outcome.fired.values())
        for name, count in outcome.requests.items():
            # One GET more opens a large object; GCS's small objects are put, and so may temporary markers be.
            usual = parts + 1
            assert count <= usual + fired + allowed.get(name, 0), (
                f"{name}: {count} requests for {parts} parts"
            )


def new_bucket(server: EmbeddedS3 | EmbeddedGCS) -> Side:
    """A fresh bucket on a server whose rules are cleared."""
    bucket = f"b-{uuid.uuid4()}"
    server.create_bucket(bucket)
    if isinstance(server, EmbeddedS3):
        return Side(
            kind="s3",
            server=server,
            bucket=bucket,
            url=f"s3://{bucket}/",
            options={"endpoint_url": server.url, **S3_OPTIONS},
        )
    return Side(
        kind="gcs",
        server=server,
        bucket=bucket,
        url=f"gs://{bucket}/",
        options={"endpoint_url": server.url, **GCS_OPTIONS},
    )


Prepared = Callable[[Bench], bytes]


def prepare(
    bench: Bench, size: int = SMALL, *, old: bytes | None = OLD, metadata: Metadata | None = None
) -> bytes:
    """Put the source there, and something old at the destination; returns the source's bytes."""
    body = body_of(size)
    bench.source.put(bench.key, body, metadata)
    if old is not None:
        bench.sink.put(bench.key, old)
    return body
