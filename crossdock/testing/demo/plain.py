"""The other route: S3 and GCS in plain ``http.client``, so that nothing of ours is a witness for itself.

Requests carry a dummy signature (the embedded S3 verifies none, but refuses callers without a name); keys are percent-encoded byte by byte, so they are exact.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.header import decode_header, make_header
from typing import Any, ClassVar, Self
from urllib.parse import quote, unquote_plus, urlencode, urlsplit

__all__ = ["PlainGCS", "PlainHTTP", "PlainS3", "Seen"]

_FIELDS = ("content-type", "cache-control", "content-disposition", "content-encoding", "content-language")
_JSON_FIELDS = ("contentType", "cacheControl", "contentDisposition", "contentEncoding", "contentLanguage")
_NO_TYPE = "binary/octet-stream"  # what S3 answers for an object that was stored without a content type
_CHUNK = 1024 * 1024
_SOMEBODY = (
    "AWS4-HMAC-SHA256 Credential=demo/20261120/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One object as this route sees it: digest of the stored bytes, and its metadata by S3's header names."""

    size: int
    sha256: str
    metadata: Mapping[str, str]


class PlainHTTP:
    """One kept-alive connection to one server; not for several threads."""

    headers: ClassVar[Mapping[str, str]] = {}

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def send(
        self, method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> http.client.HTTPResponse:
        """Send one request; the caller reads the answer.

        Raises:
            RuntimeError: The answer is not a success.
        """
        self._connection.request(method, target, body=body, headers={**self.headers, **(headers or {})})
        response = self._connection.getresponse()
        if not 200 <= response.status < 300:
            text = response.read(500).decode(errors="replace")
            raise RuntimeError(f"{method} {target}: {response.status} {text}")
        return response

    def ask(
        self, method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """Send one request and read the whole answer."""
        return self.send(method, target, body, headers).read()

    def admin(self, method: str, route: str, value: Any = None) -> Any:
        """Ask the embedded server's back door."""
        body = None if value is None else json.dumps(value).encode()
        return json.loads(self.ask(method, f"/_crossdock/{route}", body))


class PlainS3(PlainHTTP):
    """S3, path style."""

    headers: ClassVar[Mapping[str, str]] = {"Authorization": _SOMEBODY}

    def put(
        self, bucket: str, key: str, data: bytes, headers: Mapping[str, str], part_size: int | None
    ) -> None:
        """Create an object in one request, or in parts of ``part_size``."""
        target = f"/{bucket}/{quote(key, safe='/')}"
        if part_size is None:
            self.ask("PUT", target, data, headers)
            return
        begun = ET.fromstring(self.ask("POST", f"{target}?uploads", b"", headers))  # noqa: S314 - our own server
        upload = urlencode({"uploadId": begun.findtext("{*}UploadId")})
        rows = []
        for number, start in enumerate(range(0, len(data), part_size), start=1):
            part = data[start : start + part_size]
            answer = self.send("PUT", f"{target}?partNumber={number}&{upload}", part)
            answer.read()
            rows.append(
                f"<Part><PartNumber>{number}</PartNumber><ETag>{answer.headers['ETag']}</ETag></Part>"
            )
        manifest = f"<CompleteMultipartUpload>{''.join(rows)}</CompleteMultipartUpload>"
        self.ask("POST", f"{target}?{upload}", manifest.encode())

    def keys(self, bucket: str) -> Iterator[str]:
        """All keys."""
        query = {"list-type": "2", "encoding-type": "url"}
        while True:
            page = ET.fromstring(self.ask("GET", f"/{bucket}?{urlencode(query)}"))  # noqa: S314 - our own server
            for row in page.iterfind("{*}Contents"):
                yield unquote_plus(row.findtext("{*}Key") or "")
            token = page.findtext("{*}NextContinuationToken")
            if not token:
                return
            query["continuation-token"] = token

    def see(self, bucket: str, key: str) -> Seen:
        """Read an object: its bytes into a digest, its metadata from the answer's headers."""
        answer = self.send("GET", f"/{bucket}/{quote(key, safe='/')}")
        size, digest = _digest(answer)
        given = {name.lower(): value for name, value in answer.headers.items()}
        kept = {name: given[name] for name in _FIELDS if name in given}
        if kept.get("content-type") == _NO_TYPE:
            del kept["content-type"]
        # S3 answers values beyond ASCII as RFC 2047 words.
        kept |= {
            name: str(make_header(decode_header(value))) if value.startswith("=?") else value
            for name, value in given.items()
            if name.startswith("x-amz-meta-")
        }
        return Seen(size=size, sha256=digest, metadata=kept)


class PlainGCS(PlainHTTP):
    """Google Cloud Storage's JSON API."""

    def resources(self, bucket: str) -> Iterator[dict[str, Any]]:
        """All objects' resources."""
        query: dict[str, str] = {"maxResults": "1000"}
        while True:
            page = json.loads(self.ask("GET", f"/storage/v1/b/{bucket}/o?{urlencode(query)}"))
            yield from page.get("items", ())
            if not page.get("nextPageToken"):
                return
            query["pageToken"] = page["nextPageToken"]

    def see(self, bucket: str, resource: Mapping[str, Any]) -> Seen:
        """Read an object as it is stored; ``Accept-Encoding: gzip`` keeps the service from unpacking it."""
        target = f"/storage/v1/b/{bucket}/o/{quote(resource['name'], safe='')}?alt=media"
        size, digest = _digest(self.send("GET", target, headers={"Accept-Encoding": "gzip"}))
        kept = {
            name: resource[field]
            for name, field in zip(_FIELDS, _JSON_FIELDS, strict=True)
            if resource.get(field)
        }
        kept |= {f"x-amz-meta-{name}": value for name, value in resource.get("metadata", {}).items()}
        return Seen(size=size, sha256=digest, metadata=kept)


def _digest(answer: http.client.HTTPResponse) -> tuple[int, str]:
    """Size and SHA-256 of a response's body."""
    size, digest = 0, hashlib.sha256()
    while chunk := answer.read(_CHUNK):
        size += len(chunk)
        digest.update(chunk)
    return size, digest.hexdigest()
