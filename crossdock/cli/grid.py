"""Rows of a table on a screen, and as data for the next program."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from crossdock.cli.output import line, visible

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FORMATS", "print_grid", "print_table", "stream"]

FORMATS = ("table", "json", "csv")

_CELL = 60
"""More of a value is cut: a grid is for a person; json and csv have it whole."""


def print_table(table: pa.Table) -> None:
    """Columns under their names; numbers to the right. Long values are cut, a null is ``null``."""
    import pyarrow as pa

    columns = [_cells(column) for column in table.columns]
    numbers = [
        pa.types.is_integer(each.type) or pa.types.is_floating(each.type) or pa.types.is_decimal(each.type)
        for each in table.schema
    ]
    print_grid([_short(name) for name in table.column_names], columns, right=numbers)


def print_grid(names: list[str], columns: list[list[str]], *, right: list[bool]) -> None:
    """A line of names and one for each row."""
    widths = [max(map(len, [name, *cells])) for name, cells in zip(names, columns, strict=True)]
    for row in [names, *map(list, zip(*columns, strict=True))]:
        cells = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ]
        line("  ".join(cells).rstrip())


def stream(rows: Any, form: str) -> None:
    """All rows to stdout as they come: ``json`` is one object a line, ``csv`` has a header."""
    import crossdock as xd

    out = sys.stdout.buffer
    for chunk in xd.encode("jsonl" if form == "json" else "csv")(rows):
        out.write(chunk)
    out.flush()


def _cells(column: Any) -> list[str]:
    """Each value on one line."""
    import pyarrow as pa

    try:
        values = column.cast(pa.large_string()).to_pylist()
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):  # nested, or bytes that are no text
        values = [None if each is None else _plain(each) for each in column.to_pylist()]
    return ["null" if value is None else _short(value) for value in values]


def _plain(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _short(text: str) -> str:
    shown = visible(text)
    return shown if len(shown) <= _CELL else f"{shown[: _CELL - 3]}..."
