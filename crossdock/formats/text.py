"""Rows of text, block by block: what CSV and JSON lines share. Types are fixed by the first block; a bad row is found and told.

A block is parsed in one go. Only if that fails are its rows looked at, by halving, with the same parser: so what is a bad row
and what is not is the parser's word, and the good rows of the block are kept.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from crossdock.errors import RowError
from crossdock.formats.bad_rows import BadRow, BadRows
from crossdock.formats.blocks import Lines, QuotedRows, split_rows
from crossdock.ports import Chunk

__all__ = ["Refused", "RowParser", "as_file", "parsed", "utf8"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A row the parser left out: its place in the block (from 0), its text, what is wrong."""

    index: int
    raw: str
    reason: str


class RowParser(Protocol):
    """A format's parser with its types fixed."""

    @property
    def schema(self) -> pa.Schema:
        """What every batch has."""

    @property
    def rows(self) -> Lines | QuotedRows:
        """Where rows end."""

    @property
    def empty_rows(self) -> bool:
        """Whether an empty line is a row."""

    def parse(self, block: bytes) -> tuple[pa.Table, list[Refused]]:
        """All rows of a block, in the schema; and those it left out.

        Raises:
            pyarrow.ArrowInvalid: A value does not fit.
        """

    def explain(self, error: pa.ArrowInvalid, row: bytes) -> tuple[str, str]:
        """The column to blame (or nothing), and the reason in words."""


def parsed(blocks: Iterable[bytes], parser: RowParser, bad: BadRows) -> Iterator[pa.RecordBatch]:
    """The batches of a stream of blocks, in order. Memory: a block and its rows."""
    seen = 0
    for block in blocks:
        try:
            table, refused = parser.parse(block)
        except pa.ArrowInvalid:
            rows = split_rows(block, parser.rows, empty=parser.empty_rows)
            yield from _by_halves(rows, parser, bad, seen)
            seen += len(rows)
            continue
        for each in refused:
            bad.take(BadRow(number=seen + each.index + 1, raw=each.raw, reason=each.reason))
        seen += table.num_rows + len(refused)
        yield from _batches(table)


def _by_halves(rows: list[bytes], parser: RowParser, bad: BadRows, seen: int) -> Iterator[pa.RecordBatch]:
    """The good ones among rows of which some are bad; ``seen`` rows came before them."""
    if not rows:
        return
    try:
        table, refused = parser.parse(b"".join(rows))
    except pa.ArrowInvalid as error:
        if len(rows) == 1:
            column, reason = parser.explain(error, rows[0])
            bad.take(BadRow(number=seen + 1, raw=_text(rows[0]), reason=reason, column=column))
            return
        half = len(rows) // 2
        yield from _by_halves(rows[:half], parser, bad, seen)
        yield from _by_halves(rows[half:], parser, bad, seen + half)
        return
    for each in refused:
        bad.take(BadRow(number=seen + each.index + 1, raw=each.raw, reason=each.reason))
    yield from _batches(table)


def _batches(table: pa.Table) -> Iterator[pa.RecordBatch]:
    for batch in table.to_batches():
        if batch.num_rows:
            yield batch


def _text(row: bytes) -> str:
    return row.rstrip(b"\r\n").decode("utf-8", "replace")


def as_file(text: bytes) -> Any:
    """The text as pyarrow reads files, without a copy."""
    return pa.BufferReader(text)


def utf8(chunks: Iterable[Chunk], encoding: str) -> Iterator[Any]:
    """The same text in UTF-8, without a byte order mark.

    Raises:
        RowError: The bytes are not in the encoding they were said to be in.
    """
    name = codecs.lookup(encoding).name
    if name in ("utf-8", "utf-8-sig", "ascii"):
        yield from _without_mark(chunks)  # whether it is UTF-8 the parser checks
        return
    decoder = codecs.getincrementaldecoder(name)()
    try:
        for chunk in chunks:
            yield decoder.decode(bytes(chunk)).encode()
        yield decoder.decode(b"", final=True).encode()
    except UnicodeDecodeError as error:
        raise RowError(
            f"the text is not {encoding}: {error.reason}", operation="decode", hint="give its encoding"
        ) from error


def _without_mark(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    mark = codecs.BOM_UTF8
    head = b""
    rest = iter(chunks)
    for chunk in rest:
        head += bytes(chunk)
        if len(head) >= len(mark):
            break
    if head:
        yield head.removeprefix(mark)
    yield from rest
