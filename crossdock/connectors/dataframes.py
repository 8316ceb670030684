"""Tables in memory as source and sink: for tests, for notebooks, and for the end of a pipeline that a person looks at.

Both are tasks like any other, so they combine with files and databases. A frame given to ``xd.frames`` is pickled with the
task when it goes to a worker; it is payload that the user chose to send.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from crossdock.batches import Batches
from crossdock.errors import ConfigError, MissingExtraError, NotFoundError, UnsupportedError
from crossdock.tasks import Task

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FrameSink", "FrameSource", "collect", "frames"]

_FORMS = ("arrow", "pandas", "polars", "rows")


class FrameSource(Task):
    """Named tables of this process as a source: ``source(name) -> Batches``."""

    def __init__(self, tables: Mapping[str, Any]) -> None:
        self.tables = dict(tables)
        self.name = f"FrameSource({', '.join(self.tables)})"

    def run(self, table: str) -> Batches:
        """One table, in batches that share its memory where its library allows; may be called again.

        Raises:
            NotFoundError: There is no table of this name.
            ConfigError: It is nothing that holds rows, or an iterator, which could be read only once.
        """
        if table not in self.tables:
            raise NotFoundError(
                f"there is no table {table!r}",
                operation="read",
                hint=f"the tables are {', '.join(self.tables) or 'none'}",
            )
        found = self.tables[table]
        if isinstance(found, Batches | Iterator):
            raise ConfigError(
                f"{table!r} can be read only once: frames are read as often as they are asked for",
                operation="read",
                hint="give it to the sink itself, or read it with .read_all() first",
            )
        return Batches.of(found)

    def list(self) -> Iterator[str]:
        """The names, in the order in which they were given."""
        return iter([*self.tables])

    def __repr__(self) -> str:
        return self.name


class FrameSink(Task):
    """Collects rows into a frame of this process, up to a bound: ``sink(batches) -> frame``.

    What it returns is the payload itself: it is for one process. In a map over workers it would send every row through the
    scheduler, which combined tasks refuse beyond 16 MiB.

    Args:
        form: ``arrow`` (a table), ``pandas`` (whole numbers and truths with nulls in its nullable types; it knows no null beside
            NaN), ``polars`` or ``rows`` (a list of dicts).
        max_bytes: More than this is refused, as Arrow counts it, before it is held.
    """

    def __init__(self, form: str = "arrow", *, max_bytes: int = 256 * 2**20) -> None:
        if form not in _FORMS:
            raise ConfigError(
                f"there is no frame called {form!r}", operation="collect", hint=f"known: {', '.join(_FORMS)}"
            )
        if max_bytes <= 0:
            raise ConfigError(f"max_bytes is positive, not {max_bytes}", operation="collect")
        self.form = form
        self.max_bytes = max_bytes
        self.name = f"FrameSink({form})"

    def run(self, batches: Any) -> Any:
        """Read everything and hand it over as one frame. Holds all of it; the stream is closed in any case.

        Raises:
            UnsupportedError: There is more than ``max_bytes``; the rest was not read.
            MissingExtraError: polars is asked for and not installed.
        """
        import pyarrow as pa

        held: list[pa.RecordBatch] = []
        with Batches.of(batches) as rows:
            self._demand_form(rows.schema)
            for batch in rows:
                if rows.bytes > self.max_bytes:
                    raise UnsupportedError(
                        f"more than {self.max_bytes} bytes of rows",
                        operation="collect",
                        hint="filter or limit them, write them to a sink, or raise max_bytes",
                    )
                held.append(batch)
            return _as(self.form, pa.Table.from_batches(held, rows.schema))

    def _demand_form(self, schema: pa.Schema) -> None:
        """Refuse what has no place in the frame, before a row is pulled."""
        import pyarrow as pa

        doubled = next((name for name in schema.names if schema.names.count(name) > 1), None)
        if doubled is not None:
            raise ConfigError(
                f"there are two columns {doubled!r}",
                operation="collect",
                hint="give each a name of its own: xd.rename(...), or as in the query",
            )
        for field in schema:
            if self.form == "polars" and pa.types.is_decimal256(field.type):
                raise UnsupportedError(
                    f"column {field.name!r} is {field.type}, which polars does not have",
                    operation="collect",
                    hint="put xd.cast(...) before it",
                )

    def __repr__(self) -> str:
        return self.name


def _as(form: str, table: pa.Table) -> Any:
    if form == "pandas":
        return _as_pandas(table)
    if form == "rows":
        return table.to_pylist()
    if form == "polars":
        try:
            import polars as pl
        except ImportError as error:
            raise MissingExtraError(
                "this needs polars", operation="collect", hint="install it: pip install polars"
            ) from error
        return pl.from_arrow(table)
    return table


def _as_pandas(table: pa.Table) -> Any:
    """Whole numbers and truths with nulls in pandas's nullable types: as floats and objects they would be rounded, or strange."""
    import pandas as pd
    import pyarrow as pa

    nullable: dict[Any, Any] = {
        pa.bool_(): pd.BooleanDtype(),
        **{getattr(pa, name.lower())(): getattr(pd, f"{name}Dtype")() for name in _WHOLE},
    }
    with_nulls = {column.type for column in table.columns if column.null_count}
    return table.to_pandas(types_mapper=lambda kind: nullable.get(kind) if kind in with_nulls else None)


_WHOLE = ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")


def frames(tables: Mapping[str, Any] | None = None, /, **named: Any) -> FrameSource:
    """Tables in memory as a source: ``xd.frames({"name": df})`` or ``xd.frames(name=df)``, then ``source("name")``.

    Takes whatever has rows: pandas, polars, pyarrow, a list of dicts, a dict of columns. Nothing is copied.

    Raises:
        ConfigError: A name is given twice.
    """
    doubled = sorted(set(tables or {}) & set(named))
    if doubled:
        raise ConfigError(f"the name {doubled[0]!r} is given twice", operation="open")
    return FrameSource({**(tables or {}), **named})


def collect(form: str = "arrow", *, max_bytes: int = 256 * 2**20) -> FrameSink:
    """A sink that hands the rows over as a frame of this process: ``xd.collect("pandas")(batches)``; see ``FrameSink``."""
    return FrameSink(form, max_bytes=max_bytes)
