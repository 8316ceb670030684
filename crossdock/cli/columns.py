"""A table for people: columns as wide as what is in them."""

from __future__ import annotations

from collections.abc import Sequence

from crossdock.cli.output import line

__all__ = ["write_columns"]


def write_columns(head: Sequence[str], rows: Sequence[Sequence[str]], *, with_head: bool = True) -> None:
    """Write one line for each row; the last column is not padded."""
    shown = [head, *rows] if with_head else list(rows)
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        line("  ".join([*cells, row[-1]]).rstrip())
