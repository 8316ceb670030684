"""One SQL statement over tables anywhere: DuckDB computes, our sources read.

The statement is not trusted with this machine. DuckDB runs in memory with its access to files, networks, extensions, secrets
and Python variables switched off and its configuration locked, so SQL reads the tables it was given and nothing else. What does
not fit into memory it puts into a temporary directory of its own, removed at the end.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

import crossdock
from crossdock.batches import Batches
from crossdock.connectors.sql.errors import translated
from crossdock.errors import (
    ConfigError,
    CrossdockError,
    MissingExtraError,
    RowError,
    UnsafeError,
    UnsupportedError,
)
from crossdock.flows.looking.places import Rows, table_at
from crossdock.options import parse_size

__all__ = ["query"]

_BATCH_ROWS = 65_536

_CLOSED = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_persistent_secrets": "false",
    "python_enable_replacements": "false",
    "python_scan_all_frames": "false",
}
"""https://duckdb.org/docs/stable/operations_manual/securing_duckdb/overview"""


def query(
    sql: str,
    tables: Mapping[str, Any],
    *,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    formats: Mapping[str, str] | None = None,
    read_options: Mapping[str, Mapping[str, Any]] | None = None,
    memory_limit: str | int | None = None,
) -> Batches:
    """Rows of a query over objects, datasets, tables of databases and frames; needs ``pip install "crossdock[duckdb]"``.

    Rows come as DuckDB makes them, in no order unless the query has one. Only columns the query needs are read, where the format
    can; partitions of a dataset that cannot match are not opened. A table named twice is read twice. Memory: DuckDB's, which sorts
    and joins, up to ``memory_limit`` (80 % of the machine's unless given), above that a temporary directory; and a batch of each
    table. Everything is let go of at the end, after an error, and when the result is closed.

    Args:
        sql: One ``SELECT`` in DuckDB's words (or ``WITH``, ``FROM``, ``VALUES``, ``DESCRIBE``, ``SUMMARIZE``). It reads nothing but ``tables``:
            neither files nor URLs that it names, and it changes nothing.
        tables: Names to URLs, as ``xd.head`` takes them, or to frames: whatever ``xd.frames`` takes.
        options: Options of the connectors, by the tables' names.
        formats: Formats of objects whose names do not tell, by the tables' names.
        read_options: Options of the formats, by the tables' names.
        memory_limit: Bytes, or a text such as ``2GiB``.

    Raises:
        ConfigError: The statement is wrong, not one, or no query; a table is none.
        UnsafeError: The statement asks for what is outside its tables.
        MissingExtraError: DuckDB is not installed.
        RowError: A value does not become what the statement says.

    Example:
        >>> import crossdock as xd
        >>> rows = xd.query("select max(a) as m from t", {"t": [{"a": 1}, {"a": 3}]})
        >>> rows.read_all()["m"].to_pylist()
        [3]
    """
    limit = _bytes(memory_limit)
    said = {"options": options or {}, "format": formats or {}, "read_options": read_options or {}}
    for given in said.values():
        if unknown := sorted({*given} - {*tables}):
            raise ConfigError(f"there is no table {unknown[0]!r} among those given", operation="query")
    opened: dict[str, Rows] = {}
    same: dict[str, Rows] = {}
    for name, each in tables.items():
        mine = {what: by_name[name] for what, by_name in said.items() if by_name.get(name)}
        known = f"{each!r} {mine!r}"
        if (
            not isinstance(each, str) or known not in same
        ):  # two names of one URL are one table, looked at once
            same[known] = _rows(name, each, mine)
        opened[name] = same[known]
    return _Query(sql, opened, limit).start()


def _bytes(given: str | int | None) -> int | None:
    try:
        limit = parse_size(given) if isinstance(given, str) else given
    except ValueError as error:
        raise ConfigError(f"memory_limit: {error}", operation="query") from error
    if limit is not None and limit <= 0:
        raise ConfigError(f"memory_limit is positive, not {limit}", operation="query")
    return limit


def _rows(name: str, given: Any, said: Mapping[str, Any]) -> Rows:
    if isinstance(given, str):
        return table_at(given, **said)
    if said:
        raise ConfigError(f"table {name!r} is no URL: it has no options", operation="query")
    return _Frame(name, given)


class _Frame:
    """A table of this process."""

    def __init__(self, name: str, table: Any) -> None:
        self._source = crossdock.frames({name: table})
        self._name = name

    @property
    def url(self) -> str:
        return self._name

    def schema(self) -> pa.Schema:
        with self._source.run(self._name) as batches:
            return batches.schema.remove_metadata()

    def batches(
        self,
        columns: Sequence[str] | None = None,
        where: pc.Expression | None = None,
        *,
        few: bool = False,
    ) -> Batches:
        del few
        rows = self._source.run(self._name)
        if where is not None:
            rows = crossdock.filter(where)(rows)
        return rows if columns is None else crossdock.select(*columns)(rows)


