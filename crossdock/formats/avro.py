"""Avro container files and record batches, through fastavro (the extra ``avro``). Row by row in Python: slower than the other formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from crossdock.batches import Batches
from crossdock.errors import (
    ConfigError,
    CrossdockError,
    IntegrityError,
    MissingExtraError,
    Retry,
    RowError,
)
from crossdock.formats.bad_rows import BadRows
from crossdock.formats.binary_read import AsFile, fit, wanted
from crossdock.formats.incoming import Incoming
from crossdock.formats.options import AvroWrite, BinaryRead
from crossdock.formats.outgoing import Collector
from crossdock.formats.request import Request

__all__ = ["read_avro", "write_avro"]

_PRIMITIVES: dict[str, Any] = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
    "enum": pa.string(),
}
_LOGICAL: dict[str, Any] = {
    "date": pa.date32(),
    "time-millis": pa.time32("ms"),
    "time-micros": pa.time64("us"),
    "timestamp-millis": pa.timestamp("ms", "UTC"),
    "timestamp-micros": pa.timestamp("us", "UTC"),
    "timestamp-nanos": pa.timestamp("us", "UTC"),  # fastavro has datetimes, which know no nanoseconds
    "local-timestamp-millis": pa.timestamp("ms"),
    "local-timestamp-micros": pa.timestamp("us"),
    "uuid": pa.string(),
}


def _fastavro() -> Any:
    try:
        import fastavro
    except ImportError as error:
        raise MissingExtraError(
            "Avro needs the package fastavro",
            operation="decode",
            hint='install it: pip install "crossdock[avro]"',
        ) from error
    return fastavro


def read_avro(incoming: Incoming, options: BinaryRead, request: Request, bad: BadRows) -> Batches:
    """The rows of an Avro file as they come. Memory: one block of it, and a batch.

    Raises:
        ConfigError: Its rows are no records, or a type in it has no column type (a union of several, a recursive record).
        MissingExtraError: fastavro is not installed.
    """
    fastavro = _fastavro()
    file = _Told(incoming)
    with file.telling():
        reader = fastavro.reader(file)
    written = reader.writer_schema
    if not isinstance(written, dict) or written.get("type") != "record":
        raise ConfigError("its rows are no records", operation="decode", where=incoming.name or "")
    found = pa.schema([_field(each) for each in written["fields"]])
    schema, _ = wanted(found, request, incoming.name)

    def batches() -> Iterator[pa.RecordBatch]:
        rows: list[dict[str, Any]] = []
        while True:
            with file.telling():
                row = next(reader, None)
            if row is not None:
                rows.append({name: _value(value) for name, value in row.items()})
            if len(rows) >= options.batch_rows or (row is None and rows):
                with file.telling():
                    batch = pa.RecordBatch.from_pylist(rows, schema=found)
                yield batch
                rows = []
            if row is None:
                return

    return fit(batches(), found, schema, bad)


class _Told(AsFile):
    """The object as a file, which knows its own failure from those of who reads it."""

    def __init__(self, incoming: Incoming) -> None:
        super().__init__(incoming)
        self._name = incoming.name
        self._failure: BaseException | None = None

    def read(self, size: int = -1, /) -> bytes:
        try:
            return super().read(size)
        except BaseException as error:
            self._failure = error
            raise

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Whatever fastavro and its codecs raise on damaged bytes (a dozen classes, down to ``MemoryError``) is that they are."""
        try:
            yield
        except Exception as error:
            if error is self._failure or isinstance(error, CrossdockError):
                raise
            raise _damaged(self._name, error) from error


def _damaged(name: str | None, error: Exception) -> IntegrityError:
    return IntegrityError(
        f"this is not Avro, or it is damaged: {error}",
        operation="decode",
        where=name or "",
        retry=Retry.NEVER,
    )


def _value(value: Any) -> Any:
    return str(value) if type(value).__name__ == "UUID" else value


def _field(each: dict[str, Any]) -> Any:
    kind, nullable = _type(each["type"])
    return pa.field(each["name"], kind, nullable=nullable)


