"""What a caller wants of one write, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crossdock.datasets.derived import Partitioner, partitioner_of
from crossdock.errors import ConfigError

__all__ = ["Request", "requested"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What shall become of the rows."""

    mode: str
    key: tuple[str, ...]
    batch_id: str | None
    partitioner: Partitioner
    evolve: str


def requested(
    *,
    mode: str,
    key: Sequence[str] | str,
    batch_id: str | None,
    partition_by: str | Sequence[Any] | Mapping[str, Any],
    evolve: str | None,
) -> Request:
    """The same as one value, if it makes sense.

    Raises:
        ConfigError: It does not.
    """
    columns = (key,) if isinstance(key, str) else tuple(key)
    if mode not in ("append", "replace", "upsert"):
        raise ConfigError(f"mode is 'append', 'replace' or 'upsert', not {mode!r}", operation="write")
    if mode == "upsert" and not columns:
        raise ConfigError("upsert needs a key", operation="write", hint="give key=['column', ...]")
    if mode != "upsert" and columns:
        raise ConfigError("a key goes with mode='upsert': lakes have no unique keys", operation="write")
    if batch_id is not None and mode != "append":
        raise ConfigError(
            "batch_id goes with mode='append'; the other modes change no row when they are run again",
            operation="write",
        )
    if batch_id is not None and not 0 < len(batch_id) <= 200:
        raise ConfigError("a batch_id has 1 to 200 characters", operation="write")
    if evolve not in (None, "never", "missing", "add", "drop"):
        raise ConfigError(f"evolve is 'never', 'missing', 'add' or 'drop', not {evolve!r}", operation="write")
    if mode == "replace" and evolve is not None:
        raise ConfigError(
            "a replaced table gets the stream's columns, so evolve means nothing", operation="write"
        )
    return Request(
        mode=mode,
        key=columns,
        batch_id=batch_id,
        partitioner=partitioner_of(partition_by),
        evolve=evolve or "missing",
    )
