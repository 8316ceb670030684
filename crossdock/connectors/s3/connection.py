"""What a process keeps open per bucket, and what it has learned about it.

Clients are made once per process and options, on first use. ``Learned`` holds what cannot be known beforehand of a
server that is not Amazon: whether it checks CRC-64/NVME, and whether obstore understands its ranges.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from obstore.store import S3Store as NativeStore

from crossdock.connectors.kept import Kept
from crossdock.connectors.native import NO_RETRIES, client_options
from crossdock.connectors.s3.address import Address, address_of
from crossdock.connectors.s3.client import Client
from crossdock.connectors.s3.credentials import asked_as, identity_of
from crossdock.connectors.s3.options import S3Options
from crossdock.errors import ConfigError

__all__ = ["Connection", "Learned", "connection", "learned_of"]


@dataclass(slots=True)
class Learned:
    """Of one bucket, in this process; ``None``: not known yet. Plain flags: races only repeat a lesson.

    ``etag_is_md5`` is false where the bucket encrypts with KMS; ``copies_metadata`` where a copy keeps what it was told
    to replace. ``encrypts`` is true once an object was seen whose ETag is no digest: then reads of whole objects take the
    route whose answers say so, and carry the checksum if there is one.
    """

    checks_crc64nvme: bool | None = None
    etag_is_md5: bool | None = None
    native_ranges: bool = True
    copies_metadata: bool = True
    encrypts: bool = False


_learned: dict[tuple[str, str], Learned] = {}
_connections: Kept[Connection] = Kept()
_lock = threading.Lock()


def learned_of(endpoint: str, bucket: str, *, amazon: bool) -> Learned:
    """The process's knowledge of a bucket; Amazon checks CRC-64/NVME, as documented."""
    known = _learned.get((endpoint, bucket))
    if known is not None:  # asked for several times an object
        return known
    with _lock:
        return _learned.setdefault((endpoint, bucket), Learned(checks_crc64nvme=True if amazon else None))


class Connection:
    """The two engines of one bucket. Thread-safe."""

    def __init__(self, bucket: str, options: S3Options, *, where: str) -> None:
        identity = identity_of(options, where=where)
        self.address: Address = address_of(bucket, options, identity.region())
        self.client = Client(self.address, options, identity, where=where)
        self._bucket, self._options, self._identity = bucket, options, identity
        self._lock = threading.Lock()
        self._native: dict[bool, NativeStore] = {}

    def native(self, *, checksum: bool = False) -> NativeStore:
        """Obstore's store of the bucket; ``checksum``: puts carry CRC-64/NVME for the server to check."""
        if not self._identity.anonymous:
            self._identity.frozen()  # missing credentials are reported in our words, before Rust asks
        with self._lock:
            if checksum not in self._native:
                self._native[checksum] = self._opened(checksum=checksum)
            return self._native[checksum]

    def _opened(self, *, checksum: bool) -> NativeStore:
        address, options = self.address, self._options
        config: dict[str, Any] = {
            "region": address.region,
            "endpoint": self._endpoint,
            "aws_endpoint_url_s3": self._endpoint,  # or the environment's would win
            "virtual_hosted_style_request": address.virtual,
            "unsigned_payload": True,
            "skip_signature": options.anon,
            "request_payer": options.requester_pays,
        }
        if checksum:
            config["checksum_algorithm"] = "crc64nvme"
        return NativeStore(
            self._bucket,
            config=config,  # type: ignore[arg-type]
            client_options=client_options(  # type: ignore[arg-type]
                connect_timeout_s=options.connect_timeout_s,
                no_progress_timeout_s=options.no_progress_timeout_s,
                allow_http=address.base.startswith("http://"),
                root_certificate=self._root_certificate,
            ),
            retry_config=NO_RETRIES,  # type: ignore[arg-type]
            credential_provider=None if options.anon else self._identity,  # type: ignore[arg-type]
        )

    @property
    def _endpoint(self) -> str:
        path = self.address.root if self.address.virtual else self.address.root.rpartition("/")[0]
        return self.address.base + path

    @cached_property
    def _root_certificate(self) -> bytes | None:
        if self._options.ca_bundle is None:
            return None
        try:
            return Path(self._options.ca_bundle).read_bytes()
        except OSError as error:
            raise ConfigError(
                f"ca_bundle cannot be read: {error.strerror}",
                operation="open",
                hint="check the option ca_bundle",
            ) from error


def connection(bucket: str, options: S3Options, *, where: str) -> Connection:
    """The process's connection to a bucket with these options; a fork opens its own."""
    key = (os.getpid(), bucket, options, *asked_as(options))
    return _connections.get(key, lambda: Connection(bucket, options, where=where))
