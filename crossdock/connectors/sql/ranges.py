"""Half-open ranges of a key, which together are a whole table: what ``source.split`` gives and a map hands out. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from crossdock.connectors.sql.names import TableName, quoted

__all__ = ["KeyRange", "cuts_of_whole_numbers", "ranges_between"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRange:
    """The rows of a table whose key is in ``[start, end)``; small and picklable.

    ``None`` is no bound. Exactly one of a table's ranges also has the rows without a key (``has_nulls``).
    """

    table: TableName
    by: str
    start: Any = None
    end: Any = None
    has_nulls: bool = False

    def where(self, literal: Callable[[Any], str]) -> str:
        """As the condition of a statement, with a blank before it; empty for a whole table.

        Args:
            literal: A value as the database writes it.
        """
        key = quoted(self.by)
        bounds = []
        if self.start is not None:
            bounds.append(f"{key} >= {literal(self.start)}")
        if self.end is not None:
            bounds.append(f"{key} < {literal(self.end)}")
        if not bounds:
            return "" if self.has_nulls else f" WHERE {key} IS NOT NULL"
        text = " AND ".join(bounds)
        return f" WHERE ({text}) OR {key} IS NULL" if self.has_nulls else f" WHERE {text}"

    def __str__(self) -> str:
        bounds = f"[{'' if self.start is None else self.start}, {'' if self.end is None else self.end})"
        return f"{self.table} {self.by} {bounds}{' and nulls' if self.has_nulls else ''}"


def ranges_between(table: TableName, by: str, cuts: Sequence[Any]) -> list[KeyRange]:
    """One range before the first cut, one between each two, one from the last on; rows without a key are in the first."""
    starts, ends = [None, *cuts], [*cuts, None]
    return [
        KeyRange(table=table, by=by, start=start, end=end, has_nulls=number == 0)
        for number, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]


def cuts_of_whole_numbers(least: int, greatest: int, parts: int) -> list[int]:
    """Where to cut ``[least, greatest]`` into ``parts`` of equal width; fewer where there are fewer numbers."""
    width = greatest - least + 1
    return sorted({least + width * number // parts for number in range(1, parts)} - {least})
