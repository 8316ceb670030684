r"""Which objects a run takes: include and exclude globs, sizes and ages, the same answer in whatever order they are given.

Pure. A pattern matches the whole key below the source's prefix: ``*`` and ``?`` stay within a segment, ``**`` does not,
``[...]`` is one character, ``{a,b}`` one of several texts, ``\\`` takes the next character as it is. A pattern that
ends in ``/`` means everything below it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from crossdock.errors import ConfigError
from crossdock.flows.questions.bounds import NO_BOUNDS, Age, Bounds, Size, bounds_of
from crossdock.model import ObjectInfo

__all__ = ["NO_FILTERS", "Decision", "Filters", "compile_filters", "split_wildcards"]

WILDCARDS = frozenset("*?[{")


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a key is taken, and the rule that said so, in words."""

    taken: bool
    rule: str


@dataclass(frozen=True, slots=True)
class _Pattern:
    glob: str
    matches: re.Pattern[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Compiled filters: an object is taken if it passes every kind of them.

    No exclude matches its key, it is within all bounds of size and age, and, where there are includes, one matches.
    """

    include: tuple[_Pattern, ...] = ()
    exclude: tuple[_Pattern, ...] = ()
    bounds: Bounds = NO_BOUNDS

    def decide(self, name: str, info: ObjectInfo | None = None) -> Decision:
        """Judge one object.

        Args:
            name: Its key as it stands below the source's prefix.
            info: What is known of it. What is not known is within no bound: such an object is left out.
        """
        by_name = self.decide_by_name(name)
        if not by_name.taken or not self.bounds:
            return by_name
        broken = self.bounds.broken_by(info)
        if broken is not None:
            return Decision(taken=False, rule=broken)
        return by_name if self.include or self.exclude else _WITHIN

    def decide_by_name(self, name: str) -> Decision:
        """Judge a key alone, whatever the bounds of size and age."""
        if not self.include and not self.exclude:
            return _TAKEN
        for pattern in self.exclude:
            if pattern.matches.fullmatch(name):
                return Decision(taken=False, rule=f"exclude {pattern.glob}")
        for pattern in self.include:
            if pattern.matches.fullmatch(name):
                return Decision(taken=True, rule=f"include {pattern.glob}")
        if self.include:
            return Decision(taken=False, rule="no include matches")
        return Decision(taken=True, rule="no exclude matches")


_TAKEN = Decision(taken=True, rule="no filters")
_WITHIN = Decision(taken=True, rule="within the bounds of size and age")
NO_FILTERS = Filters()


def compile_filters(
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    *,
    min_size: Size = None,
    max_size: Size = None,
    min_age: Age = None,
    max_age: Age = None,
    now: datetime | None = None,
) -> Filters:
    """Filters from what a user wrote; a single text counts as one glob.

    Args:
        include: Globs.
        exclude: Globs; they win.
        min_size: Not smaller than this.
        max_size: Not larger than this.
        min_age: Changed so long ago or longer; not after this time.
        max_age: Changed so long ago at most; not before this time.
        now: What ages are counted back from; the present by default.

    Raises:
        ConfigError: A glob is empty or its brackets do not close; a size or an age cannot be read, or nothing can be
            within both bounds.
    """
    return Filters(
        include=_compiled(include),
        exclude=_compiled(exclude),
        bounds=bounds_of(min_size=min_size, max_size=max_size, min_age=min_age, max_age=max_age, now=now),
    )


def split_wildcards(path: str) -> tuple[str, str | None]:
    """Cut a key with wildcards into the prefix before them, up to a ``/``, and the glob below it.

    ``2024/*.csv`` gives ``2024/`` and ``*.csv``; a key without wildcards gives itself and ``None``.
    """
    first = next((index for index, char in enumerate(path) if char in WILDCARDS), None)
    if first is None:
        return path, None
    cut = path.rfind("/", 0, first) + 1
    return path[:cut], path[cut:]


def _compiled(globs: Iterable[str]) -> tuple[_Pattern, ...]:
    given = (globs,) if isinstance(globs, str) else globs
    return tuple(_Pattern(glob, re.compile("".join(_regex(glob)), re.DOTALL)) for glob in given)


def _regex(glob: str) -> Iterator[str]:
    """The parts of the regular expression that ``fullmatch`` then applies."""
    if not glob:
        raise ConfigError(
            "an empty glob matches nothing", operation="filter", hint="leave it out, or write **"
        )
    text = f"{glob}**" if glob.endswith("/") else glob
    depth, at = 0, 0
    while at < len(text):
        char = text[at]
        if char == "*":
            part, at = _stars(text, at)
            yield part
            continue
        if char == "[":
            part, at = _class(text, at)
            yield part
            continue
        if char == "\\" and at + 1 < len(text):
            at += 1
            yield re.escape(text[at])
        elif char == "{":
            depth += 1
            yield "(?:"
        elif char == "}" and depth:
            depth -= 1
            yield ")"
        elif char == "," and depth:
            yield "|"
        else:
            yield "[^/]" if char == "?" else re.escape(char)
        at += 1
    if depth:
        raise _unclosed(glob, "{")


def _stars(text: str, at: int) -> tuple[str, int]:
    end = at
    while end < len(text) and text[end] == "*":
        end += 1
    if end - at == 1:
        return "[^/]*", end
    if text[end : end + 1] == "/" and (at == 0 or text[at - 1] == "/"):
        return "(?:.*/)?", end + 1  # `**/x` is also `x`
    return ".*", end


def _class(text: str, at: int) -> tuple[str, int]:
    """``[...]``: never a ``/``, as every wildcard but ``**``; a leading ``]`` is a member, ``!`` or ``^`` negates."""
    start = at + 1
    negated = text[start : start + 1] in ("!", "^")
    start += negated
    end = text.find("]", start + 1)
    if end < 0:
        raise _unclosed(text, "[")
    members = (
        text[start:end].replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace("^", "\\^")
    )
    members = members.replace("&&", "&\\&").replace("||", "|\\|").replace("~~", "~\\~")
    regex = f"(?!/)[{'^' if negated else ''}{members}]"
    try:
        re.compile(regex)
    except re.error as error:
        raise ConfigError(f"the glob {text!r} is no pattern: {error}", operation="filter") from None
    return regex, end + 1


def _unclosed(glob: str, bracket: str) -> ConfigError:
    return ConfigError(
        f"the glob {glob!r} opens {bracket} and does not close it",
        operation="filter",
        hint=f"write \\{bracket} for the character itself",
    )
