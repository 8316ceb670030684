"""Object sources and sinks as tasks: what `xd.source(url)` and `xd.sink(url)` hand out.

A source called with a key gives a byte stream, a sink writes one and gives a receipt. Building one opens nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import is_dataclass, replace
from typing import Any

from crossdock.connectors.budget import share_one_heap
from crossdock.connectors.registry import open_store, open_table, split_transfer_options
from crossdock.connectors.strategy import TransferOptions
from crossdock.connectors.streams import ObjectStream, as_byte_stream
from crossdock.connectors.writer import write
from crossdock.errors import (
    ConfigError,
    CredentialsError,
    DeniedError,
    NotFoundError,
    ThrottledError,
    UnsupportedError,
)
from crossdock.model import ABSENT, ANY, Condition, ObjectInfo, Receipt
from crossdock.options import public_options
from crossdock.ports import ObjectStore
from crossdock.tasks import Task

__all__ = [
    "AzureSink",
    "AzureSource",
    "GCSSink",
    "GCSSource",
    "HTTPSource",
    "LocalSink",
    "LocalSource",
    "MemorySink",
    "MemorySource",
    "ObjectSink",
    "ObjectSource",
    "S3Sink",
    "S3Source",
    "SFTPSink",
    "SFTPSource",
    "sink",
    "source",
]


class ObjectSource(Task):
    """Objects of one store below one prefix, as a task: ``source(key) -> ByteStream``."""

    def __init__(self, store: ObjectStore, prefix: str = "") -> None:
        self.store = store
        self.prefix = prefix
        self.name = f"{type(self).__name__}({self.url})"

    @property
    def url(self) -> str:
        """Store and prefix as one URL, without secrets."""
        return f"{self.store.url}/{self.prefix}"

    def run(self, key: str, *, info: ObjectInfo | None = None) -> ObjectStream:
        """A stream over one object, not yet opened.

        Args:
            key: The key below the source's prefix, byte for byte.
            info: What a listing said of it; saves a request and pins the read to that version.
        """
        return ObjectStream(self.store, self.prefix + key, name=key, info=info)

    def output_name(self, key: str, *, info: ObjectInfo | None = None) -> str:  # noqa: ARG002 - as ``run``
        """The name of the stream that ``run`` would give with these arguments; nothing is opened."""
        return key

    def pages(self, prefix: str = "") -> Iterator[Sequence[ObjectInfo]]:
        """Pages of infos with full keys, in key order; one request a page. Never short: a failing page raises."""
        return self.store.list(self.prefix + prefix)

    def list(self, prefix: str = "") -> Iterator[str]:
        """Keys below the source's prefix that start with ``prefix``, in order, lazily; fit for calling the source."""
        for page in self.pages(prefix):
            for info in page:
                yield info.key[len(self.prefix) :]

    def version_of(self, key: str, *, info: ObjectInfo | None = None) -> dict[str, Any]:
        """What would change with the object's content, for a cache; one request, none with a listing's ``info``.

        Raises:
            UnsupportedError: The store tells neither version, digest nor time of change.
            StorageError: The object is not there, or cannot be asked for.
        """
        return _observed(info or self.store.stat(self.prefix + key), self.store)

    def __crossdock_fingerprint__(self) -> Any:
        """Which objects these are, for the hash of a piece of work: place and options, no secret."""
        return self.url, _told_options(self.store)

    @property
    def preflight_place(self) -> str:
        """Equal for what one question answers: the same bucket, asked with the same credentials."""
        return f"{self.store.endpoint} {self.store.url}"

    def preflight(self) -> None:
        """Prove here that the store can be reached with its credentials; runners ask on each worker before work starts."""
        _reach(self.store)

    def __repr__(self) -> str:
        return self.name


