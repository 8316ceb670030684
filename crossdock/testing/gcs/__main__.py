"""``python -m crossdock.testing.gcs --port 0 --bucket b``: the embedded GCS as a process; prints its URL first."""

import sys

from crossdock.testing.admin import run_process
from crossdock.testing.gcs.server import EmbeddedGCS

if __name__ == "__main__":
    sys.exit(
        run_process(
            "python -m crossdock.testing.gcs",
            lambda buckets, faults, port: EmbeddedGCS(buckets, faults, port=port),
        )
    )
