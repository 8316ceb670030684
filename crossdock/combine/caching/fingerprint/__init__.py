"""One digest for a value: equal in every process, on every machine and under every Python, and different for what differs.

A value is written as a sequence of records into SHA-256, each with its type and its length, so that no two values can
run into each other: 1, 1.0, True and "1" are four values. Nothing is pickled, nothing is told by its identity, and what
has no canonical form is refused rather than guessed. The order of a dict does not matter, nor that of a set. Large data
is hashed piece by piece where it lies.
"""

from __future__ import annotations

from typing import Any

from crossdock.combine.caching.fingerprint.canonical import Canonical
from crossdock.combine.caching.fingerprint.plain import write
from crossdock.errors import ConfigError

__all__ = ["fingerprint"]


def fingerprint(value: Any, *, name: str = "value") -> str:
    """The value's digest: 64 hexadecimal digits.

    Costs one pass over the value. Memory: a few MiB, whatever its size.

    Args:
        value: Anything made of plain values, containers, dataclasses, functions, Arrow, NumPy, pandas and polars data, or
            objects with a method ``__crossdock_fingerprint__`` that returns such a value.
        name: What an error calls it.

    Raises:
        ConfigError: A part of it has no canonical form; the text says which.
    """
    out = Canonical(write, [name], {})
    try:
        out.add(value)
    except RecursionError:
        raise ConfigError(
            f"{name} is nested too deeply to be hashed", operation="cache", hint="give xd.Cache(..., key=...)"
        ) from None
    return out.digest().hex()