class ObjectSink(Task):
    """One store below one prefix, as a task: ``sink(stream, key=None) -> Receipt``."""

    def __init__(
        self,
        store: ObjectStore,
        prefix: str = "",
        *,
        overwrite: str = "always",
        transfer: TransferOptions | None = None,
    ) -> None:
        if overwrite not in ("always", "never"):
            raise ConfigError(
                f"overwrite is 'always' or 'never' for a sink, not {overwrite!r}", operation="open"
            )
        if not store.capabilities.writable:
            raise ConfigError(
                "this is a source only", operation="open", where=store.url, hint="choose another sink"
            )
        self.store = store
        self.prefix = prefix
        self.overwrite = overwrite
        self.transfer = transfer or TransferOptions()
        share_one_heap()
        self.name = f"{type(self).__name__}({self.url})"

    @property
    def url(self) -> str:
        """Store and prefix as one URL, without secrets."""
        return f"{self.store.url}/{self.prefix}"

    def run(self, stream: Any, key: str | None = None, *, condition: Condition | None = None) -> Receipt:
        """Write one stream as one object and prove it.

        Args:
            stream: A byte stream, bytes, a file, or an iterable of bytes.
            key: Key below the sink's prefix; by default the name the source gave the stream.
            condition: State the destination must be in; by default what ``overwrite`` says.

        Raises:
            ConfigError: There is no key, or the stream is not bytes.
            PreconditionError: The destination is in another state; it is as it was.
        """
        pulled = as_byte_stream(stream)
        try:
            name = key if key is not None else pulled.name
            if name is None:
                raise ConfigError(
                    "the stream has no name of its own", operation="put", where=self.url, hint="give key=..."
                )
            if condition is None:
                condition = ABSENT if self.overwrite == "never" else ANY
            return write(pulled, self.store, self.prefix + name, condition=condition, options=self.transfer)
        finally:
            pulled.close()

    def destination(
        self,
        name: str | None,
        key: str | None = None,
        *,
        condition: Condition | None = None,  # noqa: ARG002 - as ``run``
    ) -> str | None:
        """Where ``run`` would write a stream of this name: URL and endpoint, equal for the same object only.

        Nothing is opened. ``None`` if that depends on a name that is not known yet.
        """
        name = name if key is None else key
        return None if name is None else f"{self.store.url}/{self.prefix}{name} at {self.store.endpoint}"

    def confirms(self, receipt: Receipt) -> bool:
        """Whether the destination still holds what a receipt proves, for a cache; one request.

        Existence is no proof: the version must be the same, or the size and a digest.

        Raises:
            StorageError: The destination cannot be asked.
        """
        if receipt.destination != f"{self.store.url}/{receipt.key}":
            return False
        try:
            found = self.store.stat(receipt.key)
        except NotFoundError:
            return False
        if found.size != receipt.size:
            return False
        if receipt.version and found.version == receipt.version:
            return True
        return bool(found.digests.common(receipt.digests)) and not found.digests.conflict(receipt.digests)

    def __crossdock_fingerprint__(self) -> Any:
        """Where and how it writes, for the hash of a piece of work: place and options, no secret."""
        return self.url, _told_options(self.store), self.overwrite, public_options(self.transfer)

    def verifying(
        self,
        level: str | None = None,
        *,
        require: str | None = None,
        strict: bool | None = None,
        bandwidth_bytes_per_s: int | None = None,
    ) -> ObjectSink:
        """The same sink, asked for another level of verification or bound of bytes; what is ``None`` stays as it is.

        Raises:
            ConfigError: There is no such level.
        """
        asked: dict[str, Any] = {"verify": level, "require": require, "strict": strict}
        asked["bandwidth_bytes_per_s"] = bandwidth_bytes_per_s
        transfer = replace(
            self.transfer, **{name: value for name, value in asked.items() if value is not None}
        )
        return ObjectSink(self.store, self.prefix, overwrite=self.overwrite, transfer=transfer)

    @property
    def preflight_place(self) -> str:
        """Equal for what one question answers: the same bucket, asked with the same credentials."""
        return f"{self.store.endpoint} {self.store.url}"

    def preflight(self) -> None:
        """Prove here that the store can be reached with its credentials; runners ask on each worker before work starts."""
        _reach(self.store)

    def __repr__(self) -> str:
        return self.name


def _reach(store: ObjectStore) -> None:
    """One cheap request.

    Passes where the service knows us and refuses or postpones this very request: who may read and write need not be allowed to
    list, and what may be done shows with each object.

    Raises:
        CredentialsError: There are none, or they are invalid.
        NotFoundError: There is no such bucket.
        ConnectionLostError: The endpoint does not answer.
    """
    try:
        store.check()
    except CredentialsError:
        raise
    except (DeniedError, ThrottledError):
        return


