"""Rows to bytes: ``encode`` as a stitch function.

Building one checks its options and opens nothing; pyarrow is loaded when it is called.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from crossdock.batches import Batches
from crossdock.errors import ConfigError
from crossdock.formats import names, options as opt
from crossdock.formats.names import TEXT, no_compression
from crossdock.formats.options import options_of
from crossdock.formats.outgoing import Outgoing
from crossdock.formats.step import Step, count_rows

__all__ = ["Encode", "encode", "typed_write_options"]

_WRITES: dict[str, type[Any]] = {
    "csv": opt.CsvWrite,
    "tsv": opt.CsvWrite,
    "jsonl": opt.JsonWrite,
    "parquet": opt.ParquetWrite,
    "arrow": opt.IpcWrite,
    "arrow_stream": opt.IpcWrite,
    "orc": opt.OrcWrite,
    "avro": opt.AvroWrite,
}
_INSIDE = {
    "parquet": ("zstd", "snappy", "gzip", "lz4", "brotli"),
    "arrow": ("zstd", "lz4"),
    "arrow_stream": ("zstd", "lz4"),
    "orc": ("zstd", "snappy", "zlib"),  # pyarrow's ORC takes lz4 and packs nothing
    "avro": ("deflate", "bzip2", "xz"),
}
"""Compressions that a format has inside; the first is the default, but Arrow is not compressed unless asked."""

_DEFAULT_INSIDE = {"parquet": "zstd", "orc": "zstd", "avro": "deflate"}


@dataclass(frozen=True, slots=True, repr=False)
class Encode(Step):
    """``encode(format)``: record batches to bytes; see there."""

    _positional = ("format",)

    format: str
    compression: str | None = "auto"
    given: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        kind = names.parse_kind(self.format)
        if kind.format is None:
            raise ConfigError("name the format to write", operation="encode", hint="encode('parquet')")
        options = opt.build(_WRITES[kind.format], dict(self.given), what=f"encode({kind.format!r})")
        known = tuple(names.COMPRESSIONS) if kind.format in TEXT else _INSIDE[kind.format]
        if self.compression not in (None, "auto", *known):
            raise no_compression(self.compression, known, f"encode {kind.format}")
        if kind.format in TEXT and options.level is not None:
            _check_level(self._outside(kind), options.level)

    def _outside(self, kind: names.Kind) -> str | None:
        """The compression round the whole: said behind the format's dot, or for text by name."""
        if kind.compression is not None or kind.format not in TEXT:
            return kind.compression
        return None if self.compression == "auto" else self.compression

    def __call__(self, value: Any, /) -> Outgoing:
        """Begin; rows are pulled as the bytes are."""
        batches = Batches.of(value)
        kind = names.parse_kind(self.format)
        format_ = cast("str", kind.format)
        given = dict(self.given)
        if format_ == "tsv":
            given = {"delimiter": "\t", **given}
        options = opt.build(_WRITES[format_], given, what=f"encode({format_!r})")
        inside = _DEFAULT_INSIDE.get(format_) if self.compression == "auto" else self.compression
        try:
            rows = _carried(batches, format_)
        except BaseException:
            batches.close()  # what has no form here is refused before a row is pulled
            raise
        chunks = _written(_counted(rows), format_, options, inside)
        outside = self._outside(kind)
        if outside is not None:
            from crossdock.formats.compression import compress as packed

            chunks = packed(chunks, outside, getattr(options, "level", None) if format_ in TEXT else None)
        whole = names.Kind(format=format_, compression=outside)
        return Outgoing(
            chunks,
            name=names.renamed(batches.name, whole),
            content_type=names.media_type_of(whole),
            close=batches.close,
        )


def _carried(batches: Batches, format_: str) -> Batches:
    from crossdock.formats.carried import carried

    return carried(batches, format_)


def typed_write_options(format_: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a format that is written, from texts; see ``options.from_texts``."""
    kind = names.parse_kind(format_).format
    return dict(given) if kind is None else opt.from_texts(_WRITES[kind], given)


def _counted(batches: Batches) -> Batches:
    def rows() -> Iterator[Any]:
        for batch in batches:
            count_rows(batch.num_rows)
            yield batch

    return Batches(batches.schema, rows(), close=batches.close)


def _written(batches: Batches, format_: str, options: Any, inside: str | None) -> Iterator[bytes]:
    if format_ in ("csv", "tsv"):
        from crossdock.formats.csv_write import write_csv

        return write_csv(batches, options)
    if format_ == "jsonl":
        from crossdock.formats.json_write import write_json_lines

        return write_json_lines(batches, options)
    if format_ == "avro":
        from crossdock.formats.avro import write_avro

        return write_avro(batches, options, None if inside is None else inside)
    from crossdock.formats import binary_write

    if format_ == "parquet":
        return binary_write.write_parquet(batches, options, inside)
    if format_ == "orc":
        return binary_write.write_orc(batches, options, inside)
    if format_ == "arrow":
        return binary_write.write_arrow_file(batches, options, inside)
    return binary_write.write_arrow_stream(batches, options, inside)


def encode(format: str, *, compression: str | None = "auto", **options: Any) -> Encode:
    """Rows to bytes, as a stitch function: takes ``Batches`` or anything like a table; gives a byte stream any sink takes.

    The bytes leave while rows still come; their number is unknown before the end. The stream's name is the source's in the new
    format: ``a.csv`` becomes ``a.parquet``.

    Args:
        format: As for ``decode``, but for ``auto``. ``csv.gz`` names a compression too.
        compression: Of text, round it; of the others, inside, as the format has it (Parquet and ORC: ``zstd`` unless said, Avro:
            ``deflate``). ``None`` for none.
        **options: The format's own; see ``CsvWrite``, ``ParquetWrite``, ``OrcWrite``, ``AvroWrite`` in ``crossdock.formats``.

    Raises:
        ConfigError: An option is unknown or makes no sense.
    """
    return Encode(format=format, compression=compression, given=options_of(options))


def _check_level(compression: str | None, level: int | None) -> None:
    from crossdock.formats.compression import check_level

    if compression is None:
        raise ConfigError("a level needs a compression", operation="encode")
    check_level(compression, level)
