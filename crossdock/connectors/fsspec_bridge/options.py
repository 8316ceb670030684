"""The options of a protocol, made from its filesystem's constructor: names, types, defaults and help are fsspec's.

For a chain the first link's options are given flat, and those of every link by its protocol's name, as fsspec takes them:
``xd.source("zip://x.csv::s3://bucket/a.zip", s3={"key": "env:K", "secret": "env:S"})``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from typing import Any

from crossdock.connectors.fsspec_bridge.dialects import dialect_of
from crossdock.connectors.fsspec_bridge.protocols import Parameter, parameters
from crossdock.errors import ConfigError
from crossdock.options import option, revealed, sounds_secret

_OURS = ("read_back", "missing_root_is_empty")

__all__ = ["FsspecOptions", "FsspecSinkOptions", "nested_options", "options_for"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FsspecOptions:
    """What every protocol takes, beside its own options."""

    storage_options: Mapping[str, Any] | None = option(
        "More arguments for the filesystem, as fsspec takes them and unchecked: what it only passes on to its library.",
        nested=True,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class FsspecSinkOptions(FsspecOptions):
    """What every protocol takes that can be a sink, beside its own options."""

    read_back: bool = option(
        "Read what was written back under its temporary name and compare a digest, before it gets its final name.",
        default=False,
    )
    missing_root_is_empty: bool = option(
        "A root that does not exist counts as empty, as a sink's may: the first write makes it.",
        default=False,
    )


@cache
def options_for(links: tuple[str, ...]) -> type[FsspecOptions]:
    """The option class of a chain of protocols, outermost first.

    Raises:
        MissingExtraError: A package the first link needs is not installed.
    """
    base = FsspecSinkOptions if dialect_of(links).renames else FsspecOptions
    taken = {field.name for field in dataclasses.fields(base)} | set(links)
    fields = [_field(each) for each in parameters(links[0]) if each.name not in taken]
    fields += [
        (
            protocol,
            Mapping[str, Any] | None,
            option(f"Options of the link {protocol}://, as fsspec takes them.", nested=True),
        )
        for protocol in dict.fromkeys(links if len(links) > 1 else ())
    ]
    name = "".join(link.capitalize() for link in links) + "Options"
    made: type[FsspecOptions] = dataclasses.make_dataclass(
        name, fields, bases=(base,), frozen=True, kw_only=True
    )
    return made


def _field(parameter: Parameter) -> tuple[str, Any, Any]:
    default = parameter.default
    text = parameter.help or "See fsspec's documentation of this filesystem."
    secret = sounds_secret(parameter.name)
    if isinstance(default, Mapping | list | tuple | set):
        default = None  # the filesystem's own, and not to be shared
    return parameter.name, _type(parameter), option(text, default=default, secret=secret, nested=True)


def _type(parameter: Parameter) -> Any:
    """By the default's type or the docstring's word, so that text from a command line becomes what is expected."""
    word = parameter.kind.replace(",", " ").partition(" ")[0]
    for kind in (bool, int, float):
        if type(parameter.default) is kind or (parameter.default is None and word == kind.__name__):
            return kind | None
    if type(parameter.default) is str:
        return str | None
    return str | bool | object | None


def nested_options(options: FsspecOptions, links: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """What fsspec is called with: arguments by protocol, secrets as text. Only what differs from a default.

    Raises:
        ConfigError: A link's options are not a mapping.
        CredentialsError: A secret reference leads nowhere.
    """
    by_link: dict[str, dict[str, Any]] = {protocol: {} for protocol in links}
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if field.name in _OURS or value is None or value == field.default:
            continue
        if field.name in by_link and len(links) > 1:
            by_link[field.name] |= revealed(value)
        elif field.name == "storage_options":
            for name, each in revealed(value).items():
                if name in by_link and isinstance(each, dict):
                    by_link[name] |= each
                else:
                    by_link[links[0]][name] = each
        else:
            by_link[links[0]][field.name] = revealed(value)
    _demand_fit(by_link)
    return by_link


def _demand_fit(by_link: Mapping[str, Mapping[str, Any]]) -> None:
    for protocol, given in by_link.items():
        if "asynchronous" in given or "fo" in given:
            raise ConfigError(
                f"{protocol}: what the URL says, and how calls are made, is not an option", operation="open"
            )
