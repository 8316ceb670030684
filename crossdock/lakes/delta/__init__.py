"""Delta Lake: ``delta+s3://bucket/lake``, a prefix with one table, or with a table below each name.

The log is deltalake's (delta-rs): versions, protocol, commits, conflicts. Rows are ours: data files are written by the one writer
and read by ranges through the connector, with its credentials, so both stream whatever the table's size. ``access`` is how the
library reaches the store, ``errors`` its words, ``found`` one version of a table, ``committing`` a new one, ``merging`` upserts.
"""

from crossdock.lakes.delta.lake import DeltaLake
from crossdock.lakes.options import DeltaOptions

__all__ = ["DeltaLake", "DeltaOptions"]
