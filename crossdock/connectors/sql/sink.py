"""A database to write to as a task: ``sink(batches, table="t")`` gives a ``Receipt``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from crossdock.batches import Batches
from crossdock.connectors.sql.database import Database
from crossdock.connectors.sql.errors import translated
from crossdock.connectors.sql.names import TableName
from crossdock.connectors.sql.session import Session
from crossdock.connectors.sql.writing import Request, Written, checked, write
from crossdock.errors import ConfigError, ConnectionLostError, Retry, StalledError
from crossdock.model import NO_VERSION, Receipt, Verification
from crossdock.options import public_options
from crossdock.tasks import Task

if TYPE_CHECKING:
    import pyarrow as pa

    from crossdock.connectors.sql.loading import TableLoad

__all__ = ["TableSink"]


class TableSink(Task):
    """The tables of one database to write to. A picklable recipe: each call opens a connection of its own."""

    def __init__(self, database: Database) -> None:
        if not database.capabilities.writable:
            raise ConfigError(
                "this is a source only", operation="open", where=database.url, hint="choose another sink"
            )
        self.database = database
        self.name = f"{type(self).__name__}({self.url})"

    @property
    def url(self) -> str:
        """The database, without secrets."""
        return self.database.url

    def run(
        self,
        batches: Any,
        table: str | TableName,
        *,
        mode: str = "append",
        key: Sequence[str] | str = (),
        batch_id: str | None = None,
    ) -> Receipt:
        """Write one stream of rows, all of it or nothing, in one transaction.

        Rows are staged in a temporary table and moved at the end: readers see the table as it was until all is there, and a
        stream that fails, or a process that is killed, leaves nothing behind. The table is made if it is not there. Memory:
        one batch. The rows take their space in the database twice for a while.

        Args:
            batches: Record batches, or anything table-like (``Batches.of``). Read once, closed in any case.
            table: ``table`` or ``schema.table``; quoted by us.
            mode: ``append``; ``replace``, which keeps the table with its indexes and rights if it has the same columns, and
                makes it anew otherwise; ``upsert``, which inserts rows with new keys and changes those that differ.
            key: Columns that make a row one of a kind. Doubles and nulls in the stream are refused; a new table gets it as
                its primary key; ``upsert`` needs it, and a unique index over it.
            batch_id: With ``append``: a name for these rows, noted in the table ``crossdock_batches`` beside the table in the
                same transaction. The same rows again, under the same name, add nothing.

        Returns:
            A receipt with ``rows`` of the stream and ``rows_changed`` in the table.

        Raises:
            ConfigError: The columns do not fit the table's, or an argument is wrong. No row was read.
            UnsupportedError: The database has no type for a column. No row was read.
            RowError: A value does not fit, or a key occurs twice; with row and column. Nothing was written.
            PreconditionError: Somebody else was in the way; worth trying again. Nothing was written.
            ConnectionLostError: The connection broke. Nothing was written, unless the text says that it is unknown.
        """
        with Batches.of(batches) as rows:
            name = self.database.named(table)
            columns = (key,) if isinstance(key, str) else tuple(key)
            request = checked(Request(name=name, mode=mode, key=columns, batch_id=batch_id))
            began = time.monotonic()
            with self.database.session("write", str(name), to_write=True) as session:
                try:
                    written = write(session, self.database.dialect, rows, request)
                except BaseException:
                    _roll_back(session)
                    raise
                if not written.was_done:
                    self._commit(session, request)
        return self._receipt(request, written, rows, time.monotonic() - began)

    def load(
        self,
        table: str | TableName,
        *,
        load_id: str,
        schema: pa.Schema,
        mode: str = "append",
        key: Sequence[str] | str = (),
    ) -> TableLoad:
        """A load of many units, by many workers, over restarts, that becomes visible at one moment; see ``TableLoad``.

        Raises:
            ConfigError: An argument is wrong.
        """
        from crossdock.connectors.sql.loading import TableLoad

        return TableLoad(self.database, table, load_id=load_id, schema=schema, mode=mode, key=key)

    def _commit(self, session: Session, request: Request) -> None:
        try:
            with translated("commit", self.url, str(request.name)):
                session.commit()
        except (ConnectionLostError, StalledError) as error:
            if request.mode == "append" and request.batch_id is None:
                error.retry = Retry.NEVER  # a second try could append the same rows again
                error.hint = (
                    "whether the rows were added is unknown; with batch_id=... it is safe to try again"
                )
            raise

    def _receipt(self, request: Request, written: Written, rows: Batches, duration_s: float) -> Receipt:
        how = (
            f"batch {request.batch_id!r} was appended before"
            if written.was_done
            else f"{written.rows} rows counted in the staging table, {written.changed} changed, one transaction"
        )
        return Receipt(
            source="",
            destination=f"{self.url}#{request.name}",
            key=str(request.name),
            size=rows.bytes,
            version=NO_VERSION,
            verification=Verification.V0,
            evidence=how,
            method="skip" if written.was_done else request.mode,
            rows=written.rows,
            rows_changed=written.changed,
            duration_s=duration_s,
        )

    def __crossdock_fingerprint__(self) -> Any:
        """Where it writes, for the hash of a piece of work: place and options, no secret."""
        return self.url, public_options(self.database.options)

    @property
    def preflight_place(self) -> str:
        """Equal for what one question answers."""
        return self.database.endpoint

    def preflight(self) -> None:
        """Prove here that the database can be reached; runners ask on each worker before work starts."""
        self.database.check(to_write=True)

    def __repr__(self) -> str:
        return self.name


def _roll_back(session: Session) -> None:
    """So that locks go at once; a connection that is broken has been rolled back by the database."""
    with contextlib.suppress(Exception):  # the error on its way out says more; closing rolls back too
        session.rollback()
