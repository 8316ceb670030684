"""Azure's XML: listings and block lists in, block lists out.

Parsed by expat as the page is: a truncated page, a document type (entities) or an unexpected root raises, so that no
page is ever silently short.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import NoReturn
from urllib.parse import unquote
from xml.parsers import expat

from crossdock.connectors.azure.headers import md5_of
from crossdock.connectors.azure.metadata import settled
from crossdock.model import Digests, ObjectInfo, Version

__all__ = ["BlockList", "MalformedError", "block_list_body", "parse_block_list", "parse_listing"]

_SYSTEM = {
    "content_type": "Content-Type",
    "cache_control": "Cache-Control",
    "content_disposition": "Content-Disposition",
    "content_encoding": "Content-Encoding",
    "content_language": "Content-Language",
}


_DEEPEST = 10  # an answer has five


class MalformedError(ValueError):
    """The body is not the document that was asked for."""


@dataclass(slots=True)
class _Row:
    """One element of a listing as it stands: its name, properties and metadata."""

    name: str | None = None
    is_encoded: bool = False
    properties: dict[str, str] = field(default_factory=dict)
    metadata: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class BlockList:
    """Blocks of one blob: id and size in bytes, the committed ones in order."""

    committed: tuple[tuple[str, int], ...] = ()
    uncommitted: tuple[tuple[str, int], ...] = ()


def parse_listing(body: bytes) -> tuple[list[ObjectInfo], str]:
    """The objects of a page, and the marker of the next one; empty after the last.

    Raises:
        MalformedError: It is cut, no XML, another document, or an object lacks its name or size.
    """
    rows: list[_Row] = []
    ends: dict[str, str] = {}

    def start(path: list[str], attributes: dict[str, str]) -> None:
        if path == ["EnumerationResults", "Blobs", "Blob"]:
            rows.append(_Row())
        elif len(path) == 4 and path[3] == "Name":
            rows[-1].is_encoded = attributes.get("Encoded", "").lower() == "true"

    def end(path: list[str], text: str) -> None:
        if len(path) == 2:
            ends[path[1]] = text
        elif len(path) == 4 and path[3] == "Name":
            rows[-1].name = text
        elif len(path) == 5 and path[3] == "Properties":
            rows[-1].properties[path[4]] = text
        elif len(path) == 5 and path[3] == "Metadata":
            rows[-1].metadata.append((path[4], text))

    _parse(body, "EnumerationResults", start, end)
    if "Blobs" not in ends or "NextMarker" not in ends:
        raise MalformedError("a page does not say whether it is the last")
    return [_info(row) for row in rows], ends["NextMarker"]


def _info(row: _Row) -> ObjectInfo:
    length = row.properties.get("Content-Length", "")
    if not row.name or not length.isdigit():
        raise MalformedError("an object of the listing lacks its name or its size")
    get = row.properties.get
    return ObjectInfo(
        key=unquote(row.name) if row.is_encoded else row.name,
        size=int(length),
        version=Version(etag=(get("Etag") or "").strip('"') or None),
        digests=Digests(md5=md5_of(get("Content-MD5"))),
        metadata=settled({name: get(theirs) for name, theirs in _SYSTEM.items()}, row.metadata),
        modified=_time(get("Last-Modified")),
        storage_class=get("AccessTier"),
    )


def _time(text: str | None) -> datetime | None:
    """A time of Azure's XML; nonsense is ``None``: nothing is decided by it."""
    try:
        return parsedate_to_datetime(text) if text else None
    except ValueError:
        return None


def parse_block_list(body: bytes) -> BlockList:
    """The committed and the uncommitted blocks of a blob.

    Raises:
        MalformedError: It is cut, no XML, another document, or a block lacks its name or size.
    """
    found: dict[str, list[tuple[str, int]]] = {"CommittedBlocks": [], "UncommittedBlocks": []}
    fields: dict[str, str] = {}

    def start(path: list[str], _: dict[str, str]) -> None:
        if len(path) == 3:
            fields.clear()

    def end(path: list[str], text: str) -> None:
        if len(path) == 4:
            fields[path[3]] = text
        elif len(path) == 3:
            try:
                found[path[1]].append((fields["Name"], int(fields["Size"])))
            except (KeyError, ValueError) as error:
                raise MalformedError(f"a block of the list lacks {error}") from error

    _parse(body, "BlockList", start, end)
    return BlockList(tuple(found["CommittedBlocks"]), tuple(found["UncommittedBlocks"]))


def block_list_body(ids: Sequence[str]) -> bytes:
    """The body of Put Block List: these blocks, as they were staged and not yet committed."""
    rows = "".join(f"<Uncommitted>{block}</Uncommitted>" for block in ids)
    return f'<?xml version="1.0" encoding="utf-8"?><BlockList>{rows}</BlockList>'.encode()


def _parse(
    body: bytes,
    root: str,
    start: Callable[[list[str], dict[str, str]], None],
    end: Callable[[list[str], str], None],
) -> None:
    path, text = list[str](), list[str]()

    def started(name: str, attributes: dict[str, str]) -> None:
        path.append(name)
        text.clear()
        if len(path) > _DEEPEST:
            raise MalformedError("the answer is nested without end")
        if path[0] != root:
            raise MalformedError(f"the answer is <{path[0]}>, not <{root}>")
        start(path, attributes)

    def ended(_: str) -> None:
        end(path, "".join(text))
        path.pop()
        text.clear()

    def refuse(*_: object) -> NoReturn:
        raise MalformedError("the answer carries a document type")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = started, ended
    parser.CharacterDataHandler = text.append
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(body.removeprefix(b"\xef\xbb\xbf"), True)
    except expat.ExpatError as error:
        raise MalformedError(f"the answer is no complete XML ({error})") from error
