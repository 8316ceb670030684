"""Caching by input hash: if we already saw the input, we already have the output.

``xd.Cache(url)`` on a task or a pair keeps each result, usually a receipt, under a hash of what is done, with which inputs,
to which version of the source. The next time, here or elsewhere, the result is taken from there and nothing runs, if the
destination still holds what the receipt says.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from crossdock.combine.caching.entries import Entries, Entry, warn_once, written
from crossdock.combine.caching.key import UNKNOWN, Step, Work, key_of, source_version, still_reads
from crossdock.combine.guard import FAIL_BYTES, WARN_BYTES, LargeResultWarning, pickled_size
from crossdock.errors import CompositionError, ConfigError, StorageError
from crossdock.model import Receipt
from crossdock.options import format_size, sealed
from crossdock.tasks import Confirming

__all__ = ["Cache", "Kept", "Step", "Work", "cache_of"]

_REFRESH = "CROSSDOCK_CACHE_REFRESH"
_PASSWORD_IN_URL = re.compile(r"://[^/@\s]*:[^/@\s]*@")


@dataclass(frozen=True, slots=True)
class Cache:
    """Where results are kept by their inputs: ``@xd.task(cache=xd.Cache("s3://bucket/results", expires=3600))``.

    Opens nothing until a task runs. Thread-safe; picklable, its secrets as references. Many tasks, runs and machines may
    share one: entries are written whole, and two runs that race do the work twice at worst.

    Args:
        url: A directory, or a URL of any store one can write to; a prefix.
        expires: Results older than this are made anew: seconds or a ``timedelta``. Counted from when one was kept.
        refresh: Take nothing from the cache, but keep what is made; ``CROSSDOCK_CACHE_REFRESH=1`` does the same.
        version: Change it when the code changed so that old results are wrong.
        key: A function of the arguments, a mapping by name, whose result takes their place in the hash.
        options: The store's, as for ``xd.source``; secrets as ``env:NAME``, ``file:PATH`` or ``cmd:COMMAND``.

    Raises:
        ConfigError: A value makes no sense, or the URL holds a password.

    Example:
        >>> import crossdock as xd
        >>> games = xd.Cache("memory://example", expires=3600)
        >>> @xd.task(cache=games)
        ... def square(number: int) -> int:
        ...     return number**2
        >>> square(3), square(3)
        (9, 9)
    """

    url: str | os.PathLike[str]
    expires: float | timedelta | None = field(default=None, kw_only=True)
    refresh: bool = field(default=False, kw_only=True)
    version: str = field(default="", kw_only=True)
    key: Callable[[Mapping[str, Any]], Any] | None = field(default=None, kw_only=True)
    options: Mapping[str, Any] = field(default_factory=dict, kw_only=True, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", _place(self.url))
        object.__setattr__(self, "options", sealed(dict(self.options)))
        object.__setattr__(self, "expires", _seconds(self.expires))
        if not isinstance(self.version, str):
            raise ConfigError(f"a cache's version is text, not {self.version!r}", operation="cache")
        if self.key is not None and not callable(self.key):
            raise ConfigError(
                f"a cache's key is a function of the arguments, not {self.key!r}", operation="cache"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        # The driver's wish to refresh goes with the work: a worker's environment is another.
        return _rebuild, (
            self.url,
            self.expires,
            self._refreshes,
            self.version,
            self.key,
            dict(self.options),
        )

    @property
    def _refreshes(self) -> bool:
        return self.refresh or os.environ.get(_REFRESH, "").lower() in ("1", "true", "yes", "on")

    def recall(self, work: Work) -> Kept:
        """Look for the result of a piece of work.

        Requests: one of the source if it can tell its version, one of the cache, and for a hit with a receipt one of the
        destination.

        Raises:
            ConfigError: An input has no canonical form, or the cache's URL or an option is wrong.
            UnsupportedError: The source cannot tell versions apart.
            CrossdockError: The cache's store is not there, or refuses.
        """
        entries = Entries(str(self.url), self.options, run_id=work.run_id, large=work.allow_large)
        source = source_version(work)
        if source is UNKNOWN:
            return Kept()
        key = key_of(work, version=self.version, key=self.key, source=source)

        def keep(result: Any) -> None:
            _check_size(result, work)
            data = written(key, work.name, result)
            if still_reads(
                work, source, result
            ):  # or it is the result of another key, which nobody asked for
                entries.write(key, data)

        entry = None if self._refreshes else entries.read(key)
        if entry is None or entry.older_than(self.expires) or not _confirmed(entry, work):  # type: ignore[arg-type]
            return Kept(keep=keep)
        return Kept(hit=True, value=entry.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An answer of the cache: a hit with its value, or a miss whose result can be kept.

    ``keep(result)`` keeps it under the key that was asked for, unless the source changed meanwhile.

    It raises ``ConfigError`` for a result that cannot be kept, ``CompositionError`` for one above 16 MiB, and what the
    store raises.
    """

    hit: bool = False
    value: Any = None
    keep: Callable[[Any], None] = lambda _: None


