"""What workers have to tell while items run there: events added up, log records as text. Bounded, never payload.

On the worker an ``Outbox`` listens. It is emptied twice a second by whoever can send between shards, and with each shard's
answer, so that nothing is lost at the end of a run. On the driver ``retell`` says it again, as if it had happened there.
Messages are plain values (no pickles), at most some 64 KiB each; what is too much is counted, and the count is told.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from typing import Any

from crossdock.combine.context import current
from crossdock.errors import CompositionError, ConfigError
from crossdock.events import BytesMoved, BytesRead, Event, Note, Retried, emit, listening

__all__ = ["Outbox", "Send", "level_of", "retell", "telling", "told_by"]

Send = Callable[[dict[str, Any]], None]

_INTERVAL_S = 0.5
_MAX_ENTRIES = 200  # events and records, between two messages
_MAX_TEXT = 4_000
_MAX_MESSAGE = 64 * 1024
_ROOT = "crossdock"
_ABOUT = ("task", "run_id", "item", "attempt", "worker")

_told_by: ContextVar[Outbox | None] = ContextVar("crossdock_outbox", default=None)


class Outbox:
    """What one process has to tell about one run. Thread-safe; quick, because items wait for it.

    Args:
        worker: Where this is, for a person.
        send: Takes a message between shards; ``None`` if there is no way but the shard's answer.
        log_level: Records from this level on; ``None`` takes none.
    """

    def __init__(self, worker: str, send: Send | None, log_level: int | None) -> None:
        self.worker = worker
        self.log_level = log_level
        self._send = send
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._ticking = False
        self._closed = False
        self._empty()

    def _empty(self) -> None:
        self._moved = self._read = self._size = self._left_out = 0
        self._entries: list[tuple[str, dict[str, Any]]] = []

    def event(self, event: Event, /) -> None:
        """Take one event; an ``Observer``. Bytes are added up; what is a driver's own business (progress) is left out."""
        if isinstance(event, BytesMoved):
            self._add(moved=event.bytes)
        elif isinstance(event, BytesRead):
            self._add(read=event.bytes)
        elif isinstance(event, Note):
            self._add(("note", {"text": event.text}))
        elif isinstance(event, Retried):
            self._add(("retried", asdict(event)))

    def record(self, record: logging.LogRecord) -> None:
        """Take one log record, as text."""
        fields: dict[str, Any] = {
            "name": record.name,
            "levelno": record.levelno,
            "levelname": record.levelname,
            "msg": _message(record),
            "created": record.created,
            "pathname": record.pathname,
            "lineno": record.lineno,
            "funcName": record.funcName or "",
        }
        if record.exc_info:
            text = record.exc_text or logging.Formatter().formatException(record.exc_info)
            fields["exc_text"] = text[-_MAX_TEXT:]  # its last lines say what happened
        self._add(("log", fields | _about(record, self.worker)))

    def _add(self, entry: tuple[str, dict[str, Any]] | None = None, *, moved: int = 0, read: int = 0) -> None:
        if entry is not None:
            entry = entry[0], {name: _short(value) for name, value in entry[1].items()}
        with self._lock:
            self._moved += moved
            self._read += read
            if entry is not None:
                size = sum(len(value) for value in entry[1].values() if isinstance(value, str))
                if len(self._entries) >= _MAX_ENTRIES or self._size + size > _MAX_MESSAGE:
                    self._left_out += 1
                else:
                    self._entries.append(entry)
                    self._size += size
            starts = self._send is not None and not self._ticking and not self._closed
            self._ticking = self._ticking or starts
        if starts:
            timer = threading.Timer(_INTERVAL_S, self._tick)
            timer.daemon = True
            timer.start()

    def _tick(self) -> None:
        with self._sending:  # so that a message taken is on its way before an answer that comes later
            with self._lock:
                self._ticking = False
                send = None if self._closed else self._send
            message = self.take() if send is not None else None
            if send is not None and message is not None:
                send(message)

    def take(self) -> dict[str, Any] | None:
        """All there is to tell, as one message; ``None`` if there is nothing."""
        with self._lock:
            if not (self._entries or self._moved or self._read or self._left_out):
                return None
            message = {
                "worker": self.worker,
                "moved": self._moved,
                "read": self._read,
                "entries": [list(entry) for entry in self._entries],
                "left_out": self._left_out,
            }
            self._empty()
        return message

    def last(self) -> dict[str, Any] | None:
        """What goes with a shard's answer: whatever was sent before is on its way already."""
        with self._sending:
            return self.take()

    def close(self) -> None:
        """Send nothing by itself any more."""
        with self._lock:
            self._closed = True


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (
        TypeError,
        ValueError,
    ) as error:  # a wrong format string: logging itself would print a traceback and go on
        return f"{record.msg!s} ({type(error).__name__}: {error})"


