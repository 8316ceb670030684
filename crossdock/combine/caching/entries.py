"""Entries of a cache: one small object for each key, ``<aa>/<key>.json`` below the cache's URL, written whole.

Whoever writes last wins; a reader sees one whole entry or none. An entry that is not one (cut short, foreign, damaged)
counts as absent, with a warning. A store that is not there, or refuses, is an error; one that does not answer, after the
store's own retries, is left alone for a minute, and work goes on as if there were no cache.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from crossdock.combine.caching.format import UnreadableError, decode, encode
from crossdock.errors import (
    ConfigError,
    CrossdockError,
    IntegrityError,
    NotFoundError,
    PreconditionError,
    Retry,
    UnsupportedError,
)
from crossdock.model import MIB
from crossdock.small_objects import SmallObjects, open_small_objects

__all__ = ["Entries", "Entry", "warn_once", "written"]

_FORMAT: Final = 1
_QUIET_S: Final = 60.0  # how long a store that did not answer is not asked again
_READ_LIMIT_BYTES: Final = 64 * MIB  # of an entry; what is written is bounded as results are
_MAX_WARNED: Final = 10_000

_logger = logging.getLogger("crossdock.cache")
_lock = threading.Lock()
_quiet_until: dict[str, float] = {}
_proven: set[str] = set()
_warned: set[tuple[str, ...]] = set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a cache holds for one key."""

    value: Any
    created: datetime

    def older_than(self, seconds: float | None) -> bool:
        """Whether it was written longer ago than that, by the writer's clock and ours."""
        return seconds is not None and (datetime.now(UTC) - self.created).total_seconds() >= seconds


class Entries:
    """The entries below one URL. Thread-safe; opens no connection until it is asked.

    Args:
        url: The cache's URL.
        options: Its store's.
        run_id: For warnings that are given once a run.
        large: Whether results of any size are kept and read.

    Raises:
        ConfigError: The URL or an option is wrong, or nothing can be written there.
        MissingExtraError: The connector's package is not installed.
    """

    def __init__(self, url: str, options: Mapping[str, Any], *, run_id: str, large: bool) -> None:
        self._place: SmallObjects = open_small_objects(url, options)
        self._run_id = run_id
        self._limit_bytes = 1 << 62 if large else _READ_LIMIT_BYTES

    def read(self, key: str) -> Entry | None:
        """The entry of a key; one request, and in a process whose first key is absent one more.

        Raises:
            CrossdockError: There is no such place, or it refuses.
        """
        if self._quiet():
            return None
        name = _name(key)
        try:
            data = self._place.get(name, limit_bytes=self._limit_bytes)
        except NotFoundError:
            self._prove()
            return None
        except (IntegrityError, PreconditionError, UnsupportedError) as error:
            self._skipped(name, str(error))
            return None
        except CrossdockError as error:
            self._give_up(error)
            return None
        try:
            return _parsed(data, key)
        except UnreadableError as error:
            self._skipped(name, str(error))
            return None

    def write(self, key: str, data: bytes) -> None:
        """Write the entry of a key, in place of any other; one request.

        Raises:
            CrossdockError: There is no such place, or it refuses.
        """
        if self._quiet():
            return
        try:
            self._place.put(_name(key), data)
        except PreconditionError:
            return  # another run wrote the same entry in this moment
        except CrossdockError as error:
            self._give_up(error)

    def _prove(self) -> None:
        """Once a process: that the entry is absent, not the bucket; before work is done that could not be kept."""
        if self._place.url in _proven:
            return
        try:
            self._place.check()
        except CrossdockError as error:
            self._give_up(error)
            return
        with _lock:
            _proven.add(self._place.url)

    def _skipped(self, name: str, why: str) -> None:
        _logger.warning("cache entry %s%s is not usable and counts as absent: %s", self._place.url, name, why)

    def _quiet(self) -> bool:
        with _lock:
            return time.monotonic() < _quiet_until.get(self._place.url, 0.0)

    def _give_up(self, error: CrossdockError) -> None:
        """After a failure that may pass: leave the store alone for a while. Any other is raised."""
        if error.retry is Retry.NEVER:
            if not error.hint:
                error.hint = (
                    "the cache's URL must exist and be readable and writable; cache=None does without"
                )
            raise error
        with _lock:
            _quiet_until[self._place.url] = time.monotonic() + _QUIET_S
        text = "the cache does not answer and is left alone for %d s, so nothing is taken from it or kept: %s"
        warn_once((self._run_id, self._place.url), text, _QUIET_S, error)


def warn_once(about: tuple[str, ...], text: str, *values: Any) -> None:
    """Warn unless that was done in this process."""
    with _lock:
        if about in _warned:
            return
        if len(_warned) >= _MAX_WARNED:
            _warned.clear()
        _warned.add(about)
    _logger.warning(text, *values)


def _name(key: str) -> str:
    """Where an entry is: spread over 256 prefixes, which stores and directories like."""
    return f"{key[:2]}/{key}.json"


def written(key: str, task: str, value: Any) -> bytes:
    """One entry as bytes.

    Raises:
        ConfigError: The value, or a part of it, cannot be kept.
    """
    from crossdock import __version__

    try:
        encoded = encode(value)
    except RecursionError:
        raise ConfigError("the result contains itself, or is nested too deeply", operation="cache") from None
    text = _text(encoded)
    entry = {
        "crossdock_cache": _FORMAT,
        "key": key,
        "task": task,
        "created": datetime.now(UTC).isoformat(timespec="microseconds"),
        "written_by": f"crossdock {__version__}",
        "sha256": hashlib.sha256(text).hexdigest(),
        "value": encoded,
    }
    return _text(entry) + b"\n"


def _text(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()


def _parsed(data: bytes, key: str) -> Entry:
    """One entry from bytes.

    Raises:
        UnreadableError: It is none, not of this key, or damaged.
    """
    try:
        entry = json.loads(data)
        if not isinstance(entry, dict) or entry.get("crossdock_cache") != _FORMAT:
            raise UnreadableError("it is no cache entry, or one of another version")
        if entry["key"] != key:
            raise UnreadableError(f"it is the entry of {entry['key']!r}")
        if hashlib.sha256(_text(entry["value"])).hexdigest() != entry["sha256"]:
            raise UnreadableError("its value is not what its digest says")
        created = datetime.fromisoformat(entry["created"])
        if created.tzinfo is None:
            raise UnreadableError("its time has no zone")
        return Entry(value=decode(entry["value"]), created=created)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnreadableError(f"it cannot be read: {type(error).__name__}: {error}") from error
