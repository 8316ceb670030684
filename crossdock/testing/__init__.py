"""The test kit: embedded object stores with honest semantics, and faults to inject into them.

Shipped in the wheel, because a connector of your own deserves the servers ours are tested with, and because
``crossdock demo`` runs on them. `EmbeddedS3` and `EmbeddedGCS` listen on a free port of 127.0.0.1, keep
everything in memory and need no account; `Rule` and `Faults` make them fail on purpose, reproducibly, and count
what they did, so that a test can prove that its fault really happened. `FaultProxy` does the same in front of any other
server.

The suites are the specification: `StoreSuite` of the port, `SourceSuite` and `SinkSuite` of the tasks over it, `PairSuite` of
every source into every sink; `TableSuite` of connectors that move rows, `CodecSuite` of formats. An `End` (a `TableEnd`, a
`CodecEnd`) is what they are given;
`Watcher` looks at a destination while something runs.

Everything here is imported late: naming one server never loads the other's libraries.

Example:
    >>> from crossdock.testing import EmbeddedGCS, Rule
    >>> with EmbeddedGCS(buckets=("landing",)) as gcs:
    ...     gcs.faults.add(Rule(operation="object.insert", status=503, first=1))
    ...     ...  # point a client at gcs.url
    'object.insert status'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossdock.testing.api import EmbeddedAPI
    from crossdock.testing.clouds import embedded_clouds
    from crossdock.testing.codecs import CodecEnd, CodecSuite
    from crossdock.testing.ends import End
    from crossdock.testing.gcs import EmbeddedGCS
    from crossdock.testing.hostile import FULL_METADATA, HOSTILE_KEYS, HOSTILE_METADATA
    from crossdock.testing.pair_suite import PairSuite
    from crossdock.testing.proxy import FaultProxy
    from crossdock.testing.rules import Faults, Rule
    from crossdock.testing.s3 import EmbeddedS3
    from crossdock.testing.sink_suite import SinkSuite
    from crossdock.testing.source_suite import SourceSuite
    from crossdock.testing.store_suite import ReadOnlyStoreSuite, StoreSuite
    from crossdock.testing.tables import TableEnd, TableSuite
    from crossdock.testing.watcher import Watcher
    from crossdock.testing.webhook import EmbeddedWebhook

__all__ = [
    "FULL_METADATA",
    "HOSTILE_KEYS",
    "HOSTILE_METADATA",
    "CodecEnd",
    "CodecSuite",
    "EmbeddedAPI",
    "EmbeddedGCS",
    "EmbeddedS3",
    "EmbeddedWebhook",
    "End",
    "FaultProxy",
    "Faults",
    "PairSuite",
    "ReadOnlyStoreSuite",
    "Rule",
    "SinkSuite",
    "SourceSuite",
    "StoreSuite",
    "TableEnd",
    "TableSuite",
    "Watcher",
    "embedded_clouds",
]

_HOMES = {
    "EmbeddedAPI": "crossdock.testing.api",
    "embedded_clouds": "crossdock.testing.clouds",
    "EmbeddedGCS": "crossdock.testing.gcs",
    "EmbeddedS3": "crossdock.testing.s3",
    "EmbeddedWebhook": "crossdock.testing.webhook",
    "FaultProxy": "crossdock.testing.proxy",
    "Faults": "crossdock.testing.rules",
    "Rule": "crossdock.testing.rules",
    "End": "crossdock.testing.ends",
    "PairSuite": "crossdock.testing.pair_suite",
    "ReadOnlyStoreSuite": "crossdock.testing.store_suite",
    "SinkSuite": "crossdock.testing.sink_suite",
    "SourceSuite": "crossdock.testing.source_suite",
    "StoreSuite": "crossdock.testing.store_suite",
    "CodecEnd": "crossdock.testing.codecs",
    "CodecSuite": "crossdock.testing.codecs",
    "TableEnd": "crossdock.testing.tables",
    "TableSuite": "crossdock.testing.tables",
    "Watcher": "crossdock.testing.watcher",
    "HOSTILE_KEYS": "crossdock.testing.hostile",
    "HOSTILE_METADATA": "crossdock.testing.hostile",
    "FULL_METADATA": "crossdock.testing.hostile",
}


def __getattr__(name: str) -> Any:
    """Import the module behind a public name the first time it is asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
