"""A database as an end of a flow: opened from what a user wrote, kept without secrets, opened again."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from os import getpid
from pathlib import Path
from typing import Any

from crossdock.connectors.registry import connector_for, open_table
from crossdock.connectors.sql.database import Database
from crossdock.connectors.sql.sink import TableSink
from crossdock.connectors.sql.source import TableSource
from crossdock.errors import ConfigError
from crossdock.options import public_options

__all__ = ["DatabaseEnd", "this_process"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseEnd:
    """One database; ``kept`` are its options without secrets."""

    database: Database
    kept: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, given: str | TableSource | TableSink, options: Mapping[str, Any] | None, *, what: str
    ) -> DatabaseEnd:
        """From a URL or a task. Opens no connection.

        Args:
            given: What the user wrote.
            options: Of a URL.
            what: ``source`` or ``sink``.

        Raises:
            ConfigError: It is no database, or an option is wrong.
        """
        if isinstance(given, TableSource | TableSink):
            if options:
                raise ConfigError(
                    f"{what}_options go with a URL; this {what} is a task already", operation="open"
                )
            return cls(database=given.database, kept=public_options(given.database.options))
        if not isinstance(given, str):
            raise ConfigError(
                f"{what} is a database's URL or a task of its tables, not {type(given).__name__}",
                operation="open",
            )
        given = _absolute(given)
        found = open_table(given, options or {})
        if not isinstance(found, Database):
            raise ConfigError(
                "this is no database that is known here",
                operation="open",
                where=given.partition("?")[0],
                hint="write postgresql://..., sqlite:///..., or duckdb:///...",
            )
        own = _by_own_names(given, options or {})
        known = public_options(found.options)
        return cls(database=found, kept={name: value for name, value in known.items() if name in own})

    def asked(self) -> dict[str, Any]:
        """What a run keeps; plain values."""
        return {"store": self.database.url, "prefix": "", "options": dict(self.kept)}

    @classmethod
    def again(cls, kept: Mapping[str, Any], options: Mapping[str, Any] | None, *, what: str) -> DatabaseEnd:
        """From what a run kept, with options given again on top: secrets, another user."""
        url = kept["store"]
        return cls.of(url, {**kept["options"], **_by_own_names(url, options or {})}, what=what)


def _absolute(url: str) -> str:
    """A file by its full path: a run may be gone on with from another directory."""
    scheme, sep, path = url.partition("://")
    if scheme.lower() not in ("sqlite", "duckdb") or not path or path.startswith((":", "/")):
        return url
    return f"{scheme}{sep}{Path(path).absolute()}"


def _by_own_names(url: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options by the names that their class has for them; a user may have written another."""
    kind: type[Any] = connector_for(url.partition("://")[0].lower()).load()[1]
    names = {alias: each.name for each in fields(kind) for alias in each.metadata["aliases"]}
    return {names.get(name, name): value for name, value in options.items()}


def this_process() -> str:
    """Tells this process apart from others, on this machine or not."""
    return f"{socket.gethostname()} {getpid()}"
