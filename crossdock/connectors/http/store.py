"""``HTTPStore``: the objects of one web server, read-only, as an ``ObjectStore``.

The store is the origin, ``https://host:port``; a key is the rest of the URL, path and query, exactly as written:
percent escapes and dots stay what they are. HTTP has no listing, so objects are named one by one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from crossdock.connectors.http.addresses import target_of
from crossdock.connectors.http.client import Client, client_for
from crossdock.connectors.http.headers import (
    condition_headers,
    extent_of,
    info_of,
    length_in,
    same_version,
)
from crossdock.connectors.http.options import HTTPOptions
from crossdock.connectors.http.reading import HTTPReader
from crossdock.errors import CrossdockError, PreconditionError, RangeError, UnsupportedError
from crossdock.model import (
    ANY,
    NO_DIGESTS,
    NO_METADATA,
    NO_VERSION,
    ByteRange,
    Condition,
    Digests,
    Metadata,
    ObjectInfo,
    Part,
    Upload,
    Version,
)
from crossdock.ports import Capabilities, Chunk, ObjectReader

__all__ = ["HTTPStore"]

_NO_HEAD = frozenset({400, 403, 405, 501})  # what servers, and signatures made for GET, answer to HEAD


class HTTPStore:
    """The objects below one origin.

    Thread-safe; a pickle is the recipe. One request a call (two for ``stat`` where HEAD is refused), and one more for each
    redirect. Reads are pinned by ``If-Match`` and by comparing the answer's ETag; where a server has only weak ETags or
    dates, by those: such a version is called ``weak:...`` wherever it is recorded. An object with neither is read in one
    request, and a body that breaks off is an error, not resumed.
    """

    def __init__(self, origin: str, options: HTTPOptions | None = None) -> None:
        target = target_of(origin if "://" in origin else f"https://{origin}")
        self._origin = f"{target.scheme}://{target.authority}"
        self.options = options or HTTPOptions()
        self._opened: tuple[int, Client] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return HTTPStore, (self._origin, self.options)

    def __repr__(self) -> str:
        return f"HTTPStore({self._origin!r})"

    @property
    def url(self) -> str:
        """``https://host``, with the port unless it is the scheme's own."""
        return self._origin

    @property
    def endpoint(self) -> str:
        """The origin: there is no copy inside."""
        return f"http+{self._origin}"

    @property
    def _client(self) -> Client:
        """The process's; kept here too, because comparing options may resolve secrets."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), client_for(self._origin, self.options))
        return self._opened[1]

    @property
    def capabilities(self) -> Capabilities:
        """Reads only. ``ranged_reads`` is what the last answer said; before the first, what the option says."""
        return Capabilities(
            ranged_reads=self.options.ranges and self._client.ranges is not False,
            create_if_absent=False,
            replace_if_match=False,
            multipart=False,
            server_side_copy=False,
            writable=False,
            lists=False,
        )

    def refusal(self, key: str, size: int | None = None) -> str | None:  # noqa: ARG002 - any size can be read
        """A key is what may stand in a URL: printable ASCII, other characters percent-encoded."""
        if not key:
            return "the URL names no object"
        if not key.isascii() or not key.isprintable() or " " in key:
            return "a URL has printable ASCII without spaces: percent-encode the rest (%20 for a space)"
        if "#" in key:
            return "a # begins a fragment, which no server sees: write %23"
        return None

    def check(self) -> None:
        """One HEAD of ``/``: that the server answers, whatever it says. What may be read shows with each object."""
        self._client.open("check", "HEAD", None, {}, follow=False).close()

    def list(self, prefix: str = "", *, start_after: str | None = None) -> Iterator[Sequence[ObjectInfo]]:  # noqa: ARG002
        """Always raises: what index pages show is for people, cut and rounded, and may not be all.

        Raises:
            UnsupportedError: HTTP has no listing.
        """
        self._refuse("list", prefix or None, "HTTP has no listing", "give the URLs of objects, one by one")

    def stat(self, key: str, *, version: Version = NO_VERSION) -> ObjectInfo:
        """One HEAD; where the server refuses that, a GET of the first byte."""
        self._demand_key("stat", key)
        client = self._client
        if not client.heads:
            return self._probed(key, version)
        response = client.open("stat", "HEAD", key, condition_headers(version))
        if response.status == 200:
            info = self._described("stat", response, key, size=length_in(response.headers))
            response.release_conn()
            return self._demand("stat", info, version)
        response.close()
        if response.status not in _NO_HEAD:
            raise client.refused(response, "stat", key)
        client.heads = response.status not in (405, 501)
        return self._probed(key, version)

    def _probed(self, key: str, version: Version) -> ObjectInfo:
        """What a GET says, of the first byte if parts can be asked for; the body is not read."""
        first = ByteRange(0, 1) if self.options.ranges else None
        try:
            reader = self._read("stat", key, first, version)
        except RangeError:  # an object of no bytes has no first one
            reader = self._read("stat", key, None, version)
        reader.close()
        return reader.info

    def read(
        self, key: str, byte_range: ByteRange | None = None, *, version: Version = NO_VERSION
    ) -> ObjectReader:
        """One GET. A server that ignores the range sends the whole: what comes before the range is read and dropped."""
        self._demand_key("read", key)
        if byte_range is not None and not self.capabilities.ranged_reads:
            self._refuse("read", key, "the server does not serve ranges", "read the whole object")
        return self._read("read", key, byte_range, version)

    def _read(self, operation: str, key: str, byte_range: ByteRange | None, version: Version) -> HTTPReader:
        headers = condition_headers(version)
        if byte_range is not None:
            headers["Range"] = f"bytes={byte_range.start}-{byte_range.end - 1}"
        response = self._client.open(operation, "GET", key, headers)
        if response.status not in (200, 206):
            raise self._client.refused(response, operation, key)
        self._client.ranges = response.status == 206 or (
            byte_range is None and "bytes" in response.headers.get("accept-ranges", "").lower()
        )
        try:
            extent = extent_of(response.status, response.headers, byte_range)
            info = self._demand(
                operation, self._described(operation, response, key, size=extent.size), version
            )
        except CrossdockError as error:
            response.close()
            if not error.operation:
                error.operation, error.where, error.key = operation, self.url, key
            raise
        return HTTPReader(response, info, extent, where=self.url)

    def _described(self, operation: str, response: Any, key: str, *, size: int | None) -> ObjectInfo:
        headers = response.headers
        stored = headers.get("x-goog-stored-content-encoding")
        if stored is not None and stored != headers.get("content-encoding", "identity"):
            self._refuse(
                operation, key, f"the server unpacks what it stores as {stored}", "read it by its gs:// URL"
            )
        return info_of(key, size, headers, whole=response.status == 200)

    def _demand(self, operation: str, info: ObjectInfo, version: Version) -> ObjectInfo:
        """Compare what answered with what was asked for: not every server honours a condition."""
        if version and not same_version(version, info.version):
            raise PreconditionError(
                "the object was replaced",
                operation=operation,
                where=self.url,
                key=info.key,
                hint="read it again from its beginning",
            )
        return info

    def _demand_key(self, operation: str, key: str) -> None:
        if (reason := self.refusal(key)) is not None:
            raise UnsupportedError(reason, operation=operation, where=self.url, key=key)

    def _refuse(self, operation: str, key: str | None, cause: str, hint: str) -> NoReturn:
        raise UnsupportedError(cause, operation=operation, where=self.url, key=key, hint=hint)

    def _read_only(self, operation: str, key: str | None) -> NoReturn:
        self._refuse(operation, key, "a web server is a source, not a sink", "write to a store")

    def put(
        self,
        key: str,
        data: Chunk,  # noqa: ARG002 - as are the others below: the signatures are the port's
        *,
        metadata: Metadata = NO_METADATA,  # noqa: ARG002
        digests: Digests = NO_DIGESTS,  # noqa: ARG002
        condition: Condition = ANY,  # noqa: ARG002
    ) -> ObjectInfo:
        """Always raises ``UnsupportedError``."""
        self._read_only("put", key)

    def begin(
        self,
        key: str,
        *,
        part_size_bytes: int,  # noqa: ARG002
        metadata: Metadata = NO_METADATA,  # noqa: ARG002
        size: int | None = None,  # noqa: ARG002
    ) -> Upload:
        """Always raises ``UnsupportedError``."""
        self._read_only("begin", key)

    def put_part(self, upload: Upload, number: int, data: Chunk, *, digests: Digests = NO_DIGESTS) -> Part:  # noqa: ARG002
        """Always raises ``UnsupportedError``."""
        self._read_only("put part", upload.key)

    def complete(
        self,
        upload: Upload,
        parts: Sequence[Part],  # noqa: ARG002
        *,
        size: int,  # noqa: ARG002
        digests: Digests = NO_DIGESTS,  # noqa: ARG002
        condition: Condition = ANY,  # noqa: ARG002
    ) -> ObjectInfo:
        """Always raises ``UnsupportedError``."""
        self._read_only("complete", upload.key)

    def abort(self, upload: Upload) -> None:
        """Always raises ``UnsupportedError``."""
        self._read_only("abort", upload.key)

    def list_uploads(self, prefix: str = "") -> Iterator[Upload]:
        """Always raises ``UnsupportedError``."""
        self._read_only("list uploads", prefix or None)

    def copy(
        self,
        source: str,  # noqa: ARG002
        source_key: str,  # noqa: ARG002
        key: str,
        *,
        info: ObjectInfo,  # noqa: ARG002
        metadata: Metadata = NO_METADATA,  # noqa: ARG002
        condition: Condition = ANY,  # noqa: ARG002
    ) -> ObjectInfo:
        """Always raises ``UnsupportedError``."""
        self._read_only("copy", key)

    def delete(self, key: str, *, version: Version = NO_VERSION) -> None:  # noqa: ARG002
        """Always raises ``UnsupportedError``."""
        self._read_only("delete", key)
