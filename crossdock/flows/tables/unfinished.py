"""A run of the same question that was killed or stopped: the same command again goes on with it instead of beginning another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crossdock.flows.runs.directory import list_runs

__all__ = ["unfinished"]

_UNDER_WAY = ("planned", "running", "interrupted", "limited")
"""Not a run that came to its end and failed: the objects may have been repaired since, and it knows only what they were."""


def unfinished(asked: Mapping[str, Any], kind: str) -> str | None:
    """The URL of the latest run in the user's own place that was asked exactly this and was broken off; ``None`` if there is none.

    One small read for each run there.
    """
    wanted = {**asked, "kind": kind}
    found = None
    for document in list_runs(strict=False):
        if document["state"] in _UNDER_WAY and document["asked"] == wanted:
            found = str(document["url"])
    return found
