"""What ends a run early because the user said so: failures, bytes, time. Pure; a run that a limit ended can be resumed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from crossdock.errors import ConfigError
from crossdock.flows.questions.bounds import Size, size_bytes
from crossdock.options import parse_age

__all__ = ["NO_LIMITS", "Deadline", "LimitReachedError", "Limits", "limits_of"]


class LimitReachedError(Exception):
    """A drive stops: a limit its user set is reached. Never leaves the flows: the run's state says so."""


Deadline = timedelta | datetime | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Where a run stops beginning anything new; what is under way then comes to its end.

    Attributes:
        max_errors: How many objects may fail.
        max_bytes: After so many bytes copied by this drive.
        deadline: At this moment.
    """

    max_errors: int | None = None
    max_bytes: int | None = None
    deadline: datetime | None = None

    def reached(self, *, failed: int, copied_bytes: int, now: datetime) -> str | None:
        """Which one is reached, in words; ``None`` if none is."""
        if self.max_errors is not None and failed > self.max_errors:
            return f"{failed} objects failed, and max_errors is {self.max_errors}"
        if self.max_bytes is not None and copied_bytes >= self.max_bytes:
            return f"{copied_bytes} bytes are copied, and max_bytes is {self.max_bytes}"
        if self.deadline is not None and now >= self.deadline:
            return f"the deadline {self.deadline:%Y-%m-%dT%H:%M:%SZ} has passed"
        return None


NO_LIMITS = Limits()


def limits_of(
    *,
    max_errors: int | None = None,
    max_bytes: Size = None,
    deadline: Deadline = None,
    now: datetime | None = None,
) -> Limits:
    """Limits from what a user wrote.

    Args:
        max_errors: 0 or more.
        max_bytes: Bytes, or text such as ``10GiB``.
        deadline: A length of time from now (``2h``, ``90m``) or a moment (``2026-01-31T06:00:00Z``; without a zone: UTC).
        now: Instead of the clock.

    Raises:
        ConfigError: One makes no sense, or the deadline is not after now.
    """
    if max_errors is not None and max_errors < 0:
        raise ConfigError(f"max errors is 0 or more, not {max_errors}", operation="migrate")
    present = now or datetime.now(UTC)
    return Limits(
        max_errors=max_errors,
        max_bytes=size_bytes(max_bytes, "max bytes", operation="migrate"),
        deadline=_moment(deadline, present),
    )


def _moment(given: Deadline, now: datetime) -> datetime | None:
    if given is None:
        return None
    try:
        if isinstance(given, timedelta):
            moment = now + given
        elif isinstance(given, datetime):
            moment = given
        elif given[:4].isdecimal() and "-" in given:
            moment = datetime.fromisoformat(given)
        else:
            moment = now + parse_age(given)
    except (ValueError, OverflowError) as error:
        hint = "write a length of time such as 90m or 2h, or a moment such as 2026-01-31T06:00:00Z"
        raise ConfigError(f"deadline: {error}", operation="migrate", hint=hint) from None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    if moment <= now:
        raise ConfigError(f"the deadline {given} has passed already", operation="migrate")
    return moment