def _type(given: Any) -> tuple[Any, bool]:
    """The column type of an Avro type, and whether it may be null."""
    if isinstance(given, list):
        others = [each for each in given if each != "null"]
        if len(others) == 1:
            return _type(others[0])[0], len(others) < len(given)
        raise ConfigError(f"a column of several types has no form here: {given}", operation="decode")
    if isinstance(given, str):
        if given not in _PRIMITIVES:
            raise ConfigError(f"the type {given!r} has no form here", operation="decode")
        return _PRIMITIVES[given], given == "null"
    name, logical = given["type"], given.get("logicalType")
    if logical == "decimal":
        make = pa.decimal128 if given["precision"] <= 38 else pa.decimal256
        return make(given["precision"], given.get("scale", 0)), False
    if logical in _LOGICAL:
        return _LOGICAL[logical], False
    if name == "record":
        return pa.struct([_field(each) for each in given["fields"]]), False
    if name == "array":
        kind, nullable = _type(given["items"])
        return pa.list_(pa.field("item", kind, nullable=nullable)), False
    if name == "map":
        return pa.map_(pa.string(), _type(given["values"])[0]), False
    if name == "fixed":
        return pa.binary(given["size"]), False
    return _type(name)


def write_avro(batches: Batches, options: AvroWrite, compression: str | None) -> Iterator[bytes]:
    """One record a row. Memory: a batch as Python values.

    Raises:
        MissingExtraError: fastavro is not installed.
    """
    fastavro = _fastavro()
    names = iter(range(1_000_000))
    schema = {
        "type": "record",
        "name": options.record_name,
        "fields": [{"name": field.name, "type": _avro(field, names)} for field in batches.schema],
    }
    out = Collector()
    try:
        writer = fastavro.write.Writer(out, fastavro.parse_schema(schema), codec=compression or "null")
        yield out.take()
        for batch in batches:
            for row in _rows(batch):
                writer.write(row)
            writer.flush()
            yield out.take()
        writer.flush()
        yield out.take()
    finally:
        out.abandon()


def _rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """As Python values, maps as dicts.

    Raises:
        RowError: A key stands twice in a map, or a moment inside another value is outside the years 1 to 9999.
    """
    try:
        rows: list[dict[str, Any]] = batch.to_pylist(maps_as_pydicts="strict")
    except (KeyError, ValueError, OverflowError) as error:
        raise RowError(f"a value has no form in Avro: {error}", operation="encode") from error
    return rows


def _avro(field: Any, names: Iterator[int]) -> Any:
    kind = _avro_type(field.type, field.name, names)
    return ["null", kind] if field.nullable else kind


_PLAIN: tuple[tuple[Callable[[Any], bool], Any], ...] = (
    (pa.types.is_boolean, "boolean"),
    (lambda kind: pa.types.is_integer(kind) and (kind.bit_width < 32 or kind == pa.int32()), "int"),
    (lambda kind: pa.types.is_integer(kind) and kind != pa.uint64(), "long"),
    (pa.types.is_float64, "double"),
    (pa.types.is_floating, "float"),
    (pa.types.is_string, "string"),
    (pa.types.is_large_string, "string"),
    (pa.types.is_string_view, "string"),
    (pa.types.is_binary, "bytes"),
    (pa.types.is_large_binary, "bytes"),
    (pa.types.is_fixed_size_binary, "bytes"),
    (pa.types.is_date, {"type": "int", "logicalType": "date"}),
)


def _avro_type(kind: Any, name: str, names: Iterator[int]) -> Any:
    types = pa.types
    if types.is_dictionary(kind):
        return _avro_type(kind.value_type, name, names)
    plain = next((told for fits, told in _PLAIN if fits(kind)), None)
    if plain is not None:
        return plain
    if types.is_time(kind):
        return {"type": "long", "logicalType": "time-micros"}
    if types.is_timestamp(kind) and kind.unit != "ns":
        return {"type": "long", "logicalType": "timestamp-micros" if kind.tz else "local-timestamp-micros"}
    if types.is_decimal(kind):
        return {"type": "bytes", "logicalType": "decimal", "precision": kind.precision, "scale": kind.scale}
    if types.is_struct(kind):
        inner = [{"name": each.name, "type": _avro(each, names)} for each in kind]
        return {"type": "record", "name": f"record{next(names)}", "fields": inner}
    if types.is_map(kind) and types.is_string(kind.key_type):
        return {"type": "map", "values": _avro(kind.item_field, names)}
    if types.is_list(kind) or types.is_large_list(kind):
        return {"type": "array", "items": _avro(kind.value_field, names)}
    raise ConfigError(
        f"column {name!r} is {kind}, which Avro cannot hold",
        operation="encode",
        hint="put xd.cast(...) before it",
    )
