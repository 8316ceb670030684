"""The obstore engine, shared by the S3, GCS and Azure connectors: payload in and out through Rust, without the GIL.

obstore bends some keys silently (``dir/`` is read as ``dir``), so a store asks ``addressable`` first and takes its
SDK's route for the others. Calls are synchronous and made from threads; obstore's own retries are off, because only
our retry layer retries. Everything it raises becomes a class of ``crossdock.errors`` in one place, ``translated``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias

import obstore
from obstore.store import AzureStore, GCSStore, S3Store

from crossdock.connectors.native_errors import EngineRefusedError, translated
from crossdock.errors import ConnectionLostError, UnexpectedError
from crossdock.model import (
    ANY,
    MIB,
    NO_METADATA,
    NO_VERSION,
    ByteRange,
    Condition,
    Metadata,
    ObjectInfo,
    Version,
)
from crossdock.ports import Chunk

__all__ = [
    "CHUNK_SIZE",
    "NO_RETRIES",
    "EngineRefusedError",
    "NativeReader",
    "addressable",
    "attributes_of",
    "client_options",
    "expressible",
    "metadata_of",
    "put",
    "quoted",
    "read",
    "translated",
    "unquoted",
]

NativeStore: TypeAlias = S3Store | GCSStore | AzureStore
Pin: TypeAlias = Literal["etag", "generation"]

CHUNK_SIZE = 4 * MIB
"""Chunks are at least this long, and longer by at most one read of the socket; the last may be shorter."""

NO_RETRIES: dict[str, Any] = {"max_retries": 0, "retry_timeout": timedelta(0), "backoff": {}}
"""``retry_config`` of every store: the retry layer is the only one that retries."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ATTRIBUTES = {
    "Content-Type": "content_type",
    "Cache-Control": "cache_control",
    "Content-Disposition": "content_disposition",
    "Content-Encoding": "content_encoding",
    "Content-Language": "content_language",
}
_SYSTEM_NAMES = frozenset({*(name.lower() for name in _ATTRIBUTES), "storage-class"})
_TOKEN = re.compile(r"[A-Za-z0-9!#$&^_.+-]+")
_PLAIN = re.compile(r"[\x21-\x7e]+(?: [\x21-\x7e]+)*|")


def addressable(key: str) -> bool:
    """Whether obstore sends exactly this key: it equals its own normalised form.

    Tried on every character up to U+00FF: obstore refuses control characters, empty, ``.`` and ``..`` segments, and
    silently drops a slash at either end. It percent-encodes everything else exactly, ``%2F`` included.
    """
    if _CONTROL.search(key) is not None or not key:
        return False
    return not any(segment in ("", ".", "..") for segment in key.split("/"))


def expressible(metadata: Metadata) -> bool:
    """Whether obstore sends this metadata exactly.

    It takes a user field named like a header (``content-type``) for the header, signs runs of spaces as they are
    (SigV4 folds them) and panics at line breaks; such metadata takes the SDK's route.
    """
    if not all(_TOKEN.fullmatch(name) and name.lower() not in _SYSTEM_NAMES for name in metadata.user):
        return False
    system = (getattr(metadata, name) for name in Metadata.FIELDS)
    return all(_PLAIN.fullmatch(value) for value in (*system, *metadata.user.values()) if value is not None)


def client_options(
    *,
    connect_timeout_s: float,
    no_progress_timeout_s: float,
    allow_http: bool,
    root_certificate: bytes | None = None,
) -> dict[str, Any]:
    """``client_options`` of a store: fail on no progress, never on total time.

    The read timeout starts anew with each read, but for a put it is the time until the answer begins: put only what
    any line carries within it.
    """
    options: dict[str, Any] = {
        "connect_timeout": timedelta(seconds=connect_timeout_s),
        "read_timeout": timedelta(seconds=no_progress_timeout_s),
        "timeout": timedelta(days=7),
        "allow_http": allow_http,
    }
    if root_certificate is not None:
        options["root_certificate"] = root_certificate
    return options


def quoted(etag: str) -> str:
    """An ETag as headers carry it."""
    return etag if etag.startswith(('W/"', '"')) else f'"{etag}"'


def unquoted(etag: str | None) -> str | None:
    """An ETag as ``Version`` carries it: without quotes; a weak one keeps its whole form."""
    return etag if etag is None or etag.startswith("W/") else etag.strip('"') or None


def metadata_of(attributes: Mapping[str, str]) -> Metadata:
    """Attributes of obstore as metadata: header names are capitalised, user names are not."""
    system = {field: attributes[name] for name, field in _ATTRIBUTES.items() if name in attributes}
    user = {
        name: value
        for name, value in attributes.items()
        if name not in _ATTRIBUTES and name != "Storage-Class"
    }
    return Metadata(**system, user=dict(sorted(user.items())))


