"""What carrying out a plan will ask of both ends, added up while its rows pass: requests by kind, bytes, evidence.

Pure. The writer's own decisions are asked for each object, so that the numbers are of what would be done. A retry, and
what proof of a large object may cost besides, is not foreseen: the numbers are what is asked if nothing goes wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from crossdock.connectors.strategy import Method, TransferOptions, choose_method, choose_part_size
from crossdock.errors import UnsupportedError
from crossdock.flows.planning.deciding import Action
from crossdock.flows.planning.rows import Row
from crossdock.flows.questions.endpoints import Ends
from crossdock.model import Verification
from crossdock.ports import Capabilities

__all__ = ["KINDS", "Load", "Means", "Weighing", "means_of"]

KINDS = ("list", "head", "get", "put", "begin", "part", "complete", "copy")
"""Kinds of requests: what the verbs of a store cost. ``begin``, ``part`` and ``complete`` are of an upload in parts."""

_PAGE = 1_000
_REASONS_KEPT = 20  # of one action; refusals may name sizes and keys, and are as many as there are
_OTHERS = "other reasons"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a plan asks for. Plain values, for JSON.

    ``moved_bytes`` pass through here, ``copied_bytes`` move inside the service; both count what is only to be compared,
    which may turn out to be there. ``class_bytes`` are those bytes by the source's storage class. ``evidence`` counts
    objects by action and reason. ``metadata_lost`` counts fields the destination cannot keep, where the listing tells of
    metadata (``metadata_known`` objects).
    """

    source_requests: Mapping[str, int] = field(default_factory=dict)
    sink_requests: Mapping[str, int] = field(default_factory=dict)
    moved_bytes: int = 0
    copied_bytes: int = 0
    class_bytes: Mapping[str, int] = field(default_factory=dict)
    evidence: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    metadata_known: int = 0
    metadata_lost_objects: int = 0
    metadata_lost: Mapping[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The numbers by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What the writer decides by: both ends' abilities and the options of the transfer."""

    same_endpoint: bool
    source: Capabilities
    sink: Capabilities
    transfer: TransferOptions

    def requests(self, row: Row) -> tuple[dict[str, int], dict[str, int], Method | None]:
        """What one row asks of the source and of the destination, and how its bytes move, if they do."""
        source: dict[str, int] = {}
        sink: dict[str, int] = {}
        if row.action not in (Action.COPY, Action.COMPARE):
            return source, sink, None
        if row.action is Action.COMPARE:
            source["head"] = sink["head"] = 1
        size = row.source.size
        try:
            method = choose_method(
                size,
                same_endpoint=self.same_endpoint,
                ranged=self.source.ranged_reads and self.source.pinned_reads,
                sink=self.sink,
                part_size_bytes=self.transfer.part_size_bytes,
            )
        except UnsupportedError:  # it will fail alone, and ask nothing
            return source, sink, None
        if method is Method.PUT:
            source["get"] = sink["put"] = 1
        elif method is Method.COPY and (size is None or size <= self.sink.max_put_size):
            sink["copy"] = 1
        else:
            parts = self._parts(size)
            if method is not Method.COPY:
                source["get"] = parts if method is Method.PARTS else 1
            sink |= {"begin": 1, "copy" if method is Method.COPY else "part": parts, "complete": 1}
        if self.transfer.wanted is Verification.V3:
            sink["get"] = 1
        return source, sink, method

    def _parts(self, size: int | None) -> int:
        if size is None:
            return 1  # at least
        part_size = choose_part_size(size, self.transfer.part_size_bytes, self.sink)
        return max(1, -(-size // part_size))


def means_of(ends: Ends) -> Means:
    """The means of two ends. No request."""
    source, sink = ends.source.store, ends.sink.store
    return Means(
        same_endpoint=source.endpoint == sink.endpoint,
        source=source.capabilities,
        sink=sink.capabilities,
        transfer=ends.sink.transfer,
    )


class Weighing:
    """Adds rows up as they pass. Memory: a few counters. Belongs to one thread."""

    def __init__(self, means: Means) -> None:
        self._means = means
        # Up to here all sizes are asked for alike, so one answer for each action will do: most objects are small.
        self._small_bytes = min(
            means.transfer.part_size_bytes, means.sink.max_put_size, means.sink.max_object_size
        )
        self._small: dict[Action, tuple[dict[str, int], dict[str, int], Method | None]] = {}
        self._source: Counter[str] = Counter()
        self._sink: Counter[str] = Counter()
        self._classes: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        self._evidence: dict[str, Counter[str]] = {}
        self._moved = self._copied = self._known = self._lost_objects = 0

    def watch(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Pass rows on."""
        for row in rows:
            self._add(row)
            yield row

    def load(self, *, listed: int | None) -> Load:
        """The sum of what has passed.

        Args:
            listed: How many objects the source's listing had, filtered out or not; ``None`` if it was not listed.
        """
        passed = sum(sum(reasons.values()) for reasons in self._evidence.values())
        source = self._source + Counter(list=0 if listed is None else -(-listed // _PAGE) or 1)
        sink = self._sink + Counter(list=-(-passed // _PAGE) or 1)
        return Load(
            source_requests=_in_order(source),
            sink_requests=_in_order(sink),
            moved_bytes=self._moved,
            copied_bytes=self._copied,
            class_bytes=dict(sorted(self._classes.items())),
            evidence={
                action: dict(reasons.most_common()) for action, reasons in sorted(self._evidence.items())
            },
            metadata_known=self._known,
            metadata_lost_objects=self._lost_objects,
            metadata_lost=dict(sorted(self._lost.items())),
        )

    def _asked(self, row: Row) -> tuple[dict[str, int], dict[str, int], Method | None]:
        size = row.source.size
        if size is None or size > self._small_bytes:
            return self._means.requests(row)
        known = self._small.get(row.action)
        if known is None:
            known = self._small[row.action] = self._means.requests(row)
        return known

    def _add(self, row: Row) -> None:
        reasons = self._evidence.setdefault(row.action.value, Counter())
        known = row.reason in reasons or len(reasons) < _REASONS_KEPT
        reasons[row.reason if known else _OTHERS] += 1
        source, sink, method = self._asked(row)
        for counts, more in ((self._source, source), (self._sink, sink)):
            for kind, count in more.items():
                counts[kind] += count
        if method is None:
            return
        size = row.source.size or 0
        if method is Method.COPY:
            self._copied += size
        else:
            self._moved += size
        self._classes[row.source.storage_class or "STANDARD"] += size
        if row.source.metadata is not None:
            self._known += 1
            can = self._means.sink.metadata_fields
            lost = {name.split(".", 1)[0] for name in row.source.metadata.present()} - can
            self._lost.update(lost)
            self._lost_objects += bool(lost)


def _in_order(counts: Counter[str]) -> dict[str, int]:
    return {kind: counts[kind] for kind in KINDS if counts[kind]}
