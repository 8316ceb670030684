"""A value on its way into a digest: records, each with its type and its length, so that no two values can run together."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, Protocol

from crossdock.errors import ConfigError

__all__ = ["Canonical", "class_name"]

_FORMAT = b"crossdock fingerprint 1\n"  # a change of any record, in any module of this room, is a change of this number


class Write(Protocol):
    """Writes one value."""

    def __call__(self, out: Canonical, value: Any, /) -> None:
        """Write it, or refuse it."""


class Canonical:
    """A value being written down canonically, into a digest. Belongs to one thread."""

    __slots__ = ("_open", "_path", "_sha", "_write")

    def __init__(self, write: Write, path: list[str | int], opened: dict[int, int]) -> None:
        """``write`` knows how each type is written; ``path`` is where in the value we are, ``opened`` what is round it."""
        self._sha = hashlib.sha256(_FORMAT)
        self._write = write
        self._path = path
        self._open = opened

    def part(self) -> Canonical:
        """A part of this value, with a digest of its own."""
        return Canonical(self._write, self._path, self._open)

    def digest(self) -> bytes:
        """The digest of what was written so far."""
        return self._sha.digest()

    def record(self, tag: str, data: Any = b"") -> None:
        """Write one value as its type and its bytes."""
        view = memoryview(data).cast("B") if not isinstance(data, bytes) else data
        self.head(tag, len(view))
        self._sha.update(view)

    def head(self, tag: str, size: int) -> None:
        """Write a type and how much follows: bytes, by ``pour``, or values, by ``add``."""
        name = tag.encode()
        self._sha.update(struct.pack(">HQ", len(name), size) + name)

    def pour(self, chunk: Any) -> None:
        """Write some of the bytes that ``head`` announced."""
        self._sha.update(chunk)

    def text(self, tag: str, text: str) -> None:
        """Write one value that is text."""
        self.record(tag, text.encode("utf-8", "surrogatepass"))

    @contextmanager
    def at(self, step: str) -> Iterator[None]:
        """Name where in the value we are, for errors."""
        self._path.append(step)
        yield
        self._path.pop()  # not after an error: it is to say where it happened

    def add(self, value: Any) -> None:
        """Write any value.

        Raises:
            ConfigError: It has no canonical form.
        """
        self._write(self, value)

    def several(self, tag: str, values: Iterable[Any], count: int) -> None:
        """Write values in their order."""
        self.head(tag, count)
        path = self._path
        for number, value in enumerate(values):
            path.append(number)
            self.add(value)
            path.pop()

    def named(self, tag: str, items: Iterable[tuple[str, Any]]) -> None:
        """Write named values in the order of their names."""
        pairs = sorted(items, key=lambda each: each[0])
        self.head(tag, len(pairs))
        for name, value in pairs:
            self.text("name", name)
            with self.at(f".{name}"):
                self.add(value)

    def unordered(self, tag: str, writes: Iterable[Callable[[Canonical], None]]) -> None:
        """Write parts whose order means nothing: by their own digests, sorted."""
        digests = []
        for write in writes:
            part = self.part()
            write(part)
            digests.append(part.digest())
        self.record(tag, b"".join(sorted(digests)))

    def attempt(self, value: Any) -> bytes | None:
        """A value's own digest, or ``None`` if it has no canonical form; nothing is written here."""
        depth, opened = len(self._path), dict(self._open)
        part = self.part()
        try:
            part.add(value)
        except ConfigError:
            del self._path[depth:]
            self._open.clear()
            self._open.update(opened)
            return None
        return part.digest()

    @contextmanager
    def once(self, value: Any) -> Iterator[int | None]:
        """Guard against endless values: yields how deep the same object was entered before, if it was."""
        known = self._open.get(id(value))
        if known is not None:
            yield known
            return
        self._open[id(value)] = len(self._open)
        yield None
        self._open.pop(id(value), None)

    def refuse(self, value: Any, why: str = "has no canonical form to hash", hint: str = "") -> NoReturn:
        """Raise the error that names where in the value this was met."""
        kind = type(value)
        place = "".join(each if isinstance(each, str) else f"[{each}]" for each in self._path)
        raise ConfigError(
            f"{place}, a {kind.__module__}.{kind.__qualname__}, {why}",
            operation="cache",
            hint=hint
            or "give xd.Cache(..., key=function of the inputs), or the class a method __crossdock_fingerprint__",
        )


def class_name(kind: type) -> str:
    """How a class is named in a record."""
    return f"{kind.__module__}:{kind.__qualname__}"
