"""Where a lake's objects are: a store, a prefix, and the same place as other libraries write it.

Built from a URL and options as every connector has them; opens nothing and is picklable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from crossdock.connectors.layers import layered
from crossdock.connectors.native import addressable
from crossdock.connectors.registry import split_url
from crossdock.errors import ConfigError, UnsupportedError
from crossdock.options import parse_options
from crossdock.ports import ObjectStore

__all__ = ["Place", "place_of"]

_WRITTEN = {"s3": "s3", "gcs": "gs", "azure": "az"}
"""The scheme by which both libraries know a connector of ours; a directory is a ``file://`` URL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A prefix of a store.

    Attributes:
        system: The connector's name.
        bucket: Bucket, container or root directory.
        options: The connector's, parsed.
        store: With all its layers.
        prefix: Empty, or ends in ``/``.
    """

    system: str
    bucket: str
    options: Any
    store: ObjectStore
    prefix: str

    @property
    def url(self) -> str:
        """As crossdock writes it, without secrets."""
        return f"{self.store.url.rstrip('/')}/{self.prefix}"

    @property
    def location(self) -> str:
        """As other libraries write it: a URL with the key percent-encoded, without ``/`` at its end."""
        if self.system == "local":
            return f"file://{quote(f'{self.bucket}/{self.prefix}'.rstrip('/'))}"
        bucket = self.bucket.partition("@")[0]  # of Azure; the account is said in the options
        return f"{_WRITTEN[self.system]}://{bucket}/{quote(self.prefix)}".rstrip("/")

    def below(self, name: str) -> Place:
        """The prefix of one table.

        Raises:
            ConfigError: The name has no place in keys.
        """
        if not addressable(f"{name}/x") or name.startswith("_"):
            raise ConfigError(
                f"{name!r} cannot be a table's name here",
                operation="open",
                where=self.url,
                hint="a name is a piece of a key: no control characters, no empty or dotted segment, no _ at its beginning",
            )
        return replace(self, prefix=f"{self.prefix}{name}/")


def place_of(url: str, options: Mapping[str, Any], *, lake: str) -> Place:
    """The place behind a URL such as ``s3://bucket/lake``.

    Args:
        url: It counts as a prefix.
        options: The connector's.
        lake: What is to live there, for the error.

    Raises:
        ConfigError: The URL or an option is wrong.
        UnsupportedError: The lake's library cannot reach this kind of store.
    """
    row, bucket, key = split_url(url if url.endswith("/") else f"{url}/")
    if row.name != "local" and row.name not in _WRITTEN:
        raise UnsupportedError(
            f"{lake} lives on S3, Google Cloud Storage, Azure or a directory, not on {row.name}",
            operation="open",
            where=url,
        )
    store_class, options_class = row.load()
    parsed = parse_options(options_class, {**row.sink_defaults, **options}, where=url)
    store = layered(store_class(bucket, parsed))
    root = getattr(parsed, "root", None) if row.name == "local" else None
    prefix = key if key.endswith("/") or not key else f"{key}/"
    return Place(system=row.name, bucket=root or bucket, options=parsed, store=store, prefix=prefix)
