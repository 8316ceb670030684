"""A table that is loaded in many units: by many workers, over any number of restarts, and visible all at once.

``begin`` makes a staging table beside the table; calling the load puts one unit's rows there, each unit once however often and by
whomever it is called; ``publish`` moves everything into the table in one transaction, once however often it is called. Readers of
the table see nothing before that, and all of it after. ``discard`` removes what is staged.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from crossdock import crash_points
from crossdock.batches import Batches
from crossdock.connectors.sql.database import Database
from crossdock.connectors.sql.dialect import Column
from crossdock.connectors.sql.errors import translated
from crossdock.connectors.sql.matching import columns_of, suited
from crossdock.connectors.sql.names import TableName
from crossdock.connectors.sql.session import Session
from crossdock.connectors.sql.staging import Staging, arranged, demand_id, load_id_of
from crossdock.connectors.sql.writing import (
    Plan,
    Request,
    Written,
    apply,
    checked,
    demand_unique,
    looked_again,
    note,
    note_all,
    noted,
    noted_with,
)
from crossdock.errors import ConfigError, CrossdockError, ExistsError, IntegrityError, NotFoundError
from crossdock.model import NO_VERSION, Receipt, Verification
from crossdock.options import public_options
from crossdock.tasks import Task

__all__ = ["Standing", "TableLoad"]

_FROM = "from "


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far a load has come; after ``publish``, ``rows`` are those that it moved, and no units are left."""

    units: int
    rows: int
    is_begun: bool
    is_published: bool


