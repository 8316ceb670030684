"""CSV to record batches, through pyarrow's parser.

Types come from the schema, from ``types``, or from the first block (4 MiB): a column without a value there is text, times have
microseconds. They are enforced from then on: a later value that does not fit is a bad row, never a change of type.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv

from crossdock.batches import Batches
from crossdock.errors import ConfigError, RowError
from crossdock.formats.bad_rows import BadRows
from crossdock.formats.blocks import QuotedRows, blocks_of
from crossdock.formats.incoming import Incoming
from crossdock.formats.options import CsvRead
from crossdock.formats.request import Request
from crossdock.formats.schemas import demand_unique, fitted, resolve, settled
from crossdock.formats.spelled import from_text, is_bytes, is_spelled
from crossdock.formats.text import Refused, as_file, parsed, utf8

__all__ = ["read_csv"]

_COLUMN = re.compile(r"In CSV column #(\d+): (?:Row #\d+: )?(.*)", re.DOTALL)


_MISCOUNTED = re.compile(r"Expected \d+ columns, got \d+")


class _Parser:
    """Blocks of one CSV, its columns known. ``schema`` is that of the batches, its columns the file's or missing."""

    def __init__(self, options: CsvRead, rows: QuotedRows, names: list[str]) -> None:
        self.rows = rows
        self.names = names
        # An empty line of a single column is a null, as it is written; of several it is nothing.
        self.empty_rows = len(names) == 1
        self.schema = pa.schema([])
        self._options = options

    def parse(self, block: bytes) -> tuple[pa.Table, list[Refused]]:
        spelled = [field for field in self.schema if is_spelled(field.type) and not _is_parsed(field.type)]
        types = self.schema
        for field in spelled:
            number = types.get_field_index(field.name)
            types = types.set(number, field.with_type(pa.string()))
        table, refused = self.read(block, types, columns=self.schema.names)
        for field in spelled:
            made = self._spelled(table.column(field.name), field)
            table = table.set_column(table.column_names.index(field.name), field, made)
        return fitted(table, self.schema), refused

    def _spelled(self, column: Any, field: Any) -> Any:
        try:
            return from_text(column, field.type)
        except pa.ArrowInvalid as error:
            number = self.names.index(field.name) if field.name in self.names else 0
            raise pa.ArrowInvalid(f"In CSV column #{number}: {error}") from error

    def read(
        self, block: bytes, types: pa.Schema, *, columns: list[str] | None = None
    ) -> tuple[pa.Table, list[Refused]]:
        """A block; ``columns`` that it does not have are null. Without them all, inferred where no type is given."""
        options = self._options
        refused: list[Refused] = []

        def note(row: pacsv.InvalidRow) -> str:
            refused.append(
                Refused(
                    index=(row.number or 1) - 1,
                    raw=row.text,
                    reason=f"{row.actual_columns} fields instead of {row.expected_columns}",
                )
            )
            return "skip"

        convert = pacsv.ConvertOptions(
            column_types=types,
            include_columns=columns or [],
            include_missing_columns=True,
            null_values=list(options.nulls),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=list(options.true_values),
            false_values=list(options.false_values),
            timestamp_parsers=list(options.timestamp_formats) or None,
            decimal_point=options.decimal_point,
        )
        read = pacsv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=self.names)
        try:
            try:
                table = pacsv.read_csv(as_file(block), read, self._parse_options(None), convert)
            except pa.ArrowInvalid as error:
                # A row with too many fields or too few. pyarrow decodes it before it tells of it, and prints what fails there: in a
                # block that is no UTF-8 such rows are found by halving, as others are.
                if not _MISCOUNTED.search(str(error)) or not _is_utf8(block):
                    raise
                table = pacsv.read_csv(as_file(block), read, self._parse_options(note), convert)
        except pa.ArrowNotImplementedError as error:
            raise ConfigError(
                f"a CSV has no such column: {error}",
                operation="decode",
                hint="read it as text, and make it what it is with xd.transform(...)",
            ) from error
        return table, refused

    def _parse_options(self, note: Callable[[pacsv.InvalidRow], str] | None) -> pacsv.ParseOptions:
        options = self._options
        return pacsv.ParseOptions(
            delimiter=options.delimiter,
            quote_char=options.quote or False,
            escape_char=options.escape or False,
            newlines_in_values=True,
            ignore_empty_lines=not self.empty_rows,
            invalid_row_handler=note,  # type: ignore[arg-type]
        )

    def explain(self, error: pa.ArrowInvalid, row: bytes) -> tuple[str, str]:  # noqa: ARG002 - the parser says it
        text = str(error).partition("\n")[0]
        found = _COLUMN.match(text)
        if found is None:
            return "", text
        number = int(found[1])
        return self.names[number] if number < len(self.names) else f"#{number}", found[2]


