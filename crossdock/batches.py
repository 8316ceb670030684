"""Record batches: the second kind of stream, rows instead of bytes. Pulled, once, in order.

``Batches`` is what decoders and table sources hand over and what encoders and table sinks take. It speaks Arrow's C
stream, so that anything which reads that (a database driver, polars, DuckDB) can pull it without a copy. pyarrow is
imported when a method first needs it: naming this module costs nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from crossdock.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Batches"]

_FRAME_ROWS = 65_536
"""A frame in memory is handed over in batches of this many rows."""


class Batches:
    """Record batches of one schema, pulled one at a time and only once.

    One batch is in memory at a time, besides what the source holds. Not thread-safe: one consumer. Nothing is read until
    the first batch is asked for. The source is closed at the end, after an error, by ``close`` and at the end of ``with``;
    ``close`` in the middle is how a consumer says that it wants no more.

    A consumer behind Arrow's C interface knows errors as texts only. Whoever uses one says ``with batches:`` round it: what
    comes out of the block then is the source's own error, with the foreign one as its cause.

    Args:
        schema: What every batch has; metadata does not count.
        batches: Where they come from; an iterator, or anything that gives one.
        close: Lets go of what is behind them; called once.

    Attributes:
        name: What the source calls them, if it does: a sink of objects names its object by it.
        rows: Rows handed over so far.
        bytes: Their size in memory.
        failure: The error that ended the stream, if one did.
    """

    def __init__(
        self,
        schema: pa.Schema,
        batches: Iterable[pa.RecordBatch],
        *,
        close: Callable[[], None] | None = None,
    ) -> None:
        self.schema = schema
        self.name: str | None = None
        self.rows = 0
        self.bytes = 0
        self.failure: BaseException | None = None
        self._source = iter(batches)
        self._close = close
        self._closed = False
        self._ended = False

    @classmethod
    def of(cls, value: Any) -> Batches:
        """Take rows in any of the forms people have them in.

        ``Batches``; a pyarrow reader, table or batch, or a list or an iterator of batches; a pandas or polars frame; a list
        of dicts (columns: the union of their keys, in order of appearance); a dict of columns; anything with
        ``__arrow_c_stream__`` or ``__dataframe__``. Frames are handed over in slices, not copied whole. A pandas index
        travels as columns if it has a name, else not.

        Raises:
            ConfigError: It is none of these, or its values fit no column type.
        """
        if isinstance(value, Batches):
            return value
        import pyarrow as pa

        if isinstance(value, pa.RecordBatchReader):
            return cls(value.schema, value, close=value.close)
        if isinstance(value, pa.RecordBatch):
            return cls(value.schema, [value])
        if isinstance(value, pa.Table):
            return _of_table(value)
        try:
            made = _of_others(value)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as error:
            raise ConfigError(
                f"this {type(value).__name__} has no Arrow form: {error}",
                operation="read",
                hint="give every column values of one type, or hand over a pyarrow.Table with a schema",
            ) from error
        if made is None:
            raise ConfigError(
                f"{_described(value)} holds no rows that crossdock can read",
                operation="read",
                hint="give record batches, a table, a frame, a list of dicts or a dict of columns; bytes need xd.decode(...)",
            )
        return made

    @property
    def closed(self) -> bool:
        """Whether nothing more is to be had: read to the end, failed, or closed."""
        return self._closed

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self

    def __next__(self) -> pa.RecordBatch:
        if self._closed:
            if self.failure is not None:
                raise self.failure
            if self._ended:
                raise StopIteration
            raise ConfigError(
                "the record batches were closed before their end",
                operation="read",
                hint="they are read once: ask the source again for others",
            )
        try:
            batch = next(self._source, None)
            if batch is not None:
                _demand_schema(self.schema, batch.schema)
        except BaseException as error:
            self.failure = error
            self._close_after(error)
            raise
        if batch is None:
            self._ended = True
            self.close()
            raise StopIteration
        self.rows += batch.num_rows
        self.bytes += batch.nbytes
        return batch

    def close(self) -> None:
        """Let go of the source; twice is fine. Without it having been read to its end, the rest is not read."""
        if self._closed:
            return
        self._closed = True
        close, self._close = self._close, None
        ended = getattr(self._source, "close", None)
        try:
            if ended is not None:
                ended()
        finally:
            if close is not None:
                close()

    def _close_after(self, error: BaseException) -> None:
        try:
            self.close()
        except Exception as also:
            error.add_note(f"closing the source failed too: {type(also).__name__}: {also}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if error is None:
            self.close()
            return
        self._close_after(error)
        if self.failure is not None and isinstance(error, Exception) and not _comes_from(error, self.failure):
            raise self.failure from error

    def reader(self) -> pa.RecordBatchReader:
        """The same stream as pyarrow knows it; an error of the source comes through as it is."""
        import pyarrow as pa

        return pa.RecordBatchReader.from_batches(self.schema, self)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The stream for readers in any language; see the class about errors."""
        capsule: object = self.reader().__arrow_c_stream__(requested_schema)  # type: ignore[no-untyped-call]
        return capsule

    def read_all(self) -> pa.Table:
        """Everything as one table; takes its size in memory."""
        import pyarrow as pa

        with self:
            return pa.Table.from_batches(list(self), self.schema)

    def map(
        self, function: Callable[[pa.RecordBatch], pa.RecordBatch], schema: pa.Schema | None = None
    ) -> Batches:
        """The same stream with a function applied to each batch as it is pulled.

        Closing the new stream closes this one, which is not to be read any more.

        Args:
            function: One batch to one batch, of any number of rows.
            schema: What the results have; by default the same as here.
        """
        mapped = Batches(schema if schema is not None else self.schema, map(function, self), close=self.close)
        mapped.name = self.name
        return mapped

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{self.rows} rows read"
        return f"<Batches of {', '.join(self.schema.names)}: {state}>"


