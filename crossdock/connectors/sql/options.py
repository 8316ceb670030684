"""The options of databases, one class each; words of libpq and SQLAlchemy where they have one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crossdock.options import Secret, option

__all__ = ["ADBCOptions", "DuckDBOptions", "PostgreSQLOptions", "SQLiteOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgreSQLOptions:
    """How a PostgreSQL is reached. What is not said here, libpq finds as ever: PGHOST, PGPASSFILE, services."""

    user: str | None = option("User name, unless the URL has one.", aliases=("username",))
    password: Secret | None = option(  # noqa: RUF009 - as every option; only the immutable types pass unasked
        "Password, by reference: env:NAME, file:PATH or cmd:COMMAND. Without it, libpq's own places.",
        secret=True,
    )
    schema: str | None = option("Schema of tables that are named without one; by default the search path's.")
    sslmode: str | None = option("disable, prefer, require, verify-ca or verify-full.", env=("PGSSLMODE",))
    connect_timeout_s: int = option("Longest wait for a connection.", default=15, unit="s")
    batch_size_bytes: int = option("About how much one record batch holds.", default=4 * 2**20, unit="bytes")
    driver: str | None = option(
        "Library (path) of another build of the ADBC driver for PostgreSQL, such as conda-forge's, instead of the package's."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SQLiteOptions:
    """How a SQLite database is read and written."""

    declared_types: bool = option(
        "Read columns that are declared BOOLEAN, DATE, TIME, TIMESTAMP, ... as that; otherwise as they are stored.",
        default=True,
    )
    busy_timeout_s: int = option("Longest wait for another process's lock.", default=30, unit="s")
    batch_rows: int = option("Rows of one record batch.", default=16_384)


@dataclass(frozen=True, slots=True, kw_only=True)
class DuckDBOptions:
    """How a DuckDB database is read and written."""

    schema: str | None = option("Schema of tables that are named without one.")
    batch_rows: int = option("Rows of one record batch.", default=65_536)
    memory_limit_bytes: int | None = option("What DuckDB may use before it spills to disk.", unit="bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class ADBCOptions:
    """Any other database with an ADBC driver, to read from."""

    driver: str | None = option("Driver: a name the driver manager knows, or the path of its library.")
    entrypoint: str | None = option("Name of the library's entry function, if it is not the usual one.")
    user: str | None = option("User name, given to the driver as `username`.", aliases=("username",))
    password: Secret | None = option(  # noqa: RUF009 - as every option; only the immutable types pass unasked
        "Password, by reference, given to the driver as `password`.", secret=True
    )
    db_kwargs: Mapping[str, Any] | None = option(
        "Further options of the driver, by its own names (JSON as text).", nested=True
    )
