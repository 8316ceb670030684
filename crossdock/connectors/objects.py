"""Object sources and sinks as tasks: what `xd.source(url)` and `xd.sink(url)` hand out.

A source called with a key gives a byte stream; a sink called with a stream writes it and gives a receipt. Both are
picklable recipes over a store and a prefix: building one opens nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from crossdock.connectors.registry import open_store, split_transfer_options
from crossdock.connectors.strategy import TransferOptions
from crossdock.connectors.streams import ObjectStream, as_byte_stream
from crossdock.connectors.writer import write
from crossdock.errors import ConfigError
from crossdock.model import ABSENT, ANY, Condition, ObjectInfo, Receipt
from crossdock.ports import ObjectStore
from crossdock.tasks import Task

__all__ = [
    "GCSSink",
    "GCSSource",
    "LocalSink",
    "LocalSource",
    "MemorySink",
    "MemorySource",
    "ObjectSink",
    "ObjectSource",
    "S3Sink",
    "S3Source",
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

    def pages(self, prefix: str = "") -> Iterator[Sequence[ObjectInfo]]:
        """Pages of infos with full keys, in key order; one request a page. Never short: a failing page raises."""
        return self.store.list(self.prefix + prefix)

    def list(self, prefix: str = "") -> Iterator[str]:
        """Keys below the source's prefix that start with ``prefix``, in order, lazily; fit for calling the source."""
        for page in self.pages(prefix):
            for info in page:
                yield info.key[len(self.prefix) :]

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
        self.store = store
        self.prefix = prefix
        self.overwrite = overwrite
        self.transfer = transfer or TransferOptions()
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

    def verifying(self, level: str) -> ObjectSink:
        """The same sink, asked for another level of verification."""
        return ObjectSink(
            self.store, self.prefix, overwrite=self.overwrite, transfer=replace(self.transfer, verify=level)
        )

    def __repr__(self) -> str:
        return self.name


def source(url: str, **options: Any) -> ObjectSource:
    """Open anything to read from, by URL: ``s3://``, ``gs://``, ``file://`` or a path, ``memory://``, and extensions.

    Opens no connection. Options are those of the connector, in fsspec's words (``endpoint_url``, ``key``, ...).

    Raises:
        ConfigError: The URL's scheme or an option is unknown; the nearest match is named.
    """
    store, prefix = open_store(url, options)
    return ObjectSource(store, prefix)


def sink(url: str, **options: Any) -> ObjectSink:
    """Open anything to write to, by URL; see ``source``. Also takes the options of ``TransferOptions``.

    A prefix is taken literally: write the ``/`` if keys shall go below it.
    """
    overwrite = options.pop("overwrite", "always")
    transfer, rest = split_transfer_options(options)
    store, prefix = open_store(url, rest)
    return ObjectSink(store, prefix, overwrite=overwrite, transfer=transfer)


class _NamedSource(ObjectSource):
    scheme = ""

    def __init__(self, bucket: str, prefix: str = "", **options: Any) -> None:
        store, inner = open_store(_url(self.scheme, bucket), options)
        super().__init__(store, inner + prefix)


class _NamedSink(ObjectSink):
    scheme = ""

    def __init__(self, bucket: str, prefix: str = "", *, overwrite: str = "always", **options: Any) -> None:
        transfer, rest = split_transfer_options(options)
        store, inner = open_store(_url(self.scheme, bucket), rest)
        super().__init__(store, inner + prefix, overwrite=overwrite, transfer=transfer)


def _url(scheme: str, bucket: str) -> str:
    if "://" in bucket:
        return bucket
    return f"{scheme}://{bucket}" if scheme != "file" else f"{bucket.rstrip('/')}/"


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