def _of_table(table: pa.Table) -> Batches:
    return Batches(table.schema, table.to_batches(max_chunksize=_FRAME_ROWS))


def _of_others(value: Any) -> Batches | None:
    """What is neither pyarrow's nor ours; ``None`` if it is nothing that holds rows."""
    import pyarrow as pa

    home = type(value).__module__.partition(".")[0]
    if home == "pandas" and hasattr(value, "iloc") and hasattr(value, "columns"):
        return _of_pandas(value)
    if home == "polars" and hasattr(value, "to_arrow") and hasattr(value, "columns"):
        return _of_polars(value)
    if home == "polars" and hasattr(value, "collect_batches"):
        return _of_first(map(_polars_table, value.collect_batches()))
    if hasattr(value, "__arrow_c_stream__"):
        reader = pa.RecordBatchReader.from_stream(value)
        return Batches(reader.schema, reader, close=getattr(value, "close", None) or reader.close)
    if hasattr(value, "__dataframe__"):
        from pyarrow.interchange import from_dataframe

        return _of_table(from_dataframe(value))  # type: ignore[operator] # the stubs know only its module
    if isinstance(value, Mapping):
        return _of_table(pa.table(dict(value)))
    if isinstance(value, list | tuple) and value:
        if all(isinstance(each, Mapping) for each in value):
            names = dict.fromkeys(itertools.chain.from_iterable(value))
            return _of_table(pa.table({name: [each.get(name) for each in value] for name in names}))
        return _of_first(iter(value))
    return _of_first(value) if isinstance(value, Iterator) else None


def _of_first(values: Iterator[Any]) -> Batches | None:
    """An iterator of batches or tables: the first tells the schema."""
    import pyarrow as pa

    first = next(values, None)
    if not isinstance(first, pa.RecordBatch | pa.Table):
        return None

    def batches() -> Iterator[pa.RecordBatch]:
        for each in itertools.chain([first], values):
            if isinstance(each, pa.Table):
                yield from each.to_batches(max_chunksize=_FRAME_ROWS)
            else:
                yield each

    return Batches(first.schema, batches(), close=getattr(values, "close", None))


def _of_pandas(frame: Any) -> Batches:
    import pyarrow as pa

    keep = any(name is not None for name in frame.index.names)
    schema = pa.Schema.from_pandas(frame, preserve_index=keep)
    batches = (
        pa.RecordBatch.from_pandas(frame.iloc[start : start + _FRAME_ROWS], schema, preserve_index=keep)
        for start in range(0, len(frame), _FRAME_ROWS)
    )
    return Batches(schema, batches)


def _of_polars(frame: Any) -> Batches:
    if not len(frame):
        return _of_table(_polars_table(frame))
    schema = _polars_table(frame[:1]).schema
    slices = map(_polars_table, frame.iter_slices(_FRAME_ROWS))
    return Batches(schema, (batch for each in slices for batch in each.to_batches()))


def _polars_table(frame: Any) -> pa.Table:
    """In the types every Arrow library knows: views of strings are newer than many readers."""
    import polars as pl

    table: pa.Table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    return table


def _demand_schema(expected: pa.Schema, found: pa.Schema) -> None:
    """A batch of another schema would end up in the wrong columns.

    Raises:
        ConfigError: They differ; it says in what.
    """
    if found == expected:
        return
    wrong = [
        f"{name}: {_type_in(found, name)} instead of {_type_in(expected, name)}"
        for name in dict.fromkeys([*expected.names, *found.names])
        if _type_in(found, name) != _type_in(expected, name)
    ]
    raise ConfigError(
        f"a record batch has another schema than its stream: {', '.join(wrong) or 'columns in another order'}",
        operation="read",
        hint="every batch of a stream has the same columns; put xd.cast(schema) behind what makes them",
    )


def _type_in(schema: pa.Schema, name: str) -> str:
    found = schema.get_all_field_indices(name)
    if not found:
        return "absent"
    return ", ".join(
        f"{field.type}{'' if field.nullable else ' not null'}" for field in map(schema.field, found)
    )


def _comes_from(error: BaseException, origin: BaseException) -> bool:
    """Whether ``origin`` is the error, or what it says it came from."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        if following is origin:
            return True
        seen.add(id(following))
        following = following.__cause__ or following.__context__
    return False


def _described(value: Any) -> str:
    if isinstance(value, list | tuple) and value:
        return f"a {type(value).__name__} of {type(value[0]).__name__}"
    if isinstance(value, list | tuple):
        return f"an empty {type(value).__name__}, which has no columns,"
    return f"a value of type {type(value).__name__}"