def _about(record: logging.LogRecord, worker: str) -> dict[str, Any]:
    """Which task, run, item and attempt it is about: what the record says, or else the task that runs here."""
    about = {name: getattr(record, name) for name in _ABOUT if hasattr(record, name)}
    if "task" not in about:
        try:
            context = current()
        except CompositionError:
            return {"worker": worker, **about}
        mine = {
            "task": context.name,
            "run_id": context.run_id,
            "item": context.item,
            "attempt": context.attempt,
        }
        about = {**mine, **about}
    return {"worker": worker, **about}


def _short(value: Any) -> Any:
    if value is None or isinstance(value, int | float):
        return value
    text = str(value)
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}... ({len(text)} characters)"


# -- where records are caught ------------------------------------------------------------------------------------------


class _Tap(logging.Handler):
    """On crossdock's root logger while outboxes are open in this process."""

    def emit(self, record: logging.LogRecord) -> None:
        mine = _told_by.get()
        if mine is None or mine.log_level is None:
            mine = next((box for box, _ in list(_open.values())[::-1] if box.log_level is not None), None)
        if mine is not None and mine.log_level is not None and record.levelno >= mine.log_level:
            mine.record(record)


_open: dict[str, tuple[Outbox, int]] = {}  # by run: how many shards of it are on in this process
_open_lock = threading.Lock()
_tap = _Tap()
_level_before: int | None = None


@contextmanager
def telling(run_id: str, worker: str, send: Send | None, log_level: int | None) -> Iterator[Outbox]:
    """The process's outbox for one run, open for the length of the block.

    A record made on a thread without a context of its own is told to the run that began last.
    """
    with _open_lock:
        box, users = _open.get(run_id) or (Outbox(worker, send, log_level), 0)
        _open[run_id] = box, users + 1
        _set_tap()
    try:
        yield box
    finally:
        with _open_lock:
            box, users = _open[run_id]
            if users > 1:
                _open[run_id] = box, users - 1
            else:
                box.close()
                del _open[run_id]
            _set_tap()


@contextmanager
def told_by(box: Outbox) -> Iterator[None]:
    """What happens in this context is told by ``box``."""
    token = _told_by.set(box)
    try:
        with listening(box.event):
            yield
    finally:
        _told_by.reset(token)


def _set_tap() -> None:
    """Put the tap on or take it off, and let through what somebody wants to hear. Called with the lock held."""
    global _level_before  # noqa: PLW0603 - the logger's own level, to give it back
    logger = logging.getLogger(_ROOT)
    levels = [box.log_level for box, _ in _open.values() if box.log_level is not None]
    if _level_before is not None:
        logger.setLevel(_level_before)
        _level_before = None
    if not levels:
        logger.removeHandler(_tap)
        return
    if _tap not in logger.handlers:
        logger.addHandler(_tap)
    if logger.getEffectiveLevel() > min(levels):
        _level_before = logger.level
        logger.setLevel(min(levels))


# -- on the driver -----------------------------------------------------------------------------------------------------


def retell(message: Mapping[str, Any]) -> None:
    """Say again what a worker told: events to whoever listens in this context, records to the loggers they were made for."""
    if message["read"]:
        emit(BytesRead(bytes=message["read"]))
    if message["moved"]:
        emit(BytesMoved(bytes=message["moved"]))
    for kind, fields in message["entries"]:
        if kind == "note":
            emit(Note(**fields))
        elif kind == "retried":
            emit(Retried(**fields))
        else:
            _log_again(fields)
    if message["left_out"]:
        emit(
            Note(
                text=f"worker {message['worker']} had {message['left_out']} more messages than were carried here"
            )
        )


def _log_again(fields: Mapping[str, Any]) -> None:
    logger = logging.getLogger(fields["name"])
    if logger.isEnabledFor(fields["levelno"]):
        logger.handle(logging.makeLogRecord(dict(fields)))


def level_of(given: int | str | None) -> int | None:
    """A logging level from its number or name; ``None`` is none at all.

    Raises:
        ConfigError: There is no such level.
    """
    if given is None or (isinstance(given, int) and not isinstance(given, bool)):
        return given
    known = logging.getLevelNamesMapping()
    if str(given).upper() not in known:
        raise ConfigError(f"worker_log_level is a level such as 'WARNING', or None, not {given!r}")
    return known[str(given).upper()]
