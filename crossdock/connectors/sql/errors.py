"""What databases and their drivers say, as our errors: one table, applied in one context manager.

PostgreSQL speaks in SQLSTATEs; SQLite, DuckDB and failed connections speak in words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from crossdock.errors import (
    ConfigError,
    ConnectionLostError,
    CredentialsError,
    CrossdockError,
    DeniedError,
    ExistsError,
    NotFoundError,
    PreconditionError,
    Retry,
    StalledError,
    StorageError,
    ThrottledError,
)

__all__ = ["translated"]

_Row = tuple[type[CrossdockError], str, Retry | None]

# https://www.postgresql.org/docs/current/errcodes-appendix.html: whole codes before their classes.
_BY_STATE: dict[str, _Row] = {
    "42P01": (NotFoundError, "look at source.list()", None),
    "42P07": (PreconditionError, "somebody made the table meanwhile; try again", Retry.LATER),
    "3D000": (NotFoundError, "", None),
    "3F000": (NotFoundError, "create the schema first", None),
    "42501": (DeniedError, "grant the user what is missing", None),
    "2BP01": (StorageError, "drop what depends on the table, or write the same columns", None),
    "42P10": (ConfigError, "upsert needs a unique index over exactly the key's columns", None),
    "42": (ConfigError, "", None),
    "25006": (DeniedError, "the server is read-only: a standby?", None),
    "40": (PreconditionError, "another transaction was in the way; try again", Retry.LATER),
    "55P03": (PreconditionError, "another transaction holds a lock; try again", Retry.LATER),
    "57014": (StalledError, "", Retry.NEVER),
    "57": (ConnectionLostError, "", None),
    "08": (ConnectionLostError, "", None),
    "28": (CredentialsError, "check user and password", None),
    "53300": (ThrottledError, "the server has no connection left", None),
    "53": (StorageError, "the server is out of disk or memory", None),
    "23505": (ExistsError, "a row with this key is there already: mode='upsert' replaces it", None),
    "23": (StorageError, "the table's constraints refuse the data", None),
    "22": (StorageError, "", None),
}

_LOST = (
    r"Failed to connect|server closed the connection|Connection (refused|reset)|could not (receive|send) data"
    r"|terminating connection|no connection to the server|SSL (SYSCALL|connection)"
)
_BUSY = r"database (table )?is locked|Could not set lock|Conflicting lock|[Tt]ransaction conflict|write-write conflict|Conflict on|already attached"

# Where there is no code. The first that is found in the text counts.
_BY_WORDS: tuple[tuple[str, _Row], ...] = (
    (
        r"password authentication failed|no password supplied",
        (CredentialsError, "check user and password", None),
    ),
    (r'role "[^"]*" does not exist', (CredentialsError, "check the user", None)),
    (r'database "[^"]*" does not exist', (NotFoundError, "", None)),
    (r"no pg_hba.conf entry", (DeniedError, "the server does not let this user in from here", None)),
    (r"too many (clients|connections)|remaining connection slots", (ThrottledError, "", None)),
    (
        _LOST,
        (ConnectionLostError, "is the server running, and reachable from here?", None),
    ),
    (r"no such table|Table with name .* does not exist", (NotFoundError, "look at source.list()", None)),
    (
        r"UNIQUE constraint failed|Duplicate key",
        (ExistsError, "a row with this key is there already: mode='upsert' replaces it", None),
    ),
    (
        r"ON CONFLICT clause does not match|are not referenced by a UNIQUE",
        (ConfigError, "upsert needs a unique index over exactly the key's columns", None),
    ),
    (
        _BUSY,
        (PreconditionError, "another process is writing to this database; try again", Retry.LATER),
    ),
    (r"different configuration", (ConfigError, "close the other connection of this process first", None)),
    (r"attempt to write a readonly|read-only mode!", (DeniedError, "", None)),
    (r"failed to open|unable to open|Cannot open", (StorageError, "", None)),
    (r"file is not a database|not a valid DuckDB", (ConfigError, "", None)),
    (r"constraint failed|Constraint Error", (StorageError, "the table's constraints refuse the data", None)),
    (
        r"syntax error|Parser Error|Binder Error|Catalog Error|no such column|has no column|incomplete input",
        (ConfigError, "", None),
    ),
)


@contextmanager
def translated(operation: str, where: str, table: str | None = None) -> Iterator[None]:
    """Everything in the block raises our errors; those of the stream that is written pass as they are.

    ``StopIteration`` and the like are nobody's errors and pass too. The text never has a password: neither libpq nor a
    driver repeats it.
    """
    try:
        yield
    except CrossdockError as error:
        if not error.operation:
            error.operation, error.where, error.key = operation, where, table
        raise
    except Exception as error:
        if not _is_drivers(error):
            raise
        raise _ours(error, operation, where, table) from error


def _is_drivers(error: Exception) -> bool:
    """An error of ADBC, DuckDB or Arrow's C interface (an ``OSError`` with a driver's words)."""
    home = type(error).__module__.partition(".")[0]
    return home in ("adbc_driver_manager", "duckdb", "_duckdb", "pyarrow") or (
        type(error) is OSError and error.errno is None
    )


def _ours(error: Exception, operation: str, where: str, table: str | None) -> CrossdockError:
    said = _words(error)
    kind, hint, retry = _row(getattr(error, "sqlstate", None), said)
    return kind(said, operation=operation, where=where, key=table, hint=hint, retry=retry)


def _row(state: Any, said: str) -> _Row:
    if isinstance(state, str):
        for length in (5, 2):
            if state[:length] in _BY_STATE:
                return _BY_STATE[state[:length]]
    for words, row in _BY_WORDS:
        if re.search(words, said):
            return row
    return StorageError, "", None


def _words(error: Exception) -> str:
    """The database's message without the driver's framing, the statement and the C stack, on one line."""
    text = str(error).replace("\r", "")
    text = re.split(
        r"\n\n?Query was|\nquery:|\nHINT: |\nDetail: /|\. Detail: Python exception|\. SQLSTATE", text
    )[0]
    text = re.split(r"ERROR: +|FATAL: +", text)[-1] if re.search(r"ERROR: |FATAL: ", text) else text
    text = re.sub(r"\nLINE \d+:[^\n]*(\n\s*\^)?", "", text)
    return re.sub(r"\s+", " ", text).strip() or type(error).__name__