class TableLoad(Task):
    """One load: ``load(batches, unit="00017")`` gives a ``Receipt``. A picklable recipe; each call opens a connection of its own.

    Args:
        database: Where.
        table: Into which table; made by ``publish`` if it is not there.
        load_id: The load's name, such as its run's: 1 to 40 letters, digits, ``-`` and ``_``. The staging table is
            ``crossdock_load_`` and this.
        schema: The columns of every unit.
        mode: ``append``, ``replace`` or ``upsert``, as for ``TableSink``.
        key: As for ``TableSink``; over all units together.
    """

    def __init__(
        self,
        database: Database,
        table: str | TableName,
        *,
        load_id: str,
        schema: pa.Schema,
        mode: str = "append",
        key: Sequence[str] | str = (),
    ) -> None:
        self.database = database
        columns = (key,) if isinstance(key, str) else tuple(key)
        self.request = checked(Request(name=database.named(table), mode=mode, key=columns))
        if load_id_of(self.request.name.table) is not None:
            raise ConfigError(f"{self.request.name} is where a load waits", operation="load")
        self.load_id = demand_id(load_id)
        self.schema = schema.remove_metadata()  # the fields keep theirs
        self.name = f"TableLoad({self.url})"

    @property
    def url(self) -> str:
        """Database and table, without secrets."""
        return f"{self.database.url}#{self.request.name}"

    @property
    def takes_turns(self) -> bool:
        """Whether the database lets one process write at a time: then all units are loaded by one, whose threads take turns."""
        return not self.database.capabilities.concurrent_writers

    @property
    def _staging(self) -> Staging:
        return Staging.of(self.request.name, self.load_id)

    @property
    def _columns(self) -> list[Column]:
        return columns_of(self.database.dialect, self.schema, self._staging.table, self.request.key)

    def begin(self) -> Standing:
        """Make the staging table, or find it: one transaction. What would fail at the end for certain fails here.

        Raises:
            ConfigError: The columns do not fit the table's, or ``upsert`` has no unique index over the key.
            UnsupportedError: The database has no type for a column.
        """
        with self._session("load") as session:
            if self._published(session) is None:
                self._begin(session)
                session.commit()
            return self._standing(session)

    def probe(self) -> None:
        """Fail as ``begin`` would, and leave nothing: the same transaction, rolled back."""
        with self._session("load") as session:
            self._begin(session)
            session.rollback()

    def _begin(self, session: Session) -> None:
        plan = self._plan(session)
        session.rollback()
        self._staging.create(session, self.database.dialect, plan.columns)
        if plan.there is not None and self.request.mode == "upsert":
            session.execute("EXPLAIN " + self._upsert(plan, self._staging.table.sql))

    def _upsert(self, plan: Plan, staged: str) -> str:
        return self.database.dialect.upsert(plan.name, plan.columns, plan.pairs, staged, self.request.key)

    def run(self, batches: Any, *, unit: str) -> Receipt:
        """Stage one unit, all of it or nothing, in one transaction with a note that it is there.

        A unit that is there already is not read. Of twins, the first to commit counts. A stream that fails, or a process that is
        killed, leaves nothing of its unit. Memory: one batch.

        Args:
            batches: Record batches, or anything table-like (``Batches.of``). Read once, closed in any case.
            unit: Its name, at most 190 characters, the same in every attempt.

        Raises:
            ConfigError: Its columns are not the load's.
            RowError: A value does not fit; with row and column.
            PreconditionError: The load was discarded, or published without it.
            ConnectionLostError: The connection broke; worth trying again, also where it broke in the commit.
        """
        if not 0 < len(unit) <= 190:
            raise ConfigError("a unit's name has 1 to 190 characters", operation="load", where=self.url)
        began = time.monotonic()
        dialect, staging = self.database.dialect, self._staging
        with Batches.of(batches) as given, self._session("load") as session:
            staging.demand(session, dialect)
            before = staging.staged(session, dialect, unit)
            if before is not None:
                return self._unit_receipt(unit, Written(rows=before, changed=0, was_done=True), given, began)
            session.rollback()
            rows, columns = arranged(given, self.schema), self._columns
            with rows:
                temporary = staging.gather(session, dialect, rows, columns)
            with self._turn():
                written = staging.settle(session, dialect, unit, temporary, columns, rows.rows)
                if not written.was_done:
                    crash_points.reached("before-commit")
                    self._commit(session)
                    crash_points.reached("after-commit")
        return self._unit_receipt(unit, written, given, began)

    def loaded(self) -> set[str]:
        """The origins that earlier loads of this table named when they were published; one query, all of them in memory."""
        name = self.request.name
        with contextlib.suppress(NotFoundError), self.database.session("load", str(name)) as session:
            return set(noted_with(session, self.database.dialect, name, str(name), _FROM))
        return set()  # no file yet

    def suited(self, schema: pa.Schema) -> pa.Schema:
        """These columns, of the table's types where their own would not go in exactly; as they are where there is no table.

        For rows that are yet to be read: a reader that is told the table's types says which row has a value that is none.
        """
        if self.request.mode == "replace":
            return schema
        there = None
        name = self.request.name
        with contextlib.suppress(NotFoundError), self.database.session("load", str(name)) as session:
            there = self.database.dialect.describe(session, name)
        return schema if there is None else suited(self.database.dialect, schema, there)

    def publish(self, *, units: int, rows: int, origins: Iterable[str] = (), once: bool = False) -> Receipt:
        """Move everything that is staged into the table, in one transaction, and remove the staging table.

        Again, after it was done: nothing. Rows take their space twice until it is over.

        Args:
            units: How many units there are, as the caller counted them.
            rows: And rows of them all.
            origins: Names of what the rows came from, at most 190 characters each, to be found by ``loaded`` later; kept beside the
                table for ever, in the same transaction.
            once: Refuse if one of them was named before: another load was quicker.

        Returns:
            A receipt with ``rows`` of the load and ``rows_changed`` in the table.

        Raises:
            IntegrityError: Not exactly these are staged. Nothing was moved.
            ExistsError: An origin was loaded before. Nothing was moved.
            RowError: A key occurs twice in the load, or is null. Nothing was moved.
            ConfigError: The table changed meanwhile, and the columns do not fit any more. Nothing was moved.
            StorageError: The table's own constraints refuse a row. Nothing was moved.
            ConnectionLostError: Worth trying again, also where the connection broke in the commit.
        """
        began = time.monotonic()
        dialect, staging = self.database.dialect, self._staging
        staged = staging.table.sql
        with self._session("publish") as session, self._turn():
            done = self._published(session)
            if done is None:
                staging.demand(session, dialect)
                if self.request.key:
                    demand_unique(session, dialect, staged, self.request.key)
                plan = self._plan(session)
                session.rollback()
                dialect.begin_writing(
                    session,
                    plan.name,
                    replaces=self.request.mode == "replace",
                    creates=plan.there is None,
                )
                plan = looked_again(session, dialect, plan)
                self._demand_whole(session, units, rows)
                written = self._moved(session, plan, staged, rows, origins, once=once)
            else:
                written = Written(rows=done, changed=0, was_done=True)
        left = self._dropped()
        how = f"load {self.load_id} was published before"
        if not written.was_done:
            how = f"{units} units with {rows} rows counted in the staging table, {written.changed} rows changed, one transaction"
        return self._receipt(written, f"{how}{left}", self.request.mode, 0, began)

    def _moved(
        self, session: Session, plan: Plan, staged: str, rows: int, origins: Iterable[str], *, once: bool
    ) -> Written:
        dialect, mark = self.database.dialect, f"load {self.load_id}"
        if not note(session, dialect, plan.name, str(plan.name), mark, rows):
            session.rollback()
            return Written(rows=rows, changed=0, was_done=True)
        named = (_FROM + each for each in origins)
        doubled = note_all(session, dialect, plan.name, str(plan.name), named)
        if once and doubled:
            raise ExistsError(
                f"{doubled} of what was to be loaded was loaded by another run meanwhile",
                operation="publish",
                where=self.url,
                hint="start a new run: it takes only what is new",
            )
        changed = apply(session, dialect, plan, staged)
        if self.request.mode != "upsert" and changed not in (rows, -1):
            raise IntegrityError(f"{rows} rows were staged and {changed} moved", where=self.url)
        crash_points.reached("before-commit")
        self._commit(session)
        crash_points.reached("after-commit")
        return Written(rows=rows, changed=changed)

    def _dropped(self) -> str:
        """Nobody needs the staging table any more; one that cannot go now is found by its name."""
        try:
            self.discard()
        except CrossdockError as error:
            return f"; the staging table {self._staging.table} is left: {error}"
        return ""

    def _demand_whole(self, session: Session, units: int, rows: int) -> None:
        dialect = self.database.dialect
        noted_units, noted_rows = self._staging.counted(session, dialect)
        there = int(session.rows(f"SELECT count(*) FROM {self._staging.table.sql}")[0][0])  # noqa: S608
        if (noted_units, noted_rows, there) != (units, rows, rows):
            raise IntegrityError(
                f"{units} units with {rows} rows shall be published; {noted_units} units with {noted_rows} rows are noted, "
                f"and {there} rows are in the staging table",
                hint="nothing is visible; discard the load and start a new run",
            )

    def discard(self) -> None:
        """Remove what is staged, if anything is; what was published stays. Twice is fine.

        Raises:
            PreconditionError: A worker still writes to it; try again when it is gone.
        """
        with self._turn(), self._session("discard") as session:
            self._staging.drop(session, self.database.dialect)
            self._commit(session)

    def standing(self) -> Standing:
        """How far it has come; some small queries."""
        with self._session("load") as session:
            return self._standing(session)

    def _standing(self, session: Session) -> Standing:
        done = self._published(session)
        if done is not None:
            return Standing(units=0, rows=done, is_begun=True, is_published=True)
        units, rows = self._staging.counted(session, self.database.dialect)
        is_begun = self._staging.exists(session, self.database.dialect)
        return Standing(units=units, rows=rows, is_begun=is_begun, is_published=False)

    def _published(self, session: Session) -> int | None:
        name = self.request.name
        return noted(session, self.database.dialect, name, str(name), f"load {self.load_id}")

    def _plan(self, session: Session) -> Plan:
        dialect, name = self.database.dialect, self.request.name
        columns = columns_of(dialect, self.schema, name, self.request.key)
        blank = Plan(request=self.request, columns=columns, there=None, staging="", pairs={}, keeps=False)
        return looked_again(session, dialect, blank)

    @contextlib.contextmanager
    def _session(self, operation: str) -> Iterator[Session]:
        with self.database.session(operation, str(self.request.name), to_write=True) as session:
            try:
                yield session
            except BaseException:
                # The error on its way out says more than one of the rollback, and closing rolls back too.
                with contextlib.suppress(Exception):
                    session.rollback()
                raise

    def _commit(self, session: Session) -> None:
        with translated("commit", self.database.url, str(self.request.name)):
            session.commit()

    def _turn(self) -> contextlib.AbstractContextManager[Any]:
        return _turn_of(self.database.url) if self.takes_turns else contextlib.nullcontext()

    def _unit_receipt(self, unit: str, written: Written, rows: Batches, began: float) -> Receipt:
        said = "was staged before" if written.was_done else "staged in one transaction"
        how = f"unit {unit} of load {self.load_id}: {written.rows} rows {said}"
        return self._receipt(written, how, "stage", rows.bytes, began)

    def _receipt(self, written: Written, how: str, method: str, size: int, began: float) -> Receipt:
        return Receipt(
            source="",
            destination=self.url,
            key=str(self.request.name),
            size=size,
            version=NO_VERSION,
            verification=Verification.V0,
            evidence=how,
            method="skip" if written.was_done else method,
            rows=written.rows,
            rows_changed=written.changed,
            duration_s=time.monotonic() - began,
        )

    def __crossdock_fingerprint__(self) -> Any:
        """Where it writes, for the hash of a piece of work; no secret."""
        request = self.request
        return self.url, public_options(self.database.options), request.mode, request.key, self.load_id

    @property
    def preflight_place(self) -> str:
        """Equal for what one question answers."""
        return self.database.endpoint

    def preflight(self) -> None:
        """Prove here that the database can be reached; runners ask on each worker before work starts."""
        self.database.check(to_write=True)

    def __repr__(self) -> str:
        return self.name


_turns: dict[str, threading.Lock] = {}
_turns_guard = threading.Lock()


def _turn_of(url: str) -> threading.Lock:
    """One lock a database in this process: its threads write one after the other instead of failing one another."""
    with _turns_guard:
        return _turns.setdefault(url, threading.Lock())
