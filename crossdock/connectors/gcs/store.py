"""``GCSStore``: one bucket of Google Cloud Storage as an ``ObjectStore``.

This class decides which engine does what. Payload is read through obstore where it can address the key exactly;
everything else goes over our JSON and XML client. Both share one resolution of credentials.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from obstore.exceptions import BaseError
from obstore.store import GCSStore as Engine

from crossdock.connectors import native
from crossdock.connectors.gcs.client import USER_AGENT, Client, client_for
from crossdock.connectors.gcs.objects import Bucket
from crossdock.connectors.gcs.options import GCSOptions
from crossdock.connectors.gcs.reading import open_media
from crossdock.connectors.gcs.resources import RESERVED_PREFIX, generation_of, refusal
from crossdock.connectors.gcs.temporary import parse_temporary
from crossdock.connectors.gcs.uploads import Uploads
from crossdock.errors import CredentialsError, NotFoundError, PreconditionError, Retry, UnsupportedError
from crossdock.model import (
    ANY,
    MIB,
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

__all__ = ["GCSStore"]

_CHECKED = frozenset({"crc32c", "md5"})
_CAPABILITIES = Capabilities(
    put_checks=_CHECKED,
    part_checks=_CHECKED,
    complete_checks=frozenset({"crc32c"}),
    publishes=_CHECKED,  # md5 not of composite objects
    listing_has_metadata=True,
    seekable_listing=True,
    max_put_size=5 * 1024 * 1024 * MIB,
)


@dataclass(slots=True)
class _Opened:
    """What one process has opened for one recipe."""

    process: int
    bucket: Bucket
    uploads: Uploads
    engine: Engine | None = None


class GCSStore:
    """One bucket. See ``ports.ObjectStore`` for the verbs; what follows is GCS's own.

    The version of an object is its generation. Objects below ``.crossdock/uploads/`` are uploads in progress: they are
    not listed and cannot be written to. Building a store opens nothing; a process opens its clients when it first needs
    them, and a pickle is the bucket's name and the options.

    Args:
        bucket: The bucket's name.
        options: Endpoint, credentials, timeouts.
    """

    def __init__(self, bucket: str, options: GCSOptions | None = None) -> None:
        self.bucket = bucket
        self.options = options or GCSOptions()
        self._lock = threading.Lock()
        self._state: _Opened | None = None

    def __reduce__(self) -> tuple[type[GCSStore], tuple[str, GCSOptions]]:
        return GCSStore, (self.bucket, self.options)

    def __repr__(self) -> str:
        return f"GCSStore({self.bucket!r}, {self.options!r})"

    @property
    def url(self) -> str:
        """``gs://bucket``."""
        return f"gs://{self.bucket}"

    @property
    def endpoint(self) -> str:
        """``gcs+`` and the service's root URL: all of GCS is one endpoint."""
        return f"gcs+{self.options.root}"

    @property
    def capabilities(self) -> Capabilities:
        """The same for every bucket."""
        return _CAPABILITIES

    def refusal(self, key: str, size: int | None = None) -> str | None:
        """GCS's rules for names and sizes, and our reserved prefix."""
        return refusal(key, size)

    def check(self) -> None:
        """List one name. One request."""
        self._open().bucket.check()

    def list(self, prefix: str = "", *, start_after: str | None = None) -> Iterator[Sequence[ObjectInfo]]:
        """Pages with metadata and digests, so that no object needs a ``stat``; temporary objects are left out."""
        for page in self._open().bucket.pages(prefix, start_after):
            if page[0].key <= _LAST_RESERVED and page[-1].key >= RESERVED_PREFIX:
                visible = [info for info in page if parse_temporary(info.key) is None]
                if visible:
                    yield visible
            else:
                yield page

    def stat(self, key: str, *, version: Version = NO_VERSION) -> ObjectInfo:
        """Everything, metadata exactly as stored. One request."""
        self._demand(key, None, "stat")
        return self._open().bucket.stat(key, version)

    def read(
        self, key: str, byte_range: ByteRange | None = None, *, version: Version = NO_VERSION
    ) -> ObjectReader:
        """Stored bytes, pinned to the generation. One request, one more to tell replaced from deleted.

        ``info.metadata`` is ``None``: a download shows an absent Content-Type as application/octet-stream, and names of
        user metadata in small letters, so it cannot tell exactly; listings and ``stat`` can.
        """
        self._demand(key, None, "read")
        generation = generation_of(version, "read", self.url, key)
        try:
            return self._read(key, byte_range, version, generation)
        except NotFoundError as error:
            if generation is None or error.key is None:
                raise
            self.stat(key)  # raises if nothing is there at all
            raise PreconditionError(
                "the object was replaced",
                operation="read",
                where=self.url,
                key=key,
                hint="list again: the object changed meanwhile",
            ) from error

    def put(
        self,
        key: str,
        data: Chunk,
        *,
        metadata: Metadata = NO_METADATA,
        digests: Digests = NO_DIGESTS,
        condition: Condition = ANY,
    ) -> ObjectInfo:
        """One request with the CRC32C (computed here if not given), which GCS checks before anything is visible."""
        self._demand(key, memoryview(data).nbytes, "put")
        return self._open().bucket.put(key, data, metadata, digests, condition)

    def begin(
        self, key: str, *, part_size_bytes: int, metadata: Metadata = NO_METADATA, size: int | None = None
    ) -> Upload:
        """Open a multipart upload under a temporary key. One request."""
        self._demand(key, size, "begin")
        return self._open().uploads.begin(key, part_size_bytes, metadata)

    def put_part(self, upload: Upload, number: int, data: Chunk, *, digests: Digests = NO_DIGESTS) -> Part:
        """One request with the part's CRC32C (computed here if not given), which GCS checks."""
        return self._open().uploads.put_part(upload, number, data, digests)

    def complete(
        self,
        upload: Upload,
        parts: Sequence[Part],
        *,
        size: int,
        digests: Digests = NO_DIGESTS,
        condition: Condition = ANY,
    ) -> ObjectInfo:
        """Prove the whole under its temporary key, then publish it under ``condition``. Four requests.

        May be called again after an error whose ``retry`` is LATER.
        """
        return self._open().uploads.complete(upload, parts, size=size, digests=digests, condition=condition)

    def abort(self, upload: Upload) -> None:
        """Remove upload, parts and temporary object. Two requests."""
        self._open().uploads.abort(upload)

    def list_uploads(self, prefix: str = "") -> Iterator[Upload]:
        """Open uploads of ours and temporary objects that a crash left; ``abort`` removes either."""
        return self._open().uploads.find(prefix)

    def copy(
        self,
        source: str,
        source_key: str,
        key: str,
        *,
        info: ObjectInfo,
        metadata: Metadata = NO_METADATA,
        condition: Condition = ANY,
    ) -> ObjectInfo:
        """Rewrite inside GCS: usually one request, more between locations."""
        scheme, _, bucket = source.partition("://")
        if scheme != "gs" or not bucket or "/" in bucket:
            raise UnsupportedError(
                f"{source} is no bucket of this service", operation="copy", where=self.url, key=key
            )
        self._demand(key, info.size, "copy")
        return self._open().bucket.rewrite(bucket, replace(info, key=source_key), key, metadata, condition)

    def delete(self, key: str, *, version: Version = NO_VERSION) -> None:
        """One request."""
        self._demand(key, None, "delete")
        self._open().bucket.delete(key, version)

    def _read(
        self, key: str, byte_range: ByteRange | None, version: Version, generation: str | None
    ) -> ObjectReader:
        if native.addressable(key):
            try:
                return self._read_native(key, byte_range, version)
            except native.EngineRefusedError:
                pass  # a good answer that obstore does not take; asked for again below
        opened = self._open()
        place = opened.bucket.place("read", key)
        return open_media(opened.bucket.client, place, self.bucket, key, byte_range, generation)

    def _read_native(self, key: str, byte_range: ByteRange | None, version: Version) -> ObjectReader:
        opened = self._open()
        # obstore asks for credentials from inside its runtime; asked for here first, a failure keeps its class.
        token = opened.bucket.client.tokens.bearer()
        engine = self._engine(opened)
        try:
            reader = native.read(
                engine, key, byte_range, version, where=self.url, pin="generation", decode=_unknown
            )
        except CredentialsError as error:
            if opened.bucket.client.tokens.refused(token):
                opened.engine = None  # it keeps the refused token for itself
                error.retry = Retry.LATER
            raise
        reader.info = replace(reader.info, metadata=None)
        return reader

    def _demand(self, key: str, size: int | None, operation: str) -> None:
        reason = refusal(key, size)
        if reason is not None:
            raise UnsupportedError(reason, operation=operation, where=self.url, key=key)

    def _open(self) -> _Opened:
        """This process's clients: those of a parent process are left alone, its sockets are not ours."""
        state = self._state
        if state is None or state.process != os.getpid():
            bucket = Bucket(client_for(self.options), self.bucket, self.url)
            state = self._state = _Opened(os.getpid(), bucket, Uploads(bucket))
        return state

    def _engine(self, opened: _Opened) -> Engine:
        engine = opened.engine
        if engine is None:
            with self._lock:
                engine = opened.engine
                if engine is None:
                    engine = opened.engine = _engine_for(self.bucket, self.options, opened.bucket.client)
        return engine


