"""Which format and which compression an object has: by its name, its content type, its first bytes. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from crossdock.errors import ConfigError

__all__ = [
    "COMPRESSIONS",
    "FORMATS",
    "HEAD_BYTES",
    "TEXT",
    "Kind",
    "by_name",
    "compression_of",
    "format_of",
    "media_type_of",
    "no_compression",
    "parse_kind",
    "renamed",
    "suffix_of",
    "unpacked",
]

TEXT = ("csv", "tsv", "jsonl")
"""Formats that are text: compressed round the whole, if at all."""

HEAD_BYTES = 16
"""How many first bytes are enough to tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mark:
    """How a format or a compression is recognised. The first suffix and media type are those that are written."""

    suffixes: tuple[str, ...]
    media_types: tuple[str, ...]
    magic: tuple[bytes, ...] = ()


FORMATS = {
    "csv": _Mark(suffixes=(".csv",), media_types=("text/csv", "application/csv")),
    "tsv": _Mark(suffixes=(".tsv", ".tab"), media_types=("text/tab-separated-values",)),
    "jsonl": _Mark(
        suffixes=(".jsonl", ".ndjson"),
        media_types=("application/x-ndjson", "application/jsonl", "application/x-jsonlines"),
        magic=(b"{",),
    ),
    "parquet": _Mark(
        suffixes=(".parquet", ".pq"), media_types=("application/vnd.apache.parquet",), magic=(b"PAR1",)
    ),
    "arrow": _Mark(
        suffixes=(".arrow", ".feather"),
        media_types=("application/vnd.apache.arrow.file",),
        magic=(b"ARROW1\0\0",),
    ),
    "arrow_stream": _Mark(
        suffixes=(".arrows",),
        media_types=("application/vnd.apache.arrow.stream",),
        magic=(b"\xff\xff\xff\xff",),
    ),
    "orc": _Mark(suffixes=(".orc",), media_types=("application/vnd.apache.orc",), magic=(b"ORC",)),
    "avro": _Mark(
        suffixes=(".avro",), media_types=("application/vnd.apache.avro", "avro/binary"), magic=(b"Obj\x01",)
    ),
}

COMPRESSIONS = {
    "gzip": _Mark(suffixes=(".gz", ".gzip"), media_types=("application/gzip",), magic=(b"\x1f\x8b\x08",)),
    "zstd": _Mark(
        suffixes=(".zst", ".zstd"), media_types=("application/zstd",), magic=(b"\x28\xb5\x2f\xfd",)
    ),
    "bz2": _Mark(suffixes=(".bz2",), media_types=("application/x-bzip2",), magic=(b"BZh",)),
    "xz": _Mark(suffixes=(".xz",), media_types=("application/x-xz",), magic=(b"\xfd7zXZ\0",)),
    "lz4": _Mark(suffixes=(".lz4",), media_types=("application/x-lz4",), magic=(b"\x04\x22\x4d\x18",)),
    "snappy": _Mark(
        suffixes=(".sz", ".snappy"),
        media_types=("application/x-snappy-framed",),
        magic=(b"\xff\x06\x00\x00sNaPpY",),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What an object's bytes are. ``format`` or ``compression`` is ``None`` where nothing says."""

    format: str | None = None
    compression: str | None = None


def parse_kind(text: str) -> Kind:
    """What a user wrote: ``csv``, ``csv.gz``, ``parquet``, ``auto``.

    Raises:
        ConfigError: There is no such format.
    """
    name, _, packed = text.lower().lstrip(".").partition(".")
    compression = _by_suffix(COMPRESSIONS, f".{packed}") if packed else None
    found = name if name in FORMATS or name == "auto" else _by_suffix(FORMATS, f".{name}")
    if found is None or (packed and compression is None):
        raise ConfigError(
            f"there is no format {text!r}",
            operation="decode",
            hint=f"formats: auto, {', '.join(FORMATS)}; behind a dot, a compression: {', '.join(_endings())}",
        )
    return Kind(format=None if found == "auto" else found, compression=compression)


def _endings() -> list[str]:
    return [each.suffixes[0][1:] for each in COMPRESSIONS.values()]


def _by_suffix(table: dict[str, _Mark], name: str) -> str | None:
    return next((kind for kind, mark in table.items() if name.lower().endswith(mark.suffixes)), None)


def by_name(name: str | None) -> Kind:
    """What an object's name says: ``a.csv.gz`` is a compressed CSV."""
    if not name:
        return Kind()
    compression = _by_suffix(COMPRESSIONS, name)
    return Kind(format=_by_suffix(FORMATS, _stem(name, COMPRESSIONS)), compression=compression)


def format_of(name: str | None, content_type: str | None, head: bytes) -> str | None:
    """The format, by name, else by content type, else by the first (uncompressed) bytes."""
    said = (content_type or "").partition(";")[0].strip().lower()
    by_type = next((kind for kind, mark in FORMATS.items() if said in mark.media_types), None)
    by_bytes = next(
        (kind for kind, mark in FORMATS.items() if mark.magic and head.startswith(mark.magic)), None
    )
    return by_name(name).format or by_type or by_bytes


def compression_of(head: bytes) -> str | None:
    """The compression, by the first bytes: a name may lie, and a server may have unpacked what it calls ``.gz``."""
    return next((kind for kind, mark in COMPRESSIONS.items() if head.startswith(mark.magic)), None)


def suffix_of(kind: Kind) -> str:
    """What a name of this kind ends with."""
    first = FORMATS[kind.format].suffixes[0] if kind.format else ""
    return first + (COMPRESSIONS[kind.compression].suffixes[0] if kind.compression else "")


def media_type_of(kind: Kind) -> str | None:
    """What a content type says of it."""
    if kind.compression:
        return COMPRESSIONS[kind.compression].media_types[0]
    return FORMATS[kind.format].media_types[0] if kind.format else None


def renamed(name: str | None, kind: Kind) -> str | None:
    """The name an object has in another format: ``2024/a.csv.gz`` in Parquet is ``2024/a.parquet``."""
    if name is None:
        return None
    stem = _stem(name, COMPRESSIONS)
    if kind.format:
        stem = _stem(stem, FORMATS)
    return stem + suffix_of(kind)


def unpacked(name: str | None, compression: str) -> str | None:
    """The name without the compression's ending, if it has it."""
    return None if name is None else _stem(name, {compression: COMPRESSIONS[compression]})


def _stem(name: str, table: dict[str, _Mark]) -> str:
    for mark in table.values():
        for suffix in mark.suffixes:
            if name.lower().endswith(suffix) and len(name) > len(suffix):
                return name[: -len(suffix)]
    return name


def no_compression(given: str | None, known: tuple[str, ...], operation: str) -> ConfigError:
    """The error for a compression that is none, or is none here."""
    return ConfigError(
        f"there is no compression {given!r} here", operation=operation, hint=f"one of: {', '.join(known)}"
    )
