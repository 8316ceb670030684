"""Apache Iceberg: ``iceberg+sqlite:///catalog.db`` with a warehouse, or one table by its metadata, ``iceberg+s3://.../x.metadata.json``.

Catalogue, snapshots and manifests are pyiceberg's. Rows are ours: data files are written by the one writer, with Iceberg's column
numbers in them, and added in one commit; what the library reads and writes goes through the connector's store. ``files`` is that
store as the library sees it, ``errors`` its words, ``found`` one snapshot of a table, ``committing`` a new one.
"""

from crossdock.lakes.iceberg.lake import IcebergLake
from crossdock.lakes.options import IcebergOptions

__all__ = ["IcebergLake", "IcebergOptions"]
