"""A lake to write to as a task: ``sink(batches, table="trips")`` gives a ``Receipt``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from crossdock.batches import Batches
from crossdock.connectors.budget import share_one_heap
from crossdock.errors import (
    ConfigError,
    ConnectionLostError,
    NotFoundError,
    Retry,
    StalledError,
    UnsupportedError,
)
from crossdock.lakes.columns import Columns, converted, planned
from crossdock.lakes.lake import Found, Lake
from crossdock.lakes.request import Request, requested
from crossdock.model import Receipt, Verification, Version
from crossdock.options import public_options
from crossdock.tasks import Task

__all__ = ["LakeSink"]


class LakeSink(Task):
    """The tables of one lake to write to. A picklable recipe."""

    def __init__(self, lake: Lake) -> None:
        if not lake.capabilities.writable:
            raise ConfigError(
                "this is a source only", operation="open", where=lake.url, hint="choose another sink"
            )
        self.lake = lake
        share_one_heap()
        self.name = f"{type(self).__name__}({self.url})"

    @property
    def url(self) -> str:
        """The lake, without secrets."""
        return self.lake.url

    def run(
        self,
        batches: Any,
        table: str | None = None,
        *,
        mode: str = "append",
        key: Sequence[str] | str = (),
        batch_id: str | None = None,
        partition_by: str | Sequence[Any] | Mapping[str, Any] = (),
        evolve: str | None = None,
    ) -> Receipt:
        """Write one stream of rows, all of it or nothing: one commit, one new version.

        The table is made if it is not there. Rows go into Parquet objects that no reader sees before the commit; a stream that
        fails leaves none of them, a killed process leaves objects that nothing refers to. Memory: ``memory_bytes`` of rows, and what
        the encoder and the upload of one object take; for ``upsert`` besides what the library's join holds.

        Args:
            batches: Record batches, or anything table-like (``Batches.of``). Read once, closed in any case.
            table: Its name below the lake's URL; without one the URL is the table's.
            mode: ``append``; ``replace``, which puts rows and columns in place of all others; ``upsert`` (Delta Lake), which inserts rows
                with new keys and changes those that differ, and makes no version if there are none.
            key: Columns that make a row one of a kind, for ``upsert``. Doubles and nulls in the stream are refused.
            batch_id: With ``append``: a name for these rows, kept in the table's own log. Another append of that name changes nothing.
            partition_by: Of a new or replaced table: columns, or ``xd.date("pickup")`` and its kin, which become columns.
            evolve: What may differ from the table's columns: ``never``; ``missing`` (the default): those the stream lacks become null;
                ``drop``: and those the table lacks are left out; ``add``: and those are added to the table, just before the commit.

        Returns:
            A receipt with rows, bytes and the table's version.

        Raises:
            ConfigError: The columns do not fit the table's, or an argument is wrong. No row was read.
            UnsupportedError: The lake has no type for a column, or cannot do this to such a table. No row was read.
            RowError: A value does not fit, or a key occurs twice. Nothing was written.
            UnsafeError: There are more than ``max_partitions``. Nothing was written.
            PreconditionError: Somebody else's commit was in the way; worth trying again. Nothing was written.
        """
        began = time.monotonic()
        with Batches.of(batches) as rows:
            request = requested(
                mode=mode, key=key, batch_id=batch_id, partition_by=partition_by, evolve=evolve
            )
            found = self._found(table)
            plan = self._planned(rows, found, request)
            if found is not None and batch_id is not None and found.has_batch(batch_id):
                return self._skipped(table, found, batch_id, time.monotonic() - began)
            if mode == "upsert" and found is not None:
                return self._merged(table, found, plan, request, rows, began)
            return self._written(table, found, plan, request, rows, began)

    def _found(self, table: str | None) -> Found | None:
        try:
            with self.lake.translated("write", table):
                return self.lake.find(table)
        except NotFoundError:
            return None

    def _planned(self, rows: Batches, found: Found | None, request: Request) -> Columns:
        lake = self.lake
        if request.mode == "upsert" and not lake.upserts:
            raise UnsupportedError(
                f"{lake.format}'s library holds the whole stream for an upsert",
                operation="write",
                where=lake.url,
                hint="use mode='append' or 'replace', or a Delta table",
            )
        keeps = found is not None and request.mode != "replace"
        plan = planned(
            rows.schema,
            found.schema if found is not None and keeps else None,
            lake=lake.format,
            kinds=type(lake).kinds,
            partitioner=request.partitioner,
            partitioned_by=_kept_partitions(found, rows, keeps=keeps),
            evolve=request.evolve,
            folds_case=lake.folds_case,
        )
        absent = [name for name in request.key if name not in plan.given.names]
        if absent or len({*request.key}) != len(request.key):
            raise ConfigError(
                f"the key has {', '.join(map(repr, absent))}, which the stream has not"
                if absent
                else "the key names a column twice",
                operation="write",
                hint=f"its columns are {', '.join(rows.schema.names)}",
            )
        return plan

    def _written(
        self,
        table: str | None,
        found: Found | None,
        plan: Columns,
        request: Request,
        rows: Batches,
        began: float,
    ) -> Receipt:
        lake = self.lake
        files = lake.drafted(table, found, plan)
        try:
            with converted(rows, plan) as ready:
                files.write(self._unique(ready, request))
            with lake.translated("commit", table):
                done = lake.commit(table, found, plan, request, files)
        except BaseException as error:
            if getattr(error, "unknown_outcome", False):
                _say_unknown(error, request)
                raise
            files.undo(error)
            raise
        proofs = [each.receipt for each in files.files]
        how = f"{len(proofs)} data files in one commit, version {done.version}"
        if files.spills:
            how += f"; rows were spilled to disk {files.spills} times"
        return Receipt(
            source="",
            destination=lake.label(table),
            key=table or "",
            size=files.size,
            version=Version(generation=done.version),
            verification=min((each.verification for each in proofs), default=Verification.V0),
            evidence=how,
            method=request.mode,
            retries=sum(each.retries for each in proofs),
            resent_bytes=sum(each.resent_bytes for each in proofs),
            rows=files.rows,
            rows_changed=done.changed,
            duration_s=time.monotonic() - began,
        )

    def _unique(self, ready: Batches, request: Request) -> Batches:
        """An upsert into a table that is not there yet is an append of rows with keys of their own."""
        if not request.key:
            return ready
        from crossdock.lakes.keys import Keys

        keys = Keys(request.key)
        return Batches(ready.schema, keys.watched(ready), close=ready.close)

    def _merged(
        self, table: str | None, found: Found, plan: Columns, request: Request, rows: Batches, began: float
    ) -> Receipt:
        with converted(rows, plan) as ready, self.lake.translated("write", table):
            done, count = self.lake.merge(table, found, plan, request, ready)
        return Receipt(
            source="",
            destination=self.lake.label(table),
            key=table or "",
            size=rows.bytes,
            version=Version(generation=done.version),
            evidence=f"{count} rows compared, {done.changed} changed, version {done.version}",
            method="upsert",
            rows=count,
            rows_changed=done.changed,
            duration_s=time.monotonic() - began,
        )

    def _skipped(self, table: str | None, found: Found, batch_id: str, duration_s: float) -> Receipt:
        return Receipt(
            source="",
            destination=self.lake.label(table),
            key=table or "",
            size=0,
            version=Version(generation=found.version),
            evidence=f"batch {batch_id!r} was appended before; no row was read",
            method="skip",
            rows_changed=0,
            duration_s=duration_s,
        )

    def __crossdock_fingerprint__(self) -> Any:
        """Where and how it writes, for the hash of a piece of work: place and options, no secret."""
        return self.url, public_options(self.lake.options)

    @property
    def preflight_place(self) -> str:
        """Equal for what one question answers."""
        return self.lake.endpoint

    def preflight(self) -> None:
        """Prove here that the lake can be reached; runners ask on each worker before work starts."""
        self.lake.check()

    def __repr__(self) -> str:
        return self.name


def _kept_partitions(found: Found | None, rows: Batches, *, keeps: bool) -> tuple[str, ...]:
    """What the table is partitioned by; a replaced one goes on so if it still has the columns."""
    if found is None or not (keeps or {*found.partition_by} <= {*rows.schema.names}):
        return ()
    return found.partition_by


def _say_unknown(error: Any, request: Request) -> None:
    """The commit may have happened: nothing is deleted, and who tries again must be able to tell."""
    if request.mode == "append" and request.batch_id is None:
        error.retry = Retry.NEVER
        error.hint = "whether the rows were added is unknown; with batch_id=... it is safe to try again"
    elif isinstance(error, ConnectionLostError | StalledError):
        error.hint = "whether the rows were written is unknown; it is safe to try again"
