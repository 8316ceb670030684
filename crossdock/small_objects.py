"""Small objects by name at any URL: what a room that knows no connector keeps its own notes in.

The rooms beside ``connectors`` (``combine``) may not import it. Here is what they may ask for, and the one place where it
is looked up, by its dotted name, when it is first needed.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Protocol

__all__ = ["SmallObjects", "open_small_objects"]


class SmallObjects(Protocol):
    """Small objects below one prefix of one store. Thread-safe; keeps nothing in memory.

    All methods raise the classes of ``crossdock.errors``; passing failures were tried again before they are raised.
    """

    @property
    def url(self) -> str:
        """The prefix's URL, without secrets; ends in ``/``."""

    def check(self) -> None:
        """Prove with one cheap request that the place exists (or can be made) and may be used; see ``ObjectStore``."""

    def get(self, name: str, *, limit_bytes: int) -> bytes:
        """One object, whole. One request.

        Raises:
            NotFoundError: There is no such object (or no such bucket: ``check`` tells).
            UnsupportedError: It is larger than ``limit_bytes``, or nothing that can be read.
        """

    def put(self, name: str, data: bytes) -> None:
        """Write one object: whole or not at all, in place of any other. Safe against others who do the same.

        One request; more if the outcome of one is unknown.
        """


def open_small_objects(url: str, options: Mapping[str, Any] | None = None) -> SmallObjects:
    """The place behind a URL, which counts as a prefix. Opens no connection; imports the connector.

    Raises:
        ConfigError: The URL or an option is wrong, or nothing can be written there.
        MissingExtraError: The connector's package is not installed.
    """
    module = importlib.import_module("crossdock.connectors.small_objects")
    opened: SmallObjects = module.open_place(url, options or {})
    return opened
