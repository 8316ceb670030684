"""Whether one object needs copying, and by what evidence: decision tables over two infos. Pure.

What two listings say is looked at first; where that leaves it open a worker asks, with the same tables.
"""

from __future__ import annotations

import enum
from datetime import datetime, timedelta

from crossdock.errors import ConfigError
from crossdock.model import Digests, ObjectInfo

__all__ = [
    "COMPARES",
    "IS_ARCHIVED",
    "OVERWRITES",
    "TWO_MEET",
    "Action",
    "compare",
    "demand_known",
    "same_bytes",
]

OVERWRITES = ("if-different", "always", "never")
COMPARES = ("auto", "checksum", "size-mtime", "size")

IS_ARCHIVED = "the object is archived"
TWO_MEET = "another object gets this destination key, too"
"""How the reasons of two classes of refusals begin."""


class Action(enum.Enum):
    """What happens to one object."""

    COPY = "copy"
    COMPARE = (
        "compare"  # the listings cannot tell: a worker compares digests first, and copies if they differ
    )
    SKIP = "skip"
    REFUSE = "refuse"  # it cannot be copied: a failure known before any byte moves


def demand_known(overwrite: str, mode: str) -> None:
    """Refuse words that are not in the tables.

    Raises:
        ConfigError: One is not; the text names those that are.
    """
    for name, given, known in (("overwrite", overwrite, OVERWRITES), ("compare", mode, COMPARES)):
        if given not in known:
            hint = "there is no comparison by name only: it loses updates" if name == "compare" else ""
            raise ConfigError(
                f"{name} is {', '.join(known[:-1])} or {known[-1]}, not {given!r}",
                operation="plan",
                hint=hint,
            )


def compare(
    source: ObjectInfo,
    existing: ObjectInfo | None,
    overwrite: str,
    *,
    mode: str = "auto",
    asked: bool = False,
) -> tuple[Action, str]:
    """Whether one object needs copying, and the evidence in words.

    ``auto``: digests decide where both sides publish one in common. Otherwise equal sizes and a destination that is not
    older count as the same; where the clocks' resolution leaves that open, the bytes are to be compared. The same where
    all that differs is an MD5 that a listing took from an ETag, because encryption makes ETags that only look like one.
    ``checksum``: digests alone decide; where there is none in common, the bytes are to be compared. ``size-mtime``: size
    and time, whatever the digests say. ``size``: sizes alone.

    Args:
        source: The source object.
        existing: What is at the destination.
        overwrite: ``if-different``, ``always`` or ``never``.
        mode: How to compare: one of ``COMPARES``.
        asked: Both were asked for (``stat``), so that an MD5 is one.
    """
    if existing is None:
        return Action.COPY, "absent"
    if overwrite == "never":
        return Action.SKIP, "exists"
    if overwrite == "always":
        return Action.COPY, "overwrite"
    unknown = source.size is None or existing.size is None
    if not unknown and source.size != existing.size:
        return Action.COPY, "size differs"
    if mode == "size":
        return (Action.COPY, "size unknown") if unknown else (Action.SKIP, "same size")
    if mode != "size-mtime":
        decided = _by_digest(source, existing, asked=asked)
        if decided is not None:
            return decided
        if mode == "checksum":
            return Action.COMPARE, "no digest in common"
    if unknown:
        return Action.COPY, "size unknown"
    return _by_time(source.modified, existing.modified)


def _by_digest(source: ObjectInfo, existing: ObjectInfo, *, asked: bool) -> tuple[Action, str] | None:
    verdict, digest = same_bytes(source.digests, existing.digests)
    if verdict is True:
        return Action.SKIP, f"same {digest}"
    if verdict is False:
        if not asked and digest == "md5" and _rests_on_an_etag(source, existing):
            return Action.COMPARE, "md5 differs, if the ETag is one"
        return Action.COPY, f"{digest} differs"
    return None


def same_bytes(one: Digests, other: Digests) -> tuple[bool | None, str]:
    """Whether two sets of digests prove equal or different bytes, and by which; ``None`` if they prove neither.

    Unequal multipart ETags prove nothing: they depend on the sizes of the parts.
    """
    mine, theirs = one.as_dict(), other.as_dict()
    common = one.common(other)
    for name in common:
        if name != "multipart_etag" and mine[name] != theirs[name]:
            return False, name
    for name in common:
        if mine[name] == theirs[name]:
            return True, name
    return None, ""


def _rests_on_an_etag(source: ObjectInfo, existing: ObjectInfo) -> bool:
    """Whether nothing but MD5s differ, and one of them is no more than the ETag."""
    if source.digests.common(existing.digests) != ("md5",):
        return False
    md5s = ((info.digests.md5 or b"").hex() == info.version.etag for info in (source, existing))
    return any(md5s)


def _by_time(source: datetime | None, existing: datetime | None) -> tuple[Action, str]:
    if source is None or existing is None:
        return Action.COMPARE, "same size, no times to compare"
    if existing >= source + _resolution(source):
        return Action.SKIP, "same size, destination not older"
    if existing + _resolution(existing) <= source:
        return Action.COPY, "source newer"
    return Action.COMPARE, "same size, times too close to tell"


def _resolution(time: datetime) -> timedelta:
    """How far the true time may lie after the one listed: S3 cuts to seconds, GCS to milliseconds."""
    if time.microsecond == 0:
        return timedelta(seconds=1)
    return timedelta(milliseconds=1) if time.microsecond % 1000 == 0 else timedelta(0)
