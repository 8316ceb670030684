"""M sources and N sinks: one module per system, one writer, one registry.

Importing this package imports no cloud SDK; a connector's module is imported when a URL of it is opened.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossdock.connectors.dataframes import collect as collect, frames as frames
    from crossdock.connectors.objects import (
        AzureSink as AzureSink,
        AzureSource as AzureSource,
        GCSSink as GCSSink,
        GCSSource as GCSSource,
        HTTPSource as HTTPSource,
        LocalSink as LocalSink,
        LocalSource as LocalSource,
        MemorySink as MemorySink,
        MemorySource as MemorySource,
        ObjectSink as ObjectSink,
        ObjectSource as ObjectSource,
        S3Sink as S3Sink,
        S3Source as S3Source,
        SFTPSink as SFTPSink,
        SFTPSource as SFTPSource,
        sink as sink,
        source as source,
    )
    from crossdock.connectors.registry import (
        CONNECTORS as CONNECTORS,
        Connector as Connector,
        connector_for as connector_for,
        open_store as open_store,
        split_url as split_url,
    )
    from crossdock.connectors.strategy import TransferOptions as TransferOptions
    from crossdock.connectors.streams import (
        ObjectStream as ObjectStream,
        PlainStream as PlainStream,
        as_byte_stream as as_byte_stream,
    )

_OBJECTS = (
    "ObjectSource",
    "ObjectSink",
    "source",
    "sink",
    "S3Source",
    "S3Sink",
    "GCSSource",
    "GCSSink",
    "AzureSource",
    "AzureSink",
    "LocalSource",
    "LocalSink",
    "MemorySource",
    "MemorySink",
    "HTTPSource",
    "SFTPSource",
    "SFTPSink",
)
_HOMES = {
    **dict.fromkeys(("frames", "collect"), "dataframes"),
    **dict.fromkeys(_OBJECTS, "objects"),
    **dict.fromkeys(("CONNECTORS", "Connector", "connector_for", "open_store", "split_url"), "registry"),
    "TransferOptions": "strategy",
    **dict.fromkeys(("ObjectStream", "PlainStream", "as_byte_stream"), "streams"),
}

__all__ = [*_HOMES]  # noqa: PLE0604 - the table above is the list


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'crossdock.connectors' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"crossdock.connectors.{home}"), name)
    globals()[name] = value
    return value
