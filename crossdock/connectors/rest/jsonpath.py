"""Paths into JSON: ``data.items``, ``data[-1].id``, ``$`` for the whole; a tuple where a name has a dot. Pure."""

from __future__ import annotations

import re
from typing import Any, Final

from crossdock.errors import ConfigError

__all__ = ["MISSING", "Path", "at", "keys_found", "shown", "steps_of"]

Path = str | tuple[str | int, ...]
_STEP = re.compile(r"([^.\[\]]+)|\[(-?\d+)\]")


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
"""What ``at`` gives where a path leads nowhere; ``None`` is a value that JSON has."""


def steps_of(path: Path) -> tuple[str | int, ...]:
    """A path's steps: names of members and positions in arrays.

    Raises:
        ConfigError: It is no path.
    """
    if isinstance(path, tuple):
        return path
    text = path.removeprefix("$").removeprefix(".")
    if path and not text:
        return ()
    steps: list[str | int] = []
    for piece in text.split("."):
        names = [*_STEP.finditer(piece)]
        if not piece or "".join(match[0] for match in names) != piece:
            raise ConfigError(
                f"{path!r} is no path into JSON",
                operation="open",
                hint="write data.items, data[-1].id, or $ for the whole; a tuple where a name has a dot",
            )
        steps += [match[1] if match[1] is not None else int(match[2]) for match in names]
    return tuple(steps)


def at(value: Any, path: Path) -> Any:
    """What a path leads to, or ``MISSING``."""
    for step in steps_of(path):
        if not _leads(value, step):
            return MISSING
        value = value[step]
    return value


def _leads(value: Any, step: str | int) -> bool:
    if isinstance(step, str):
        return isinstance(value, dict) and step in value
    return isinstance(value, list) and -len(value) <= step < len(value)


def shown(path: Path) -> str:
    """A path for people."""
    return path if isinstance(path, str) else repr(path)


def keys_found(value: Any, most: int = 12) -> str:
    """The names of an object's members, or what else it is; no values."""
    if isinstance(value, dict):
        names = [*value]
        more = f" and {len(names) - most} more" if len(names) > most else ""
        return (
            f"the keys found are {', '.join(map(str, names[:most]))}{more}"
            if names
            else "the object is empty"
        )
    kinds = {list: "an array", str: "a text", bool: "a truth value", type(None): "null"}
    return f"what was found is {kinds.get(type(value), 'a number')}"
