"""A run of the same question that did not end: the same command again goes on with it instead of beginning another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crossdock.flows.runs.directory import REMOVING, list_runs

__all__ = ["unfinished"]


def unfinished(asked: Mapping[str, Any], kind: str) -> str | None:
    """The URL of the latest run in the user's own place that was asked exactly this and did not end; ``None`` if there is none.

    One small read for each run there.
    """
    wanted = {**asked, "kind": kind}
    found = None
    for document in list_runs():
        if document["state"] not in ("complete", REMOVING) and document["asked"] == wanted:
            found = str(document["url"])
    return found
