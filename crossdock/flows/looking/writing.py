"""Where the rows of a query go: one object in a format, or a table of a database. All of them or none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import crossdock
from crossdock.batches import Batches
from crossdock.connectors.objects import ObjectSink
from crossdock.connectors.registry import connector_for
from crossdock.errors import ConfigError
from crossdock.formats import names
from crossdock.formats.encoding import encode
from crossdock.model import Receipt

__all__ = ["Output"]


class Output:
    """A place for rows. Building one checks it and opens nothing, so that a mistake is found before anything is computed.

    Args:
        url: An object, whose name tells the format, or a database with ``#table``.
        format: The format, where the name does not tell.
        mode: Of a table: ``append`` or ``replace``.
        options: The connector's.

    Raises:
        ConfigError: It is no place for one table, or nothing tells the format.
    """

    def __init__(
        self,
        url: str,
        *,
        format: str | None = None,
        mode: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        scheme, sep, _ = url.partition("://")
        self._table = ""
        if sep and "::" not in scheme and connector_for(scheme.lower()).kind == "table":
            place, _, self._table = url.partition("#")
            if not self._table:
                raise ConfigError("this names no table", operation="open", where=url, hint=f"{url}#table")
            if format is not None:
                raise ConfigError("a database's tables have no format", operation="open", where=place)
            self._sink = crossdock.sink(place, **dict(options or {}))
        else:
            self._sink = _object_sink(url, mode, options)
            self._encode = encode(_format(url, format))
        self._mode = mode or "append"

    def write(self, batches: Batches) -> Receipt:
        """Write all the rows; closes them in any case. Nothing is visible before the last row came, nothing left behind if it does not."""
        with batches:
            if self._table:
                receipt: Receipt = self._sink.run(batches, table=self._table, mode=self._mode)
            else:
                receipt = self._sink.run(self._encode(batches), key="")
        return receipt


def _object_sink(url: str, mode: str | None, options: Mapping[str, Any] | None) -> ObjectSink:
    if mode is not None:
        raise ConfigError("an object has no mode: it is replaced", operation="open", where=url)
    sink: ObjectSink = crossdock.sink(url, **dict(options or {}))
    if not sink.prefix or sink.prefix.endswith("/"):
        raise ConfigError("this names no object", operation="open", where=url, hint="add a name to it")
    return sink


def _format(url: str, given: str | None) -> str:
    if given is not None:
        return given
    kind = names.by_name(url)
    if kind.format is None:
        raise ConfigError(
            "its name does not tell the format",
            operation="open",
            where=url,
            hint=f"end it with .parquet, .csv and so on, or name one of {', '.join(names.FORMATS)}",
        )
    return kind.format + (
        names.suffix_of(names.Kind(compression=kind.compression)) if kind.compression else ""
    )
