"""Bytes to rows: ``decode`` as a stitch function.

Building one checks its options and opens nothing; pyarrow is loaded when it is called. It is a frozen value, so it travels to
workers and has a place in a cache's key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crossdock.batches import Batches
from crossdock.errors import ConfigError
from crossdock.formats import names, options as opt
from crossdock.formats.bad_rows import BadRows, OnBadRow, check_policy
from crossdock.formats.incoming import Incoming
from crossdock.formats.names import TEXT, no_compression
from crossdock.formats.options import options_of
from crossdock.formats.step import Step

if TYPE_CHECKING:
    from crossdock.formats.schemas import Evolve

__all__ = ["Decode", "decode", "typed_read_options"]

_READS: dict[str, type[Any]] = {
    "csv": opt.CsvRead,
    "tsv": opt.CsvRead,
    "jsonl": opt.JsonRead,
    **dict.fromkeys(("parquet", "arrow", "arrow_stream", "orc", "avro"), opt.BinaryRead),
}


@dataclass(frozen=True, slots=True, repr=False)
class Decode(Step):
    """``decode(format)``: bytes to record batches; see there."""

    _positional = ("format",)

    format: str
    compression: str | None = "auto"
    schema: Any = None
    types: Any = None
    columns: tuple[str, ...] | None = None
    evolve: Evolve = "never"
    on_bad_row: OnBadRow = "fail"
    given: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        kind = names.parse_kind(self.format)
        if kind.format is None and self.given:
            raise ConfigError(
                f"{self.given[0][0]!r} is an option of one format", operation="decode", hint="name the format"
            )
        if kind.format is not None:
            _read_options(kind.format, dict(self.given))
        if self.compression not in (None, "auto", *names.COMPRESSIONS):
            raise no_compression(self.compression, tuple(names.COMPRESSIONS), "decode")
        if self.schema is not None and self.types:
            raise ConfigError("give schema (all columns) or types (some of them)", operation="decode")
        if self.evolve not in ("never", "missing", "add", "drop"):
            raise ConfigError(
                f"evolve is 'never', 'missing', 'add' or 'drop', not {self.evolve!r}", operation="decode"
            )
        check_policy(self.on_bad_row)

    def __call__(self, value: Any, /) -> Batches:
        """Read what tells the schema; the rest as it is pulled."""
        from crossdock.formats.request import Request

        incoming = plain = Incoming.of(value)
        try:
            kind = self._kind(incoming)
            request = Request.of(
                schema=self.schema, types=self.types, columns=self.columns, evolve=self.evolve
            )
            bad = BadRows(self.on_bad_row, name=incoming.name, what=f"decode {kind.format or 'auto'}")
            if kind.compression is not None:
                from crossdock.formats.compression import decompress as unpacked

                plain = Incoming(unpacked(incoming, kind.compression), name=incoming.name)
            format_ = kind.format or _told(plain, incoming)
            made = _reader(format_)(plain, _read_options(format_, dict(self.given)), request, bad)
        except BaseException as error:
            try:
                _close_all(plain, incoming)
            except Exception as also:
                error.add_note(f"closing the source failed too: {type(also).__name__}: {also}")
            raise
        made_batches = Batches(
            made.schema, _ending(made, bad), close=lambda: _close_all(made, bad, plain, incoming)
        )
        made_batches.name = incoming.name
        return made_batches

    def _kind(self, incoming: Incoming) -> names.Kind:
        """The format as said, or ``None`` to be told by the plain bytes; the compression as it is."""
        said = names.parse_kind(self.format)
        format_ = said.format or names.by_name(incoming.name).format
        compression = said.compression
        if compression is None and self.compression != "auto":
            compression = self.compression
        elif compression is None and (format_ is None or format_ in TEXT):
            compression = names.compression_of(incoming.peek(names.HEAD_BYTES))
        elif compression is None:
            # A look at the first bytes would open an object of which ranges are wanted: its name must do.
            compression = names.by_name(incoming.name).compression
        return names.Kind(format=format_, compression=compression)


def _told(plain: Incoming, incoming: Incoming) -> str:
    found = names.format_of(None, incoming.content_type, plain.peek(names.HEAD_BYTES))
    if found is None:
        raise ConfigError(
            "neither its name nor its content type nor its first bytes tell the format",
            operation="decode",
            where=incoming.name or "",
            hint=f"name it: decode('csv'); formats: {', '.join(names.FORMATS)}",
        )
    return found


def typed_read_options(format_: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a format that is read, from texts; see ``options.from_texts``."""
    kind = names.parse_kind(format_).format
    return dict(given) if kind is None else opt.from_texts(_READS[kind], given)


