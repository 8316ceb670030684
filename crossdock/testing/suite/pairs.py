"""The checks of one pair of ends: exact, kept or named, idempotent, and never half."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import crossdock as xd
from crossdock.connectors.objects import ObjectSource
from crossdock.errors import (
    ConnectionLostError,
    CrossdockError,
    NotFoundError,
    PreconditionError,
    TaskFailed,
    UnexpectedError,
    UnsupportedError,
)
from crossdock.model import Verification
from crossdock.testing.hostile import A_FEW_HOSTILE_KEYS, FULL_METADATA
from crossdock.testing.suite.keys import body_of
from crossdock.testing.suite.meddling import MeddledStore
from crossdock.testing.suite.pair_base import PairBase, PairEnds, body
from crossdock.testing.watcher import Watcher

__all__ = ["PairChecks"]

KEY = "folder/object.bin"
BEFORE = b"what was there before"


def run_dir() -> str:
    """A place for a run's records that costs nothing."""
    return f"memory://{uuid.uuid4().hex}/run"


class PairChecks(PairBase):
    """Each check runs for each pair of the matrix."""

    def test_content_and_metadata_arrive(self, pair: PairEnds) -> None:
        """Nothing, a little, several parts: bytes equal, at least V1 (or said), metadata kept or named; nothing left over."""
        bodies = {"dir/zero": b"", "dir/small": body(1_000), "large": body(pair.part_size + 1)}
        for key, data in bodies.items():
            pair.seed(key, data, FULL_METADATA)
        with xd.one_task("pair") as both:
            pair.sink(pair.source(xd.param("key")))
        receipts = {key: both(key=key) for key in bodies}

        pair.assert_sink_holds(bodies)
        can = pair.sink.store.capabilities
        checks = can.put_checks | can.complete_checks | can.publishes
        for key, receipt in receipts.items():
            assert (pair.sink.prefix + key, len(bodies[key])) == (receipt.key, receipt.size)
            assert receipt.verification >= Verification.V1 or receipt.method == "copy" or not checks
            self.assert_kept_or_named(pair, key, receipt.metadata_lost)

    def assert_kept_or_named(self, pair: PairEnds, key: str, lost: tuple[str, ...]) -> None:
        """Every field the source has is at the sink, or is in ``lost``."""
        before = pair.source.store.stat(pair.source.prefix + key).metadata
        after = pair.sink.store.stat(pair.sink.prefix + key).metadata
        assert before is not None
        assert after is not None
        for name in before.present():
            field, _, user = name.partition(".")
            had, has = getattr(before, field), getattr(after, field)
            if user:
                had, has = had[user], has.get(user)
            assert has == had or name in lost, name
        assert {*lost} <= {*before.present()}

    def test_keys_arrive_exactly(self, pair: PairEnds) -> None:
        """Hostile keys that both can hold, side by side; what the sink refuses fails alone, before a byte moves."""
        usable = pair.sink_end.usable(pair.source_end.usable(A_FEW_HOSTILE_KEYS))
        only_source = [
            key
            for key in pair.source_end.usable(A_FEW_HOSTILE_KEYS)
            if key not in usable and key not in pair.sink_end.left_out_keys and pair.sink_end.refusal(key)
        ]
        with ThreadPoolExecutor(4) as pool:
            [*pool.map(lambda key: pair.seed(key, body_of(key)), [*usable, *only_source])]
        with xd.one_task("pair") as both:
            pair.sink(pair.source(xd.param("key")))
        outcomes = [*both.map(key=[*usable, *only_source], runner=xd.LocalRunner(threads=4))]
        failed = {outcome.index: outcome.error for outcome in outcomes if not outcome.ok}

        assert [*range(len(usable), len(usable) + len(only_source))] == sorted(failed)
        for error in failed.values():
            assert isinstance(error, TaskFailed)
            assert isinstance(error.__cause__, UnsupportedError)
        pair.assert_sink_holds({key: body_of(key) for key in usable})

    def test_a_rerun_does_nothing(self, pair: PairEnds) -> None:
        """The same migration again: everything skipped, no version at the sink is another; a source without listing is refused."""
        bodies = {"a": b"", "dir/b": body(1_000), "dir/c": body(1_001)}
        for key, data in bodies.items():
            pair.seed(key, data, FULL_METADATA)
        if not pair.source.store.capabilities.lists:
            with pytest.raises(UnsupportedError):
                xd.migrate(pair.source, pair.sink, run_dir=run_dir())
            pair.assert_sink_holds({})
            return
        first = xd.migrate(pair.source, pair.sink, run_dir=run_dir())
        before = {key: pair.sink.store.stat(pair.sink.prefix + key).version for key in bodies}
        again = xd.migrate(pair.source, pair.sink, run_dir=run_dir())
        after = {key: pair.sink.store.stat(pair.sink.prefix + key).version for key in bodies}

        assert (first.counts.copied, first.counts.skipped, first.counts.failed) == (3, 0, 0)
        assert (again.counts.copied, again.counts.skipped, again.counts.failed) == (0, 3, 0)
        assert before == after
        pair.assert_sink_holds(bodies)

    @pytest.mark.parametrize("before", [None, BEFORE], ids=["absent", "old"])
    def test_a_source_that_dies_changes_nothing(self, pair: PairEnds, before: bytes | None) -> None:
        """Small and in parts, in the middle: the source's failure, the destination as it was, nothing left over."""
        bodies = {"small": body(1_000), "large": body(pair.part_size + 1)}
        if before is not None:
            for key in bodies:
                pair.sink_end.put(key, before)
        for key, data in bodies.items():
            pair.seed(key, data)
            store = MeddledStore(pair.source.store, dies_at=len(data) // 2)
            with xd.one_task("pair") as both:
                pair.sink(pair.through(store)(xd.param("key")))

            with pytest.raises(TaskFailed) as failed:
                both(key=key)
            assert store.fired > 0
            assert failed.value.phase == "source"
            assert isinstance(failed.value.__cause__, ConnectionLostError)

        pair.assert_sink_holds({} if before is None else dict.fromkeys(bodies, before))

    def test_an_object_replaced_since_it_was_listed(self, pair: PairEnds) -> None:
        """Of the same size: not copied as what was observed, also not by a copy inside a service."""
        pair.seed(KEY, body(1_000, 1))
        observed = pair.source(KEY).info
        pair.seed(KEY, body(1_000, 2))
        with xd.one_task("pair") as both:
            pair.sink(pair.source(xd.param("key"), info=xd.param("info")))

        if observed.version:
            with pytest.raises(TaskFailed) as failed:
                both(key=KEY, info=observed)
            assert isinstance(failed.value.__cause__, PreconditionError)
            pair.assert_sink_holds({})
        both(key=KEY, info=None)
        pair.assert_sink_holds({KEY: body(1_000, 2)})

    def test_an_object_that_is_gone(self, pair: PairEnds) -> None:
        """Not found, as the source's failure; the destination keeps what it has, and nothing empty appears."""
        pair.seed("other", b"data")
        pair.sink_end.put("old", BEFORE)
        with xd.one_task("pair") as both:
            pair.sink(pair.source(xd.param("key")))

        for key in ("old", "never"):
            with pytest.raises(TaskFailed) as failed:
                both(key=key)
            assert failed.value.phase == "source"
            assert isinstance(failed.value.__cause__, NotFoundError)
        pair.assert_sink_holds({"old": BEFORE})

    def test_nothing_half_is_ever_seen(self, pair: PairEnds) -> None:
        """While objects are overwritten under a running copy, a watcher sees whole versions only, or what was there before."""
        sizes = {"small": 1_000, "large": pair.part_size + 1}
        versions = {key: [body(size, seed) for seed in range(3)] for key, size in sizes.items()}
        waiting, turn = {key: [*bodies[1:]] for key, bodies in versions.items()}, threading.Lock()
        for key, bodies in versions.items():
            pair.seed(key, bodies[0])
        pair.sink_end.put("large", BEFORE)

        watcher = Watcher(pair.sink_end.held, sizes)
        watcher.allow("small", None, versions["small"][0])
        watcher.allow("large", BEFORE, versions["large"][0])
        with watcher:

            def overwrite(full_key: str) -> None:
                key = full_key[len(pair.source.prefix) :]
                with turn:  # parts are read by several threads
                    if waiting[key]:
                        watcher.allow(key, waiting[key][0])
                        pair.seed(key, waiting[key].pop(0))
                watcher.look()

            store = MeddledStore(pair.source.store, on_read=overwrite)
            for key in sizes:
                self.copy_until_quiet(pair.through(store), pair.sink, key, waiting[key])

        watcher.assert_exact()
        assert store.fired >= len(sizes)
        pair.assert_sink_holds({key: bodies[-1] for key, bodies in versions.items()})

    def copy_until_quiet(self, source: ObjectSource, sink: Any, key: str, waiting: list[bytes]) -> None:
        """Copy again and again while versions are waiting, and once more; a copy may fail loudly as long as they are."""
        for _ in range(10):
            was_quiet = not waiting
            try:
                sink(source(key))
            except UnexpectedError:
                raise
            except CrossdockError:
                if was_quiet:  # nothing was overwritten
                    raise
            else:
                if was_quiet:
                    return
        raise AssertionError("it does not come to rest")
