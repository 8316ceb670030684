"""What both halves of the XML API share: documents, metadata and conditions in headers.

https://docs.cloud.google.com/storage/docs/xml-api/reference-headers
"""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import escape

from crossdock.testing.gcs.media import hash_headers
from crossdock.testing.gcs.objects import Metadata, Preconditions, StoredObject
from crossdock.testing.gcs.resources import integer
from crossdock.testing.wire import Headers, Response, header_text, text_of_header

_META = "x-goog-meta-"


def xml_response(root: str, body: str, headers: Headers | None = None) -> Response:
    """Answer with an XML document."""
    text = f"<?xml version='1.0' encoding='UTF-8'?><{root} xmlns='http://doc.s3.amazonaws.com/2006-03-01'>{body}</{root}>"
    return Response.text(200, text, "application/xml; charset=UTF-8", headers)


def escape_key(key: str) -> str:
    """Escape a key for XML.

    Control characters become references that XML 1.0 forbids, as S3 does; ask for ``encoding-type=url`` to read
    such keys with a proper parser.
    """
    return "".join(f"&#{ord(c)};" if c < " " else c for c in escape(key))


def header_metadata(headers: Mapping[str, str]) -> Metadata:
    """Read metadata from the headers of a PUT or of the start of a multipart upload."""
    text = {name: text_of_header(value) for name, value in headers.items()}
    return Metadata(
        content_type=text.get("content-type"),
        cache_control=text.get("cache-control"),
        content_disposition=text.get("content-disposition"),
        content_encoding=text.get("content-encoding"),
        content_language=text.get("content-language"),
        storage_class=text.get("x-goog-storage-class") or "STANDARD",
        custom={name.removeprefix(_META): value for name, value in text.items() if name.startswith(_META)},
    )


def header_conditions(headers: Mapping[str, str], prefix: str = "x-goog-if-") -> Preconditions:
    """Read preconditions from headers."""
    return Preconditions(
        generation=integer(headers, f"{prefix}generation-match"),
        metageneration=integer(headers, f"{prefix}metageneration-match"),
    )


def write_headers(stored: StoredObject) -> Headers:
    """Headers of the answer to a write."""
    return [
        ("ETag", f'"{stored.etag}"'),
        ("x-goog-generation", str(stored.generation)),
        ("x-goog-metageneration", str(stored.metageneration)),
        ("x-goog-stored-content-encoding", header_text(stored.metadata.content_encoding or "identity")),
        ("x-goog-stored-content-length", str(stored.size)),
        *hash_headers(stored),
    ]
