"""An embedded Google Cloud Storage: JSON API, XML API, and the semantics that matter when data must not be lost.

Generations and preconditions, hashes that are checked, resumable uploads that tell honestly how far they are,
multipart uploads, composition, decompressive transcoding, byte-exact keys. Point clients at it like this:

- google-cloud-storage: ``Client(project="p", credentials=AnonymousCredentials(), client_options={"api_endpoint": url})``
- gcsfs: ``GCSFileSystem(token="anon", endpoint_url=url)``, with ``GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT=false`` and
  ``NO_GCE_CHECK=true`` in the environment before it is imported
- obstore: ``GCSStore(bucket, config={"service_account_key": json, "skip_signature": True},
  client_options={"allow_http": True})`` where the JSON is ``{"gcs_base_url": url, "disable_oauth": true,
  "client_email": "", "private_key": "", "private_key_id": ""}``
- rclone: ``--gcs-endpoint URL/storage/v1/ --gcs-anonymous``
"""

from crossdock.testing.gcs.objects import Content, Metadata, StoredObject
from crossdock.testing.gcs.server import EmbeddedGCS

__all__ = ["Content", "EmbeddedGCS", "Metadata", "StoredObject"]
