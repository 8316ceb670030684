"""What a run shall do with each object: a pure function over two listings in key order.

Nothing is asked of a store here: the destination is looked into through a function, refusals are a store's pure answer.
Every object that passes the filters becomes exactly one row: to copy, to compare, to skip with evidence, or refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from crossdock.errors import ConfigError
from crossdock.flows.listing.spilling import Candidate, by_destination
from crossdock.flows.planning.apart import told_apart
from crossdock.flows.planning.deciding import (
    COMPARES,
    IS_ARCHIVED,
    OVERWRITES,
    TWO_MEET,
    Action,
    compare,
    demand_known,
    same_bytes,
)
from crossdock.flows.questions.filters import NO_FILTERS, Filters
from crossdock.flows.questions.mapping import Rename
from crossdock.flows.questions.missing import Missing
from crossdock.model import ObjectInfo, Version

__all__ = [
    "ARCHIVED",
    "COMPARES",
    "OVERWRITES",
    "Action",
    "Row",
    "Rules",
    "compare",
    "plan_objects",
    "same_bytes",
]

ARCHIVED = frozenset({"GLACIER", "DEEP_ARCHIVE", "Archive"})
"""Storage classes whose objects cannot be read before they are restored: S3's, and Azure's tier.

GCS's ARCHIVE (in capitals) and S3's GLACIER_IR are read at once. A listing does not say that a restored copy exists:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects.html
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a manifest.

    ``name`` is the key below the source's prefix, ``observed`` the destination's version as listed (``None`` if nothing
    was there), ``number`` the position in the manifest, from 0, once it is written. ``compare`` is by what a worker is
    to decide where the listings could not.
    """

    source: ObjectInfo
    name: str
    destination: str
    action: Action
    reason: str
    observed: Version | None = None
    compare: str = "auto"
    number: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Everything a plan depends on besides the listings.

    Args:
        source_prefix: Full-key prefix of the source; what is below it keeps its name.
        destination_prefix: Goes before that name.
        filters: Which objects are taken.
        overwrite: ``if-different``, ``always`` or ``never``.
        compare: How to find out what is different: one of ``COMPARES``.
        refusal: ``ObjectStore.refusal`` of the destination.
        exact: For a source of exactly one object: its destination key, instead of prefix and name.
        rename: What becomes of each name before the prefix goes before it.
        folds: What of keys the destination does not tell apart: ``Capabilities.folds``.
        try_archived: Plan archived objects like others, because they may have been restored.
    """

    source_prefix: str = ""
    destination_prefix: str = ""
    filters: Filters = NO_FILTERS
    overwrite: str = "if-different"
    compare: str = "auto"
    refusal: Callable[[str, int | None], str | None] = lambda _key, _size: None
    exact: str | None = None
    rename: Rename | None = None
    folds: frozenset[str] = frozenset()
    try_archived: bool = False

    def __post_init__(self) -> None:
        demand_known(self.overwrite, self.compare)
        if self.rename is not None and self.exact is not None:
            raise ConfigError(
                "a rename is for what is below a prefix, and the source is one object",
                operation="plan",
                hint="write the new key as destination",
            )


def plan_objects(
    pages: Iterable[Sequence[ObjectInfo]], find: Callable[[str], ObjectInfo | None], rules: Rules
) -> Iterator[Row]:
    """Decide for each object, lazily, in the order of destination keys.

    Without a rename destination keys grow as source keys do, because both are a plain prefix before the same name: so
    this is a sorted merge in the order of the listing, no two objects meet at one destination, and memory is a page of
    each listing. With one, objects are sorted first (``by_destination``), in bounded memory and temporary files; those
    that the rename cannot name come before the others. The same for a destination that does not tell all keys apart. Two or more
    that meet at one destination are refused, all.

    Args:
        pages: The source's listing, in key order, below ``rules.source_prefix``.
        find: What is at a destination key; asked in growing order (``listing.Ahead.find``).
        rules: Mapping, filters, comparison.
    """
    taken = _taken(pages, rules)
    if rules.rename is None:
        for candidate in told_apart(taken, rules.folds) if rules.folds else taken:
            yield _row(candidate, find, rules)
    else:
        yield from _renamed(taken, rules.rename, find, rules)


def _taken(pages: Iterable[Sequence[ObjectInfo]], rules: Rules) -> Iterator[Candidate]:
    cut = len(rules.source_prefix)
    for page in pages:
        for info in page:
            name = info.key[cut:]
            # A name that was given and is not there has neither size nor age, and is no less missing for that.
            known = None if isinstance(info, Missing) else info
            verdict = (
                rules.filters.decide_by_name(name) if known is None else rules.filters.decide(name, known)
            )
            if verdict.taken:
                yield Candidate(
                    info, name, rules.destination_prefix + name if rules.exact is None else rules.exact
                )


def _renamed(
    taken: Iterable[Candidate], rename: Rename, find: Callable[[str], ObjectInfo | None], rules: Rules
) -> Iterator[Row]:
    def named() -> Iterator[Candidate]:
        for info, name, plain, _ in taken:
            if not name:  # the marker of the source prefix itself: it has no name to change
                yield Candidate(info, name, plain)
                continue
            new, why_not = rename.apply(name)
            yield Candidate(info, name, "" if why_not else rules.destination_prefix + new)

    before: Candidate | None = None
    ahead = told_apart(named(), rules.folds) if rules.folds else by_destination(named())
    candidate = next(ahead, None)
    while candidate is not None:
        after = next(ahead, None)
        other = next(
            (each for each in (before, after) if each and each.destination == candidate.destination), None
        )
        if candidate.name and not candidate.destination:
            yield _refused(candidate, rename.apply(candidate.name)[1] or "the rename fails for this key")
        elif other is not None and candidate.destination:
            yield _refused(candidate, f"{TWO_MEET}: {other.info.key!r}")
        else:
            yield _row(candidate, find, rules)
        before, candidate = candidate, after


def _refused(candidate: Candidate, reason: str) -> Row:
    return Row(
        source=candidate.info,
        name=candidate.name,
        destination=candidate.destination,
        action=Action.REFUSE,
        reason=reason,
    )


def _row(candidate: Candidate, find: Callable[[str], ObjectInfo | None], rules: Rules) -> Row:
    info, name, destination, met = candidate
    if isinstance(info, Missing):
        return _refused(candidate, info.why)
    if met:
        return _refused(candidate, met)
    if not destination and not info.size:
        # The marker of the source prefix itself: at the root of a bucket it has no name, and it holds nothing.
        reason = "the empty marker of the source prefix itself"
        return Row(source=info, name=name, destination="", action=Action.SKIP, reason=reason)
    refusal = rules.refusal(destination, info.size)
    if refusal is not None:
        return _refused(candidate, refusal)
    existing = find(destination)
    action, reason = compare(info, existing, rules.overwrite, mode=rules.compare)
    if action is Action.COPY and info.storage_class in ARCHIVED and not rules.try_archived:
        # One that is only to be compared stays: its digests can be asked for, and most often that decides.
        return _refused(
            candidate,
            f"{IS_ARCHIVED} ({info.storage_class}) and cannot be read before it is restored",
        )
    return Row(
        source=info,
        name=name,
        destination=destination,
        action=action,
        reason=reason,
        observed=None if existing is None else existing.version,
        compare=rules.compare,
    )
