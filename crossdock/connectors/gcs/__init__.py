"""Google Cloud Storage behind the ``ObjectStore`` port.

Payload is read through obstore (XML API); everything else, writes included, goes over one small JSON and XML client
(``client``), because a write must carry a digest and a condition. ``GCSStore`` is a picklable recipe: clients are
opened once per process, when first used.
"""

from crossdock.connectors.gcs.options import GCSOptions
from crossdock.connectors.gcs.store import GCSStore

__all__ = ["GCSOptions", "GCSStore"]
