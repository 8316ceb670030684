"""What connectors there are, as data: the overview without importing any, and one in detail by loading only that one."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any

from crossdock.connectors.registry import Connector, connectors
from crossdock.errors import ConfigError
from crossdock.options import describe_options, parse_options

__all__ = ["details", "overview"]


def overview() -> list[dict[str, Any]]:
    """One row a connector: ours first, then those of other packages, then whatever else fsspec knows.

    No SDK is imported: whether a package is there is told by its name.
    """
    return [_row(each) for each in connectors()]


def details(name: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """One connector with its options and capabilities. Imports its SDK; opens no connection.

    Args:
        name: Its name, or a scheme it opens.
        options: Some of its options: capabilities may depend on them.

    Raises:
        ConfigError: There is no such connector, or an option is wrong; the nearest is named.
        MissingExtraError: A package it needs is not installed.
    """
    row = _find(name)
    store_class, options_class = row.load()
    parsed = parse_options(options_class, options or {})
    capabilities = store_class(row.example, parsed).capabilities
    return {
        **_row(row),
        "options": _options(options_class),
        "capabilities": {
            field.name: _plain(getattr(capabilities, field.name))
            for field in dataclasses.fields(capabilities)
        },
    }


def _find(name: str) -> Connector:
    rows = connectors()
    for row in rows:
        if name == row.name or name in row.schemes:
            return row
    near = difflib.get_close_matches(
        name, {*(row.name for row in rows), *(s for row in rows for s in row.schemes)}, n=1
    )
    raise ConfigError(
        f"there is no connector {name!r}",
        operation="connectors",
        hint=f"did you mean {near[0]!r}?" if near else "`crossdock connectors` lists them",
    )


def _row(row: Connector) -> dict[str, Any]:
    return {
        "name": row.name,
        "schemes": list(row.schemes),
        "source": True,
        "sink": row.is_sink,
        "extra": row.extra,
        "installed": row.is_installed,
        "install": row.need,
        "through": "fsspec" if row.module.startswith("crossdock.connectors.fsspec_bridge") else None,
        "summary": row.summary,
    }


def _options(cls: type[Any]) -> list[dict[str, Any]]:
    hints = typing.get_type_hints(cls)
    return [
        {
            "name": about["name"],
            "type": "secret" if about["secret"] else _type_name(hints[about["name"]]),
            "unit": about["unit"],
            "default": _plain(about["default"]),
            "env": list(about["env"]),
            "aliases": list(about["aliases"]),
            "help": about["help"],
        }
        for about in describe_options(cls)
    ]


def _type_name(hint: Any) -> str:
    """Words for a type; ``any`` where a connector takes what its library takes."""
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    named = [typing.get_origin(kind) or kind for kind in kinds if kind is not type(None)]
    if object in named or Any in named:
        return "any"
    return " or ".join("mapping" if kind.__name__ == "Mapping" else kind.__name__ for kind in named)


def _plain(value: Any) -> Any:
    """For JSON."""
    if isinstance(value, frozenset | set):
        return sorted(value)
    return value if isinstance(value, str | int | float | bool | list | dict | None) else str(value)
