"""The rows of one unit of a load into the load's staging table, with a note that they are there, in one transaction.

The staging table is an ordinary one, for every worker to write to; nobody reads it before the load is published, so it needs no
lock. Where a database lets one write at a time, rows wait in a temporary table of the connection until it is their turn.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from crossdock.batches import Batches
from crossdock.connectors.sql.dialect import BATCHES_TABLE, Column, Dialect
from crossdock.connectors.sql.names import STAGING, TableName, is_staging
from crossdock.connectors.sql.session import Session
from crossdock.connectors.sql.writing import Written, adapted, note, noted
from crossdock.errors import ConfigError, IntegrityError, PreconditionError

__all__ = ["Staging", "arranged", "demand_id", "load_id_of"]

_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")
_UNIT = "unit "
_INTO = "into "


def demand_id(load_id: str) -> str:
    """A load's name, if it may be a part of a table's.

    Raises:
        ConfigError: It may not.
    """
    if not _ID.fullmatch(load_id):
        raise ConfigError(
            f"a load's name has 1 to 40 letters, digits, - and _, and not {load_id!r}", operation="load"
        )
    return load_id


def load_id_of(table: str) -> str | None:
    """The load that a table is the staging of; ``None`` for any other table."""
    return table.removeprefix(STAGING) if is_staging(table) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Staging:
    """Where a load's rows wait. The notes about its units are in ``crossdock_batches``, under the staging table's name.

    Every method is given a session and leaves the commit to its caller.
    """

    table: TableName
    target: TableName

    @classmethod
    def of(cls, target: TableName, load_id: str) -> Staging:
        """The staging of a load, in the schema of its table."""
        return cls(table=target.beside(STAGING + load_id), target=target)

    def create(self, session: Session, dialect: Dialect, columns: Sequence[Column]) -> None:
        """Make table and notes, unless they are there.

        Raises:
            ConfigError: The load is there with other columns, or into another table.
        """
        dialect.begin_writing(session, self.table, replaces=False, creates=True)
        for statement in dialect.create_batches(self._notes):
            session.execute(statement)
        there = dialect.describe(session, self.table)
        if there is None:
            session.execute(f"CREATE TABLE {self.table.sql} ({dialect.definitions(columns)})")
            self._note(session, dialect, f"{_INTO}{self.target}", 0)
            return
        if [*there] != [each.name for each in columns] or self._noted(
            session, dialect, f"{_INTO}{self.target}"
        ) is None:
            raise ConfigError(
                f"{self.table} is another load's: into another table, or of other columns",
                operation="load",
                hint="every load has a name of its own",
            )

    def exists(self, session: Session, dialect: Dialect) -> bool:
        """Whether it is there."""
        return dialect.describe(session, self.table) is not None

    def demand(self, session: Session, dialect: Dialect) -> None:
        """Go on only if it is there.

        Raises:
            PreconditionError: It is gone.
        """
        if not self.exists(session, dialect):
            raise PreconditionError(
                f"the staging table {self.table} is not there: the load was not begun, or was discarded",
                operation="load",
                hint="start a new run: nothing of this one is visible",
            )

    def staged(self, session: Session, dialect: Dialect, unit: str) -> int | None:
        """How many rows a unit has here; ``None`` if it has not been staged."""
        return self._noted(session, dialect, f"{_UNIT}{unit}")

    def gather(self, session: Session, dialect: Dialect, rows: Batches, columns: Sequence[Column]) -> str:
        """Pull a unit's rows to where ``settle`` takes them from; nobody has to wait for this.

        Returns:
            The name of the temporary table they are in; empty if they are in the staging table already, not committed.

        Raises:
            IntegrityError: Not as many arrived as were sent.
        """
        if dialect.stages_directly:
            with adapted(dialect, rows, columns) as fit:
                found = session.ingest(self.table.table, fit.reader(), into=self.table)
            _demand_all(rows.rows, found)
            return ""
        temporary = f"crossdock_staging_{uuid.uuid4().hex}"
        session.execute(dialect.create_staging(temporary, columns))
        with adapted(dialect, rows, columns) as fit:
            session.ingest(temporary, fit.reader())
        return temporary

    def settle(
        self,
        session: Session,
        dialect: Dialect,
        unit: str,
        temporary: str,
        columns: Sequence[Column],
        rows: int,
    ) -> Written:
        """Move and note what was gathered. If a twin was first, all of it is taken back and the twin's counts."""
        if temporary:
            dialect.begin_writing(session, self.table, replaces=False, creates=False)
            self.demand(session, dialect)
            source = dialect.staged_name(temporary)
            _demand_all(rows, session.execute(dialect.insert(self.table, columns, {}, source, ())))
        if not self._note(session, dialect, f"{_UNIT}{unit}", rows):
            session.rollback()
            return Written(rows=self.staged(session, dialect, unit) or 0, changed=0, was_done=True)
        return Written(rows=rows, changed=rows)

    def counted(self, session: Session, dialect: Dialect) -> tuple[int, int]:
        """Units and rows that are noted."""
        if dialect.describe(session, self._notes) is None:
            return 0, 0
        found = session.rows(
            f"SELECT count(*), CAST(coalesce(sum(row_count), 0) AS BIGINT) FROM {self._notes.sql} "  # noqa: S608
            f"WHERE target = {dialect.literal(str(self.table))} AND batch_id LIKE '{_UNIT}%'"
        )
        return int(found[0][0]), int(found[0][1])

    def into(self, session: Session, dialect: Dialect) -> str | None:
        """The table that it was begun for, by its notes."""
        if dialect.describe(session, self._notes) is None:
            return None
        found = session.rows(
            f"SELECT batch_id FROM {self._notes.sql} "  # noqa: S608
            f"WHERE target = {dialect.literal(str(self.table))} AND batch_id LIKE '{_INTO}%'"
        )
        return str(found[0][0]).removeprefix(_INTO) if found else None

    def drop(self, session: Session, dialect: Dialect) -> None:
        """Remove table and notes, if they are there; waits for whoever writes to it, but not for ever."""
        dialect.begin_writing(session, self.table, replaces=False, creates=True)
        for statement in dialect.drop(self.table):
            session.execute(statement)
        if dialect.describe(session, self._notes) is not None:
            session.execute(
                f"DELETE FROM {self._notes.sql} WHERE target = {dialect.literal(str(self.table))}"  # noqa: S608
            )

    @property
    def _notes(self) -> TableName:
        return self.target.beside(BATCHES_TABLE)

    def _note(self, session: Session, dialect: Dialect, what: str, rows: int) -> bool:
        return note(session, dialect, self.target, str(self.table), what, rows)

    def _noted(self, session: Session, dialect: Dialect, what: str) -> int | None:
        return noted(session, dialect, self.target, str(self.table), what)