_LAST_RESERVED = RESERVED_PREFIX + chr(0x10FFFF)


def _unknown(_: object) -> Metadata:
    return NO_METADATA


def _engine_for(bucket: str, options: GCSOptions, client: Client) -> Engine:
    """The bucket as obstore opens it. Every setting it would otherwise take from the environment is given."""
    settings = native.client_options(
        connect_timeout_s=options.connect_timeout_s,
        no_progress_timeout_s=options.no_progress_timeout_s,
        allow_http=urlsplit(options.root).scheme == "http",
    )
    # Without gzip here GCS decompresses what is stored with Content-Encoding: gzip.
    settings["default_headers"] = {"Accept-Encoding": "gzip", **client.billing()}
    settings["user_agent"] = USER_AGENT
    is_anonymous = bool(options.anon)
    try:
        return Engine(
            bucket,
            config={"base_url": options.root, "skip_signature": is_anonymous},
            client_options=settings,  # type: ignore[arg-type] # a plain dict of the same shape
            retry_config=native.NO_RETRIES,  # type: ignore[arg-type]
            credential_provider=None if is_anonymous else client.tokens.for_obstore,
        )
    except BaseError as error:  # it reads object_store's own variables, also when it does not need them
        raise CredentialsError(
            f"the reading engine cannot be opened: {str(error).splitlines()[0]}",
            operation="read",
            where=f"gs://{bucket}",
            hint="correct or unset GOOGLE_SERVICE_ACCOUNT and GOOGLE_SERVICE_ACCOUNT_KEY",
        ) from error
