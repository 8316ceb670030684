"""Records as they are pulled, and the moment at which an incremental read may be taken note of."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, Self

from crossdock.batches import Batches
from crossdock.connectors.cursors import Cursor, Position
from crossdock.connectors.rest.jsonpath import MISSING, at, keys_found
from crossdock.connectors.rest.pages import Record
from crossdock.errors import ConfigError, RowError

__all__ = ["Progress", "Records", "RowBatches"]

_logger = logging.getLogger("crossdock.rest")


class Progress:
    """How far an incremental read has come. Saved when what was read is safe, and only if all of it was read.

    Args:
        since: The cursor; ``None`` for a read that keeps none.
        place: For errors.
    """

    def __init__(self, since: Cursor | None, place: str) -> None:
        self._since = since
        self._place = place
        self._position: Position | None = None
        self.whole = False

    def begin(self) -> dict[str, Any]:
        """Read where the last run stood; the parameter that says so to the API."""
        if self._since is None:
            return {}
        self._position = self._since.open()
        value = self._position.value
        return {} if value is None else {self._since.param: value}

    def see(self, records: list[Record]) -> None:
        """Take note of records.

        Raises:
            RowError: One has no value to stand at.
        """
        if self._position is None or self._since is None:
            return
        for record in records:
            value = at(record, self._since.field)
            if value is MISSING or value is None:
                raise RowError(
                    f"a record has no {self._since.field!r}, by which the read is incremental; {keys_found(record)}",
                    operation="read",
                    where=self._place,
                    hint="choose a field that every record has",
                )
            self._position.see(value)

    def save(self) -> None:
        """Keep the place; see ``Position.save``.

        Raises:
            ConfigError: Not everything was read: what was not would be missed by the next run.
            PreconditionError: Another run saved meanwhile.
        """
        if not self.whole:
            raise ConfigError(
                "the records were not read to their end, so the cursor stays where it was",
                operation="save the cursor",
                where=self._place,
                hint="commit after the last record: those that were not read would be missed by the next run",
            )
        if self._position is not None:
            self._position.save()

    def place(self) -> dict[str, Any] | None:
        """Where a read that came to its end stands; see ``Position.place``."""
        return self._position.place() if self.whole and self._position is not None else None

    def second_done(self) -> None:
        """A combined task's second half succeeded: keep the place, if everything was read."""
        if self.whole:
            self.save()
        elif self._since is not None:
            _logger.warning("%s was not read to its end: the cursor %s stays", self._place, self._since.url)


class Records(Iterator[Record]):
    """Records of an API, pulled one by one, once; a page is in memory at a time. Not thread-safe.

    Nothing is asked before the first record is. An error ends them: they are never silently short.

    Attributes:
        name: The path, as a name for what is made of them.
        rows: Records handed over so far.
        pages: Pages with records read so far.
    """

    def __init__(self, pages: Iterator[list[Record]], progress: Progress, *, name: str) -> None:
        self.name = name
        self.rows = 0
        self.pages = 0
        self._pages = pages
        self._progress = progress
        self._page: Iterator[Record] = iter(())
        self._closed = False
        self._failure: Exception | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Record:
        record = next(self._page, None)
        while record is None:
            if self._failure is not None:
                raise self._failure
            if self._closed or not self._turned():
                raise StopIteration
            record = next(self._page, None)
        self.rows += 1
        return record

    def _turned(self) -> bool:
        """Have the next page; ``False`` after the last."""
        try:
            page = next(self._pages, None)
            if page is not None:
                self._progress.see(page)
        except Exception as error:
            self._failure = error  # asked again, it says so again: an iterator that failed has not ended
            raise
        if page is None:
            self._progress.whole = True
            self.close()
            return False
        self.pages += 1
        self._page = iter(page)
        return True

    @property
    def closed(self) -> bool:
        """Whether no more is to be had."""
        return self._closed

    def close(self) -> None:
        """Want no more; twice is fine. The cursor of records that were not read to their end is not saved."""
        if not self._closed:
            self._closed = True
            self._page = iter(())
            close: Callable[[], None] | None = getattr(self._pages, "close", None)
            if close is not None:
                close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def commit(self) -> None:
        """Say that what was read is safe: the cursor given as ``since`` moves. Not needed in a combined task.

        Raises:
            ConfigError: They were not read to their end.
            PreconditionError: Another run moved the cursor since this one read it.
        """
        self._progress.save()

    def __crossdock_commit__(self) -> None:
        """Called by a combined task once its second half has succeeded."""
        self._progress.second_done()

    def __repr__(self) -> str:
        return f"<Records of {self.name}: {self.rows} read>"


class RowBatches(Batches):
    """The same as record batches."""

    _progress: Progress

    @classmethod
    def following(cls, schema: Any, batches: Iterator[Any], progress: Progress, *, name: str) -> RowBatches:
        """Batches that know how far the read has come."""
        made = cls(schema, batches)
        made.name, made._progress = name, progress
        return made

    def place(self) -> dict[str, Any] | None:
        """Where the read stands, for whoever moves its cursor later (``Cursor.advance``); ``None`` before the end, or if it did not move."""
        return self._progress.place()

    def commit(self) -> None:
        """See ``Records.commit``."""
        self._progress.save()

    def __crossdock_commit__(self) -> None:
        """See ``Records``."""
        self._progress.second_done()
