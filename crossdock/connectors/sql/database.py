"""A database as a recipe: its URL and options, how it is opened and what it speaks. Picklable; building one opens nothing."""

from __future__ import annotations

import abc
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from crossdock.connectors.sql.errors import translated
from crossdock.connectors.sql.names import TableName
from crossdock.connectors.sql.options import ADBCOptions, DuckDBOptions, PostgreSQLOptions, SQLiteOptions
from crossdock.connectors.sql.session import Session
from crossdock.errors import ConfigError, MissingExtraError
from crossdock.options import sounds_secret

if TYPE_CHECKING:
    from crossdock.connectors.sql.dialect import Dialect
    from crossdock.connectors.sql.sink import TableSink
    from crossdock.connectors.sql.source import TableSource

__all__ = [
    "ADBCDatabase",
    "Database",
    "DuckDBDatabase",
    "PostgreSQLDatabase",
    "SQLiteDatabase",
    "TableCapabilities",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCapabilities:
    """What a table connector can do.

    Attributes:
        writable: It is a sink too.
        nested: Structs, maps and lists of anything arrive as they are; otherwise they are refused by name.
        transactions: Readers see all of a write or nothing.
        concurrent_writers: Several processes may write at once.
        streams_parameters: A query with parameters is read in batches; otherwise its result is held whole.
        exact_types: Types that Arrow has no values for are refused or read as text; otherwise as its driver sees fit.
    """

    writable: bool
    nested: bool
    transactions: bool
    concurrent_writers: bool
    streams_parameters: bool
    exact_types: bool


class Database(abc.ABC):
    """One database. Subclasses name their driver, which is imported when one is opened.

    Args:
        url: As the user wrote it, without a password.
        options: Of the subclass's option class.
    """

    capabilities: ClassVar[TableCapabilities]

    def __init__(self, url: str, options: Any) -> None:
        self.url = url
        self.options = options
        self._demand_place()

    @property
    @abc.abstractmethod
    def dialect(self) -> Dialect:
        """What it speaks; a pure object, made of the driver's module."""

    @abc.abstractmethod
    def _connect(self, *, to_write: bool) -> Session:
        """Open a connection; raises what the driver raises."""

    def _demand_place(self) -> None:
        """Refuse a URL that names no database."""
        if not self.url.partition("://")[2]:
            raise ConfigError("the URL names no database", operation="open", where=self.url)

    def open(self, *, to_write: bool = False) -> Session:
        """A connection, to be closed by the caller.

        Raises:
            NotFoundError: There is no such database.
            CredentialsError: User or password are wrong.
            ConnectionLostError: The server does not answer.
        """
        with translated("connect", self.url):
            return self._connect(to_write=to_write)

    @contextmanager
    def session(
        self, operation: str, table: str | None = None, *, to_write: bool = False
    ) -> Iterator[Session]:
        """A connection for the length of a block, in which every error is ours."""
        session = self.open(to_write=to_write)
        try:
            with translated(operation, self.url, table):
                yield session
        finally:
            session.close()

    def named(self, table: str | TableName) -> TableName:
        """A table, in the schema of the options unless it names one."""
        name = TableName.parse(table)
        schema = getattr(self.options, "schema", None)
        return TableName(table=name.table, schema=schema) if name.schema is None and schema else name

    def source(self) -> TableSource:
        """A task that reads."""
        from crossdock.connectors.sql.source import TableSource

        return TableSource(self)

    def sink(self) -> TableSink:
        """A task that writes.

        Raises:
            ConfigError: This is a source only.
        """
        from crossdock.connectors.sql.sink import TableSink

        return TableSink(self)

    def check(self, *, to_write: bool = False) -> None:
        """Prove that the database can be reached; makes nothing.

        Args:
            to_write: A file that is not there yet will do, if it can be made.

        Raises:
            StorageError: It cannot.
        """
        del to_write
        with self.session("connect") as session:
            session.rows("SELECT 1")

    @property
    def endpoint(self) -> str:
        """Equal for the same database asked by the same user."""
        user = getattr(self.options, "user", None)
        return f"{self.url} as {user}" if user else self.url

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"


class PostgreSQLDatabase(Database):
    """A PostgreSQL."""

    capabilities = TableCapabilities(
        writable=True,
        nested=False,
        transactions=True,
        concurrent_writers=True,
        streams_parameters=False,
        exact_types=True,
    )

    def __init__(self, url: str, options: PostgreSQLOptions | None = None) -> None:
        super().__init__(url, options or PostgreSQLOptions())

    def _demand_place(self) -> None:
        super()._demand_place()
        place, _, query = self.url.partition("?")
        secret = [
            name for name in (each.partition("=")[0] for each in query.split("&")) if sounds_secret(name)
        ]
        if secret:
            raise ConfigError(
                f"{secret[0]} in a URL shows in logs and reports",
                operation="open",
                where=place,
                hint="give the option password=env:NAME or password=file:PATH",
            )

    @property
    def dialect(self) -> Dialect:
        """PostgreSQL's."""
        dialect: Dialect = _loaded("postgresql", "postgresql").PostgreSQLDialect()
        return dialect

    def _connect(self, *, to_write: bool) -> Session:
        session: Session = _loaded("postgresql", "postgresql").connect(
            self.url, self.options, to_write=to_write
        )
        return session


class _InFile(Database):
    """A database that is a file: ``scheme:///absolute/path`` or ``scheme://relative/path``.

    SQLAlchemy's four slashes for an absolute path mean the same as three.
    """

    @property
    def path(self) -> str:
        """Where it is; ``:memory:`` is refused, for each connection would have its own."""
        path = self.url.partition("://")[2]
        return f"/{path.lstrip('/')}" if path.startswith("/") else path

    def _demand_place(self) -> None:
        super()._demand_place()
        if self.path.startswith(":memory:"):
            raise ConfigError(
                "a database in memory is gone when its connection ends",
                operation="open",
                where=self.url,
                hint="give the path of a file, or use xd.frames for tables in memory",
            )

    def check(self, *, to_write: bool = False) -> None:
        """See ``Database``."""
        path = Path(self.path)
        if to_write and not path.exists() and path.absolute().parent.is_dir():
            return
        super().check(to_write=to_write)


class SQLiteDatabase(_InFile):
    """A SQLite file."""

    capabilities = TableCapabilities(
        writable=True,
        nested=False,
        transactions=True,
        concurrent_writers=False,
        streams_parameters=True,
        exact_types=True,
    )

    def __init__(self, url: str, options: SQLiteOptions | None = None) -> None:
        super().__init__(url, options or SQLiteOptions())

    @property
    def dialect(self) -> Dialect:
        """SQLite's."""
        dialect: Dialect = _loaded("sqlite", "sqlite").SQLiteDialect(self.options)
        return dialect

    def _connect(self, *, to_write: bool) -> Session:
        session: Session = _loaded("sqlite", "sqlite").connect(self.path, self.options, to_write=to_write)
        return session


class DuckDBDatabase(_InFile):
    """A DuckDB file."""

    capabilities = TableCapabilities(
        writable=True,
        nested=True,
        transactions=True,
        concurrent_writers=False,
        streams_parameters=True,
        exact_types=True,
    )

    def __init__(self, url: str, options: DuckDBOptions | None = None) -> None:
        super().__init__(url, options or DuckDBOptions())

    @property
    def dialect(self) -> Dialect:
        """DuckDB's."""
        dialect: Dialect = _loaded("duck", "duckdb").DuckDBDialect()
        return dialect

    def _connect(self, *, to_write: bool) -> Session:
        session: Session = _loaded("duck", "duckdb").connect(self.path, self.options, to_write=to_write)
        return session


class ADBCDatabase(Database):
    """Any database with an ADBC driver: ``adbc+NAME://what the driver takes as its uri``."""

    capabilities = TableCapabilities(
        writable=False,
        nested=True,
        transactions=False,
        concurrent_writers=False,
        streams_parameters=True,
        exact_types=False,
    )

    def __init__(self, url: str, options: ADBCOptions | None = None) -> None:
        super().__init__(url, options or ADBCOptions())

    def _demand_place(self) -> None:
        """What the driver needs is the driver's affair, but it has a name."""
        if not self.driver_name and not self.options.driver:
            raise ConfigError(
                "the URL names no driver", operation="open", where=self.url, hint="write adbc+NAME://..."
            )

    @property
    def driver_name(self) -> str:
        """What stands after ``adbc+``."""
        return self.url.partition("://")[0].partition("+")[2]

    @property
    def dialect(self) -> Dialect:
        """What every database speaks."""
        dialect: Dialect = _loaded("dialect", "adbc").Dialect()
        return dialect

    def _connect(self, *, to_write: bool) -> Session:
        del to_write
        rest = self.url.partition("://")[2]
        uri = rest and f"{self.driver_name}://{rest}"
        session: Session = _loaded("others", "adbc").connect(uri, self.driver_name, self.options)
        return session


def _loaded(module: str, extra: str) -> Any:
    """A module of this package that imports a driver.

    Raises:
        MissingExtraError: The driver is not installed.
    """
    try:
        return importlib.import_module(f"crossdock.connectors.sql.{module}")
    except ImportError as error:
        if error.name is None or error.name.split(".")[0] == "crossdock":
            raise  # ours: a bug, not a package to install
        raise MissingExtraError(
            f"this database needs {error.name}",
            operation="open",
            hint=f"install it: pip install 'crossdock[{extra}]'",
        ) from error