class _Query:
    """One connection for one statement."""

    def __init__(self, sql: str, tables: Mapping[str, Rows], memory_limit_bytes: int | None) -> None:
        duckdb = _duckdb()
        from crossdock.connectors.sql.duck import DuckDBDialect, DuckDBSession
        from crossdock.flows.looking.scanning import Scanned

        self._sql = sql
        self._duckdb = duckdb
        self._dialect = DuckDBDialect()
        self._tables = {name: Scanned(rows) for name, rows in tables.items()}
        self._spill = tempfile.TemporaryDirectory(prefix="crossdock-query-", ignore_cleanup_errors=True)
        config = {**_CLOSED, "temp_directory": self._spill.name}
        if memory_limit_bytes is not None:
            config["memory_limit"] = f"{memory_limit_bytes}B"
        self._connection = duckdb.connect(":memory:", config=config)
        self._session = DuckDBSession(self._connection, _BATCH_ROWS)

    def start(self) -> Batches:
        """Bind and begin; rows are pulled later."""
        try:
            with self._told():
                self._demand_query()
                self._connection.execute("SET TimeZone = 'UTC'")
                # Types that Arrow has not are then marked as such, instead of arriving as something similar.
                self._connection.execute("SET arrow_lossless_conversion = true")
                for name, table in self._tables.items():
                    _ = table.schema  # an object that cannot be read is its own error, not DuckDB's
                    self._connection.register(name, table)
                self._connection.execute("SET lock_configuration = true")
                schema, batches = self._dialect.opened(self._session, self._sql, None, table=None)
        except BaseException:
            self._close()
            raise
        return Batches(schema, self._pulled(batches), close=self._close)

    def _demand_query(self) -> None:
        """One statement that gives rows and changes nothing."""
        found = self._duckdb.extract_statements(self._sql)
        if len(found) != 1:
            raise ConfigError(f"give one statement, not {len(found)}", operation="query")
        if found[0].type not in (self._duckdb.StatementType.SELECT, self._duckdb.StatementType.EXPLAIN):
            raise ConfigError(
                f"this is no query: {found[0].type.name} is not allowed",
                operation="query",
                hint="give a SELECT; --out, or a sink, writes what it gives",
            )

    def _pulled(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        while True:
            with self._told():
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def _told(self) -> _Telling:
        return _Telling(lambda: [each.failure for each in self._tables.values()])

    def _close(self) -> None:
        with suppress(Exception):  # nothing runs any more, or the connection is broken: it is closed next
            self._connection.interrupt()
        try:
            self._session.close()
        finally:
            try:
                for each in self._tables.values():
                    each.close()
            finally:
                self._spill.cleanup()


class _Telling:
    """Errors in the block are a table's own, or DuckDB's in our words."""

    def __init__(self, failures: Callable[[], list[BaseException | None]]) -> None:
        self._failures = failures
        self._translated = translated("query", "duckdb")

    def __enter__(self) -> None:
        self._translated.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if isinstance(error, Exception) and not isinstance(error, CrossdockError):
            failed = next((each for each in self._failures() if each is not None), None)
            if failed is not None:
                raise failed from error
            if (ours := self._ours(error)) is not None:
                raise ours from error
        return self._translated.__exit__(kind, error, trace)

    def _ours(self, error: Exception) -> CrossdockError | None:
        """By DuckDB's own words: what comes through Arrow's stream has no class of its own."""
        said = " ".join(str(error).partition("\n")[0].split())
        for words, made, hint in _SAID:
            if said.startswith(words):
                return made(said.removeprefix(f"{words}: "), operation="query", hint=hint)
        return None


_SAID: tuple[tuple[str, type[CrossdockError], str], ...] = (
    (
        "Permission Error",
        UnsafeError,
        "SQL reads only the tables it was given: crossdock sql 'select ... from t' t=URL",
    ),
    ("Catalog Error", ConfigError, "SHOW TABLES lists the tables that were given"),
    ("Parser Error", ConfigError, ""),
    ("Binder Error", ConfigError, ""),
    ("Out of Memory Error", UnsupportedError, "give more memory (--memory), or ask for less at once"),
    ("Not implemented Error", UnsupportedError, "cast the column before, or leave it out"),
    *(
        (words, RowError, "try_cast(...) makes null of what does not fit")
        for words in ("Conversion Error", "Out of Range Error", "Invalid Input Error")
    ),
)


def _duckdb() -> Any:
    """DuckDB's module.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import duckdb
    except ImportError as error:
        raise MissingExtraError(
            "SQL over files needs the package duckdb",
            operation="query",
            hint="install it: pip install 'crossdock[duckdb]'",
        ) from error
    return duckdb
