"""Amazon S3 and what imitates it.

Bytes travel through obstore where it addresses the key exactly; listings, large parts, multipart commits, conditional
copies and odd keys are signed by botocore and sent with one plain HTTP client. ``store.S3Store`` decides; callers never
see the engines.
"""

from crossdock.connectors.s3.options import S3Options
from crossdock.connectors.s3.store import S3Store

__all__ = ["S3Options", "S3Store"]
