"""Partition values as parts of keys, in Hive's way: ``year=2024/month=1/``. Pure, reversible.

A value is the text Arrow casts it to, percent-encoded in UTF-8; null is ``__HIVE_DEFAULT_PARTITION__``, which as a text of
its own is written with its first character encoded. An empty text is ``name=``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.compute as pc

from crossdock.errors import ConfigError

__all__ = ["NULL", "as_texts", "as_values", "inferred", "is_hidden", "pairs_of", "prefix_of"]

NULL = "__HIVE_DEFAULT_PARTITION__"

_WHOLE = re.compile(r"0|-?[1-9]\d{0,17}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def prefix_of(names: Sequence[str], texts: Sequence[str | None]) -> str:
    """The segments of one partition, each ending in ``/``; nothing without partition columns."""
    return "".join(
        f"{quote(name, safe='')}={_segment(text)}/" for name, text in zip(names, texts, strict=True)
    )


def _segment(text: str | None) -> str:
    if text is None:
        return NULL
    written = quote(text, safe="")
    return f"%5F{written[1:]}" if written == NULL else written


def pairs_of(key: str) -> tuple[tuple[str, str | None], ...]:
    """Names and texts in the directories of a key below the dataset's prefix; segments without ``=`` are no partition."""
    found = []
    for segment in key.split("/")[:-1]:
        name, sep, value = segment.partition("=")
        if sep and name:
            found.append((unquote(name), None if value == NULL else unquote(value)))
    return tuple(found)


def is_hidden(key: str) -> bool:
    """Whether readers of such directories pass over it: below or with a name that begins with ``_`` or ``.``, or no name.

    A partition column may begin so; a segment with ``=`` is not hidden.
    """
    *directories, name = key.split("/")
    return (
        not name or any(each[:1] in ("_", ".") and "=" not in each for each in directories) or name[0] in "_."
    )


def as_texts(values: pa.Array[Any], name: str) -> pa.Array[Any]:
    """The values as texts from which they come back exactly.

    Raises:
        ConfigError: A value has no such text: NaN, bytes, a list.
    """
    kind: Any = values.type
    if pa.types.is_dictionary(kind):
        values, kind = values.cast(kind.value_type), kind.value_type
    try:
        texts: pa.Array[Any] = values.cast(pa.string())
        exact = _plain(kind) and texts.cast(kind).equals(values)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        exact = False
    if not exact:
        raise ConfigError(
            f"column {name!r} is {kind}, and not each of its values has a text from which it comes back",
            operation="partition",
            hint="partition by text, whole numbers, dates or times",
        )
    return texts


def _plain(kind: pa.DataType) -> bool:
    return not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_nested(kind))


def as_values(texts: Iterable[str | None], kind: pa.DataType, name: str) -> pa.Array[Any]:
    """The texts as values of a type.

    Raises:
        ConfigError: One of them is none.
    """
    column = pa.array(texts, pa.string())
    plain: Any = kind.value_type if isinstance(kind, pa.DictionaryType) else kind
    try:
        made: pa.Array[Any] = column.cast(plain)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ConfigError(
            f"the partition column {name!r} has values that are no {kind}: {str(error).partition(chr(10))[0]}",
            operation="read",
            hint=f"types={{{name!r}: 'string'}} takes them as they are",
        ) from error
    return made if plain == kind else pc.cast(made, kind)


def inferred(texts: Iterable[str | None]) -> pa.DataType:
    """The type of a partition column of which only texts are known: whole numbers, dates, else text.

    A number with a leading zero is text: ``007`` would not come back from 7.
    """
    known = [text for text in texts if text is not None]
    if known and all(map(_WHOLE.fullmatch, known)):
        return pa.int64()
    if known and all(map(_DATE.fullmatch, known)):
        try:
            pa.array(known, pa.string()).cast(pa.date32())
        except pa.ArrowInvalid:
            return pa.string()
        return pa.date32()
    return pa.string()