def _is_utf8(block: bytes) -> bool:
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_parsed(kind: pa.DataType) -> bool:
    """What the parser knows itself, and quicker."""
    return pa.types.is_time(kind) or pa.types.is_dictionary(kind)


def read_csv(incoming: Incoming, options: CsvRead, request: Request, bad: BadRows) -> Batches:
    """The rows of a CSV; reads its first block now, the rest as it is asked for."""
    where = incoming.name or ""
    rows = QuotedRows(
        delimiter=options.delimiter.encode(), quote=options.quote.encode(), escape=options.escape.encode()
    )
    blocks = blocks_of(
        _skipped(utf8(incoming, options.encoding), options.skip_rows),
        rows,
        block_bytes=options.block_bytes,
        first_bytes=options.sample_bytes,
        max_row_bytes=options.max_row_bytes,
    )
    first = next(blocks, b"")
    names, body = _header(first, rows, options, request, where)
    if not body:
        body = next(blocks, b"")  # the first row is longer than the sample
    parser = _Parser(options, rows, names)
    parser.schema = _schema(parser, body, request, where)

    def all_blocks() -> Iterator[bytes]:
        if body:
            yield body
        yield from blocks

    return Batches(parser.schema, parsed(all_blocks(), parser, bad))


def _skipped(chunks: Iterator[Any], lines: int) -> Iterator[Any]:
    """The text behind its first lines."""
    held = b""
    for chunk in chunks:
        if not lines:
            yield chunk
            continue
        held += bytes(chunk)
        while lines and (end := held.find(b"\n") + 1):
            held, lines = held[end:], lines - 1
        if not lines:
            yield held


def _header(
    first: bytes, rows: QuotedRows, options: CsvRead, request: Request, where: str
) -> tuple[list[str], bytes]:
    """The columns' names, and what of the first block is rows."""
    body = first.lstrip(b"\r\n")
    end = next(rows.row_ends(body), 0)
    if not end:
        if options.column_names or request.schema is not None:
            known = list(options.column_names) or list(request.schema.names if request.schema else ())
            return known, b""
        raise ConfigError(
            "it is empty: there is not even a header",
            operation="decode",
            where=where,
            hint="give schema=, so that an empty object has columns too",
        )
    if options.header:
        names = list(options.column_names) or _fields(body[:end], options)
        body = body[end:]
    else:
        count = len(_fields(body[:end], options))
        names = list(options.column_names) or [f"f{number}" for number in range(count)]
    demand_unique(names, where=where)
    return names, body


def _fields(row: bytes, options: CsvRead) -> list[str]:
    """The texts of one row."""
    read = pacsv.ReadOptions(use_threads=False, block_size=len(row) + 1)
    parse = pacsv.ParseOptions(
        delimiter=options.delimiter,
        quote_char=options.quote or False,
        escape_char=options.escape or False,
        newlines_in_values=True,
    )
    try:
        return list(pacsv.read_csv(as_file(row), read, parse).schema.names)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise RowError(
            f"the first row cannot be read: {str(error).partition(chr(10))[0]}",
            operation="decode",
            hint="is it a CSV, in UTF-8? else give encoding=",
        ) from error


def _schema(parser: _Parser, body: bytes, request: Request, where: str) -> pa.Schema:
    """What the batches have: what was asked for, the rest inferred."""
    wanted = request.schema
    request.demand_typed(parser.names, where=where)
    kinds = {field.name: field for field in (wanted if wanted is not None else request.types)}
    unknown = [name for name in parser.names if name not in kinds]
    inferred = pa.schema([(name, pa.string()) for name in unknown])
    takes_unknown = wanted is None or request.evolve == "add"
    if unknown and takes_unknown and body:
        inferred = settled(_inferred(parser, body, unknown))
    inferred_kinds = {field.name: field for field in inferred}
    found = pa.schema([kinds.get(name) or inferred_kinds[name] for name in parser.names])
    return request.narrowed(resolve(found, wanted, request.evolve, where=where), where=where)


def _inferred(parser: _Parser, body: bytes, columns: list[str]) -> pa.Schema:
    try:
        found = parser.read(body, pa.schema([]), columns=columns)[0].schema
    except pa.ArrowInvalid as error:
        raise RowError(
            f"its rows cannot be read: {str(error).partition(chr(10))[0]}",
            operation="decode",
            hint="is it a CSV?",
        ) from error
    # What is no UTF-8 the parser takes for bytes; as text it is a bad row, with its place.
    return pa.schema([each.with_type(pa.string()) if is_bytes(each.type) else each for each in found])
