"""The objects that a flow reads, as rows of its manifest: below a prefix or one, filtered, grouped into units.

Lists once, in key order. What is not to be read, or cannot be, is a row too, with its reason.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from crossdock.connectors.objects import ObjectSource
from crossdock.connectors.registry import open_store
from crossdock.datasets.state import NOTES
from crossdock.errors import ConfigError, NotFoundError
from crossdock.events import Listed, Observer
from crossdock.flows.listing import Listing, in_order
from crossdock.flows.planning.deciding import IS_ARCHIVED
from crossdock.flows.planning.question import Question
from crossdock.flows.planning.rows import ARCHIVED, Action, Row
from crossdock.flows.questions.endpoints import kept_options, listed_source, options_over
from crossdock.flows.tables.grouping import Member, grouped
from crossdock.model import ObjectInfo

__all__ = ["Excluded", "Objects", "origin_of"]

_OUR_NOTES = "crossdock's own notes, which hold no rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """Which objects. Opens nothing by itself.

    Attributes:
        source: Where; its prefix as written until ``settled``.
        question: Filters; globs of the URL are among them.
        one: The object, if it is exactly one.
        kept: The options of the store, without secrets.
    """

    source: ObjectSource
    question: Question
    one: ObjectInfo | None = None
    kept: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(
        cls,
        given: str | ObjectSource,
        options: Mapping[str, Any] | None,
        ask: Callable[[tuple[str, ...]], Question],
        *,
        glob: bool,
    ) -> Objects:
        """From what a user wrote.

        Args:
            given: URL or source task.
            options: Of a URL.
            ask: Makes the question of the globs that the URL has.
            glob: Whether wildcards in the URL mean anything.
        """
        if isinstance(given, str):
            kept = kept_options(given, options or {})
            source, globs = listed_source(given, options or {}, glob=glob)
        elif options:
            raise ConfigError("source_options go with a URL; this source is a task already", operation="open")
        else:
            kept, source, globs = {}, given, ()
        return cls(source=source, question=ask(globs), kept=kept)

    def settled(self) -> Objects:
        """Find out whether it is one object or a prefix, which ends in ``/`` from then on. At most two requests.

        Raises:
            NotFoundError: The bucket is missing, or the object of a store that cannot list.
        """
        store, key = self.source.store, self.source.prefix
        store.check()
        if not key or key.endswith("/") or self.question.include:
            return self
        if store.refusal(key) is None:
            try:
                found = store.stat(key)
            except NotFoundError:
                found = None
            if found is not None:
                head, slash, _ = key.rpartition("/")
                return dataclasses.replace(self, source=ObjectSource(store, f"{head}{slash}"), one=found)
        if not store.capabilities.lists:
            raise NotFoundError("there is no such object", operation="stat", where=store.url, key=key)
        return dataclasses.replace(self, source=ObjectSource(store, f"{key}/"))

    def asked(self) -> dict[str, Any]:
        """What a run keeps; plain values."""
        return {
            "source": {
                "store": self.source.store.url,
                "prefix": self.source.prefix,
                "options": dict(self.kept),
            },
            "one": None if self.one is None else self.one.key,
            "exact": None,
            **self.question.as_dict(),
        }

    @classmethod
    def again(
        cls, asked: Mapping[str, Any], options: Mapping[str, Any] | None, question: Question
    ) -> Objects:
        """From what a run kept, for going on with it: its manifest says which objects; nothing is listed."""
        from_ = asked["source"]
        url = f"{from_['store']}/"
        store, _ = open_store(url, options_over(url, from_["options"], options or {}))
        source = ObjectSource(store, from_["prefix"])
        return cls(source=source, question=question, kept=from_["options"])

    def rows(
        self,
        observer: Observer,
        count: Excluded,
        *,
        unit_bytes: int,
        known: Callable[[ObjectInfo], str | None],
    ) -> Iterator[Row]:
        """The rows of a manifest, lazily: objects that are read together share a destination such as ``unit 000017``.

        Args:
            observer: Hears how far the listing is.
            count: Counts what the filters leave out.
            unit_bytes: About how much is read together.
            known: Why an object is not to be read, if it is not.
        """
        aside: list[Row] = []
        taken: deque[ObjectInfo] = deque()

        def members() -> Iterator[Member]:
            for info in self._wanted(observer, count):
                refused = self._refusal(info)
                why = None
                if refused is None:
                    why = _OUR_NOTES if _is_note(self._name(info)) else known(info)
                if refused is not None:
                    aside.append(self._row(info, Action.REFUSE, refused))
                elif why is not None:
                    aside.append(self._row(info, Action.SKIP, why))
                else:
                    taken.append(info)
                    yield Member(self._name(info), info.size)

        for number, group in enumerate(grouped(members(), unit_bytes)):
            yield from _emptied(aside)
            for _ in group:
                yield self._row(taken.popleft(), Action.COPY, "to read", f"unit {number:06}")
        yield from _emptied(aside)

    def _wanted(self, observer: Observer, count: Excluded) -> Iterator[ObjectInfo]:
        filters = self.question.filters()
        for page in self._pages(observer):
            for info in page:
                if not self._name(info) or (info.key.endswith("/") and not info.size):
                    continue  # the marker of a directory holds no rows
                if self.one is None and not filters.decide(self._name(info), info).taken:
                    count.excluded += 1
                    continue
                yield info

    def _pages(self, observer: Observer) -> Iterator[Sequence[ObjectInfo]]:
        if self.one is not None:
            observer(Listed(objects=1, bytes=self.one.size or 0))
            yield [self.one]
            return
        objects = size = 0
        with closing(Listing(self.source.store, self.source.prefix)) as listing:
            for page in in_order(listing, where=self.source.url):
                objects, size = objects + len(page), size + sum(info.size or 0 for info in page)
                observer(Listed(objects=objects, bytes=size))
                yield page

    def _refusal(self, info: ObjectInfo) -> str | None:
        if info.storage_class in ARCHIVED and self.question.archived != "try":
            return f"{IS_ARCHIVED} ({info.storage_class}) and cannot be read before it is restored"
        return None

    def _name(self, info: ObjectInfo) -> str:
        return info.key[len(self.source.prefix) :]

    def _row(self, info: ObjectInfo, action: Action, reason: str, destination: str = "") -> Row:
        return Row(source=info, name=self._name(info), destination=destination, action=action, reason=reason)


@dataclass(slots=True)
class Excluded:
    """How many objects the filters left out."""

    excluded: int = 0


def _emptied(rows: list[Row]) -> Iterable[Row]:
    held = rows.copy()
    rows.clear()
    return held


def _is_note(name: str) -> bool:
    """Whether it is what crossdock keeps beside its datasets and outputs."""
    return name.startswith(NOTES) or f"/{NOTES}" in name


def origin_of(store_url: str, info: ObjectInfo) -> str:
    """A short name of one version of one object; another version has another. Pure."""
    version = info.version
    # A version that is weak, or none, goes with the time of change.
    weak = version.is_weak or not version
    modified = info.modified.isoformat() if weak and info.modified is not None else None
    told: list[Any] = [store_url, info.key, info.size, version.etag, version.generation, modified]
    return hashlib.sha256(json.dumps(told, ensure_ascii=True).encode()).hexdigest()[:40]
