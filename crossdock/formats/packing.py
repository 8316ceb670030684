"""Compressed bytes and plain ones: ``compress`` and ``decompress`` as stitch functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from crossdock.errors import ConfigError
from crossdock.formats import names
from crossdock.formats.incoming import Incoming
from crossdock.formats.names import no_compression
from crossdock.formats.outgoing import Outgoing
from crossdock.formats.step import Step

__all__ = ["Compress", "Decompress", "compress", "decompress"]


@dataclass(frozen=True, slots=True, repr=False)
class Decompress(Step):
    """``decompress(compression)``: packed bytes to plain ones; see there."""

    _positional = ("compression",)

    compression: str = "auto"

    def __post_init__(self) -> None:
        if self.compression not in ("auto", *names.COMPRESSIONS):
            raise no_compression(self.compression, tuple(names.COMPRESSIONS), "decompress")

    def __call__(self, value: Any, /) -> Outgoing:
        """Begin; with ``auto`` the first bytes are read now."""
        from crossdock.formats.compression import decompress as unpacked

        incoming = Incoming.of(value)
        found = self.compression
        if found == "auto":
            told = names.compression_of(incoming.peek(names.HEAD_BYTES))
            if told is None:
                raise ConfigError(
                    "its first bytes are of no compression", operation="decompress", where=incoming.name or ""
                )
            found = told
        return Outgoing(
            unpacked(incoming, found), name=names.unpacked(incoming.name, found), close=incoming.close
        )


@dataclass(frozen=True, slots=True, repr=False)
class Compress(Step):
    """``compress(compression)``: plain bytes to packed ones; see there."""

    _positional = ("compression",)

    compression: str
    level: int | None = None

    def __post_init__(self) -> None:
        if self.compression not in names.COMPRESSIONS:
            raise no_compression(self.compression, tuple(names.COMPRESSIONS), "compress")
        from crossdock.formats.compression import check_level

        check_level(self.compression, self.level)

    def __call__(self, value: Any, /) -> Outgoing:
        """Begin; bytes are pulled as they are asked for."""
        from crossdock.formats.compression import compress as packed

        incoming = Incoming.of(value)
        kind = names.Kind(compression=self.compression)
        name = None if incoming.name is None else incoming.name + names.suffix_of(kind)
        return Outgoing(
            packed(incoming, self.compression, self.level),
            name=name,
            content_type=names.media_type_of(kind),
            close=incoming.close,
        )


def decompress(compression: str = "auto") -> Decompress:
    """Packed bytes to plain ones, as a stitch function: a byte stream in, a byte stream out, its name without ``.gz``.

    An object that ends early or is damaged is an ``IntegrityError``, never a short object.

    Args:
        compression: ``gzip``, ``zstd``, ``bz2``, ``xz``, ``lz4``, ``snappy``; ``auto`` tells by the first bytes.
    """
    return Decompress(compression)


def compress(compression: str, *, level: int | None = None) -> Compress:
    """Plain bytes to packed ones, as a stitch function: a byte stream in, a byte stream out, its name with ``.gz``.

    Args:
        compression: As for ``decompress``, but for ``auto``.
        level: Of gzip (1 to 3 by ISA-L, which is 1 unless said; above by zlib), bz2 and xz.
    """
    return Compress(compression, level)
