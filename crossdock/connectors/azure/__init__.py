"""Azure Blob Storage, and ADLS Gen2 accounts through their blob endpoint.

Bytes of ordinary keys are read by obstore; everything else is signed by Azure's SDK and sent with one plain HTTP client.
``store.AzureStore`` decides; callers never see the engines.
"""

from crossdock.connectors.azure.options import AzureOptions
from crossdock.connectors.azure.store import AzureStore

__all__ = ["AzureOptions", "AzureStore"]
