"""``ingest`` of files: objects below a prefix into a table, visible all at once, each version of an object loaded once."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from crossdock.batches import Batches
from crossdock.connectors.streams import ObjectStream
from crossdock.errors import ConfigError
from crossdock.events import Observer
from crossdock.flows.planning.question import question_of
from crossdock.flows.planning.rows import Row
from crossdock.flows.runs.directory import RunDirectory
from crossdock.flows.runs.manifest import Manifest
from crossdock.flows.tables.into import Into, NothingToDo, has_work, work_rows
from crossdock.flows.tables.learning import learned_schema, schema_from, schema_text
from crossdock.flows.tables.loading import Loading
from crossdock.flows.tables.objects import Excluded, Objects, origin_of
from crossdock.flows.tables.port import Learned, UnitWork
from crossdock.flows.tables.reading import UnitReader
from crossdock.flows.tables.recipe import Recipe, recipe_from
from crossdock.formats import chain
from crossdock.formats.names import TEXT, by_name, parse_kind
from crossdock.model import Counts, ObjectInfo

__all__ = ["IngestFlow", "flow_of"]

_AT_A_TIME = 4
_WRITES: dict[str, Any] = {"to": "arrow_stream", "compression": "auto", "write": {}}
"""What a recipe says of the objects it writes: here it writes none."""

ALREADY = "this version of it was loaded into the table before"


@dataclass(kw_only=True)
class IngestFlow:
    """One ingest of objects; see ``TableFlow``."""

    objects: Objects
    into: Into
    recipe: Recipe
    again: bool = False
    unit_bytes: int = 64 * 2**20
    kind: str = "ingest"
    _counted: Excluded = field(default_factory=Excluded)

    @property
    def source_url(self) -> str:
        """Where rows come from."""
        return self.objects.source.url

    @property
    def sink_url(self) -> str:
        """Where they go."""
        return self.into.url

    @property
    def excluded(self) -> int:
        """How many objects the filters left out."""
        return self._counted.excluded

    @property
    def _once(self) -> bool:
        """Whether each version of an object is loaded once; the other modes change nothing when they are run again."""
        return self.into.mode == "append" and not self.again

    def asked(self) -> dict[str, Any]:
        """See ``TableFlow``."""
        return {
            **self.objects.asked(),
            "sink": self.into.asked(),
            "table": {
                **{name: kept for name, kept in self.recipe.as_dict().items() if name not in _WRITES},
                "again": self.again,
                "unit_bytes": self.unit_bytes,
            },
        }

    def check(self) -> None:
        """Both ends answer."""
        self.objects.source.store.check()
        self.into.end.database.check(to_write=True)

    def rows(self, observer: Observer) -> Iterator[Row]:
        """Objects, grouped; what was loaded before is skipped."""
        loaded = self._loaded() if self._once else frozenset[str]()
        store = self.objects.source.store.url

        def known(info: ObjectInfo) -> str | None:
            return ALREADY if origin_of(store, info) in loaded else None

        return self.objects.rows(observer, self._counted, unit_bytes=self.unit_bytes, known=known)

    def _loaded(self) -> frozenset[str]:
        return frozenset(self.into.load("look", pa.schema([])).loaded())

    def learn(self, manifest: Manifest) -> Learned:
        """The columns, of the table's types where it is there; and whether they fit."""
        if not has_work(manifest):
            return {}
        source = self.objects.source
        found = self.recipe.schema
        if found is None:
            found = learned_schema(source, self.recipe.samples, manifest, where=source.url)
        schema = self._suited(found, manifest)
        columns = self._after_steps(schema, manifest)
        begun = self.into.planned(manifest.run_id, columns)
        return {**begun, "read": schema_text(schema)}

    def _suited(self, found: pa.Schema, manifest: Manifest) -> pa.Schema:
        """Text is read as what the table holds; what has types of its own keeps them, and steps come before the table."""
        first = next(iter(work_rows(manifest)))
        kind = parse_kind(self.recipe.reads.format).format or by_name(first.name).format
        if kind not in TEXT or self.recipe.schema is not None or self.recipe.steps:
            return found
        suited = self.into.load("look", found).suited(found)
        said = self.recipe.reads.types or {}
        return pa.schema([field if field.name in said else suited.field(field.name) for field in found])

    def _after_steps(self, schema: pa.Schema, manifest: Manifest) -> pa.Schema:
        """The columns that come out of the steps; told by the first object that is read."""
        decode = self.recipe.decode(schema)
        if not self.recipe.steps:
            narrowed = UnitReader(self.objects.source, decode, threading.Event()).schema
            return narrowed.remove_metadata()
        row = next(iter(work_rows(manifest)))
        store = self.objects.source.store
        stream = ObjectStream(store, row.source.key, name=row.name, info=row.source)
        with Batches.of(chain(*self.recipe.steps)(decode(stream))) as batches:
            return batches.schema.remove_metadata()

    def work(
        self, learned: Learned, *, concurrency: int | None, bandwidth_bytes_per_s: int | None
    ) -> UnitWork:
        """See ``TableFlow``."""
        demand_no_bandwidth(bandwidth_bytes_per_s, "ingest")
        if "load" not in learned:
            return NothingToDo(why=ALREADY)
        return Loading(
            source=self.objects.source,
            decode=self.recipe.decode(schema_from(learned["read"])),
            steps=self.recipe.steps,
            load=self.into.begun(learned),
            at_a_time=concurrency or _AT_A_TIME,
            home=self.into.home,
        )

    def finish(self, directory: RunDirectory, counts: Counts) -> Mapping[str, Any]:
        """Publish, with the origins of what was loaded."""
        store = self.objects.source.store.url
        origins = (origin_of(store, row.source) for row in work_rows(directory.manifest))
        named = origins if self.into.mode == "append" else iter(())
        return self.into.finished(directory, counts, origins=named, once=self._once)


def flow_of(
    asked: Mapping[str, Any],
    source_options: Mapping[str, Any] | None,
    sink_options: Mapping[str, Any] | None,
) -> IngestFlow:
    """A flow from what its run kept, for going on with it.

    Raises:
        ConfigError: It was given functions or tasks, which no run keeps.
    """
    how = asked["table"]
    if "calls" in how:
        raise ConfigError(
            "this run was given tasks, and no run keeps those",
            operation="resume",
            where=asked["sink"]["store"],
            hint="the same xd.ingest(...) call again, with the same run_dir, goes on with it",
        )
    return IngestFlow(
        objects=Objects.again(asked, source_options, question_of(None)),
        into=Into.again(asked["sink"], sink_options),
        recipe=recipe_from({**how, **_WRITES}, source_options, kind="ingest"),
        again=how["again"],
        unit_bytes=how["unit_bytes"],
    )


def demand_no_bandwidth(given: int | None, kind: str) -> None:
    """Refuse what this flow cannot keep.

    Raises:
        ConfigError: A bandwidth was asked for.
    """
    if given is not None:
        raise ConfigError(f"{kind} knows no bound of bandwidth", operation=kind, hint="leave it out")
