"""How many processes share what a run may use in all, such as its bandwidth: one, unless a runner says otherwise.

A runner says it with every shard it hands to a worker, so that the share of each follows a cluster that grows or shrinks. The
root of the project's rooms knows this number so that neither the runners nor the connectors need know the other.
"""

from __future__ import annotations

__all__ = ["peers", "set_peers"]

_peers = 1


def peers() -> int:
    """How many worker processes the run has, as of the last shard that came here; 1 or more."""
    return _peers


def set_peers(count: int) -> None:
    """Called where a shard begins."""
    global _peers  # noqa: PLW0603 - of this process there is one
    _peers = max(1, count)
