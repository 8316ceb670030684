"""``copy``: one object, one receipt; no run directory, no plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crossdock.combine import CombinedTask, param
from crossdock.connectors.objects import ObjectSink, ObjectSource
from crossdock.errors import ConfigError, CrossdockError, TaskFailed
from crossdock.events import Observer, ignore, listening
from crossdock.flows.questions.endpoints import open_sink, open_source
from crossdock.model import ABSENT, ANY, Receipt

__all__ = ["copy"]


def copy(
    source: str,
    sink: str,
    *,
    overwrite: bool = True,
    verify: str | None = None,
    require: str | None = None,
    strict: bool | None = None,
    source_options: Mapping[str, Any] | None = None,
    sink_options: Mapping[str, Any] | None = None,
    observer: Observer = ignore,
) -> Receipt:
    """Copy one object and prove it.

    Two requests for a small object (one GET, one PUT); a large one moves in parallel parts. Memory is bounded by the
    sink's ``max_in_flight_bytes``. A failure leaves the destination as it was.

    Args:
        source: The object's URL, its key byte for byte: no wildcards.
        sink: The new object's URL; one that ends in ``/``, or names only a bucket, keeps the last segment of the key.
        overwrite: Whether an object that is there is replaced.
        verify: ``v0`` to ``v3``, the level of verification to go for; by default the highest that costs no extra request,
            or two at most for an object that moves in parts.
        require: ``v0`` to ``v3``: less is an error, before anything is written if it can be known by then.
        strict: Refuse ends and objects that would get a weaker form of the promise.
        source_options: Options of the source's connector.
        sink_options: Options of the sink's connector and of ``TransferOptions``.
        observer: Hears of bytes moved and of retries.

    Raises:
        NotFoundError: There is no such object.
        UnprovenError: Less than ``require`` can be proven, or was.
        StrictError: ``strict``, and an end is weaker than the promise.
        PreconditionError: The destination exists and ``overwrite`` is false, or changed meanwhile.
        CrossdockError: The copy failed.

    Example:
        >>> import crossdock as xd
        >>> _ = xd.sink("memory://copy-from/")(b"hello", key="a.txt")
        >>> xd.copy("memory://copy-from/a.txt", "memory://copy-to/b/").key
        'b/a.txt'
    """
    from_ = open_source(source, source_options or {})
    to = open_sink(sink, sink_options or {}).verifying(verify, require=require, strict=strict)
    last = from_.prefix.rpartition("/")[2]
    if not last:
        raise ConfigError(
            "the source URL names no object",
            operation="copy",
            where=source,
            hint="use xd.migrate for a prefix",
        )
    key = last if not to.prefix or to.prefix.endswith("/") else ""
    inner = from_.prefix[: len(from_.prefix) - len(last)]
    pair = CombinedTask(
        ObjectSource(from_.store, inner).bind(param("key")),
        ObjectSink(to.store, to.prefix, transfer=to.transfer).bind(
            key=param("to"), condition=param("condition")
        ),
        name="copy",
    )
    with listening(observer):
        try:
            receipt: Receipt = pair(key=last, to=key, condition=ANY if overwrite else ABSENT)
        except TaskFailed as failure:
            if isinstance(failure.__cause__, CrossdockError):
                raise failure.__cause__ from failure.__cause__.__cause__
            raise
    return receipt
