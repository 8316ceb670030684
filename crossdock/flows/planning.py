"""What a run shall do with each object: a pure function over two listings in key order.

Nothing is asked of a store here: the destination is looked into through a function, refusals are a store's pure answer.
Every object that passes the filters becomes exactly one row: to copy, to compare, to skip with evidence, or refused.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from crossdock.errors import ConfigError
from crossdock.flows.filters import NO_FILTERS, Filters
from crossdock.model import Digests, ObjectInfo, Version

__all__ = ["OVERWRITES", "Action", "Row", "Rules", "compare", "plan_objects", "same_bytes"]

OVERWRITES = ("if-different", "always", "never")


class Action(enum.Enum):
    """What happens to one object."""

    COPY = "copy"
    COMPARE = (
        "compare"  # the listings cannot tell: a worker compares digests first, and copies if they differ
    )
    SKIP = "skip"
    REFUSE = "refuse"  # the destination cannot hold it: a failure known before any byte moves


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a manifest.

    ``name`` is the key below the source's prefix, ``observed`` the destination's version as listed (``None`` if nothing
    was there), ``number`` the position in the manifest, from 0, once it is written.
    """

    source: ObjectInfo
    name: str
    destination: str
    action: Action
    reason: str
    observed: Version | None = None
    number: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Everything a plan depends on besides the listings.

    Args:
        source_prefix: Full-key prefix of the source; what is below it keeps its name.
        destination_prefix: Goes before that name.
        filters: Which names are taken.
        overwrite: ``if-different``, ``always`` or ``never``.
        refusal: ``ObjectStore.refusal`` of the destination.
        exact: For a source of exactly one object: its destination key, instead of prefix and name.
    """

    source_prefix: str = ""
    destination_prefix: str = ""
    filters: Filters = NO_FILTERS
    overwrite: str = "if-different"
    refusal: Callable[[str, int | None], str | None] = lambda _key, _size: None
    exact: str | None = None

    def __post_init__(self) -> None:
        if self.overwrite not in OVERWRITES:
            raise ConfigError(
                f"overwrite is {', '.join(OVERWRITES[:-1])} or {OVERWRITES[-1]}, not {self.overwrite!r}",
                operation="plan",
            )


def plan_objects(
    pages: Iterable[Sequence[ObjectInfo]], find: Callable[[str], ObjectInfo | None], rules: Rules
) -> Iterator[Row]:
    """Decide for each object, in key order, lazily; memory is a page of each listing.

    Destination keys grow as source keys do, because both are a plain prefix before the same name: so this is a sorted
    merge, and no two objects meet at one destination.

    Args:
        pages: The source's listing, in key order, below ``rules.source_prefix``.
        find: What is at a destination key; asked in growing order (``listing.Ahead.find``).
        rules: Mapping, filters, comparison.
    """
    for page in pages:
        for info in page:
            name = info.key[len(rules.source_prefix) :]
            if rules.filters.decide(name).taken:
                yield _row(info, name, find, rules)


def _row(info: ObjectInfo, name: str, find: Callable[[str], ObjectInfo | None], rules: Rules) -> Row:
    destination = rules.destination_prefix + name if rules.exact is None else rules.exact
    if not destination and not info.size:
        # The marker of the source prefix itself: at the root of a bucket it has no name, and it holds nothing.
        reason = "the empty marker of the source prefix itself"
        return Row(source=info, name=name, destination="", action=Action.SKIP, reason=reason)
    refusal = rules.refusal(destination, info.size)
    if refusal is not None:
        return Row(source=info, name=name, destination=destination, action=Action.REFUSE, reason=refusal)
    existing = find(destination)
    action, reason = compare(info, existing, rules.overwrite)
    observed = None if existing is None else existing.version
    return Row(
        source=info, name=name, destination=destination, action=action, reason=reason, observed=observed
    )


def compare(
    source: ObjectInfo, existing: ObjectInfo | None, overwrite: str, *, asked: bool = False
) -> tuple[Action, str]:
    """Whether one object needs copying, and the evidence in words.

    Digests decide where both sides publish one in common. Otherwise equal sizes and a destination that is not older
    count as the same; where the clocks' resolution leaves that open, the bytes are to be compared. The same where all
    that differs is an MD5 that a listing took from an ETag, because encryption makes ETags that only look like one.

    Args:
        source: The source object.
        existing: What is at the destination.
        overwrite: ``if-different``, ``always`` or ``never``.
        asked: Both were asked for (``stat``), so that an MD5 is one.
    """
    if existing is None:
        return Action.COPY, "absent"
    if overwrite == "never":
        return Action.SKIP, "exists"
    if overwrite == "always":
        return Action.COPY, "overwrite"
    if source.size is not None and existing.size is not None and source.size != existing.size:
        return Action.COPY, "size differs"
    verdict, digest = same_bytes(source.digests, existing.digests)
    if verdict is True:
        return Action.SKIP, f"same {digest}"
    if verdict is False:
        if not asked and digest == "md5" and _rests_on_an_etag(source, existing):
            return Action.COMPARE, "md5 differs, if the ETag is one"
        return Action.COPY, f"{digest} differs"
    if source.size is None or existing.size is None:
        return Action.COPY, "size unknown"
    return _by_time(source.modified, existing.modified)


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
