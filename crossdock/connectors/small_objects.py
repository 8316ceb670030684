"""Small objects by name in any store: ``crossdock.small_objects`` for the rooms that know no connector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crossdock.connectors.commits import commit
from crossdock.connectors.digests import choose_digests, digest_of
from crossdock.connectors.registry import open_store, split_url
from crossdock.errors import ConfigError, UnsupportedError
from crossdock.model import NO_DIGESTS, NO_METADATA, Metadata
from crossdock.options import Secret, describe_options, format_size
from crossdock.ports import ObjectStore

__all__ = ["Place", "open_place"]

_JSON = Metadata(content_type="application/json")


@dataclass(frozen=True, slots=True)
class Place:
    """Objects below one prefix of one store; implements ``crossdock.small_objects.SmallObjects``."""

    store: ObjectStore
    prefix: str

    @property
    def url(self) -> str:
        """The prefix's URL."""
        return f"{self.store.url}/{self.prefix}"

    def check(self) -> None:
        """See the port."""
        self.store.check()

    def get(self, name: str, *, limit_bytes: int) -> bytes:
        """See the port."""
        reader = self.store.read(self.prefix + name)
        try:
            size = reader.info.size
            if size is None or size > limit_bytes:
                said = "of unknown size" if size is None else format_size(size)
                raise UnsupportedError(
                    f"the object is {said}, and at most {format_size(limit_bytes)} were expected",
                    operation="read",
                    where=self.store.url,
                    key=self.prefix + name,
                )
            return bytes(reader.read_all()) if size else b""
        finally:
            reader.close()

    def put(self, name: str, data: bytes) -> None:
        """See the port."""
        key, can = self.prefix + name, self.store.capabilities
        digests = digest_of(data, choose_digests(NO_DIGESTS, can.put_checks, can.publishes))
        typed = name.endswith(".json") and "content_type" in can.metadata_fields
        commit(
            lambda: self.store.put(key, data, metadata=_JSON if typed else NO_METADATA, digests=digests),
            store=self.store,
            key=key,
            size=len(data),
            digests=digests,
        )


def open_place(url: str, options: Mapping[str, Any]) -> Place:
    """The place behind a URL; see ``crossdock.small_objects.open_small_objects``."""
    url = url if url.endswith("/") else f"{url}/"
    store, prefix = open_store(url, _plain(url, options), to_write=True)
    if not store.capabilities.writable:
        raise ConfigError(
            "nothing can be written here", operation="open", where=store.url, hint="choose another place"
        )
    if prefix and not prefix.endswith("/"):  # a connector that reads `x/` as the key `x`
        prefix += "/"
    return Place(store, prefix)


def _plain(url: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as the connector takes them: a name may have sounded secret to who does not know the connector."""
    if not any(isinstance(value, Secret) for value in options.values()):
        return dict(options)
    _, known = split_url(url)[0].load()
    public = {
        name
        for row in describe_options(known)
        if not row["secret"]
        for name in (row["name"], *row["aliases"])
    }
    return {
        name: value.reveal() if name in public and isinstance(value, Secret) else value
        for name, value in options.items()
    }
