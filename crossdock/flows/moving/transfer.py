"""One shard on one worker: its slice of the manifest through the combined task, its outcomes into the ledger.

``ShardTransfer`` is what a runner maps: a picklable recipe, called with a reference to a shard, returning counts. The
payload passes from source to sink in this process and appears in neither.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from crossdock import crash_points
from crossdock.combine import CombinedTask, param
from crossdock.connectors.objects import ObjectSink, ObjectSource
from crossdock.events import listening
from crossdock.flows.ledger.records import Record, best, is_left
from crossdock.flows.ledger.tally import counts_of
from crossdock.flows.ledger.writing import LedgerWriter, read_shard
from crossdock.flows.moving.mover import Mover
from crossdock.flows.moving.parts.large import LargeObject, label_of
from crossdock.flows.moving.parts.words import Answer, Closing, Item, Opening, Sending, ShardEnd, is_large
from crossdock.flows.moving.stopping import stoppable
from crossdock.flows.moving.working import Hooks, keep, ledger_of, movers, run_all
from crossdock.flows.planning.rows import Action, Row
from crossdock.flows.runs.directory import RunDirectory
from crossdock.flows.runs.manifest import Manifest
from crossdock.flows.runs.shards import Shard
from crossdock.pausing import stopping_with

__all__ = ["ShardEnd", "ShardTransfer", "Transfers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardTransfer:
    """Moves one shard; called by a runner, on any worker, perhaps twice at once.

    Each row is looked up in the ledger first: what is recorded is not touched. Where an earlier attempt had begun and
    left no record, the destination is looked at before anything is sent. One failing row fails alone; only a ledger
    or manifest that cannot be used, or a bug, is an error of the shard.

    Attributes:
        session: The driver's ownership; its sign to stop is looked for every few seconds.
        concurrency: Objects at a time in this process, over all shards it works on.
        again_only: Only rows that a retry named; the rest stays as it is.
    """

    directory: RunDirectory
    manifest: Manifest
    source: ObjectSource
    sink: ObjectSink
    session: str
    concurrency: int
    again_only: bool = False
    hooks: Hooks | None = None

    shard_size = 1  # for runners that group items: a shard is a group already

    def __getstate__(self) -> dict[str, Any]:
        fields = ("directory", "manifest", "source", "sink", "session", "concurrency", "again_only")
        return {name: getattr(self, name) for name in fields}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "hooks", None)

    def __call__(self, item: Item) -> Answer:
        """Move what is left of one shard, or take one step of an object that is cut over workers.

        Raises:
            LedgerError: The manifest or the ledger cannot be read or written.
        """
        hooks = self.hooks or Hooks()
        hooks.used = True
        # Elsewhere, the runner has put its own listener in place and carries what it hears to the driver.
        with listening(hooks.observer) if self.hooks is not None else nullcontext():
            if isinstance(item, Sending):
                return self._send(item, hooks)
            return self._work(item, hooks)

    def _work(self, item: Shard | Opening | Closing, hooks: Hooks) -> Answer:
        shard = item if isinstance(item, Shard) else item.shard
        began = time.monotonic()
        before = read_shard(self.directory.files, shard.number)
        known = best(before)
        rows = [
            row for row in self._rows(shard) if is_left(known.get(row.number), again_only=self.again_only)
        ]
        if rows and not hooks.stop.is_set():
            with self._ledger(item, hooks) as ledger:
                if is_large(shard, self.sink.transfer.split_above_bytes):
                    answer = self._large(item, rows[0], before, ledger, hooks)
                    if not isinstance(answer, Record):
                        return answer
                    keep([answer], ledger, hooks, known)
                else:
                    self._move(shard, rows, before, ledger, hooks, known)
        ended = hooks.stop.is_set() and any(
            is_left(known.get(row.number), again_only=self.again_only) for row in rows
        )
        return ShardEnd(shard.number, counts_of(known), stopped=ended, seconds=time.monotonic() - began)

    def _move(
        self,
        shard: Shard,
        rows: Sequence[Row],
        before: Sequence[Record],
        ledger: LedgerWriter,
        hooks: Hooks,
        known: dict[int, Record],
    ) -> None:
        mover = self._mover(shard, before, hooks)
        ledger.record(*mover.announce(rows, ledger))
        ledger.flush()
        crash_points.reached("intent-recorded")

        def work(row: Row) -> None:
            if not hooks.stop.is_set():
                with stopping_with(hooks.stop):  # the moving, not the recording
                    ended = mover.move(row)
                keep([ended], ledger, hooks, known)

        with movers.taken(self.concurrency) as pool:
            run_all(pool, work, rows, hooks.stop)

    def _large(
        self,
        item: Shard | Opening | Closing,
        row: Row,
        before: Sequence[Record],
        ledger: LedgerWriter,
        hooks: Hooks,
    ) -> Record | Answer:
        """One step of an object that may be cut; one that turns out not to be is moved here and now."""
        attempt = 0 if isinstance(item, Shard) else item.attempt
        large = self._object(item, row, before, ledger, hooks, attempt=attempt)
        if isinstance(item, Closing):
            return large.mover.guarded(row, lambda: large.close(item, before))
        ledger.record(*large.mover.announce([row], ledger))
        ledger.flush()
        crash_points.reached("intent-recorded")
        opened = large.mover.guarded(row, lambda: large.open(before))
        return large.mover.sent(row) if opened is None else opened

    def _send(self, sending: Sending, hooks: Hooks) -> Answer:
        row = next(self._rows(sending.shard))
        with self._ledger(sending, hooks) as ledger:
            large = self._object(sending, row, (), ledger, hooks)
            with stopping_with(hooks.stop):
                return large.send(sending, self.directory.files, stopped=hooks.stop.is_set)

    def _object(
        self,
        item: Item,
        row: Row,
        before: Sequence[Record],
        ledger: LedgerWriter,
        hooks: Hooks,
        *,
        attempt: int = 0,
    ) -> LargeObject:
        shard = item if isinstance(item, Shard) else item.shard
        return LargeObject(
            shard=shard,
            row=row,
            source=stoppable(self.source, hooks.stop),
            sink=self.sink,
            mover=self._mover(shard, before, hooks),
            ledger=ledger,
            attempt=attempt,
        )

    def _rows(self, shard: Shard) -> Iterator[Row]:
        rows = self.manifest.rows(shard.part, shard.start, shard.stop)
        return (row for row in rows if row.action in (Action.COPY, Action.COMPARE))

    def _mover(self, shard: Shard, before: Sequence[Record], hooks: Hooks) -> Mover:
        source = stoppable(self.source, hooks.stop)
        pair = CombinedTask(*_halves(source, self.sink), name="transfer")
        return Mover(source=source, sink=self.sink, pair=pair, shard=shard.number, before=before)

    def _ledger(self, item: Item, hooks: Hooks) -> LedgerWriter:
        shard = item if isinstance(item, Shard) else item.shard
        is_step = not isinstance(item, Shard) or is_large(shard, self.sink.transfer.split_above_bytes)
        return ledger_of(
            self.directory,
            shard.number,
            self.session,
            hooks,
            is_driver=self.hooks is not None,
            label=label_of(item) if is_step else "",
        )


def _halves(source: ObjectSource, sink: ObjectSink) -> tuple[Any, Any]:
    first = source.bind(param("key"), info=param("info"))
    return first, sink.bind(key=param("to"), condition=param("condition"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfers:
    """What a drive of ``migrate`` does with its shards: objects from ``source`` to ``sink``, so many at a time in each process."""

    source: ObjectSource
    sink: ObjectSink
    concurrency: int

    name = "transfer"

    @property
    def alone_bytes(self) -> int:
        """An object larger than this is a shard of its own, and begins first."""
        return self.sink.transfer.split_above_bytes

    def mapped(
        self, directory: RunDirectory, *, session: str, again_only: bool, hooks: Hooks
    ) -> ShardTransfer:
        """What a runner maps over shards."""
        return ShardTransfer(
            directory=directory,
            manifest=directory.manifest,
            source=self.source,
            sink=self.sink,
            session=session,
            concurrency=self.concurrency,
            again_only=again_only,
            hooks=hooks,
        )

    def at_end(self, directory: RunDirectory) -> None:
        """Nothing: what was moved is at the destination."""
