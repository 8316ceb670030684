"""What may be said about each format when it is read or written, as data. Nothing here loads pyarrow."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, TypeVar

from crossdock.errors import ConfigError
from crossdock.model import MIB
from crossdock.options import parse_size

__all__ = [
    "AvroWrite",
    "BinaryRead",
    "CsvRead",
    "CsvWrite",
    "IpcWrite",
    "JsonRead",
    "JsonWrite",
    "OrcWrite",
    "ParquetWrite",
    "build",
    "from_texts",
    "options_of",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class _TextRead:
    block_bytes: int = 4 * MIB  # text parsed in one step
    sample_bytes: int = 4 * MIB  # text from which types are inferred
    max_row_bytes: int = 256 * MIB
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        for name in ("block_bytes", "sample_bytes", "max_row_bytes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is at least 1, not {getattr(self, name)}", operation="decode")
        _demand_encoding(self.encoding)


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvRead(_TextRead):
    """How a CSV is read.

    Attributes:
        delimiter: Between fields; one ASCII character.
        quote: Round fields; empty if quotes mean nothing.
        escape: Before a character that means itself; empty if there is none.
        header: Whether the first row names the columns.
        column_names: Names instead of the header's, or for want of one.
        skip_rows: Lines to leave out before the header.
        nulls: Unquoted texts that stand for null.
        true_values: Texts that stand for true.
        false_values: Texts that stand for false.
        timestamp_formats: In strptime's words, tried in this order; without them ISO 8601.
        decimal_point: In numbers.
    """

    delimiter: str = ","
    quote: str = '"'
    escape: str = ""
    header: bool = True
    column_names: tuple[str, ...] = ()
    skip_rows: int = 0
    nulls: tuple[str, ...] = ("",)
    true_values: tuple[str, ...] = ("true", "True", "TRUE", "1")
    false_values: tuple[str, ...] = ("false", "False", "FALSE", "0")
    timestamp_formats: tuple[str, ...] = ()
    decimal_point: str = "."

    def __post_init__(self) -> None:
        _TextRead.__post_init__(self)
        _demand_character("delimiter", self.delimiter)
        for name in ("quote", "escape"):
            if getattr(self, name):
                _demand_character(name, getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonRead(_TextRead):
    """How JSON lines are read: one object a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BinaryRead:
    """How Parquet, Arrow, ORC and Avro are read.

    Attributes:
        batch_rows: Rows of a batch, at most; Arrow and ORC have batches of their own.
        fetch_bytes: Of Parquet read by ranges: a row group whose wanted columns take more than this is not fetched whole but
            column by column, as its rows are pulled. Who wants only the first rows says little.
    """

    batch_rows: int = 65_536
    fetch_bytes: int = 64 * MIB

    def __post_init__(self) -> None:
        for name in ("batch_rows", "fetch_bytes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is at least 1, not {getattr(self, name)}", operation="decode")


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvWrite:
    """How a CSV is written: text always in quotes, null as nothing, so that an empty text and null differ."""

    delimiter: str = ","
    header: bool = True
    level: int | None = None  # of the compression round it

    def __post_init__(self) -> None:
        _demand_character("delimiter", self.delimiter)


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonWrite:
    """How JSON lines are written: one object a line, every column in it."""

    level: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParquetWrite:
    """How Parquet is written.

    Attributes:
        row_group_bytes: Rows are gathered until they take this much memory, then written as one row group.
        row_group_rows: Or until there are this many.
        level: Of the compression.
        dictionary: Whether columns of few values are written as dictionaries.
    """

    row_group_bytes: int = 64 * MIB
    row_group_rows: int = 1_048_576
    level: int | None = None
    dictionary: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class IpcWrite:
    """How Arrow's own formats are written: each batch as it comes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrcWrite:
    """How ORC is written.

    Attributes:
        stripe_bytes: About how large a stripe is.
    """

    stripe_bytes: int = 64 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class AvroWrite:
    """How Avro is written.

    Attributes:
        record_name: What the schema calls a row.
    """

    record_name: str = "row"


def build(kind: type[T], given: dict[str, Any], *, what: str) -> T:
    """An option object from keywords; lists become tuples.

    Raises:
        ConfigError: A name is unknown (the nearest is told), or a value makes no sense.
    """
    known = [each.name for each in fields(kind)]  # type: ignore[arg-type]
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, 1)
            raise ConfigError(
                f"{what} has no option {name!r}",
                operation="open",
                hint=f"did you mean {near[0]!r}?" if near else f"options: {', '.join(known) or 'none'}",
            )
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})


def _demand_character(name: str, value: str) -> None:
    if len(value) != 1 or not value.isascii() or value in "\r\n":
        raise ConfigError(f"{name} is one ASCII character, not {value!r}", operation="decode")


def _demand_encoding(name: str) -> None:
    try:
        codecs.lookup(name)
    except LookupError:
        raise ConfigError(f"there is no encoding {name!r}", operation="decode") from None


def options_of(options: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Options as they are kept: sorted, lists as tuples, so that equal ones are equal."""
    return tuple(
        (name, tuple(value) if isinstance(value, list) else value) for name, value in sorted(options.items())
    )


def from_texts(kind: type[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Options as a command line gives them, in the types they have: sizes, yes and no, lists with commas. Others stay as they are.

    Raises:
        ConfigError: A text is no value of its option.
    """
    types = {each.name: str(each.type) for each in fields(kind)}
    return {
        name: _from_text(name, value, types.get(name, "str")) if isinstance(value, str) else value
        for name, value in given.items()
    }


def _from_text(name: str, text: str, kind: str) -> Any:
    if kind.startswith("tuple"):
        return tuple(text.split(","))
    try:
        if kind == "bool":
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[
                text.lower()
            ]
        return parse_size(text) if kind.startswith("int") else text
    except (KeyError, ValueError) as error:
        raise ConfigError(f"{name} is no {kind.partition(' ')[0]}: {text!r}", operation="convert") from error
