"""What loads have left in a database: staging tables, found by their names, and their removal."""

from __future__ import annotations

from dataclasses import dataclass

from crossdock.connectors.sql.database import Database
from crossdock.connectors.sql.dialect import Dialect
from crossdock.connectors.sql.names import TableName
from crossdock.connectors.sql.session import Session
from crossdock.connectors.sql.staging import Staging, load_id_of

__all__ = ["LoadLeft", "discard_left", "loads_left"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadLeft:
    """A load that was begun and neither published nor discarded: unfinished, or worked on at this moment.

    Attributes:
        load_id: Its name, such as its run's.
        staging: The table its rows wait in.
        table: What it is for; empty if its notes are gone.
        units: How many are staged.
        rows: And rows of them all.
    """

    load_id: str
    staging: TableName
    table: str
    units: int
    rows: int


def loads_left(database: Database) -> list[LoadLeft]:
    """Every load that is left, by name; in the schema of the options, if they name one. Two or three small queries each."""
    schema = getattr(database.options, "schema", None)
    with database.session("list") as session:
        found = []
        for name in database.dialect.tables(session):
            load_id = load_id_of(name.table)
            if load_id is None or schema not in (None, name.schema):
                continue
            staging, into = _noted_as(session, database.dialect, name)
            units, rows = staging.counted(session, database.dialect)
            found.append(LoadLeft(load_id=load_id, staging=name, table=into or "", units=units, rows=rows))
    return found


def discard_left(database: Database, left: LoadLeft) -> None:
    """Remove one, with its notes: its rows are gone, and its run cannot be resumed. Twice is fine.

    Raises:
        PreconditionError: A worker still writes to it.
    """
    with database.session("discard", str(left.staging), to_write=True) as session:
        staging, _ = _noted_as(session, database.dialect, left.staging)
        session.rollback()
        staging.drop(session, database.dialect)
        for statement in database.dialect.drop(left.staging):  # whatever the search path is now
            session.execute(statement)
        session.commit()


def _noted_as(session: Session, dialect: Dialect, name: TableName) -> tuple[Staging, str | None]:
    """A load's notes have the name it was begun under, with its schema or without."""
    for table in (name, TableName(table=name.table)):
        staging = Staging(table=table, target=name)
        into = staging.into(session, dialect)
        if into is not None:
            return staging, into
    return Staging(table=name, target=name), None
