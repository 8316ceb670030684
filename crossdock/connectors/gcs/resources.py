"""Between our values and the JSON API's: objects, metadata, conditions, and the names and limits they must keep.

https://docs.cloud.google.com/storage/docs/json_api/v1/objects#resource
"""

from __future__ import annotations

import base64
import json
from binascii import a2b_base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from crossdock.errors import ConnectionLostError, IntegrityError, UnsupportedError
from crossdock.model import MIB, Condition, Digests, Metadata, ObjectInfo, Version

__all__ = [
    "OBJECT_FIELDS",
    "RESERVED_PREFIX",
    "conflict",
    "generation_of",
    "info_of",
    "metadata_changes",
    "metadata_of",
    "parse_json",
    "quoted",
    "refusal",
    "resource_of",
    "unsupported_metadata",
    "write_condition",
]

OBJECT_FIELDS = (
    "name,size,generation,md5Hash,crc32c,updated,contentType,cacheControl,contentDisposition,contentEncoding,"
    "contentLanguage,metadata,storageClass"
)
"""All that an ``ObjectInfo`` is made of, and no more: it is asked for with each write and each page."""

RESERVED_PREFIX = ".crossdock/uploads/"
"""Where large uploads wait until they are proven; not listed, not to be written to."""

_MAX_KEY_BYTES = 1024
_MAX_OBJECT_SIZE = 5 * 1024 * 1024 * MIB
_MAX_USER_METADATA_BYTES = 8 * 1024  # https://docs.cloud.google.com/storage/quotas#objects
_NAMES = {
    "content_type": "contentType",
    "cache_control": "cacheControl",
    "content_disposition": "contentDisposition",
    "content_encoding": "contentEncoding",
    "content_language": "contentLanguage",
}


def quoted(key: str) -> str:
    """The key as one path segment, or as a query value: everything but unreserved characters escaped.

    Raises:
        UnsupportedError: It is not valid UTF-8.
    """
    try:
        return quote(key, safe="")
    except UnicodeEncodeError as error:
        raise UnsupportedError("the name is not valid UTF-8", key=key) from error


def refusal(key: str, size: int | None) -> str | None:
    """Why GCS cannot hold this; https://docs.cloud.google.com/storage/docs/objects#naming."""
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        return "the key is not valid UTF-8, which GCS demands"
    if not 1 <= length <= _MAX_KEY_BYTES:
        return f"the key has {length} bytes; GCS takes 1 to {_MAX_KEY_BYTES}"
    if "\r" in key or "\n" in key:
        return "the key contains a carriage return or line feed, which GCS forbids"
    if key in (".", ".."):
        return f"GCS forbids an object named {key!r}"
    if key.startswith(".well-known/acme-challenge/"):
        return "GCS forbids keys that start with .well-known/acme-challenge/"
    if key.startswith(RESERVED_PREFIX):
        return f"keys that start with {RESERVED_PREFIX} are reserved for uploads in progress"
    if size is not None and size > _MAX_OBJECT_SIZE:
        return f"{size} bytes are more than the 5 TiB an object may have"
    return None


def unsupported_metadata(metadata: Metadata) -> str | None:
    """Why GCS cannot hold this metadata exactly, or ``None``."""
    for name in Metadata.FIELDS:
        value = getattr(metadata, name)
        if value is not None and ("\r" in value or "\n" in value):
            return f"{name} contains a line break"
    total = 0
    for name, value in metadata.user.items():
        if any(char in text for text in (name, value) for char in "\r\n"):
            return f"user metadata {name!r} contains a line break"
        total += len(name.encode()) + len(value.encode())
    if total > _MAX_USER_METADATA_BYTES:
        return f"the user metadata has {total} bytes; GCS takes {_MAX_USER_METADATA_BYTES}"
    return None


def resource_of(metadata: Metadata) -> dict[str, Any]:
    """The resource of an object that is to be written; what is absent is not in it."""
    resource: dict[str, Any] = {}
    for name, theirs in _NAMES.items():
        value = getattr(metadata, name)
        if value is not None:
            resource[theirs] = value
    if metadata.user:
        resource["metadata"] = dict(metadata.user)
    return resource


def metadata_changes(published: Metadata, wanted: Metadata) -> dict[str, Any]:
    """The patch that turns ``published`` into ``wanted``; empty if nothing differs. ``None`` removes."""
    patch: dict[str, Any] = {}
    for name, theirs in _NAMES.items():
        value = getattr(wanted, name)
        if value != getattr(published, name):
            patch[theirs] = value
    if dict(published.user) != dict(wanted.user):
        patch["metadata"] = {**dict.fromkeys(published.user), **wanted.user}
    return patch


def metadata_of(resource: Mapping[str, Any]) -> Metadata:
    """Metadata as published."""
    get = resource.get
    return Metadata(
        content_type=get("contentType"),
        cache_control=get("cacheControl"),
        content_disposition=get("contentDisposition"),
        content_encoding=get("contentEncoding"),
        content_language=get("contentLanguage"),
        user=get("metadata") or {},
    )


def info_of(resource: Mapping[str, Any]) -> ObjectInfo:
    """An object as published.

    The version is the generation alone: ETags of the JSON and the XML API differ, and the generation pins more.
    """
    get = resource.get
    md5, crc32c, updated = get("md5Hash"), get("crc32c"), get("updated")
    return ObjectInfo(
        key=resource["name"],
        size=int(resource["size"]),
        version=Version(generation=resource["generation"]),
        digests=Digests(
            md5=a2b_base64(md5) if md5 else None,
            crc32c=a2b_base64(crc32c) if crc32c else None,
        ),
        metadata=metadata_of(resource),
        modified=datetime.fromisoformat(updated) if updated else None,
        storage_class=get("storageClass"),
    )


def parse_json(data: bytes, operation: str, where: str) -> dict[str, Any]:
    """The document of an answer; something else means that the answer was damaged."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:  # the latter: nested without end
        raise ConnectionLostError("the answer is no JSON", operation=operation, where=where) from error
    if not isinstance(value, dict):
        raise ConnectionLostError("the answer is no JSON object", operation=operation, where=where)
    return value


def generation_of(version: Version, operation: str, where: str, key: str) -> str | None:
    """What a request is pinned to.

    Raises:
        UnsupportedError: The version has an ETag only, which GCS does not take as a condition on both APIs.
    """
    if version and version.generation is None:
        raise UnsupportedError(
            "GCS pins by generation, and this version has only an ETag",
            operation=operation,
            where=where,
            key=key,
        )
    return version.generation


def write_condition(condition: Condition, operation: str, where: str, key: str) -> str:
    """The query parameter of a conditional write, with its ampersand; empty if any state will do."""
    if condition.is_any:
        return ""
    generation = "0" if condition.absent else generation_of(condition.version, operation, where, key)
    return f"&ifGenerationMatch={generation}"


def conflict(info: ObjectInfo, size: int, digests: Digests) -> str | None:
    """What of the published object differs from what was sent, in words, or ``None``."""
    if info.size != size:
        return f"{info.size} bytes are stored, {size} were sent"
    name = info.digests.conflict(digests)
    return None if name is None else f"the stored object's {name} is not that of the bytes sent"


def integrity_error(cause: str, operation: str, where: str, key: str) -> IntegrityError:
    """Wrong bytes that were found and removed."""
    return IntegrityError(
        cause, operation=operation, where=where, key=key, hint="nothing wrong was left behind"
    )


def encoded(digest: bytes) -> str:
    """A digest as Google writes it."""
    return base64.b64encode(digest).decode()