def attributes_of(metadata: Metadata) -> dict[str, str]:
    """Metadata as obstore's attributes."""
    system = {name: getattr(metadata, field) for name, field in _ATTRIBUTES.items()}
    return {name: value for name, value in system.items() if value is not None} | dict(metadata.user)


class NativeReader:
    """One answer of ``read``: see ``ports.ObjectReader``. For one thread, to be read once."""

    def __init__(self, result: Any, info: ObjectInfo, *, where: str) -> None:
        self.info = info
        self._result: Any | None = result
        start, end = result.range
        self._length = end - start
        self._where = where

    def __iter__(self) -> Iterator[Chunk]:
        """Chunks of about ``CHUNK_SIZE``; a body that ends early raises ``ConnectionLostError``."""
        result, key = self._taken(), self.info.key
        passed = 0
        with translated("read", self._where, key):
            chunks = iter(result.stream(min_chunk_size=CHUNK_SIZE))
        while True:
            with translated("read", self._where, key):
                chunk = next(chunks, None)
            if chunk is None:
                break
            passed += len(chunk)
            if len(chunk):
                yield chunk
        self._demand(passed)

    def read_all(self) -> Chunk:
        """All bytes, in obstore's own memory."""
        result = self._taken()
        with translated("read", self._where, self.info.key):
            data = result.bytes()
        self._demand(len(data))
        return memoryview(data)

    def close(self) -> None:
        """Drop the answer; its connection goes with it."""
        self._result = None

    def _taken(self) -> Any:
        result, self._result = self._result, None
        if result is None:
            raise UnexpectedError(
                "a reader is read once", operation="read", where=self._where, key=self.info.key
            )
        return result

    def _demand(self, passed: int) -> None:
        if passed != self._length:
            raise ConnectionLostError(
                f"the body ended after {passed} of {self._length} bytes",
                operation="read",
                where=self._where,
                key=self.info.key,
            )


def read(
    store: NativeStore,
    key: str,
    byte_range: ByteRange | None,
    version: Version = NO_VERSION,
    *,
    where: str,
    pin: Pin = "etag",
    decode: Callable[[Mapping[str, str]], Metadata] = metadata_of,
) -> NativeReader:
    """Open an object, or a range of it: one GET, pinned to ``version`` if it is given.

    Args:
        store: obstore's store of the bucket.
        key: Must be ``addressable``.
        byte_range: Half-open; an end beyond the object is cut by the server.
        version: Its ETag (If-Match) or generation pins the read, as ``pin`` says.
        where: The bucket's URL, for errors.
        pin: Which of the two this store pins by; the answer's ``info.version`` carries that one only.
        decode: How attributes become metadata.

    Raises:
        EngineRefusedError: The answer is not one obstore takes; the SDK's route may.
    """
    options: dict[str, Any] = {}
    if byte_range is not None:
        options["range"] = (byte_range.start, byte_range.end)
    if pin == "etag" and version.etag is not None:
        options["if_match"] = quoted(version.etag)
    if pin == "generation" and version.generation is not None:
        options["version"] = version.generation
    with translated("read", where, key):
        result = obstore.get(store, key, options=options or None)  # type: ignore[arg-type]
    meta = result.meta
    info = ObjectInfo(
        key=key,
        size=meta["size"],
        version=_version(meta["e_tag"], meta["version"], pin),
        metadata=decode(result.attributes),
        modified=_modified(meta["last_modified"]),
    )
    return NativeReader(result, info, where=where)


def put(
    store: NativeStore,
    key: str,
    data: Chunk,
    *,
    metadata: Metadata = NO_METADATA,
    condition: Condition = ANY,
    where: str,
    pin: Pin = "etag",
) -> Version:
    """Create an object in one request, whole or not at all, if ``condition`` holds.

    ``key`` must be ``addressable`` and ``metadata`` ``expressible``. If the answer is lost, the outcome is unknown:
    ``ConnectionLostError`` or ``StalledError``.
    """
    mode: Any = "overwrite"
    if condition.absent:
        mode = "create"
    elif condition.version:
        etag, generation = condition.version.etag, condition.version.generation
        mode = {"e_tag": quoted(etag)} if pin == "etag" and etag is not None else {"version": generation}
    try:
        with translated("put", where, key):
            result = obstore.put(
                store, key, data, attributes=attributes_of(metadata) or None, mode=mode, use_multipart=False
            )
    except EngineRefusedError as error:
        raise ConnectionLostError(
            f"the answer cannot be read: {error.cause}", operation="put", where=where, key=key
        ) from error
    return _version(result["e_tag"], result["version"], pin)


def _version(etag: str | None, generation: str | None, pin: Pin) -> Version:
    return Version(etag=unquoted(etag)) if pin == "etag" else Version(generation=generation)


def _modified(when: datetime) -> datetime | None:
    """Obstore gives the epoch when the answer had no Last-Modified."""
    return when if when.timestamp() > 0 else None
