"""Where a listing will be some pages further on: a guess from the keys seen so far. Pure, and allowed to be wrong.

A key is read as a number whose digits are its characters: each position has an alphabet of its own, the characters seen
there, completed where they are plainly digits, hexadecimal digits or letters. Adding what a page advances, as often as
wanted, gives a key that far ahead: ``obj-0003999`` becomes ``obj-0027999``; a position that never changes (a ``/``)
passes the carry on, so ``host-01/9999`` becomes ``host-03/3999``. A wrong guess costs a request, never a key.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

__all__ = ["Scale"]

_DEPTH = 6  # characters looked at beyond the first that differs: 16**6 steps between two neighbouring pages
_LONGEST = 256  # what lies behind it in a key says nothing about distance
_CYCLES = 3  # a place left of this one has shown so many characters: this one has shown all it has
_MEMORY_PAGES = 64  # remembered are between so many and twice as many
_HEX = frozenset("abcdefABCDEF")


@dataclass(slots=True)
class Scale:
    """Keys below one prefix as numbers; learns from keys it is shown. Not thread-safe.

    Memory: a set of characters for each of the first 256 positions.
    """

    prefix: str
    _seen: list[set[str]] = field(default_factory=list)
    _older: list[set[str]] = field(default_factory=list)
    _shown: int = 0
    _alphabets: dict[int, str] = field(default_factory=dict)

    def learn(self, keys: Iterable[str]) -> None:
        """Remember which characters stand where, here: what was seen long ago may be another part of a tree."""
        if self._shown >= _MEMORY_PAGES:
            self._older, self._seen, self._shown = self._seen, [], 0
            self._alphabets.clear()
        self._shown += 1
        start = len(self.prefix)
        for key in keys:
            tail = key[start : start + _LONGEST]
            while len(self._seen) < len(tail):
                self._seen.append(set())
            for position, char in enumerate(tail):
                if char not in self._seen[position]:
                    self._seen[position].add(char)
                    self._alphabets.clear()

    def ahead(self, first: str, last: str, times: float) -> str | None:
        """A key about ``times`` the way from ``first`` to ``last`` beyond ``last``; ``None`` if nothing can be said.

        The answer is greater than ``last``, starts with the prefix, and has no control characters (which not every
        service takes as a place to start).
        """
        depth = self._depth(first, last)
        if depth is None:
            return None
        at = self._number(last, depth)
        step = max(1, int((at - self._number(first, depth)) * times))
        guess = self._text(at + step, depth)
        if guess is None:
            return None
        guess = self.prefix + guess
        return guess if guess > last and guess.isprintable() else None

    def times(self, first: str, last: str, end: str) -> float | None:
        """How often the way from ``first`` to ``last`` fits between ``last`` and ``end``; ``None`` if unknown."""
        depth = self._depth(first, last)
        if depth is None or end <= last:
            return None
        at = self._number(last, depth)
        return (self._number(end, depth) - at) / max(1, at - self._number(first, depth))

    def _depth(self, first: str, last: str) -> int | None:
        """How many characters below the prefix are looked at; ``None`` if the two differ too late."""
        start = len(self.prefix)
        one, other = first[start : start + _LONGEST], last[start : start + _LONGEST]
        common = next(
            (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
            min(len(one), len(other)),
        )
        if one == other:
            return None
        return min(common + _DEPTH, _LONGEST)

    def _number(self, key: str, depth: int) -> int:
        tail = key[len(self.prefix) :]
        number = 0
        for position in range(depth):
            alphabet = self._alphabet(position)
            number *= max(1, len(alphabet))
            if position < len(tail):
                number += _rank(alphabet, tail[position])
        return number

    def _text(self, number: int, depth: int) -> str | None:
        chars: list[str] = []
        for position in reversed(range(depth)):
            alphabet = self._alphabet(position)
            if not alphabet:
                continue
            number, digit = divmod(number, len(alphabet))
            chars.append(alphabet[digit])
        return None if number else "".join(reversed(chars))

    def _at(self, position: int) -> set[str]:
        both = (each[position] for each in (self._seen, self._older) if position < len(each))
        return set().union(*both)

    def _alphabet(self, position: int) -> str:
        known = self._alphabets.get(position)
        if known is None:
            seen = self._at(position)
            cycled = any(len(self._at(left)) >= _CYCLES for left in range(position))
            known = "".join(sorted(seen if cycled else _completed(seen)))
            self._alphabets[position] = known
        return known


def _rank(alphabet: Sequence[str], char: str) -> int:
    """The place of the last character that is not greater; an unknown one counts as its neighbour below."""
    rank = 0
    for place, each in enumerate(alphabet):
        if each > char:
            break
        rank = place
    return rank


def _completed(seen: set[str]) -> set[str]:
    """What may also stand where these stood: counters and hashes show some of their digits first."""
    full = set(seen)
    digits = not seen.isdisjoint(string.digits)
    if digits:
        full.update(string.digits)
    for letters, hexadecimal in (
        (string.ascii_lowercase, string.ascii_lowercase[:6]),
        (string.ascii_uppercase, string.ascii_uppercase[:6]),
    ):
        found = seen.intersection(letters)
        if found:
            full.update(hexadecimal if digits and found <= _HEX else letters)
    return full
