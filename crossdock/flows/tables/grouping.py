"""Which objects become one: neighbours in key order below one prefix, cut at places that stay where they are. Pure.

Where a group ends is decided by a hash of its last key once it is large enough, not by counting from the beginning: an object
that comes, goes or grows changes its own group and perhaps the next, and the groups behind are what they were. So a run over
yesterday's objects and some new ones writes again only what the new ones are in. (The idea is content-defined chunking.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from crossdock.model import MIB

__all__ = ["MOST_OBJECTS", "Member", "batch_name", "group_name", "grouped"]

MOST_OBJECTS = 10_000
"""In one group, however small they are: a unit of work that a killed worker may have to begin again."""

_UNKNOWN_BYTES = MIB  # what an object of unknown size counts for
_HASHED = 8


class Member(NamedTuple):
    """One object to be put with others: its key below the source's prefix, and its size if that is known."""

    name: str
    size: int | None


def grouped(members: Iterable[Member], target_bytes: int) -> Iterator[Sequence[Member]]:
    """Cut a listing into groups of about ``target_bytes``, lazily, in order; memory: one group.

    Sizes are between half and one and a half of the target where there are enough objects below a prefix; an object larger
    than that is alone. Objects of different prefixes (up to the last ``/``) are never together, and those of one prefix only if
    no other prefix comes between them.

    Args:
        members: In key order.
        target_bytes: Of the source's objects, as stored.
    """
    held: list[Member] = []
    held_bytes = 0
    least, most = target_bytes // 2, target_bytes + target_bytes // 2
    for member in members:
        size = _UNKNOWN_BYTES if member.size is None else member.size
        if held and (
            _prefix(member.name) != _prefix(held[-1].name)
            or held_bytes + size > most
            or len(held) == MOST_OBJECTS
        ):
            yield held
            held, held_bytes = [], 0
        held.append(member)
        held_bytes += size
        if held_bytes >= least and _ends(member.name, size, target_bytes):
            yield held
            held, held_bytes = [], 0
    if held:
        yield held


def group_name(first: str) -> str:
    """What a group is called, below the prefix of its objects: told by its first key, so that it is the same in every run."""
    return f"{_prefix(first)}part-{_digest(first).hex()}"


def batch_name(first: str) -> str:
    """The same for a batch of a dataset, whose rows go to the prefixes of their partitions."""
    return _digest(first).hex()


def _prefix(name: str) -> str:
    return name[: name.rfind("/") + 1]


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=_HASHED).digest()


def _ends(name: str, size: int, target_bytes: int) -> bool:
    """Whether a group that is large enough ends here: on average after another half of the target."""
    chance = min(1.0, 2 * size / target_bytes) if target_bytes else 1.0
    # Not the digest that names groups: whether a key is a group's last tells nothing about its name.
    drawn = int.from_bytes(_digest(f"end of a group: {name}")) / (1 << (8 * _HASHED))
    return drawn < chance
