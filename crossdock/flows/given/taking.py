"""A list given by the caller takes the place of the source's listing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, overload

from crossdock.connectors.objects import ObjectSource
from crossdock.errors import ConfigError
from crossdock.flows.given.lists import open_table
from crossdock.flows.given.names import Names
from crossdock.flows.questions.endpoints import Ends

__all__ = ["with_list"]


@overload
def with_list(
    ends: Ends, names: Iterable[str] | None, manifest: str | None, options: Mapping[str, Any] | None
) -> Ends: ...
@overload
def with_list(
    ends: Ends | None, names: Iterable[str] | None, manifest: str | None, options: Mapping[str, Any] | None
) -> Ends | None: ...
def with_list(
    ends: Ends | None,
    names: Iterable[str] | None,
    manifest: str | None,
    options: Mapping[str, Any] | None,
) -> Ends | None:
    """The same ends, of whose source only what is named is taken; unchanged if nothing is given.

    The source is a prefix then, with ``/`` added: it is never one object. Names are consumed and sorted here.

    Raises:
        ConfigError: Both are given, or one of them is wrong.
        NotFoundError: There is no such list.
    """
    if names is None and manifest is None:
        if options:
            raise ConfigError("manifest_options go with a manifest", operation="plan")
        return ends
    if names is not None and manifest is not None:
        raise ConfigError(
            "names and a manifest both say what is taken", operation="plan", hint="give one of the two"
        )
    if ends is None:
        raise ConfigError(
            "a plan has decided what is taken", operation="plan", hint="leave out names and manifest"
        )
    source = ends.source
    if source.prefix and not source.prefix.endswith("/"):
        source = ObjectSource(source.store, f"{source.prefix}/")
    given = open_table(manifest, options) if manifest is not None else Names(names or ())
    return dataclasses.replace(ends, source=source, given=given)