def _observed(info: ObjectInfo, store: ObjectStore) -> dict[str, Any]:
    """The strongest thing an info says of the object's state, besides its size."""
    known = {"version": info.version, "digests": info.digests, "modified": info.modified}
    for name, value in known.items():
        if value:
            return {"size": info.size, name: value}
    raise UnsupportedError(
        "the store tells no version, digest or time of change, so a changed object would go unnoticed",
        operation="stat",
        where=store.url,
        key=info.key,
        hint="this source cannot be cached",
    )


def _told_options(store: Any) -> dict[str, Any]:
    """The options of a store under its layers, without secrets."""
    while hasattr(store, "inner"):
        store = store.inner
    options = getattr(store, "options", None)
    return public_options(options) if is_dataclass(options) else {}


def source(url: str, **options: Any) -> Any:
    """Open anything to read from, by URL: ``s3://``, ``gs://``, ``https://``, ``sftp://``, ``file://`` or a path, and more.

    Of a database, calls give record batches. Opens no connection. Options are the connector's, in fsspec's words.

    Raises:
        ConfigError: The URL's scheme or an option is unknown; the nearest match is named.
    """
    table = open_table(url, options)
    return table.source() if table is not None else ObjectSource(*open_store(url, options))


def sink(url: str, **options: Any) -> Any:
    """Open anything to write to, by URL; see ``source``. For objects it also takes the options of ``TransferOptions``.

    A prefix is taken literally: write the ``/`` if keys shall go below it.
    """
    if (tables := open_table(url, options)) is not None:
        return tables.sink()
    overwrite = options.pop("overwrite", "always")
    transfer, rest = split_transfer_options(options)
    return ObjectSink(*open_store(url, rest, to_write=True), overwrite=overwrite, transfer=transfer)


class _NamedSource(ObjectSource):
    scheme = ""

    def __init__(self, bucket: str, prefix: str = "", **options: Any) -> None:
        store, inner = open_store(_url(self.scheme, bucket), options)
        super().__init__(store, inner + prefix)


class _NamedSink(ObjectSink):
    scheme = ""

    def __init__(self, bucket: str, prefix: str = "", *, overwrite: str = "always", **options: Any) -> None:
        transfer, rest = split_transfer_options(options)
        store, inner = open_store(_url(self.scheme, bucket), rest, to_write=True)
        super().__init__(store, inner + prefix, overwrite=overwrite, transfer=transfer)


def _url(scheme: str, bucket: str) -> str:
    if "://" in bucket:
        return bucket
    if scheme == "file":
        return f"{bucket.rstrip('/')}/"
    return f"{scheme}://{bucket}" if scheme != "sftp" else f"{scheme}://{bucket.rstrip('/')}/"


class S3Source(_NamedSource):
    """Objects of one S3 bucket: ``S3Source("bucket", "prefix/", endpoint_url=..., ...)``."""

    scheme = "s3"


class S3Sink(_NamedSink):
    """An S3 bucket to write to."""

    scheme = "s3"


class GCSSource(_NamedSource):
    """Objects of one Google Cloud Storage bucket."""

    scheme = "gs"


class GCSSink(_NamedSink):
    """A Google Cloud Storage bucket to write to."""

    scheme = "gs"


class AzureSource(_NamedSource):
    """Objects of one Azure container: ``AzureSource("container", "prefix/", account_name=...)``."""

    scheme = "az"


class AzureSink(_NamedSink):
    """An Azure container to write to."""

    scheme = "az"


class LocalSource(_NamedSource):
    """Files below one directory; keys are paths relative to it."""

    scheme = "file"


class LocalSink(_NamedSink):
    """A directory to write below."""

    scheme = "file"


class MemorySource(_NamedSource):
    """Objects of a dict of this process, by name."""

    scheme = "memory"


class MemorySink(_NamedSink):
    """A dict of this process to write to, by name."""

    scheme = "memory"


class HTTPSource(_NamedSource):
    """Objects of a web server: ``HTTPSource("https://host/data/")``. Read by name; HTTP has no listing."""

    scheme = "https"


class SFTPSource(_NamedSource):
    """Files below one directory of an SSH server: ``SFTPSource("user@host/srv/data", "2024/")``."""

    scheme = "sftp"


class SFTPSink(_NamedSink):
    """A directory of an SSH server to write below."""

    scheme = "sftp"
