"""From pages to records: where they are in a page, when the list ends, and when a server goes in circles."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from crossdock.connectors.rest.asking import Ask
from crossdock.connectors.rest.fetching import Fetching
from crossdock.connectors.rest.jsonpath import MISSING, Path, at, keys_found, shown
from crossdock.connectors.rest.paging import ByOffset, ByPage, Paging, Standing
from crossdock.errors import StorageError

__all__ = ["Circle", "pages_of", "records_in"]

Record = dict[str, Any]


@dataclass(slots=True)
class Circle:
    """Tells when a sequence repeats itself, in constant memory (R. P. Brent, 1980).

    A circle of any length is found before it was run through three times; a value that repeats at once, at once.
    """

    _kept: Any = None
    _last: Any = None
    _steps: int = 0
    _power: int = 1

    def closes_with(self, value: Any) -> bool:
        """Whether the sequence was here before."""
        if self._steps and value in (self._kept, self._last):
            return True
        if not self._steps or self._steps == self._power:
            self._kept, self._power, self._steps = value, self._power * 2 if self._steps else 1, 0
        self._steps += 1
        self._last = value
        return False


def records_in(body: Any, path: Path, number: int, place: dict[str, Any], *, alone: bool) -> list[Record]:
    """The records of one page.

    A list is taken as it is; null, and a page without a body, hold none. An object is one record where there is no paging.

    Raises:
        StorageError: There is nothing at the path, or no records.
    """
    if body is None:
        return []
    found = at(body, path)
    if found is None:
        return []
    if isinstance(found, dict) and alone:
        return [found]
    if found is MISSING:
        raise StorageError(
            f"page {number} has nothing at {shown(path)!r}; {keys_found(body)}",
            hint="say with records= where they are, such as records='data.items'",
            **place,
        )
    if not isinstance(found, list):
        raise StorageError(
            f"page {number} has no list at {shown(path)!r}; {keys_found(found)}",
            hint="say with records= where they are, such as records='data.items'",
            **place,
        )
    for index, record in enumerate(found):
        if not isinstance(record, dict):
            raise StorageError(
                f"record {index} of page {number} is no object; {keys_found(record)}",
                hint="records are JSON objects; see records=",
                **place,
            )
    return found


def pages_of(
    fetching: Fetching,
    ask: Callable[[], Ask],
    paging: Paging | None,
    path: Path,
) -> Iterator[list[Record]]:
    """The records page by page; one page is in memory, one request a page, asked for when it is wanted.

    Raises:
        StorageError: A page or its records cannot be had, or the server goes in circles.
    """
    now: Ask | None = ask() if paging is None else paging.first(ask())
    asks, bodies = Circle(), Circle()
    number = seen = 0
    while now is not None:
        number += 1
        place = fetching.place(now, number)
        if asks.closes_with(now.target):
            raise StorageError(
                f"the server goes in circles: page {number} is one that was read before",
                hint="check the way of paging; records were given more than once",
                **place,
            )
        answer = fetching.page(now, number)
        records = records_in(answer.body, path, number, place, alone=paging is None)
        # A cursor or a link that changes is progress; a number that we count up ourselves is none.
        if records and isinstance(paging, ByPage | ByOffset) and bodies.closes_with(_digest(records)):
            raise StorageError(
                f"page {number} has the same records as one before it",
                hint="the server seems not to know the parameter: check the way of paging",
                **place,
            )
        seen += len(records)
        if records:
            yield records
        now = (
            paging.following(
                Standing(
                    ask=now,
                    body=answer.body,
                    headers=answer.headers,
                    records=len(records),
                    seen=seen,
                    number=number,
                    root=fetching.root,
                    place=place,
                )
            )
            if paging is not None
            else None
        )


def _digest(records: list[Record]) -> bytes:
    return hashlib.blake2b(json.dumps(records).encode(), digest_size=16).digest()
