r"""Which destination key an object gets, where that is not simply the source's: rules such as ``s/^raw-//``. Pure.

A rule is ``s`` and three times the same delimiter: ``s/PATTERN/REPLACEMENT/FLAGS``, as sed writes it, with the regular
expressions of Python: groups are ``\1`` or ``\g<name>``. Without ``g`` only the first match is replaced; ``i`` ignores
case. Rules work on the key below the source's prefix, one after the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from crossdock.combine.caching.fingerprint import fingerprint
from crossdock.errors import ConfigError

__all__ = ["Given", "Rename", "rename_of"]

Given = str | Callable[[str], str] | Iterable["str | Callable[[str], str]"]
"""What users write: a rule, a function from key to key, or several of them."""

_FLAGS = {"g": 0, "i": re.IGNORECASE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rename:
    """Compiled rules, in order. ``texts`` tells two of them apart, and is what a run keeps.

    Two keys may come out as one: that is for whoever sorts them to find.
    """

    texts: tuple[str, ...]
    steps: tuple[Callable[[str], str], ...]

    def apply(self, name: str) -> tuple[str, str]:
        """The new name, and why there is none, in words: one of the two is empty.

        A function that fails fails for this key alone.
        """
        result: Any = name
        for step in self.steps:
            try:
                result = step(result)
            except Exception as error:  # a user's function may raise anything; the other keys go on
                return "", f"the rename fails for this key: {type(error).__name__}: {error}"
            if not isinstance(result, str):
                return "", f"the rename gave {type(result).__name__}, and a key is text"
        try:
            result.encode()
        except UnicodeEncodeError:
            return "", "the rename gave text that is not UTF-8, and so no key"
        return (result, "") if result else ("", "the rename leaves nothing of this key")


def rename_of(given: Given | None) -> Rename | None:
    """Rules from what a user wrote; ``None`` if there are none.

    Raises:
        ConfigError: A rule cannot be read, or a function has no fingerprint by which to know it again.
    """
    if given is None:
        return None
    several = [given] if isinstance(given, str) or callable(given) else list(given)
    if not several:
        return None
    read = [_from_function(each) if callable(each) else _from_text(each) for each in several]
    return Rename(texts=tuple(text for text, _ in read), steps=tuple(step for _, step in read))


def _from_function(function: Callable[[str], str]) -> tuple[str, Callable[[str], str]]:
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"function {name} {fingerprint(function, name='rename')[:16]}", function


def _from_text(text: str) -> tuple[str, Callable[[str], str]]:
    if len(text) < 2 or text[0] != "s" or text[1].isalnum() or text[1] in "\\ \n":
        raise _unreadable(text, "it does not begin with s and a delimiter")
    parts = _split(text[2:], text[1])
    if len(parts) != 3:
        raise _unreadable(text, f"it has {len(parts) - 1} more {text[1]!r} instead of two")
    pattern, replacement, flags = parts
    unknown = sorted(set(flags) - set(_FLAGS))
    if unknown:
        raise _unreadable(text, f"{''.join(unknown)!r} is no flag: g replaces every match, i ignores case")
    if not pattern:
        raise _unreadable(text, "an empty pattern matches everywhere")
    try:
        compiled = re.compile(pattern, _FLAGS["i"] if "i" in flags else 0)
        # Nothing is replaced here; but a group that is not there is found now instead of at the first key that matches.
        re.compile(f"{pattern}|").sub(replacement, "")
    except (re.error, IndexError) as error:
        raise _unreadable(text, str(error)) from None
    count = 0 if "g" in flags else 1
    return text, lambda name: compiled.sub(replacement, name, count=count)


def _split(text: str, delimiter: str) -> list[str]:
    """Cut at delimiters; a backslash before one makes it a plain character."""
    parts, current, at = [], "", 0
    while at < len(text):
        if text[at] == "\\" and at + 1 < len(text):
            current += delimiter if text[at + 1] == delimiter else text[at : at + 2]
            at += 2
            continue
        if text[at] == delimiter:
            parts.append(current)
            current = ""
        else:
            current += text[at]
        at += 1
    return [*parts, current]


def _unreadable(text: str, cause: str) -> ConfigError:
    return ConfigError(
        f"the rename {text!r} cannot be read: {cause}",
        operation="plan",
        hint=r"write s/PATTERN/REPLACEMENT/, such as 's/^(\d{4})-(\d{2})/\1\/\2/'",
    )
