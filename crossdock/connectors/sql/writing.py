"""A stream of record batches into a table, in one transaction: readers see all of it or nothing.

Rows are staged in a temporary table of this connection, by the fastest way in, and go from there into the table at the
end. A temporary table is dropped by the database when the connection ends, however it ends, so a killed process
leaves nothing behind; neither is a lock held on the table while rows are on their way.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, replace

import pyarrow as pa

from crossdock.batches import Batches
from crossdock.connectors.sql.casting import cast
from crossdock.connectors.sql.dialect import BATCHES_TABLE, Column, Dialect, There
from crossdock.connectors.sql.matching import columns_of, is_same, matched
from crossdock.connectors.sql.names import TableName
from crossdock.connectors.sql.session import Session
from crossdock.errors import ConfigError, IntegrityError, RowError
from crossdock.events import BytesMoved, emit

__all__ = ["Request", "Written", "adapted", "checked", "write"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What shall become of the rows."""

    name: TableName
    mode: str
    key: tuple[str, ...] = ()
    batch_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What became of them: rows of the stream, rows that changed in the table."""

    rows: int
    changed: int
    was_done: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    request: Request
    columns: Sequence[Column]
    there: Mapping[str, There] | None
    staging: str
    pairs: Mapping[str, There]
    keeps: bool  # a replacement that keeps the table

    @property
    def name(self) -> TableName:
        return self.request.name


def write(session: Session, dialect: Dialect, batches: Batches, request: Request) -> Written:
    """Everything but the commit. After an error the caller rolls back, and nothing has happened."""
    with batches:
        plan = _plan(session, dialect, batches.schema, request)
        done = _done_before(session, dialect, request)
        if done is not None:
            return Written(rows=done, changed=0, was_done=True)
        session.rollback()  # lets go of the table until the rows are here
        session.execute(dialect.create_staging(plan.staging, plan.columns))
        rows = _stage(session, dialect, batches, plan)
    staged = dialect.staged_name(plan.staging)
    if request.key:
        _demand_unique(session, dialect, staged, request.key)
    dialect.begin_writing(
        session, request.name, replaces=request.mode == "replace", creates=plan.there is None
    )
    plan = _looked_again(session, dialect, plan)
    if request.batch_id is not None and not _note(session, dialect, request, rows):
        session.rollback()
        return Written(rows=rows, changed=0, was_done=True)
    return Written(rows=rows, changed=_apply(session, dialect, plan, staged))


def _plan(session: Session, dialect: Dialect, schema: pa.Schema, request: Request) -> _Plan:
    columns = columns_of(dialect, schema, request.name, request.key)
    staging = f"crossdock_staging_{uuid.uuid4().hex}"
    blank = _Plan(request=request, columns=columns, there=None, staging=staging, pairs={}, keeps=False)
    return _looked_again(session, dialect, blank)


def _looked_again(session: Session, dialect: Dialect, plan: _Plan) -> _Plan:
    """The plan for the table as it is now: somebody may have made or changed it while rows were on their way.

    Raises:
        ConfigError: The columns do not fit it, or do not any more.
    """
    request, columns = plan.request, plan.columns
    there = dialect.describe(session, request.name)
    keeps = there is not None and request.mode == "replace" and is_same(dialect, columns, there)
    pairs = {}
    if there is not None and (keeps or request.mode != "replace"):
        pairs = matched(dialect, columns, there)
    return replace(plan, there=there, pairs=pairs, keeps=keeps)


def adapted(dialect: Dialect, batches: Batches, columns: Sequence[Column]) -> Batches:
    """The stream in the types that the driver is given, each value checked.

    Raises:
        RowError: While it is read: a value does not fit; with row and column.
    """
    schema = pa.schema([pa.field(each.name, each.staged) for each in columns])

    # A database may pull from a thread of its own: what listens, and what the source relies on, is of this one.
    context = copy_context()

    def each_batch() -> Iterator[pa.RecordBatch]:
        row = 0
        while True:
            batch = context.run(next, batches, None)
            if batch is None:
                return
            arrays = []
            for array, column in zip(batch.columns, columns, strict=True):
                staged = cast(
                    array, column.convert, column=column.name, first_row=row, what=f"a {column.back}"
                )
                dialect.check(column, staged, row)
                arrays.append(staged)
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)
            row += batch.num_rows
            context.run(emit, BytesMoved(bytes=batch.nbytes))

    return Batches(schema, each_batch(), close=batches.close)


def _stage(session: Session, dialect: Dialect, batches: Batches, plan: _Plan) -> int:
    """Pull everything into the temporary table; the number of rows, as the database counts them."""
    with adapted(dialect, batches, plan.columns) as rows:
        session.ingest(plan.staging, rows.reader())
    found = session.rows(f"SELECT count(*) FROM {dialect.staged_name(plan.staging)}")[0][0]  # noqa: S608
    if found != batches.rows:
        raise IntegrityError(f"{batches.rows} rows were sent and {found} arrived")
    return int(found)


def _demand_unique(session: Session, dialect: Dialect, staged: str, key: Sequence[str]) -> None:
    found = session.rows(dialect.doubled(staged, key))
    if not found:
        return
    values = ", ".join(f"{name}={value!r}" for name, value in zip(key, found[0], strict=False))
    if None in found[0][: len(key)]:
        raise RowError(f"a row's key is null: {values}", hint="filter such rows out before the sink")
    raise RowError(
        f"the key {values} occurs {found[0][len(key)]} times in the stream",
        hint="keep one row a key before the sink",
    )


def _apply(session: Session, dialect: Dialect, plan: _Plan, staged: str) -> int:
    """From the temporary table into the table; the number of rows that changed."""
    request = plan.request
    if plan.there is not None and request.mode == "replace":
        # DELETE: readers that began before see the old rows to their end, after TRUNCATE or DROP they would see none.
        session.execute(f"DELETE FROM {plan.name.sql}" if plan.keeps else f"DROP TABLE {plan.name.sql}")  # noqa: S608
    if plan.there is None or (request.mode == "replace" and not plan.keeps):
        session.execute(dialect.create(plan.name, plan.columns, request.key))
    elif request.mode == "upsert":
        return session.execute(dialect.upsert(plan.name, plan.columns, plan.pairs, staged, request.key))
    return session.execute(dialect.insert(plan.name, plan.columns, plan.pairs, staged, ()))


def _done_before(session: Session, dialect: Dialect, request: Request) -> int | None:
    """How many rows this batch had when it was appended; ``None`` if it was not."""
    notes = request.name.beside(BATCHES_TABLE)
    if request.batch_id is None or dialect.describe(session, notes) is None:
        return None
    found = session.rows(
        f"SELECT row_count FROM {notes.sql} WHERE target = {dialect.literal(str(request.name))} "  # noqa: S608
        f"AND batch_id = {dialect.literal(request.batch_id)}"
    )
    return int(found[0][0]) if found else None


def _note(session: Session, dialect: Dialect, request: Request, rows: int) -> bool:
    """Note that this batch is done; false if somebody else was first. A twin that is not yet done is waited for."""
    notes = request.name.beside(BATCHES_TABLE)
    for statement in dialect.create_batches(notes):
        session.execute(statement)
    changed = session.execute(
        f"INSERT INTO {notes.sql} (target, batch_id, row_count) VALUES "  # noqa: S608
        f"({dialect.literal(str(request.name))}, {dialect.literal(request.batch_id)}, {rows}) ON CONFLICT DO NOTHING"
    )
    return changed == 1


def checked(request: Request) -> Request:
    """The same request, if it makes sense.

    Raises:
        ConfigError: It does not.
    """
    if request.mode not in ("append", "replace", "upsert"):
        raise ConfigError(f"mode is 'append', 'replace' or 'upsert', not {request.mode!r}", operation="write")
    if request.mode == "upsert" and not request.key:
        raise ConfigError("upsert needs a key", operation="write", hint="give key=['column', ...]")
    if request.batch_id is not None and request.mode != "append":
        raise ConfigError(
            "batch_id goes with mode='append'; the other modes change nothing when they are run again",
            operation="write",
        )
    if request.batch_id is not None and not 0 < len(request.batch_id) <= 200:
        raise ConfigError("a batch_id has 1 to 200 characters", operation="write")
    if request.name.table == BATCHES_TABLE:
        raise ConfigError(f"{BATCHES_TABLE} is where crossdock keeps its notes", operation="write")
    return replace(request, key=tuple(request.key))
