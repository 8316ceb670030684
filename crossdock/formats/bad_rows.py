"""What happens to a row that cannot be read or does not fit: stop, skip and tell, or hand it to somebody.

One ``BadRows`` for one stream; it counts, and tells once at the end. Nothing is dropped without a word.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import IO, Any, Literal

from crossdock.errors import ConfigError, RowError
from crossdock.events import Note, emit
from crossdock.formats.spool import spooled
from crossdock.model import MIB
from crossdock.tasks import Task

__all__ = ["BadRow", "BadRows", "OnBadRow", "check_policy"]

_SHOWN_BYTES = 200
_SPOOL_BYTES = MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRow:
    """One row that was not taken.

    Attributes:
        number: Its place among the object's rows, from 1; a header and empty lines do not count.
        raw: The row as it stood there; of a typed format, its values as JSON.
        reason: What is wrong with it.
        column: Which column is to blame, where one is.
    """

    number: int
    raw: str
    reason: str
    column: str = ""


OnBadRow = Literal["fail", "skip"] | Callable[[BadRow], Any] | Task


def check_policy(policy: Any) -> None:
    """Refuse what is no policy.

    Raises:
        ConfigError: It is neither ``fail``, ``skip``, a function nor a sink.
    """
    if policy not in ("fail", "skip") and not callable(policy):
        raise ConfigError(
            f"on_bad_row is 'fail', 'skip', a function of a BadRow or a sink, not {policy!r}",
            operation="decode",
        )


class BadRows:
    """Where one stream's bad rows go. Memory: 1 MiB of them for a sink, above that a temporary file."""

    def __init__(self, policy: OnBadRow, *, name: str | None, what: str) -> None:
        self.count = 0
        self._policy = policy
        self._name = name
        self._what = what
        self._first: BadRow | None = None
        self._spool: IO[bytes] | None = None

    @property
    def fails(self) -> bool:
        """Whether the first one ends the stream."""
        return self._policy == "fail"

    def take(self, row: BadRow) -> None:
        """Deal with one.

        Raises:
            RowError: The policy is to fail.
        """
        if self.fails:
            column = f", column {row.column!r}" if row.column else ""
            raise RowError(
                f"row {row.number}{column}: {row.reason}: {_short(row.raw)}",
                operation=self._what,
                where=self._name or "",
                hint="on_bad_row='skip' goes on without such rows, a function or a sink keeps them",
            )
        self.count += 1
        self._first = self._first or row
        if isinstance(self._policy, Task):
            if self._spool is None:
                self._spool = spooled(_SPOOL_BYTES)
            self._spool.write(json.dumps(asdict(row), ensure_ascii=False).encode() + b"\n")
        elif callable(self._policy):
            self._policy(row)

    def end(self) -> None:
        """The stream was read to its end: write what was kept, and tell how many there were."""
        if self._first is None:
            return
        kept = "skipped"
        if self._spool is not None and isinstance(self._policy, Task):
            self._spool.seek(0)
            receipt = self._policy.run(_lines(self._spool), key=f"{self._name or 'rows'}.bad.jsonl")
            kept = f"kept in {getattr(receipt, 'destination', '') or self._policy.name}"
        elif self._policy != "skip":
            kept = "handed over"
        self.close()
        first = f"row {self._first.number}: {self._first.reason}"
        emit(Note(text=f"{self._what} {self._name or ''}: {self.count} bad rows {kept}, the first: {first}"))

    def close(self) -> None:
        """Let go of what was kept; twice is fine."""
        if self._spool is not None:
            self._spool.close()
            self._spool = None


def _lines(spool: IO[bytes]) -> Iterator[bytes]:
    while chunk := spool.read(MIB):
        yield chunk


def _short(raw: str) -> str:
    return repr(raw if len(raw) <= _SHOWN_BYTES else f"{raw[:_SHOWN_BYTES]}...")