def _read_options(format_: str, given: dict[str, Any]) -> Any:
    if format_ == "tsv":
        given = {"delimiter": "\t", **given}
    return opt.build(_READS[format_], given, what=f"decode({format_!r})")


def _reader(format_: str) -> Callable[[Incoming, Any, Any, BadRows], Batches]:
    """The format's reader; its library is loaded here."""
    if format_ in ("csv", "tsv"):
        from crossdock.formats.csv_read import read_csv

        return read_csv
    if format_ == "jsonl":
        from crossdock.formats.json_read import read_json_lines

        return read_json_lines
    if format_ == "avro":
        from crossdock.formats.avro import read_avro

        return read_avro
    from crossdock.formats import binary_read

    readers = {
        "parquet": binary_read.read_parquet,
        "arrow": binary_read.read_arrow_file,
        "arrow_stream": binary_read.read_arrow_stream,
        "orc": binary_read.read_orc,
    }
    return readers[format_]


def _ending(batches: Batches, bad: BadRows) -> Iterator[Any]:
    """The batches, then the word on bad rows: only of a stream that was read to its end."""
    yield from batches
    bad.end()


def _close_all(*closing: Any) -> None:
    """Close everything; the first failure is raised when all are closed."""
    failed: BaseException | None = None
    for each in closing:
        try:
            each.close()
        except BaseException as error:
            failed = failed or error
    if failed is not None:
        raise failed


def decode(
    format: str = "auto",  # the word everybody uses
    *,
    compression: str | None = "auto",
    schema: Any = None,
    types: Any = None,
    columns: Sequence[str] | None = None,
    evolve: Evolve = "never",
    on_bad_row: OnBadRow = "fail",
    **options: Any,
) -> Decode:
    """Bytes to record batches, as a stitch function: takes a byte stream, bytes, a file or chunks; gives ``Batches``.

    Rows keep their order. Text is read block by block (4 MiB), Parquet row group by row group: by range, only the columns asked
    for, where the store can. The source is closed at the end, after an error, and when the batches are closed.

    Args:
        format: ``csv``, ``tsv``, ``jsonl``, ``parquet``, ``arrow``, ``arrow_stream``, ``orc``, ``avro``; ``auto`` tells by the name,
            else the content type, else the first bytes. ``csv.gz`` names a compression too.
        compression: Round the whole object: ``gzip``, ``zstd``, ``bz2``, ``xz``, ``lz4``, ``snappy``, ``None``; ``auto`` tells by the
            first bytes (of binary formats, by the name).
        schema: All columns: a ``pyarrow.Schema``, or a mapping of names to types or their names.
        types: Types of some columns; the others are inferred.
        columns: Only these, in this order.
        evolve: What may differ from ``schema``: nothing (``never``); columns may lack and are null (``missing``); and others may be
            there, which are added behind (``add``) or left out (``drop``).
        on_bad_row: ``fail`` with row and column; ``skip``, told in one note at the end; a function of a ``BadRow``; a sink, which gets
            them as JSON lines under ``<name>.bad.jsonl``, once the rest was read.
        **options: The format's own; see ``CsvRead``, ``JsonRead``, ``BinaryRead`` in ``crossdock.formats``.

    Raises:
        ConfigError: An option is unknown or makes no sense.
    """
    chosen = (columns,) if isinstance(columns, str) else columns
    return Decode(
        format=format,
        compression=compression,
        schema=schema,
        types=types,
        columns=None if chosen is None else tuple(chosen),
        evolve=evolve,
        on_bad_row=on_bad_row,
        given=options_of(options),
    )
