"""The main job, told as a story: a real bucket moves from S3 to GCS while things break, and is verified by another route.

``crossdock demo`` and ``make demo`` run it. Everything happens on 127.0.0.1 with dummy credentials; nothing of the user's is
read or written.
"""

from __future__ import annotations

from crossdock.testing.demo.story import run_demo

__all__ = ["run_demo"]