def arranged(rows: Batches, schema: pa.Schema) -> Batches:
    """A unit's stream with its columns in the load's order.

    Raises:
        ConfigError: They are not the load's, by name and type.
    """
    given = {field.name: field.type for field in rows.schema}
    wanted: Mapping[str, pa.DataType] = {field.name: field.type for field in schema}
    if given != wanted or len(rows.schema) != len(schema):
        odd = [name for name in dict.fromkeys([*wanted, *given]) if given.get(name) != wanted.get(name)]
        said = [
            f"{name!r} ({given.get(name, 'absent')} and not {wanted.get(name, 'absent')})" for name in odd
        ]
        raise ConfigError(
            f"a unit's columns are not the load's: {', '.join(said) or 'one name twice'}",
            operation="load",
            hint="put xd.cast(schema) before the load, or decode with the schema",
        )
    if rows.schema.names == schema.names:
        return rows
    names = list(schema.names)
    return rows.map(lambda batch: batch.select(names), pa.schema([rows.schema.field(name) for name in names]))


def _demand_all(sent: int, arrived: int) -> None:
    """The driver counts what it was given; -1 is a driver that does not."""
    if arrived not in (sent, -1):
        raise IntegrityError(f"{sent} rows were sent and {arrived} arrived", operation="load")
