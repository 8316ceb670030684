"""``convert`` as a table flow: which objects become which outputs, with which columns, and what is told at the end."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from crossdock.connectors.objects import ObjectSink, ObjectSource
from crossdock.datasets.derived import Partitioner
from crossdock.datasets.sink import DatasetSink, dataset_in
from crossdock.datasets.state import batch_key
from crossdock.errors import ConfigError
from crossdock.events import Observer
from crossdock.flows.listing.spilling import Candidate, by_destination
from crossdock.flows.planning.deciding import TWO_MEET
from crossdock.flows.planning.question import Question, asked_of, rules_of
from crossdock.flows.planning.rows import Action, Row, plan_objects
from crossdock.flows.questions.endpoints import Ends, rebuilt
from crossdock.flows.runs.directory import RunDirectory
from crossdock.flows.runs.manifest import Manifest
from crossdock.flows.runs.preparing import SourcePages, demand_strength
from crossdock.flows.tables.converting import Conversion
from crossdock.flows.tables.grouping import Member, batch_name, group_name, grouped
from crossdock.flows.tables.learning import learned_schema, schema_from, schema_text
from crossdock.flows.tables.orphans import orphan_batches, orphans
from crossdock.flows.tables.outputs import DatasetOutput, ObjectOutput, Output
from crossdock.flows.tables.port import Learned
from crossdock.flows.tables.recipe import Recipe, recipe_from
from crossdock.formats.names import renamed, suffix_of
from crossdock.model import Counts

__all__ = ["Convert", "flow_of"]

_AT_A_TIME = 32  # outputs of little: their requests wait together
_HEAVY_AT_A_TIME = min(4, max(2, os.cpu_count() or 2))  # decoding takes a processor each, and up to 150 MiB
_NOTES = "_crossdock/"


@dataclass(slots=True, kw_only=True)
class Convert:
    """A ``TableFlow``: objects to objects.

    Attributes:
        ends: Settled; ``None`` where a run is gone on with, which lists nothing.
        target_size_bytes: Of the source's objects that are put together; ``None`` keeps each by itself.
    """

    source: ObjectSource
    sink: ObjectSink
    recipe: Recipe
    target_size_bytes: int | None
    overwrite: str
    ends: Ends | None = None
    question: Question | None = None
    excluded: int = field(default=0, init=False)

    kind = "convert"

    @property
    def source_url(self) -> str:
        """See the port."""
        return self.source.url

    @property
    def sink_url(self) -> str:
        """See the port."""
        return self.sink.url

    def asked(self) -> dict[str, Any]:
        """See the port."""
        ends, question = self._planning()
        table = {**self.recipe.as_dict(), "target_size_bytes": self.target_size_bytes}
        return {**asked_of(ends, question), "table": table}

    def check(self) -> None:
        """See the port."""
        self.source.store.check()
        self.sink.store.check()
        demand_strength(self.source, self.sink)

    def rows(self, observer: Observer) -> Iterator[Row]:
        """See the port. With a target size in the order of source keys, else of destination keys, sorted in bounded memory."""
        ends, question = self._planning()
        pages = SourcePages(ends, observer)
        rules = replace(
            rules_of(ends, question), refusal=lambda _key, _size: None, destination_prefix="", exact=None
        )
        taken = 0

        def counted() -> Iterator[Row]:
            nonlocal taken
            for row in plan_objects(pages.pages(), lambda _: None, rules):
                taken += 1
                yield _without_notes(row)

        put = self._alone if self.target_size_bytes is None else self._together
        for row in put(counted(), ends.exact):
            yield self._refused(row)
        self.excluded = pages.objects - taken

    def _alone(self, rows: Iterable[Row], exact: str | None) -> Iterator[Row]:
        """Each object by itself; two that come out under one key are refused, both."""
        kind = self.recipe.kind
        passing: list[Row] = []

        def named() -> Iterator[Candidate]:
            for row in rows:
                if row.action is not Action.COPY:
                    passing.append(row)
                    continue
                key = exact if exact is not None else self._key(row.name, renamed(row.name, kind) or "")
                yield Candidate(row.source, row.name, key)

        before: Candidate | None = None
        ahead = by_destination(named())
        candidate = next(ahead, None)
        while candidate is not None:
            after = next(ahead, None)
            other = next(
                (each for each in (before, after) if each and each.destination == candidate.destination), None
            )
            yield Row(
                source=candidate.info,
                name=candidate.name,
                destination=candidate.destination,
                action=Action.COPY if other is None else Action.REFUSE,
                reason="to be converted" if other is None else f"{TWO_MEET}: {other.info.key!r}",
            )
            before, candidate = candidate, after
        yield from passing

    def _together(self, rows: Iterable[Row], exact: str | None) -> Iterator[Row]:
        """Neighbours put together, under names that depend on their first key alone."""
        suffix = suffix_of(self.recipe.kind)
        waiting: deque[Row] = deque()
        passing: list[Row] = []

        def members() -> Iterator[Member]:
            for row in rows:
                if row.action is not Action.COPY:
                    passing.append(row)
                    continue
                waiting.append(row)
                yield Member(row.name, row.source.size)

        for group in grouped(members(), self.target_size_bytes or 1):
            first = group[0].name
            key = exact if exact is not None else self._key(first, f"{group_name(first)}{suffix}")
            for _ in group:
                yield replace(waiting.popleft(), destination=key, reason="to be converted")
            yield from passing
            passing.clear()
        yield from passing

    def _key(self, first: str, name: str) -> str:
        """The key of an output whose first object has this name; of a batch, that of the object that lists its data objects."""
        if self.recipe.partitioner is None:
            return f"{self.sink.prefix}{name}"
        return f"{self.sink.prefix}{batch_key(batch_name(first))}"

    def _refused(self, row: Row) -> Row:
        refusal = self.sink.store.refusal(row.destination, None) if row.action is Action.COPY else None
        return row if refusal is None else replace(row, action=Action.REFUSE, reason=refusal)

    def learn(self, manifest: Manifest) -> Learned:
        """See the port."""
        self._output(self.sink)  # what the destination cannot do shows now
        schema = self.recipe.schema
        if schema is None:
            schema = learned_schema(self.source, self.recipe.samples, manifest, where=self.source.url)
        if len(schema):
            # A mistake shows now, not in every output.
            narrowed = self.recipe.narrowed(schema, where=self.source.url)
            if self.recipe.partitioner is not None and not self.recipe.steps:
                self.recipe.partitioner.schema_of(narrowed)
        columns = {each.name: str(each.type) for each in schema}  # for people; the other is what counts
        return {"schema": schema_text(schema), "columns": columns}

    def work(
        self, learned: Learned, *, concurrency: int | None, bandwidth_bytes_per_s: int | None
    ) -> Conversion:
        """See the port."""
        schema = schema_from(learned["schema"])
        return Conversion(
            source=self.source,
            decode=self.recipe.decode(schema),
            steps=self.recipe.steps,
            output=self._output(self.sink.verifying(bandwidth_bytes_per_s=bandwidth_bytes_per_s)),
            recipe=self.recipe.digest(schema),
            overwrite=self.overwrite,
            at_a_time=concurrency or _AT_A_TIME,
            heavy_at_a_time=concurrency or _HEAVY_AT_A_TIME,
        )

    def finish(self, directory: RunDirectory, counts: Counts) -> Mapping[str, Any]:  # noqa: ARG002 - as the port
        """See the port: tells of outputs that no object of this run maps to any more; deletes nothing."""
        asked = directory.read()["asked"]
        if asked["exact"] is not None:
            return {}
        if self.recipe.partitioner is not None:
            return orphan_batches(self._dataset(self.sink), directory.manifest).as_dict()
        return orphans(self.sink, directory.manifest, suffix=suffix_of(self.recipe.kind)).as_dict()

    def _output(self, sink: ObjectSink) -> Output:
        if self.recipe.partitioner is None:
            return ObjectOutput(sink=sink, encode=self.recipe.writes)
        return DatasetOutput(dataset=self._dataset(sink))

    def _dataset(self, sink: ObjectSink) -> DatasetSink:
        partitioner = self.recipe.partitioner or Partitioner(())
        return dataset_in(sink, self.recipe.writes, partitioner)

    def _planning(self) -> tuple[Ends, Question]:
        if self.ends is None or self.question is None:
            raise ConfigError("a run that is gone on with has its plan already", operation="plan")
        return self.ends, self.question


def _without_notes(row: Row) -> Row:
    """Rows of no table: markers of directories, and what crossdock keeps beside its datasets and outputs."""
    reason = ""
    if row.name.endswith("/") and not row.source.size:
        reason = "a directory's marker, which holds no rows"
    elif row.name.startswith(_NOTES) or f"/{_NOTES}" in row.name:
        reason = "crossdock's own notes, which hold no rows"
    return replace(row, action=Action.SKIP, reason=reason) if reason else row


def flow_of(
    asked: Mapping[str, Any],
    source_options: Mapping[str, Any] | None,
    sink_options: Mapping[str, Any] | None,
) -> Convert:
    """The flow of a run that is gone on with, from what the run kept.

    Raises:
        ConfigError: It was given functions, which no run keeps.
    """
    source, sink = rebuilt(asked, source_options, sink_options)
    table = asked["table"]
    kept = {**asked["sink"]["options"], **(sink_options or {})}
    return Convert(
        source=source,
        sink=sink,
        recipe=recipe_from(table, kept, kind="convert", options_url=f"{asked['sink']['store']}/"),
        target_size_bytes=table["target_size_bytes"],
        overwrite=asked["overwrite"],
    )
