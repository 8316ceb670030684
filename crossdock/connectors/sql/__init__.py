"""Databases, as source and as sink of rows: PostgreSQL, SQLite, DuckDB, and by ADBC whatever has a driver.

``options`` says how a database is reached, ``database`` is the recipe for one, ``session`` a connection, ``names`` quotes,
``dialect`` is what differs between databases (``postgresql``, ``sqlite``, ``duck``, ``others``), ``casting`` keeps values
exact, ``matching`` decides which column goes where, ``writing`` is the one transaction, ``loading`` a load of many (``staging``
is where its rows wait, ``left`` finds those that are unfinished), ``ranges`` splits, ``source`` and ``sink`` are the tasks. A driver is imported when its database is first opened.
"""

from crossdock.connectors.sql.database import (
    ADBCDatabase,
    Database,
    DuckDBDatabase,
    PostgreSQLDatabase,
    SQLiteDatabase,
    TableCapabilities,
)
from crossdock.connectors.sql.names import TableName
from crossdock.connectors.sql.options import ADBCOptions, DuckDBOptions, PostgreSQLOptions, SQLiteOptions
from crossdock.connectors.sql.ranges import KeyRange
from crossdock.connectors.sql.sink import TableSink
from crossdock.connectors.sql.source import TableSource

__all__ = [
    "ADBCDatabase",
    "ADBCOptions",
    "Database",
    "DuckDBDatabase",
    "DuckDBOptions",
    "KeyRange",
    "PostgreSQLDatabase",
    "PostgreSQLOptions",
    "SQLiteDatabase",
    "SQLiteOptions",
    "TableCapabilities",
    "TableName",
    "TableSink",
    "TableSource",
]
