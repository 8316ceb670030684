"""``End``: one place under test, as a conformance suite sees it: how to open it, and how to look behind its back.

The suites of sources, sinks and pairs are all written over it, so that a connector's test says once where its objects
are. An end is fresh and empty when a suite gets it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import crossdock as xd
from crossdock.connectors.layers import attempt, layered
from crossdock.connectors.objects import ObjectSink, ObjectSource
from crossdock.connectors.registry import split_transfer_options
from crossdock.errors import ConfigError, NotFoundError, UnsupportedError
from crossdock.model import NO_METADATA, Metadata
from crossdock.ports import Capabilities, ObjectStore

__all__ = ["End"]


@dataclass(frozen=True, kw_only=True)
class End:
    """A fresh, empty place. Keys are relative to ``url`` (or to ``store``), byte for byte.

    Attributes:
        url: Where, ending in ``/``: opened by ``xd.source`` and ``xd.sink`` as a user would.
        options: The connector's options for that URL.
        store: Instead of a URL: a store that no URL opens (yet).
        back_door: The bytes under a key by a route that is not ours, ``None`` if there are none. Without it they are
            read through the store itself, which proves less.
        seed: Writes an object behind the end's back (key, bytes, metadata); a source only needs it.
        unseed: Removes one behind the end's back; a source only needs it.
        everything: All names there by a route that is not ours: keys, and whatever else a write could leave behind
            (temporary names, open uploads). Without it the store's own listings are asked.
        left_out_keys: Keys that the *server* of this test gets wrong (not the connector), each with the reason.
        left_out_checks: Checks of a suite, by name, that the *server* of this test cannot pass as a sink, each with the reason.
        nested_keys: Whether ``x`` and ``x/y`` can both exist.
        secrets: Literal secrets among the options: they must not show in pickles, reprs and URLs.
    """

    url: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    store: ObjectStore | None = None
    back_door: Callable[[str], bytes | None] | None = None
    seed: Callable[[str, bytes, Metadata], object] | None = None
    unseed: Callable[[str], object] | None = None
    everything: Callable[[], Iterable[str]] | None = None
    left_out_keys: Mapping[str, str] = field(default_factory=dict)
    left_out_checks: Mapping[str, str] = field(default_factory=dict)
    nested_keys: bool = True
    secrets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.url) == (self.store is not None):
            raise ConfigError("an end has a url or a store, one of them", operation="open")
        if self.url and not self.url.endswith("/"):
            raise ConfigError(
                "an end's url ends in /", operation="open", where=self.url, hint="keys go behind it"
            )

    def source(self, prefix: str = "") -> ObjectSource:
        """The end as a source of what is below ``prefix``; opens nothing."""
        if self.store is not None:
            return ObjectSource(layered(self.store), prefix)
        source: ObjectSource = xd.source(self.url + prefix, **self.options)
        return source

    def sink(self, prefix: str = "", **transfer: Any) -> ObjectSink:
        """The end as a sink below ``prefix``, with options of ``TransferOptions``; opens nothing."""
        if self.store is not None:
            return ObjectSink(layered(self.store), prefix, transfer=split_transfer_options(transfer)[0])
        sink: ObjectSink = xd.sink(self.url + prefix, **self.options, **transfer)
        return sink

    @cached_property
    def root(self) -> ObjectSource:
        """All of it, to look at; a missing directory is an empty one, where the connector knows that."""
        if self.store is None and self.is_sink:
            sink = self.sink()
            return ObjectSource(sink.store, sink.prefix)
        return self.source()

    @cached_property
    def is_sink(self) -> bool:
        """Whether it can be written to."""
        return self.source().store.capabilities.writable or self._becomes_sink()

    def _becomes_sink(self) -> bool:
        # What fsspec opens is a sink only if asked to be one: its options differ.
        if self.store is not None:
            return False
        try:
            self.sink()
        except (ConfigError, UnsupportedError):
            return False
        return True

    @property
    def capabilities(self) -> Capabilities:
        """What it can do, as a sink if it is one."""
        return self.root.store.capabilities

    def refusal(self, key: str) -> str | None:
        """Why a key cannot be here, in words: the store's, or what the server of this test gets wrong."""
        return self.left_out_keys.get(key) or self.root.store.refusal(self.root.prefix + key)

    def usable(self, keys: Iterable[str], prefix: str = "") -> list[str]:
        """Those that can be here side by side, below ``prefix``."""
        usable = [key for key in keys if key not in self.left_out_keys and self.refusal(prefix + key) is None]
        if self.nested_keys:
            return usable
        return [key for key in usable if not any(other.startswith(f"{key}/") for other in usable)]

    def put(self, key: str, data: bytes, metadata: Metadata = NO_METADATA) -> None:
        """Bring an object about: behind the end's back if it says how, else through its store."""
        if self.seed is not None:
            self.seed(key, data, metadata)
        else:
            root = self.root  # a put of the same bytes again is the same object
            attempt(
                lambda: root.store.put(root.prefix + key, data, metadata=metadata),
                operation="put",
                place=f"{root.url}{key}",
            )

    def remove(self, key: str) -> None:
        """Remove an object again; see ``put``."""
        if self.unseed is not None:
            self.unseed(key)
        else:
            self.root.store.delete(self.root.prefix + key)

    def held(self, key: str) -> bytes | None:
        """What is under a key, by the back door."""
        if self.back_door is not None:
            return self.back_door(key)
        try:
            return bytes(self.root.store.read(self.root.prefix + key).read_all())
        except NotFoundError:
            return None

    def names(self) -> list[str]:
        """All that is there, in order: keys, and whatever a write left behind."""
        if self.everything is not None:
            return sorted(self.everything())
        root = self.root
        keys = [info.key[len(root.prefix) :] for page in root.pages() for info in page]
        uploads = (
            [f"upload of {upload.key}" for upload in root.store.list_uploads(root.prefix)]
            if self.capabilities.multipart and self.capabilities.writable
            else []
        )
        return sorted([*keys, *uploads])
