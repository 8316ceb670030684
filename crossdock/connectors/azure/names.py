"""Containers and keys: what Azure can hold, how a URL names a container, and the exact request path of a key.

https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from crossdock.errors import ConfigError
from crossdock.model import MIB
from crossdock.options import format_size

__all__ = [
    "MAX_BLOCKS",
    "MAX_BLOCK_SIZE",
    "MAX_OBJECT_SIZE",
    "MAX_PUT_SIZE",
    "RESERVED_PREFIX",
    "Container",
    "container_of",
    "encode_key",
    "refusal",
]

RESERVED_PREFIX = ".crossdock/uploads/"
"""Where records of open uploads are; not listed, not to be written to."""

# https://learn.microsoft.com/azure/storage/blobs/scalability-targets
MAX_BLOCKS = 50_000
MAX_BLOCK_SIZE = 4_000 * MIB
MAX_PUT_SIZE = 5_000 * MIB
MAX_OBJECT_SIZE = MAX_BLOCKS * MAX_BLOCK_SIZE

_MAX_KEY_LENGTH = 1024
_MAX_SEGMENTS = 254
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# $root, $web and $logs are containers of the service's own making.
_CONTAINER = re.compile(r"[a-z0-9](?:-?[a-z0-9]){2,62}|\$root|\$web|\$logs")


@dataclass(frozen=True, slots=True)
class Container:
    """What a URL names: a container, and the account's host if it says so (``container@account.dfs...``)."""

    name: str
    host: str = ""

    @property
    def url(self) -> str:
        """The container's URL, without secrets."""
        return f"abfs://{self.name}@{self.host}" if self.host else f"az://{self.name}"


def container_of(text: str) -> Container:
    """Take ``container`` or ``container@host`` apart.

    Raises:
        ConfigError: Azure has no container of that name.
    """
    name, _, host = text.partition("@")
    if not _CONTAINER.fullmatch(name) or len(name) > 63:
        raise ConfigError(
            f"{name!r} is no name of a container",
            operation="open",
            where=f"az://{text}",
            hint="names have 3 to 63 lower-case letters, digits and single hyphens",
        )
    return Container(name, host.lower())


def encode_key(key: str) -> str:
    """A key as a request path: all but RFC 3986's unreserved characters and ``/`` is percent-encoded; nothing is folded."""
    return quote(key, safe="/~-._")


def refusal(key: str, size: int | None = None) -> str | None:
    """Why Azure cannot hold this key (or size) exactly, in words; ``None`` if it can.

    Dots at the end of a segment and backslashes are changed silently on the way (by the service and by what stands before
    it), so they are refused here; slashes at either end and doubled ones are kept.
    """
    try:
        key.encode()
    except UnicodeEncodeError:
        return "the key is not UTF-8"
    length = len(key.encode("utf-16-le")) // 2
    if not 1 <= length <= _MAX_KEY_LENGTH:
        return f"the key has {length} characters; Azure takes 1 to {_MAX_KEY_LENGTH}"
    if _CONTROL.search(key):
        return "the key has a control character, which Azure forbids"
    if "\\" in key:
        return "the key has a backslash, which Azure turns into a slash"
    segments = key.split("/")
    if len(segments) > _MAX_SEGMENTS:
        return f"the key has {len(segments)} segments; Azure takes {_MAX_SEGMENTS}"
    if any(segment.endswith(".") for segment in segments):
        return "a segment of the key ends with a dot, which Azure drops"
    if key.startswith(RESERVED_PREFIX):
        return f"keys that start with {RESERVED_PREFIX} are reserved for uploads in progress"
    if size is not None and size > MAX_OBJECT_SIZE:
        return f"{format_size(size)} is over Azure's limit of {format_size(MAX_OBJECT_SIZE)} an object"
    return None
