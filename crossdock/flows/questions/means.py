"""With what a run is driven: how much at a time, where, and until when. Not part of its question, and not kept with it."""

from __future__ import annotations

from dataclasses import dataclass

from crossdock.combine import LocalRunner
from crossdock.errors import ConfigError
from crossdock.events import Observer
from crossdock.flows.questions.bounds import Size, size_bytes
from crossdock.flows.questions.limits import Deadline, Limits, limits_of
from crossdock.ports import Runner

__all__ = ["Means", "means_of"]

_CONCURRENCY = 256  # threads that may wait: each endpoint's limit decides how many requests go out
_LOCAL_SHARDS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a drive is given besides the run itself."""

    concurrency: int
    runner: Runner
    observer: Observer
    limits: Limits
    bandwidth_bytes_per_s: int | None


def means_of(
    concurrency: int | None,
    runner: Runner | None,
    observer: Observer,
    *,
    max_errors: int | None,
    max_bytes: Size,
    deadline: Deadline,
    bandwidth: Size,
) -> Means:
    """From what a user wrote; arguments as ``migrate``.

    Raises:
        ConfigError: One of them makes no sense.
    """
    if concurrency is not None and concurrency < 1:
        raise ConfigError(f"concurrency is 1 or more, not {concurrency}", operation="migrate")
    rate = size_bytes(bandwidth, "bandwidth", operation="migrate")
    if rate is not None and rate < 1:
        raise ConfigError("bandwidth is 1 byte a second or more", operation="migrate")
    limits = limits_of(max_errors=max_errors, max_bytes=max_bytes, deadline=deadline)
    return Means(
        concurrency=concurrency or _CONCURRENCY,
        runner=runner or LocalRunner(threads=_LOCAL_SHARDS, window=_LOCAL_SHARDS),
        observer=observer,
        limits=limits,
        bandwidth_bytes_per_s=rate,
    )
