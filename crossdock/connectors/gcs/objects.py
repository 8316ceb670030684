"""The JSON API's verbs on one bucket: one request each, checked answers, no retries.

Every write carries the digests of its bytes, so that the service refuses wrong ones before anything is visible, and
the condition it depends on. https://docs.cloud.google.com/storage/docs/json_api/v1
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

from crossdock.connectors.digests import digest_of
from crossdock.connectors.gcs.client import Client
from crossdock.connectors.gcs.errors import Place
from crossdock.connectors.gcs.resources import (
    OBJECT_FIELDS,
    conflict,
    encoded,
    generation_of,
    info_of,
    integrity_error,
    metadata_changes,
    parse_json,
    quoted,
    resource_of,
    unsupported_metadata,
    write_condition,
)
from crossdock.errors import ConnectionLostError, NotFoundError, PreconditionError, UnsupportedError
from crossdock.model import (
    NO_METADATA,
    NO_VERSION,
    Condition,
    Digests,
    Metadata,
    ObjectInfo,
    Version,
)
from crossdock.ports import Chunk

__all__ = ["Bucket"]

_PAGE = 1000
_JSON = {"Content-Type": "application/json; charset=UTF-8"}
_GZIP = {"Accept-Encoding": "gzip"}  # pages compress tenfold


class Bucket:
    """One bucket over one client. Thread-safe."""

    def __init__(self, client: Client, name: str, url: str) -> None:
        self.client = client
        self.name = name
        self.url = url
        self._objects = f"/storage/v1/b/{quoted(name)}/o"
        self._insert = f"/upload{self._objects}?uploadType=multipart&fields={OBJECT_FIELDS}"

    def place(self, operation: str, key: str | None = None) -> Place:
        """What an error of this bucket says."""
        return Place(operation, self.url, key)

    def target(self, key: str) -> str:
        """The request path of an object's resource."""
        return f"{self._objects}/{quoted(key)}"

    def check(self) -> None:
        """List one name: proves bucket, credentials and permission."""
        self.client.call(self.place("check"), "GET", f"{self._objects}?maxResults=1&fields=items(name)")

    def pages(
        self, prefix: str, start_after: str | None, operation: str = "list"
    ) -> Iterator[list[ObjectInfo]]:
        """Objects in order, a page at a time; raises if the service repeats itself or goes back.

        Raises:
            ConnectionLostError: A page was damaged, or is not the one that follows.
        """
        first = f"{self._objects}?maxResults={_PAGE}&prefix={quoted(prefix)}&fields=nextPageToken,items({OBJECT_FIELDS})"
        if start_after:  # inclusive there, exclusive here
            first += f"&startOffset={quoted(start_after)}"
        place = self.place(operation, prefix or None)
        last = start_after
        token: str | None = None
        seen: set[int] = set()
        while True:
            target = first if token is None else f"{first}&pageToken={quoted(token)}"
            answer = self.client.call(place, "GET", target, headers=_GZIP)
            document = parse_json(answer.data, operation, self.url)
            try:
                page = [info_of(item) for item in document.get("items", ())]
            except (KeyError, ValueError) as error:
                raise ConnectionLostError(
                    f"a page describes no object: {error!r}", operation=operation, where=self.url
                ) from error
            if token is None and page and page[0].key == start_after:
                del page[0]
            last = self._in_order(page, last, prefix, place)
            if page:
                yield page
            token = document.get("nextPageToken")
            if token is None:
                return
            if hash(token) in seen:
                raise ConnectionLostError(
                    "the listing loops: the service gave one page token twice",
                    operation=operation,
                    where=self.url,
                )
            seen.add(hash(token))

    def _in_order(self, page: list[ObjectInfo], last: str | None, prefix: str, place: Place) -> str | None:
        """The last key of the page; each key is after the one before it (code points sort as UTF-8 bytes do)."""
        for info in page:
            key = info.key
            if (last is not None and key <= last) or not key.startswith(prefix):
                raise ConnectionLostError(
                    "the listing went back or left its prefix",
                    operation=place.operation,
                    where=self.url,
                    key=key,
                )
            last = key
        return last

    def stat(self, key: str, version: Version = NO_VERSION, operation: str = "stat") -> ObjectInfo:
        """An object's info; ``PreconditionError`` if another generation is there."""
        generation = generation_of(version, operation, self.url, key)
        target = f"{self.target(key)}?fields={OBJECT_FIELDS}"
        if generation is not None:
            target += f"&ifGenerationMatch={generation}"
        return self._info(self.client.call(self.place(operation, key), "GET", target).data, operation)

    def put(
        self, key: str, data: Chunk, metadata: Metadata, digests: Digests, condition: Condition
    ) -> ObjectInfo:
        """Create an object in one request: resource and bytes in one multipart body, which is not copied if large."""
        view = memoryview(data).cast("B")
        size = view.nbytes
        if digests.crc32c is None:
            digests = digests.merged(digest_of(view, ("crc32c",)))
        place = self.place("put", key)
        self.demand_exact(metadata, place)
        resource: dict[str, Any] = {
            "name": key,
            "crc32c": encoded(digests.crc32c or b""),
            **resource_of(metadata),
        }
        if digests.md5 is not None:
            resource["md5Hash"] = encoded(digests.md5)
        # 128 random bits, drawn when the data is already there: the data cannot contain them.
        boundary = secrets.token_hex(16)
        head = (
            f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{json.dumps(resource)}\r\n"
            # No Content-Type for the media: GCS would take it for the object's, where the resource has none.
            f"--{boundary}\r\n\r\n"
        )
        answer = self.client.call(
            place,
            "POST",
            self._insert + write_condition(condition, "put", self.url, key),
            headers={"Content-Type": f"multipart/related; boundary={boundary}"},
            body=(head.encode(), view, f"\r\n--{boundary}--\r\n".encode()),
        )
        info = self._info(answer.data, "put")
        self.demand_same(info, size, digests, place)
        return self.settled(info, metadata)

    def compose(
        self, source: ObjectInfo, key: str, metadata: Metadata, condition: Condition, operation: str
    ) -> ObjectInfo:
        """Give the bytes of one object of this bucket another name and metadata; moves no byte.

        Compose rather than rewrite: the destination's metadata is exactly what is named, even when nothing is.
        """
        place = self.place(operation, key)
        one = {"name": source.key, "generation": source.version.generation}
        body = {"sourceObjects": [one], "destination": resource_of(metadata)}
        target = f"{self.target(key)}/compose?fields={OBJECT_FIELDS}"
        answer = self.client.call(
            place,
            "POST",
            target + write_condition(condition, operation, self.url, key),
            headers=_JSON,
            body=(json.dumps(body).encode(),),
        )
        return self.settled(self._info(answer.data, operation), metadata)

    def rewrite(
        self, bucket: str, source: ObjectInfo, key: str, metadata: Metadata, condition: Condition
    ) -> ObjectInfo:
        """Copy an object of any bucket at one generation; as many requests as the service needs.

        Between locations or storage classes the service copies piece by piece, and each answer but the last carries a
        token. https://docs.cloud.google.com/storage/docs/json_api/v1/objects/rewrite
        """
        place = self.place("copy", key)
        self.demand_exact(metadata, place)
        generation = generation_of(source.version, "copy", self.url, key)
        # A body replaces all metadata and an empty one keeps the source's: `settled` then removes it.
        body = (json.dumps(resource_of(metadata)).encode(),)
        target = (
            f"/storage/v1/b/{quoted(bucket)}/o/{quoted(source.key)}/rewriteTo/b/{quoted(self.name)}/o/{quoted(key)}"
            f"?fields=done,rewriteToken,totalBytesRewritten,resource({OBJECT_FIELDS})"
        )
        if generation is not None:
            target += f"&ifSourceGenerationMatch={generation}"
        target += write_condition(condition, "copy", self.url, key)
        token, done_bytes = "", -1
        while True:
            more = f"&rewriteToken={quoted(token)}" if token else ""
            answer = self.client.call(place, "POST", target + more, headers=_JSON, body=body)
            document = parse_json(answer.data, "copy", self.url)
            if document.get("done"):
                return self.settled(info_of(document["resource"]), metadata)
            token, before = str(document.get("rewriteToken", "")), done_bytes
            done_bytes = int(document.get("totalBytesRewritten", 0))
            if not token or done_bytes < before:
                raise ConnectionLostError(
                    "the copy makes no progress", operation="copy", where=self.url, key=key
                )

    def delete(self, key: str, version: Version = NO_VERSION, operation: str = "delete") -> None:
        """Remove an object; one that is not there is fine."""
        generation = generation_of(version, operation, self.url, key)
        target = self.target(key)
        if generation is not None:
            target += f"?ifGenerationMatch={generation}"
        try:
            self.client.call(self.place(operation, key), "DELETE", target, accept=(200, 204))
        except NotFoundError as error:
            if error.key is None:  # the bucket is missing, which is not fine
                raise

    def demand_same(self, info: ObjectInfo, size: int, digests: Digests, place: Place) -> None:
        """Remove what was just written if it is not what was sent: a server that does not check its input."""
        flaw = conflict(info, size, digests)
        if info.key != place.key:
            flaw = f"the service stored it as {info.key!r}"
        if flaw is None:
            return
        error = integrity_error(flaw, place.operation, place.where, place.key or info.key)
        try:
            self.delete(info.key, info.version)
        except PreconditionError:
            error.add_note("the wrong object was already replaced by somebody else")
        raise error

    def demand_exact(self, metadata: Metadata, place: Place) -> None:
        """Refuse metadata that GCS cannot hold.

        Raises:
            UnsupportedError: It has line breaks, or too much of it.
        """
        if metadata is NO_METADATA:
            return
        flaw = unsupported_metadata(metadata)
        if flaw is not None:
            raise UnsupportedError(flaw, operation=place.operation, where=place.where, key=place.key)

    def settled(self, info: ObjectInfo, wanted: Metadata) -> ObjectInfo:
        """The object with exactly the metadata wanted; one more request only if the service chose other.

        The generation stays; the bytes are not touched.
        """
        changes = metadata_changes(info.metadata or NO_METADATA, wanted)
        if not changes:
            return info
        target = (
            f"{self.target(info.key)}?fields={OBJECT_FIELDS}"
            f"&generation={info.version.generation}&ifGenerationMatch={info.version.generation}"
        )
        body = (json.dumps(changes).encode(),)
        answer = self.client.call(self.place("put", info.key), "PATCH", target, headers=_JSON, body=body)
        return self._info(answer.data, "put")

    def _info(self, data: bytes, operation: str) -> ObjectInfo:
        document = parse_json(data, operation, self.url)
        try:
            return info_of(document)
        except (KeyError, ValueError) as error:
            raise ConnectionLostError(
                f"the answer describes no object: {error!r}", operation=operation, where=self.url
            ) from error
