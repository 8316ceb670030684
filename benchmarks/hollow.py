"""``python -m benchmarks.hollow``: the embedded GCS, but of large content it keeps size and CRC32C only, not the bytes.

So ten gigabytes can be sent to it on a laptop. What arrives is checked as ever, and what an object's CRC32C says of all
its bytes is still known at the end; only reading them is over.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from crossdock.testing.admin import run_process
from crossdock.testing.gcs import Content, EmbeddedGCS
from crossdock.testing.wire import Chunk

_LARGE_BYTES = 1 << 20
_full = Content.of


def _hollow(chunks: Iterable[Chunk]) -> Content:
    content = _full(chunks)
    return content if content.size < _LARGE_BYTES else Content((), content.size, content.crc32c)


if __name__ == "__main__":
    Content.of = _hollow  # type: ignore[method-assign,assignment]
    sys.exit(
        run_process(
            "python -m benchmarks.hollow",
            lambda buckets, faults, port: EmbeddedGCS(buckets, faults, port=port),
        )
    )
