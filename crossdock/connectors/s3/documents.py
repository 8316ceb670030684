"""S3's XML: listings in, part lists out.

Parsed by expat as the page is: a truncated page, a document type (entities) or an unexpected root raises, so that no
page is ever silently short. Keys come with ``encoding-type=url``, so that control characters survive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NoReturn
from urllib.parse import unquote_plus
from xml.parsers import expat
from xml.sax.saxutils import escape

from crossdock.connectors.s3.headers import md5_of_etag, multipart_count
from crossdock.model import Digests, ObjectInfo, Part, Version

__all__ = ["MalformedError", "Page", "fields_of", "object_infos", "parse", "part_list"]


_DEEPEST = 10  # no answer has half of that


class MalformedError(ValueError):
    """The body is not the document that was asked for."""


@dataclass(slots=True)
class Page:
    """A flat document: the fields of its root, and one dict for each repeated element."""

    root: dict[str, str] = field(default_factory=dict)
    rows: list[dict[str, str]] = field(default_factory=list)


def parse(body: bytes, root: str, row: str = "") -> Page:
    """Parse one answer.

    Args:
        body: The whole body.
        root: The element it must be.
        row: The repeated element right below it.

    Raises:
        MalformedError: It is cut, no XML, another document, or carries a document type.
    """
    page, path, text = Page(), list[str](), list[str]()

    def start(name: str, _: dict[str, str]) -> None:
        path.append(name.rpartition(":")[2])
        text.clear()
        if len(path) > _DEEPEST:
            raise MalformedError("the answer is nested without end")
        if len(path) == 1 and path[0] not in (
            root,
            root.removesuffix("Result"),
        ):  # rclone leaves it off at times
            raise MalformedError(f"the answer is <{path[0]}>, not <{root}>")
        if len(path) == 2 and path[1] == row:
            page.rows.append({})

    def end(_: str) -> None:
        if len(path) == 2 and path[1] != row:
            page.root[path[1]] = "".join(text)
        elif len(path) == 3 and path[1] == row:
            page.rows[-1][path[2]] = "".join(text)
        path.pop()
        text.clear()

    def refuse(*_: object) -> NoReturn:
        raise MalformedError("the answer carries a document type")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = text.append
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise MalformedError(f"the answer is no complete XML ({error})") from error
    return page


def fields_of(body: bytes, root: str) -> dict[str, str]:
    """The fields of a document without rows."""
    return parse(body, root).root


def object_infos(page: Page) -> list[ObjectInfo]:
    """The objects of a ListObjectsV2 page.

    Amazon encodes a space as ``+`` and a plus as ``%2B``; moto encodes a space as ``%20``: one decoding fits both.

    Raises:
        MalformedError: A row lacks its key or size.
    """
    encoded = page.root.get("EncodingType", "").lower() == "url"
    infos = []
    for row in page.rows:
        try:
            key, size = row["Key"], int(row["Size"])
        except (KeyError, ValueError) as error:
            raise MalformedError(f"an object of the listing lacks {error}") from error
        etag = row.get("ETag", "").strip('"') or None
        infos.append(
            ObjectInfo(
                key=unquote_plus(key) if encoded else key,
                size=size,
                version=Version(etag=etag),
                digests=digests_of_etag(etag),
                modified=parse_time(row.get("LastModified")),
                storage_class=row.get("StorageClass"),
            )
        )
    return infos


def digests_of_etag(etag: str | None) -> Digests:
    """What an ETag in a listing says: an MD5 (unless the object is encrypted with KMS: ``stat`` knows), or md5 of md5s."""
    if etag is None:
        return Digests()
    if multipart_count(etag):
        return Digests(multipart_etag=etag)
    return Digests(md5=md5_of_etag(etag))


def parse_time(text: str | None) -> datetime | None:
    """A time of S3's XML; nonsense is ``None``: nothing is decided by it."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC) if text else None
    except ValueError:
        return None


def part_list(parts: Sequence[Part]) -> bytes:
    """The body of CompleteMultipartUpload."""
    rows = "".join(
        f"<Part><PartNumber>{part.number}</PartNumber><ETag>{escape(_quote(part.etag))}</ETag></Part>"
        for part in parts
    )
    return (
        '<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"{rows}</CompleteMultipartUpload>"
    ).encode()


def _quote(etag: str) -> str:
    return f'"{etag}"'