def _confirmed(entry: Entry, work: Work) -> bool:
    """Whether the second half says that what was written is still there (``confirms``); one that cannot say agrees."""
    second = work.steps[-1].task
    value = entry.value
    receipts = [value] if isinstance(value, Receipt) else value if isinstance(value, list | tuple) else []
    if (
        not isinstance(second, Confirming)
        or not receipts
        or not all(isinstance(each, Receipt) for each in receipts)
    ):
        return True
    try:
        return all(second.confirms(each) for each in receipts)
    except StorageError as error:
        text = "task %s: its destination cannot be asked whether it still holds what the cache says, so the work is done again: %s"
        warn_once((work.run_id, work.name, "confirms"), text, work.name, error)
        return False


def _check_size(result: Any, work: Work) -> None:
    """The payload must not sneak into the cache either; a pair's result was looked at already."""
    if work.allow_large or len(work.steps) > 1:
        return
    size = pickled_size(result)
    if size <= WARN_BYTES:
        return
    said = format_size(size) if size <= FAIL_BYTES else f"more than {format_size(FAIL_BYTES)}"
    text = f"the result of task {work.name!r}, which its cache shall keep, takes {said}"
    hint = "return a receipt or a key, or say allow_large_result=True"
    if size > FAIL_BYTES:
        raise CompositionError(text, operation="cache", hint=hint)
    warnings.warn(f"{text}; {hint}", LargeResultWarning, stacklevel=2)


def cache_of(given: Any) -> Cache | None:
    """A cache from what an option says: one, a URL or path, ``True`` for the user's cache directory, or nothing.

    Raises:
        ConfigError: It is something else.
    """
    if given is None or given is False:
        return None
    if isinstance(given, Cache):
        return given
    if given is True:
        import platformdirs

        return Cache(f"{platformdirs.user_cache_dir('crossdock')}/results")
    if isinstance(given, str | os.PathLike):
        return Cache(given)
    raise ConfigError(
        f"cache takes xd.Cache(...), a URL, a path or True, not {type(given).__name__}", operation="cache"
    )


def _place(given: Any) -> str:
    """The URL as text; a path becomes absolute, because a worker stands elsewhere."""
    if not isinstance(given, str | os.PathLike) or not str(given):
        raise ConfigError(f"a cache is at a URL or a path, not {given!r}", operation="cache")
    text = str(given)
    if _PASSWORD_IN_URL.search(text):
        raise ConfigError(
            "the cache's URL holds a password",
            operation="cache",
            hint='give it as a reference: xd.Cache(url, options={"password": "env:NAME"})',
        )
    return text if "://" in text else str(Path(text).expanduser().absolute())


def _seconds(given: Any) -> float | None:
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        raise ConfigError(
            f"expires takes seconds or a timedelta above 0, not {given!r}",
            operation="cache",
            hint="refresh=True ignores what is kept",
        )
    return float(seconds)


def _rebuild(
    url: str,
    expires: float | None,
    refresh: bool,
    version: str,
    key: Callable[[Mapping[str, Any]], Any] | None,
    options: dict[str, Any],
) -> Cache:
    return Cache(url, expires=expires, refresh=refresh, version=version, key=key, options=options)
