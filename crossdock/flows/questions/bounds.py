"""Bounds of size and age, from what a user wrote to a limit that judges a value. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from crossdock.errors import ConfigError
from crossdock.model import ObjectInfo
from crossdock.options import format_size, parse_age, parse_size

__all__ = ["NO_BOUNDS", "Age", "Bounds", "Size", "age_text", "bounds_of", "size_bytes"]

Size = int | str | None
"""Bytes, or text such as ``10MiB``."""

Age = timedelta | datetime | str | None
"""How long ago, or since when: text such as ``7d`` or ``2026-01-31``. A time without a zone is UTC."""


@dataclass(frozen=True, slots=True)
class _Limit:
    text: str  # as it was written
    value: float  # bytes, or seconds since 1970
    is_least: bool

    def rejects(self, value: float | None) -> bool:
        """Whether a value is on the wrong side. The limit itself is on the right one; what is not known is not."""
        if value is None:
            return True
        return value < self.value if self.is_least else value > self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Limits of size and time, all of which an object must keep."""

    sizes: tuple[_Limit, ...] = ()
    times: tuple[_Limit, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.sizes or self.times)

    def broken_by(self, info: ObjectInfo | None) -> str | None:
        """The limit that an object does not keep, and what it is instead, in words; ``None`` if it keeps them all.

        What is not known of an object is within no limit.
        """
        size = None if info is None else info.size
        for limit in self.sizes:
            if limit.rejects(size):
                found = "its size is not known" if size is None else f"it has {format_size(size)}"
                return f"{limit.text}: {found}"
        changed = None if info is None else info.modified
        for limit in self.times:
            if limit.rejects(None if changed is None else changed.timestamp()):
                found = (
                    "when it changed is not known"
                    if changed is None
                    else f"changed {changed:%Y-%m-%dT%H:%M:%SZ}"
                )
                return f"{limit.text}: {found}"
        return None


NO_BOUNDS = Bounds()


def bounds_of(
    *,
    min_size: Size = None,
    max_size: Size = None,
    min_age: Age = None,
    max_age: Age = None,
    now: datetime | None = None,
) -> Bounds:
    """Bounds from what a user wrote; ``compile_filters`` says what they mean.

    Raises:
        ConfigError: A size or an age cannot be read, or nothing can be within both of two bounds.
    """
    present = now or datetime.now(UTC)
    sizes = (
        _size_limit("min size", min_size, is_least=True),
        _size_limit("max size", max_size, is_least=False),
    )
    times = (
        _time_limit("min age", min_age, present, is_least=False),
        _time_limit("max age", max_age, present, is_least=True),
    )
    return Bounds(sizes=_possible(sizes), times=_possible(times))


def size_bytes(given: Size, name: str = "size", *, operation: str = "filter") -> int | None:
    """A bound of size as bytes.

    Raises:
        ConfigError: It cannot be read, or is negative.
    """
    if given is None:
        return None
    try:
        size = parse_size(given) if isinstance(given, str) else int(given)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}", operation=operation) from None
    if size < 0:
        raise ConfigError(f"{name}: {size} is negative", operation=operation)
    return size


def age_text(given: Age) -> str | None:
    """A bound of age as it would be written: what a run keeps of it."""
    if isinstance(given, timedelta):
        return f"{given.total_seconds():g}s"
    if isinstance(given, datetime):
        return _zoned(given).isoformat()
    return given


def _size_limit(name: str, given: Size, *, is_least: bool) -> _Limit | None:
    size = size_bytes(given, name)
    return None if size is None else _Limit(f"{name} {given}", size, is_least)


def _time_limit(name: str, given: Age, now: datetime, *, is_least: bool) -> _Limit | None:
    if given is None:
        return None
    return _Limit(f"{name} {age_text(given)}", _instant(name, given, now).timestamp(), is_least)


def _instant(name: str, given: timedelta | datetime | str, now: datetime) -> datetime:
    if isinstance(given, datetime):
        return _zoned(given)
    try:
        if isinstance(given, timedelta):
            return now - given
        is_date = given[:4].isdecimal() and "-" in given
        return _zoned(datetime.fromisoformat(given)) if is_date else now - parse_age(given)
    except (ValueError, OverflowError) as error:
        hint = "write a length of time such as 30m, 12h or 7d, or a date such as 2026-01-31 or 2026-01-31T12:00:00Z"
        raise ConfigError(f"{name}: {error}", operation="filter", hint=hint) from None


def _zoned(time: datetime) -> datetime:
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _possible(limits: tuple[_Limit | None, ...]) -> tuple[_Limit, ...]:
    given = tuple(limit for limit in limits if limit is not None)
    least = next((limit for limit in given if limit.is_least), None)
    most = next((limit for limit in given if not limit.is_least), None)
    if least is not None and most is not None and least.value > most.value:
        raise ConfigError(f"{most.text} and {least.text} leave nothing between them", operation="filter")
    return given
