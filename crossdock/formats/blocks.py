"""Text cut into blocks of whole rows, exactly, without parsing it.

A CSV row ends at a newline that stands outside quotes. Whether it does is decided by counting quotes, which is exact as long as
every quote that opens stands at the beginning of a field; where one does not, a slower reader decides the same way the
parser does. Memory: a block, and the longest row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from crossdock.errors import RowError
from crossdock.ports import Chunk

__all__ = ["Lines", "QuotedRows", "blocks_of", "split_rows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Rows that end at each newline, as those of JSON lines do."""

    def cut(self, text: bytes, *, last: bool) -> int:
        """Where the last whole row ends; 0 if there is none."""
        return len(text) if last else _last_newline(text)

    def row_ends(self, text: bytes) -> Iterator[int]:
        """Where each row ends, the last at the end of the text."""
        for found in _NEWLINE.finditer(text):
            yield found.end()


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotedRows:
    """Rows of a CSV: a newline between quotes ends nothing. ``delimiter``, ``quote`` and ``escape`` are single bytes."""

    delimiter: bytes = b","
    quote: bytes = b'"'
    escape: bytes = b""

    def cut(self, text: bytes, *, last: bool) -> int:
        """Where the last whole row ends; 0 if there is none.

        Raises:
            RowError: It is the last text and ends between quotes.
        """
        if (not self.quote or self.quote not in text) and not self.escape:
            return len(text) if last else _last_newline(text)
        inside = self._cut_quoted(text)
        if not last:
            return inside
        if inside < len(text) and self._opened(text[inside:]):
            raise RowError(
                "the last row ends between quotes: a quote was never closed, or the object was cut short",
                operation="decode",
                hint="read the object's source again; if quotes mean nothing in it, say quote=''",
            )
        return len(text)

    def _cut_quoted(self, text: bytes) -> int:
        exact = self._counted(text) if not self.escape else None
        if exact is not None:
            return exact
        end = start = 0
        for each in self.row_ends(text):
            start, before = each, start
            if each < len(text) or (text.endswith(b"\n") and not self._opened(text[before:])):
                end = each
        return end

    def _counted(self, text: bytes) -> int | None:
        """By counting quotes; ``None`` if that is not exact here."""
        data = np.frombuffer(text, np.uint8)
        quotes = np.flatnonzero(data == self.quote[0])
        opening = quotes[::2]
        before = data[opening[opening > 0] - 1]
        fine = (
            (before == self.delimiter[0])
            | (before == 0x0A)
            | (before == 0x0D)
            | (before == self.quote[0])  # a doubled quote inside a quoted field
        )
        if not fine.all():
            return None
        # The first quote of the text is no doubled one: what stands before it is outside quotes.
        end = _last_newline(text)
        while end:
            count = int(np.searchsorted(quotes, end))
            if count % 2 == 0:
                return end
            end = _last_newline(text[: int(quotes[count - 1])])
        return 0

    def row_ends(self, text: bytes) -> Iterator[int]:
        """Where each row ends, the last at the end of the text; as the parser reads quotes, at some 50 MB/s."""
        for found in self._rows().finditer(text):
            if found.end() > found.start():
                yield found.end()

    def _opened(self, row: bytes) -> bool:
        """Whether a row without its end stops between quotes."""
        return self._rows(closed=True).fullmatch(row) is None

    def _rows(self, *, closed: bool = False) -> re.Pattern[bytes]:
        return _row_pattern(self.delimiter, self.quote, self.escape, closed)


_NEWLINE = re.compile(rb"[^\n]*\n|[^\n]+\Z")
_PATTERNS: dict[tuple[bytes, bytes, bytes, bool], re.Pattern[bytes]] = {}


def _row_pattern(delimiter: bytes, quote: bytes, escape: bytes, closed: bool) -> re.Pattern[bytes]:
    """One row: fields with delimiters between them, then a newline or the end.

    A quote opens at the beginning of a field only; what follows its closing quote belongs to the field still, as pyarrow
    has it.
    """
    key = (delimiter, quote, escape, closed)
    if key not in _PATTERNS:
        d, q, e = (re.escape(each) for each in (delimiter, quote, escape))
        plain = rb"(?:[^%b\r\n%b]|%b)*+" % (d, e, e + rb"[\s\S]") if escape else rb"[^%b\r\n]*+" % d
        field = plain
        if quote:
            inner = rb"(?:[^%b%b]|%b%b%b)*+" % (q, e, q, q, rb"|" + e + rb"[\s\S]" if escape else b"")
            field = rb"(?:%b%b%b%b|(?!%b)%b)" % (q, inner, q if closed else q + rb"?+", plain, q, plain)
        end = rb"(?:\r\n|\n|\r)?+\Z" if closed else rb"(?:\r\n|\n|\r|\Z)"
        _PATTERNS[key] = re.compile(rb"%b(?:%b%b)*+%b" % (field, d, field, end))
    return _PATTERNS[key]


def _last_newline(text: bytes) -> int:
    """Behind the last newline; behind the last carriage return of a text that has no newline."""
    end = text.rfind(b"\n") + 1
    if end or b"\r" not in text:
        return end
    return text.rfind(b"\r", 0, len(text) - 1) + 1  # one at the very end may be half of a pair


def split_rows(text: bytes, rows: Lines | QuotedRows, *, empty: bool = False) -> list[bytes]:
    """The rows of a block, each with its end; empty lines are rows only if ``empty``."""
    found, start = [], 0
    for end in rows.row_ends(text):
        row = text[start:end]
        start = end
        if empty or row.strip(b"\r\n"):
            found.append(row)
    return found


def blocks_of(
    chunks: Iterable[Chunk],
    rows: Lines | QuotedRows,
    *,
    block_bytes: int,
    first_bytes: int,
    max_row_bytes: int,
) -> Iterator[bytes]:
    """Blocks of whole rows, in order, none empty.

    Args:
        chunks: The text.
        rows: Where rows end.
        block_bytes: About how large a block is.
        first_bytes: The same for the first one, from which types are inferred.
        max_row_bytes: A row longer than this is an error: without a bound, one missing quote would fill the memory.

    Raises:
        RowError: A row is too long, or the last one ends between quotes.
    """
    held = bytearray()
    target = first_bytes
    for chunk in chunks:
        view = memoryview(chunk).cast("B")  # it may be the whole object
        while view:
            room = max(target - len(held), 1)
            held += view[:room]
            view = view[room:]
            if len(held) < target:
                break
            text = bytes(held)
            end = rows.cut(text, last=False)
            if end:
                yield text[:end]
                del held[:end]
                target = block_bytes
            elif len(text) > max_row_bytes:
                raise RowError(
                    f"a row is longer than {max_row_bytes} bytes: {text[:100]!r}...",
                    operation="decode",
                    hint="a quote that is never closed looks like this; else give a larger max_row_bytes",
                )
            else:
                target = 2 * len(text)  # ever longer steps: looking again at what was seen costs
    if held:
        text = bytes(held)
        rows.cut(text, last=True)
        yield text
