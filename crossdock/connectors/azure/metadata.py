"""Metadata as Azure can hold it, reversibly: names are C# identifiers, values are headers in ASCII.

A character that no identifier has becomes ``_xHHHH_``, the form of .NET's ``XmlConvert.EncodeName``: ``reviewed-by`` is
stored as ``reviewed_x002D_by``. A value that a header would not carry exactly becomes an RFC 2047 word. Reading undoes
both, so nothing is lost and other tools see something legible.
https://learn.microsoft.com/rest/api/storageservices/setting-and-retrieving-properties-and-metadata-for-blob-resources
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping

from crossdock.errors import UnsupportedError
from crossdock.model import Metadata

__all__ = ["NO_TYPE", "encoded", "metadata_headers", "metadata_in", "settled", "system_headers"]

NO_TYPE = "application/octet-stream"
"""What Azure says of an object that was stored without a Content-Type: it counts as absent, which means the same."""

_HEADERS = {
    "content_type": "x-ms-blob-content-type",
    "cache_control": "x-ms-blob-cache-control",
    "content_disposition": "x-ms-blob-content-disposition",
    "content_encoding": "x-ms-blob-content-encoding",
    "content_language": "x-ms-blob-content-language",
}
_ANSWERS = {
    "content_type": "content-type",
    "cache_control": "cache-control",
    "content_disposition": "content-disposition",
    "content_encoding": "content-encoding",
    "content_language": "content-language",
}
_USER = "x-ms-meta-"
_LIMIT = 8 * 1024  # names and values together
_ESCAPE = re.compile(r"_x([0-9A-Fa-f]{4}|[0-9A-Fa-f]{8})_")
_UNSAFE = re.compile(r"_(?=x(?:[0-9A-Fa-f]{4}|[0-9A-Fa-f]{8})_)|^[0-9]|[^A-Za-z0-9_]")
_WORD = re.compile(r"=\?UTF-8\?B\?([A-Za-z0-9+/]*={0,2})\?=")


def encoded(metadata: Metadata) -> Metadata:
    """The same metadata as Azure keeps it.

    Raises:
        UnsupportedError: A system field is no header value, a value has control characters, two names differ in case
            only, or there is more than 8 KiB of it.
    """
    user = {_name(name): _value(name, value) for name, value in metadata.user.items()}
    if len({name.lower() for name in user}) < len(metadata.user):
        raise _unsupported("two names of user metadata differ in case only, which Azure does not tell apart")
    size = sum(len(name) + len(value) for name, value in user.items())
    if size > _LIMIT:
        raise _unsupported(f"the user metadata has {size} bytes; Azure takes {_LIMIT}")
    for name in Metadata.FIELDS:
        value = getattr(metadata, name)
        if value is not None and not _is_header(value):
            raise _unsupported(f"{name} = {value!r} is no header value")
    return Metadata(**{name: getattr(metadata, name) for name in Metadata.FIELDS}, user=user)


def _unsupported(cause: str) -> UnsupportedError:
    return UnsupportedError(cause, operation="put", hint="Azure cannot hold this metadata")


def _is_header(value: str) -> bool:
    return bool(value) and value.isascii() and value.isprintable() and value == value.strip(" ")


def _name(name: str) -> str:
    if not name:
        raise _unsupported("user metadata without a name")
    return _UNSAFE.sub(lambda found: _escaped(found[0]), name)


def _escaped(char: str) -> str:
    code = ord(char)
    return f"_x{code:04X}_" if code <= 0xFFFF else f"_x{code:08X}_"


def _value(name: str, value: str) -> str:
    if _is_header(value) and "  " not in value and not _WORD.fullmatch(value):
        return value
    if value and not value.isprintable():
        raise _unsupported(f"user metadata {name!r} = {value!r} has control characters")
    return f"=?UTF-8?B?{base64.b64encode(value.encode()).decode()}?="


def settled(system: Mapping[str, str | None], user: Iterable[tuple[str, str]]) -> Metadata:
    """Metadata from what Azure shows: system fields by our names, user metadata as stored."""
    fields = {name: value or None for name, value in system.items()}
    if fields.get("content_type") == NO_TYPE:
        fields["content_type"] = None
    plain = {_ESCAPE.sub(lambda found: chr(int(found[1], 16)), name): _plain(value) for name, value in user}
    return Metadata(**fields, user=dict(sorted(plain.items())))


def _plain(value: str) -> str:
    found = _WORD.fullmatch(value)
    if found is None:
        return value
    try:
        return base64.b64decode(found[1], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return value


def system_headers(metadata: Metadata) -> dict[str, str]:
    """The system fields as request headers of Put Blob and Put Block List."""
    found = {header: getattr(metadata, name) for name, header in _HEADERS.items()}
    return {header: value for header, value in found.items() if value is not None}


def metadata_headers(metadata: Metadata) -> dict[str, str]:
    """Request headers of metadata that was ``encoded``."""
    return system_headers(metadata) | {f"{_USER}{name}": value for name, value in metadata.user.items()}


def metadata_in(headers: Mapping[str, str]) -> Metadata:
    """Metadata from the headers of an answer, whose names keep their case."""
    system = {name: headers.get(header) for name, header in _ANSWERS.items()}
    start = len(_USER)
    user = [(name[start:], value) for name, value in headers.items() if name.lower().startswith(_USER)]
    return settled(system, user)
