"""How one object will be written: pure decisions on sizes and capabilities, no I/O.

``TransferOptions`` are the knobs of every object sink; ``choose_method`` and ``choose_part_size`` are the decisions.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from crossdock.errors import ConfigError, UnsupportedError
from crossdock.model import GIB, MIB, Verification
from crossdock.options import format_size, option
from crossdock.ports import Capabilities

__all__ = ["Method", "TransferOptions", "choose_method", "choose_part_size"]

STANDARD_PART_SIZE = 8 * MIB
LEVELS = tuple(level.name.lower() for level in Verification)
_LEAST_IN_FLIGHT = 4  # parts of a size taken over from the source that must fit into the budget at a time


class Method(enum.Enum):
    """The four ways of the one writer; the value is what the receipt says."""

    COPY = "copy"  # inside the service
    PUT = "put"  # one request
    PARTS = "parts"  # pinned ranged reads into parallel parts
    STREAM = "stream"  # in order, unknown length or a source that cannot be read by range


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferOptions:
    """How a sink moves bytes."""

    part_size_bytes: int = option(
        "Size of a part of a large object, and the largest object sent in one request.",
        default=STANDARD_PART_SIZE,
        unit="bytes",
        env=("CROSSDOCK_PART_SIZE_BYTES",),
        aliases=("part_size", "chunksize"),
    )
    part_concurrency: int = option(
        "Parts of one object in flight at a time.", default=8, env=("CROSSDOCK_PART_CONCURRENCY",)
    )
    split_above_bytes: int = option(
        "Objects larger than this are cut over several workers by a run, where both ends allow it.",
        default=GIB,
        unit="bytes",
        env=("CROSSDOCK_SPLIT_ABOVE_BYTES",),
        aliases=("split_above",),
    )
    max_in_flight_bytes: int = option(
        "Payload bytes this process holds at most.",
        default=96 * MIB,
        unit="bytes",
        env=("CROSSDOCK_MAX_IN_FLIGHT_BYTES",),
        aliases=("max_in_flight",),
    )
    bandwidth_bytes_per_s: int | None = option(
        "Payload bytes a second of a whole run at most, divided evenly among its worker processes.",
        unit="bytes",
        env=("CROSSDOCK_BANDWIDTH_BYTES_PER_S",),
        aliases=("bandwidth", "bwlimit"),
    )
    verify: str = option(
        "Level of verification to go for: auto (the highest that costs no request, or at most two for an object that moves "
        "in parts), v0 or v1 (nothing only to prove the source), v2 (ask the source whatever it takes), v3 (read back).",
        default="auto",
        env=("CROSSDOCK_VERIFY",),
    )
    require: str = option(
        "Level of verification below which a copy is a failure: v0, v1, v2 or v3. It goes for that level, too.",
        default="v0",
        env=("CROSSDOCK_REQUIRE",),
    )
    strict: bool = option(
        "Refuse endpoints and objects that would get a weaker form of the promise: no conditional writes, reads that "
        "cannot be pinned to a version, no digest checked at the destination.",
        default=False,
        env=("CROSSDOCK_STRICT",),
    )

    def __post_init__(self) -> None:
        if self.bandwidth_bytes_per_s is not None and self.bandwidth_bytes_per_s < 1:
            raise ConfigError(
                f"bandwidth_bytes_per_s is 1 or more, not {self.bandwidth_bytes_per_s}", operation="open"
            )
        for name, known in (("verify", ("auto", *LEVELS)), ("require", LEVELS)):
            given = getattr(self, name)
            if str(given).lower() not in known:
                raise ConfigError(
                    f"{name} is {', '.join(known[:-1])} or {known[-1]}, not {given!r}", operation="open"
                )
            object.__setattr__(self, name, str(given).lower())

    @property
    def required(self) -> Verification:
        """The level below which a copy is a failure."""
        return Verification[self.require.upper()]

    @property
    def wanted(self) -> Verification | None:
        """The level to go for, or ``None`` for whatever is free; what is required is wanted."""
        asked = None if self.verify == "auto" else Verification[self.verify.upper()]
        if self.required > Verification.V1 and (asked is None or asked < self.required):
            return self.required
        return asked


def choose_method(
    size: int | None, *, same_endpoint: bool, ranged: bool, sink: Capabilities, part_size_bytes: int
) -> Method:
    """Which of the four ways fits.

    Args:
        size: The object's size in bytes, if known.
        same_endpoint: Source and sink are one service that can copy inside.
        ranged: The source can be read by range, pinned to one version.
        sink: What the destination can do.
        part_size_bytes: The largest size worth one request.

    Raises:
        UnsupportedError: The destination cannot hold the object in any way.
    """
    if size is not None and size > sink.max_object_size:
        raise UnsupportedError(
            f"{format_size(size)} is over the destination's limit of {format_size(sink.max_object_size)} an object",
            operation="put",
        )
    if same_endpoint and sink.server_side_copy:
        return Method.COPY
    if size is not None and size <= min(part_size_bytes, sink.max_put_size):
        return Method.PUT
    if not sink.multipart:
        if size is not None and size <= sink.max_put_size:
            return Method.PUT
        raise UnsupportedError(
            "the destination takes neither parts nor an object of this size", operation="put"
        )
    return Method.PARTS if size is not None and ranged and not sink.ordered_parts else Method.STREAM


def choose_part_size(
    size: int | None,
    preferred: int,
    sink: Capabilities,
    *,
    source_parts: Sequence[int] = (),
    budget_bytes: int = 0,
) -> int:
    """The size of every part but the last, in bytes, so that no upload passes the destination's count of parts.

    Grows in whole MiB with the object. Without a known size it is the preferred one; the stream then grows nothing and
    ends loudly at ``part_size * max_parts`` bytes.

    A source that was uploaded in equal parts is sent in the same ones if the destination takes them and four fit into
    ``budget_bytes``: so their digests are computed in parallel, and a copy on S3 has the source's ETag.
    """
    if len(source_parts) > 1 and len({*source_parts[:-1]}) == 1 and source_parts[-1] <= source_parts[0]:
        theirs, bound = source_parts[0], min(sink.max_part_size, budget_bytes // _LEAST_IN_FLIGHT)
        if sink.min_part_size <= theirs <= bound and len(source_parts) <= sink.max_parts:
            return theirs
    part_size = min(max(preferred, sink.min_part_size), sink.max_part_size)
    if size is not None and size > part_size * sink.max_parts:
        exact = -(-size // sink.max_parts)
        part_size = min(-(-exact // MIB) * MIB, sink.max_part_size)
    return part_size
