"""Where mapped tasks run: threads here, or the workers of a Dask cluster. Both implement ``crossdock.ports.Runner``."""
