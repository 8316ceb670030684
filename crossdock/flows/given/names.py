"""Names given instead of a listing: sorted and counted once, kept in a temporary file, looked up when the plan is made."""

from __future__ import annotations

import hashlib
import json
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import IO, Any

from crossdock.connectors.objects import ObjectSource
from crossdock.errors import ConfigError
from crossdock.flows.given.asking import looked_up
from crossdock.flows.listing.spilling import Candidate, by_destination
from crossdock.model import ObjectInfo

__all__ = ["Names", "names_in"]

_HELD_BYTES = 8 * 1024 * 1024  # more than that goes to a file


class Names:
    """A list of keys below a source's prefix, byte for byte, in any order; one that comes twice counts once.

    Memory: 50,000 names while they are sorted, 8 MB afterwards, whatever their number; beyond that they are in files of
    the temporary directory, about 100 bytes a name, until this is dropped.

    Args:
        names: The keys; consumed here.

    Raises:
        ConfigError: One of them is empty or no text, or there are none.
    """

    def __init__(self, names: Iterable[str]) -> None:
        if isinstance(names, str | bytes):
            raise ConfigError(
                "names is a list of keys, not one text", operation="plan", hint=f"write names=[{names!r}]"
            )
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(_HELD_BYTES, prefix="crossdock-names-")  # noqa: SIM115 - closed below
        weakref.finalize(self, self._file.close)
        digest, self._count = hashlib.sha256(), 0
        unsorted = (Candidate(ObjectInfo(key=name, size=None), "", name) for name in _checked(names))
        for name, _ in groupby(by_destination(unsorted), key=lambda each: each.destination):
            line = json.dumps(name).encode() + b"\n"
            digest.update(line)
            self._file.write(line)
            self._count += 1
        self._digest = digest.hexdigest()
        if not self._count:
            raise ConfigError(
                "the list of names is empty", operation="plan", hint="leave it out to take everything"
            )

    def __iter__(self) -> Iterator[str]:
        """The names in key order, each once; one iteration at a time."""
        self._file.seek(0)
        for line in self._file:
            yield json.loads(line)

    def __len__(self) -> int:
        return self._count

    def asked(self) -> dict[str, Any]:
        """What a run keeps of it; equal for the same names in any order."""
        return {"names": self._count, "sha256": self._digest}

    def pages(self, source: ObjectSource) -> Iterator[Sequence[ObjectInfo]]:
        """The objects they name, by full key, in order; see ``looked_up``. What is not there comes as ``Missing``."""
        return looked_up(source.store, source.prefix, (source.prefix + name for name in self))


def _checked(names: Iterable[object]) -> Iterator[str]:
    for name in names:
        if not isinstance(name, str) or not name:
            raise ConfigError(f"a name is a text that is not empty, not {name!r}", operation="plan")
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ConfigError(f"the name {name!r} cannot be written as UTF-8", operation="plan") from None
        yield name


def names_in(file: IO[bytes], *, where: str, nul: bool = False) -> Iterator[str]:
    """Read names from a file: a line each, or with ``nul`` each ended by a zero byte and taken as it is.

    In a file of lines empty ones are left out, and so are comments: lines that begin with ``#`` or ``;``, as for rclone.
    Nothing else is changed; spaces at either end belong to the name. Memory: one name and a buffer.

    Raises:
        ConfigError: A name is not UTF-8.
    """
    pieces = _split(file) if nul else (line.removesuffix(b"\n").removesuffix(b"\r") for line in file)
    for number, piece in enumerate(pieces, 1):
        raw = piece.removeprefix(b"\xef\xbb\xbf") if number == 1 and not nul else piece
        if not raw or (not nul and raw[:1] in b"#;"):
            continue
        try:
            yield raw.decode()
        except UnicodeDecodeError:
            raise ConfigError(
                f"name {number} is not UTF-8: {raw[:80]!r}", operation="read names", where=where
            ) from None


def _split(file: IO[bytes]) -> Iterator[bytes]:
    rest = b""
    while chunk := file.read(64 * 1024):
        *whole, rest = (rest + chunk).split(b"\0")
        yield from whole
    yield rest
