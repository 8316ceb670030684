"""JSON lines to record batches, through pyarrow's parser: one object a line, blank lines left out.

Types come from the schema, from ``types``, or from the first block (4 MiB), and are enforced from then on, so that they never flip
between blocks; a key that appears later and that nobody asked for is a bad row, unless ``evolve="drop"``. What the parser
itself cannot read from JSON (dates, times) it reads as text, which is cast; bytes are base64, durations microseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.json as pajson

from crossdock.batches import Batches
from crossdock.errors import ConfigError
from crossdock.formats.bad_rows import BadRows
from crossdock.formats.blocks import Lines, blocks_of
from crossdock.formats.incoming import Incoming
from crossdock.formats.options import JsonRead
from crossdock.formats.request import Request
from crossdock.formats.schemas import fitted, resolve, settled
from crossdock.formats.spelled import from_base64, from_micros, from_text, is_bytes, is_spelled
from crossdock.formats.text import Refused, as_file, parsed, utf8

__all__ = ["read_json_lines"]


class _Parser:
    """Blocks of one object, its types known."""

    rows = Lines()
    empty_rows = False

    def __init__(self, schema: pa.Schema, *, drop: bool) -> None:
        self.schema = schema
        self._read_as = pa.schema([field.with_type(_readable(field.type)) for field in schema])
        self._unexpected = "ignore" if drop else "error"

    def parse(self, block: bytes) -> tuple[pa.Table, list[Refused]]:
        table = _read(block, self._read_as, self._unexpected)
        table.validate(
            full=True
        )  # the parser takes any bytes for text: less than a hundredth of what it costs
        for field in self.schema:
            made = _made(table.column(field.name), field.type)
            if made is not None:
                table = table.set_column(table.column_names.index(field.name), field, made)
        return fitted(table, self.schema), []

    def explain(self, error: pa.ArrowInvalid, row: bytes) -> tuple[str, str]:
        text = str(error).partition("\n")[0].removeprefix("JSON parse error: ")
        path = text.partition("Column(/")[2].partition(")")[0] if text.startswith("Column(/") else ""
        return path.partition("/")[0] or self._blamed(row), text

    def _blamed(self, row: bytes) -> str:
        """The first column that cannot be read by itself: the parser does not say which it was."""
        for field in self.schema:
            alone = _Parser(pa.schema([field]), drop=True)
            try:
                alone.parse(row)
            except pa.ArrowInvalid:
                return str(field.name) if self._is_object(row) else ""
        return ""

    @staticmethod
    def _is_object(row: bytes) -> bool:
        try:
            _read(row, pa.schema([]), "ignore")
        except pa.ArrowInvalid:
            return False
        return True


def _read(block: bytes, schema: pa.Schema | None, unexpected: str) -> pa.Table:
    try:
        table = pajson.read_json(
            as_file(block),
            pajson.ReadOptions(use_threads=False, block_size=len(block) + 1),
            pajson.ParseOptions(explicit_schema=schema, unexpected_field_behavior=unexpected),  # type: ignore[arg-type]
        )
    except pa.ArrowNotImplementedError as error:
        raise ConfigError(
            str(error), operation="decode", hint="give another type, and cast with xd.transform(...)"
        ) from error
    try:
        _ = table.schema.names
    except UnicodeDecodeError as error:
        raise pa.ArrowInvalid("a key is not UTF-8") from error
    return table


def _made(column: Any, kind: pa.DataType) -> Any:
    """What the parser read as something else; ``None`` for what it read as it is."""
    if is_bytes(kind):
        return from_base64(column, kind)
    if pa.types.is_duration(kind):
        return from_micros(column, kind)
    return from_text(column, kind) if is_spelled(kind) else None


def _readable(kind: pa.DataType, *, inside: bool = False) -> pa.DataType:
    """The type to parse as: text where the parser knows no form of the type."""
    types = pa.types
    if pa.types.is_duration(kind) and not inside:
        return pa.int64()
    if is_spelled(kind) and not inside:
        return pa.string()
    if is_bytes(kind):
        if inside:
            raise ConfigError(
                "bytes inside lists and structs cannot be read from JSON",
                operation="decode",
                hint="read them as text, and turn that into bytes with xd.transform(...)",
            )
        return pa.string()
    if types.is_date(kind) or types.is_time(kind) or types.is_duration(kind):
        return pa.string()
    if types.is_struct(kind):
        return pa.struct([field.with_type(_readable(field.type, inside=True)) for field in kind])
    if types.is_list(kind) or types.is_large_list(kind):
        return pa.list_(_readable(kind.value_type, inside=True))
    return kind


def read_json_lines(incoming: Incoming, options: JsonRead, request: Request, bad: BadRows) -> Batches:
    """The rows of JSON lines; reads the first block now, the rest as it is asked for."""
    where = incoming.name or ""
    blocks = blocks_of(
        utf8(incoming, options.encoding),
        Lines(),
        block_bytes=options.block_bytes,
        first_bytes=options.sample_bytes,
        max_row_bytes=options.max_row_bytes,
    )
    first = next(blocks, b"")
    drop = request.evolve == "drop" or request.columns is not None
    schema = request.narrowed(_schema(first, request, where), where=where)
    parser = _Parser(schema, drop=drop)

    def all_blocks() -> Iterator[bytes]:
        if first.strip():
            yield first
        yield from (block for block in blocks if block.strip())

    return Batches(schema, parsed(all_blocks(), parser, bad))


def _schema(first: bytes, request: Request, where: str) -> pa.Schema:
    wanted = request.schema
    if wanted is not None and request.evolve in ("missing", "drop"):
        return wanted
    if not first.strip():
        if wanted is None:
            raise ConfigError(
                "it is empty: there is no row to infer columns from",
                operation="decode",
                where=where,
                hint="give schema=, so that an empty object has columns too",
            )
        return wanted
    types = wanted if wanted is not None else request.types
    found = _inferred(first, pa.schema([field.with_type(_readable(field.type)) for field in types]))
    kinds = {field.name: field for field in types}
    found = settled(pa.schema([kinds.get(field.name, field) for field in found]))
    # A type given for a key that the sample lacks makes a column all the same.
    return resolve(found, wanted, request.evolve, where=where)


def _inferred(sample: bytes, types: pa.Schema) -> pa.Schema:
    """The types of a sample; of its beginning if not all of it has one type: the rest is bad rows then."""
    rows = sample
    while True:
        try:
            return _read(rows, types, "infer").schema
        except pa.ArrowInvalid:
            half = rows.rfind(b"\n", 0, len(rows) // 2) + 1
            if not half or not rows[:half].strip():
                return _read_first(rows, types)
            rows = rows[:half]


def _read_first(rows: bytes, types: pa.Schema) -> pa.Schema:
    """The types of the first row that can be read at all."""
    for line in rows.splitlines(keepends=True):
        if line.strip():
            try:
                return _read(line, types, "infer").schema
            except pa.ArrowInvalid:
                continue
    return types
