"""Two listings side by side: a sorted merge by the name below each prefix, no more of each in memory than is read ahead.

Keys are listed in byte order and both prefixes are plain text before the same names, so names grow on both sides alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from crossdock.errors import NotFoundError, StorageError
from crossdock.events import Listed, Observer
from crossdock.flows.listing import Listing, in_order
from crossdock.flows.questions.endpoints import Ends
from crossdock.flows.questions.filters import Filters
from crossdock.model import ObjectInfo

__all__ = ["Merge", "Pair", "side_by_side", "texts"]


@dataclass(frozen=True, slots=True)
class Pair:
    """What is under one name at the two ends; at least one of them is there."""

    name: str
    source: ObjectInfo | None
    sink: ObjectInfo | None


def side_by_side(
    source: Iterable[tuple[str, ObjectInfo]], sink: Iterable[tuple[str, ObjectInfo]]
) -> Iterator[Pair]:
    """Merge two sequences of (name, object), each in strictly growing order of its names. Lazy; memory is one of each."""
    left, right = iter(source), iter(sink)
    here, there = next(left, None), next(right, None)
    while here is not None or there is not None:
        if there is None or (here is not None and here[0] < there[0]):
            assert here is not None  # noqa: S101 - one of the two is there, and it is not the other
            yield Pair(here[0], here[1], None)
            here = next(left, None)
        elif here is None or there[0] < here[0]:
            yield Pair(there[0], None, there[1])
            there = next(right, None)
        else:
            yield Pair(here[0], here[1], there[1])
            here, there = next(left, None), next(right, None)


class Merge:
    """The pairs of a source and a destination below the same filters, counted as they pass. Iterate it once.

    Requests: one LIST for 1,000 objects of each end. A page that fails raises, so that no pair is ever missing
    its other half because a listing was short. Belongs to one thread.

    Attributes:
        source_objects: How many objects of the source passed the filters.
        sink_objects: The same of the destination.
        excluded: How many objects, of both ends together, the filters left out.
    """

    def __init__(
        self, ends: Ends, filters: Filters, observer: Observer, *, filtered_sink: bool = True
    ) -> None:
        """Nothing is listed yet.

        Args:
            ends: As ``settled`` gives them.
            filters: What is taken, by the name below each end's prefix, and by sizes and ages.
            observer: Hears how much is listed.
            filtered_sink: Whether the filters are for the destination too.
        """
        self._ends = ends
        self._filters = filters
        self._observer = observer
        self._filtered_sink = filtered_sink
        self._listed = self._listed_bytes = 0
        self.source_objects = self.sink_objects = self.excluded = 0

    def __iter__(self) -> Iterator[Pair]:
        ends = self._ends
        if ends.one is not None:
            yield from self._of_one(ends.one)
            return
        for pair in side_by_side(
            self._names(
                Listing(ends.source.store, ends.source.prefix),
                ends.source.prefix,
                ends.source.url,
                filtered=True,
            ),
            self._names(
                Listing(ends.sink.store, ends.sink.prefix),
                ends.sink.prefix,
                ends.sink.url,
                filtered=self._filtered_sink,
            ),
        ):
            taken = None if _is_own_marker(pair) else self._within_bounds(pair)
            if taken is None:
                continue
            self.source_objects += taken.source is not None
            self.sink_objects += taken.sink is not None
            yield taken

    def _within_bounds(self, pair: Pair) -> Pair | None:
        """Sizes and ages are judged by the source's object where there is one: both halves go the same way."""
        info = pair.source or pair.sink
        if not self._filters.bounds or self._filters.decide(pair.name, info).taken:
            return pair
        if not self._filtered_sink and pair.sink is not None:
            self.excluded += pair.source is not None
            return Pair(pair.name, None, pair.sink)
        self.excluded += (pair.source is not None) + (pair.sink is not None)
        return None

    def _of_one(self, one: ObjectInfo) -> Iterator[Pair]:
        name = one.key[len(self._ends.source.prefix) :]
        if not self._filters.decide(name, one).taken:
            self.excluded += 1
            return
        if self._ends.exact is None:  # pragma: no cover - settled() sets both
            raise StorageError("one object, and nowhere to look for it", operation="list", key=one.key)
        try:
            there = self._ends.sink.store.stat(self._ends.exact)
        except NotFoundError:
            there = None
        self.source_objects, self.sink_objects = 1, int(there is not None)
        yield Pair(name, one, there)

    def _names(
        self, pages: Iterable[Sequence[ObjectInfo]], prefix: str, where: str, *, filtered: bool
    ) -> Iterator[tuple[str, ObjectInfo]]:
        for page in in_order(pages, where=where):
            self._listed += len(page)
            self._listed_bytes += sum(info.size or 0 for info in page)
            self._observer(Listed(objects=self._listed, bytes=self._listed_bytes))
            for info in page:
                name = info.key[len(prefix) :]
                if filtered and not self._filters.decide_by_name(name).taken:
                    self.excluded += 1
                else:
                    yield name, info


def _is_own_marker(pair: Pair) -> bool:
    """The empty marker of one prefix itself: it has no name, and the other end need not have one."""
    only = pair.sink if pair.source is None else pair.source if pair.sink is None else None
    return not pair.name and only is not None and not only.size


def texts(globs: Iterable[str]) -> tuple[str, ...]:
    """Globs as a tuple; a single text counts as one glob."""
    return (globs,) if isinstance(globs, str) else tuple(globs)
