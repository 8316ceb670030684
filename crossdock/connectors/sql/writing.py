"""A stream of record batches into a table, in one transaction: readers see all of it or nothing.

Rows are staged in a temporary table of this connection, by the fastest way in, and go from there into the table at the
end. A temporary table is dropped by the database when the connection ends, however it ends, so a killed process
leaves nothing behind; neither is a lock held on the table while rows are on their way.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
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

__all__ = [
    "Plan",
    "Request",
    "Written",
    "adapted",
    "apply",
    "checked",
    "demand_unique",
    "looked_again",
    "note",
    "note_all",
    "noted",
    "noted_with",
    "write",
]


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
class Plan:
    """Which columns go where, and into what.

    Attributes:
        there: The table as it is; ``None`` if it is not.
        pairs: The table's column for each of the stream's.
        keeps: Whether a replacement keeps the table.
    """

    request: Request
    columns: Sequence[Column]
    there: Mapping[str, There] | None
    staging: str
    pairs: Mapping[str, There]
    keeps: bool

    @property
    def name(self) -> TableName:
        """The table."""
        return self.request.name


def write(session: Session, dialect: Dialect, batches: Batches, request: Request) -> Written:
    """Everything but the commit. After an error the caller rolls back, and nothing has happened."""
    with batches:
        plan = _plan(session, dialect, batches.schema, request)
        done = None
        if request.batch_id is not None:
            done = noted(session, dialect, request.name, str(request.name), request.batch_id)
        if done is not None:
            return Written(rows=done, changed=0, was_done=True)
        session.rollback()  # lets go of the table until the rows are here
        session.execute(dialect.create_staging(plan.staging, plan.columns))
        rows = _stage(session, dialect, batches, plan)
    staged = dialect.staged_name(plan.staging)
    if request.key:
        demand_unique(session, dialect, staged, request.key)
    dialect.begin_writing(
        session, request.name, replaces=request.mode == "replace", creates=plan.there is None
    )
    plan = looked_again(session, dialect, plan)
    if request.batch_id is not None:
        for statement in dialect.create_batches(request.name.beside(BATCHES_TABLE)):
            session.execute(statement)
        if not note(session, dialect, request.name, str(request.name), request.batch_id, rows):
            session.rollback()
            return Written(rows=rows, changed=0, was_done=True)
    return Written(rows=rows, changed=apply(session, dialect, plan, staged))


def _plan(session: Session, dialect: Dialect, schema: pa.Schema, request: Request) -> Plan:
    columns = columns_of(dialect, schema, request.name, request.key)
    staging = f"crossdock_staging_{uuid.uuid4().hex}"
    blank = Plan(request=request, columns=columns, there=None, staging=staging, pairs={}, keeps=False)
    return looked_again(session, dialect, blank)


def looked_again(session: Session, dialect: Dialect, plan: Plan) -> Plan:
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


def _stage(session: Session, dialect: Dialect, batches: Batches, plan: Plan) -> int:
    """Pull everything into the temporary table; the number of rows, as the database counts them."""
    with adapted(dialect, batches, plan.columns) as rows:
        session.ingest(plan.staging, rows.reader())
    found = session.rows(f"SELECT count(*) FROM {dialect.staged_name(plan.staging)}")[0][0]  # noqa: S608
    if found != batches.rows:
        raise IntegrityError(f"{batches.rows} rows were sent and {found} arrived")
    return int(found)


def demand_unique(session: Session, dialect: Dialect, staged: str, key: Sequence[str]) -> None:
    """Refuse staged rows of which two have one key, or one has none.

    Raises:
        RowError: So it is.
    """
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


def apply(session: Session, dialect: Dialect, plan: Plan, staged: str) -> int:
    """From where rows are staged into the table; the number of rows that changed."""
    request = plan.request
    if plan.there is not None and request.mode == "replace":
        # DELETE: readers that began before see the old rows to their end, after TRUNCATE or DROP they would see none.
        session.execute(f"DELETE FROM {plan.name.sql}" if plan.keeps else f"DROP TABLE {plan.name.sql}")  # noqa: S608
    if plan.there is None or (request.mode == "replace" and not plan.keeps):
        session.execute(dialect.create(plan.name, plan.columns, request.key))
    elif request.mode == "upsert":
        return session.execute(dialect.upsert(plan.name, plan.columns, plan.pairs, staged, request.key))
    return session.execute(dialect.insert(plan.name, plan.columns, plan.pairs, staged, ()))


def noted(session: Session, dialect: Dialect, beside: TableName, target: str, batch_id: str) -> int | None:
    """How many rows were noted under this name; ``None`` if none were. The notes are in the schema of ``beside``."""
    notes = beside.beside(BATCHES_TABLE)
    if dialect.describe(session, notes) is None:
        return None
    found = session.rows(
        f"SELECT row_count FROM {notes.sql} WHERE target = {dialect.literal(target)} "  # noqa: S608
        f"AND batch_id = {dialect.literal(batch_id)}"
    )
    return int(found[0][0]) if found else None


def note(
    session: Session, dialect: Dialect, beside: TableName, target: str, batch_id: str, rows: int
) -> bool:
    """Note that this is done; false if somebody else was first. A twin that has not yet committed is waited for."""
    notes = beside.beside(BATCHES_TABLE)
    changed = session.execute(
        f"INSERT INTO {notes.sql} (target, batch_id, row_count) VALUES "  # noqa: S608
        f"({dialect.literal(target)}, {dialect.literal(batch_id)}, {rows}) ON CONFLICT DO NOTHING"
    )
    return changed == 1


def note_all(
    session: Session, dialect: Dialect, beside: TableName, target: str, batch_ids: Iterable[str]
) -> int:
    """Note many things, without rows of their own; how many of them were noted already, and stay as they are."""
    notes, doubled = beside.beside(BATCHES_TABLE), 0
    for chunk in _chunks(batch_ids, 1_000):
        values = ", ".join(f"({dialect.literal(target)}, {dialect.literal(each)}, 0)" for each in chunk)
        doubled += len(chunk) - session.execute(
            f"INSERT INTO {notes.sql} (target, batch_id, row_count) VALUES {values} ON CONFLICT DO NOTHING"  # noqa: S608
        )
    return doubled


def noted_with(
    session: Session, dialect: Dialect, beside: TableName, target: str, prefix: str
) -> Iterator[str]:
    """What is noted under names that begin with ``prefix``, without it, in no order. ``prefix`` has no wildcards."""
    notes = beside.beside(BATCHES_TABLE)
    if dialect.describe(session, notes) is None:
        return
    found = session.read(
        f"SELECT batch_id FROM {notes.sql} "  # noqa: S608
        f"WHERE target = {dialect.literal(target)} AND batch_id LIKE {dialect.literal(prefix + '%')}"
    )
    for batch in found:
        yield from (str(each).removeprefix(prefix) for each in batch.column(0).to_pylist())


def _chunks(values: Iterable[str], size: int) -> Iterator[list[str]]:
    chunk: list[str] = []
    for each in values:
        chunk.append(each)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


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
