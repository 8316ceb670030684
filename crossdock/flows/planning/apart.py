"""Keys that the destination cannot tell apart: found by sorting what is taken by the form the destination sees.

Only for destinations that fold keys, which is a capability of theirs; no other plan pays for it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator

from crossdock.flows.listing.spilling import Candidate, by_destination
from crossdock.flows.planning.deciding import TWO_MEET
from crossdock.flows.questions.missing import Missing
from crossdock.ports import CASE, NORMALIZATION

__all__ = ["fold", "told_apart"]


def fold(key: str, folds: frozenset[str]) -> str:
    """The form of a key that a store of this capability sees.

    As coarse as Unicode's full case folding, which is coarser than some file systems: to refuse a pair that would have fitted
    is harmless, to overwrite one of a pair that does not is not.
    """
    if NORMALIZATION in folds:
        key = unicodedata.normalize("NFD", key)
    if CASE in folds:
        key = key.casefold()
    return unicodedata.normalize("NFD", key) if NORMALIZATION in folds else key


def told_apart(candidates: Iterable[Candidate], folds: frozenset[str]) -> Iterator[Candidate]:
    """The same candidates in order of their destinations; those that meet another in folded form are marked with why.

    Sorted twice, by ``by_destination``: its memory and its temporary files, twice.
    """
    folded = by_destination(candidates, order=lambda each: (fold(each.destination, folds), each.destination))
    return by_destination(_marked(folded, lambda each: fold(each.destination, folds)))


def _marked(candidates: Iterator[Candidate], form: Callable[[Candidate], str]) -> Iterator[Candidate]:
    """Candidates in order of their forms; each that has a neighbour of the same form is marked."""
    before: Candidate | None = None  # the latest that counts
    waiting: Candidate | None = None
    for candidate in candidates:
        if isinstance(candidate.info, Missing) or not candidate.destination:
            yield candidate  # nothing of it gets to the destination
            continue
        if waiting is not None:
            yield _beside(waiting, before, candidate, form)
            before = waiting
        waiting = candidate
    if waiting is not None:
        yield _beside(waiting, before, None, form)


def _beside(
    candidate: Candidate, before: Candidate | None, after: Candidate | None, form: Callable[[Candidate], str]
) -> Candidate:
    mine = form(candidate)
    for other in (before, after):
        if other is not None and form(other) == mine:
            return candidate._replace(refusal=f"{TWO_MEET}{_how(candidate, other)}: {other.info.key!r}")
    return candidate


def _how(one: Candidate, other: Candidate) -> str:
    if one.destination == other.destination:
        return ""
    same_letters = unicodedata.normalize("NFC", one.destination) == unicodedata.normalize(
        "NFC", other.destination
    )
    what = "by how accents are written" if same_letters else "by case"
    return f" (keys that differ only {what} are one there)"
