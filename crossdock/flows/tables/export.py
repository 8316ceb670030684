"""``export``: a table or a query, slice by slice, to objects with names that stay the same."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from crossdock.batches import Batches
from crossdock.combine.caching.fingerprint import fingerprint
from crossdock.connectors.objects import ObjectSink
from crossdock.connectors.sql.names import TableName
from crossdock.connectors.sql.slicing import Bounds, Selection, cut, held, opened, schema_of
from crossdock.errors import ConfigError, NotFoundError, UnsafeError
from crossdock.events import Listed, Observer
from crossdock.flows.planning.rows import Action, Row
from crossdock.flows.questions.endpoints import describe_sink, rebuilt_sink
from crossdock.flows.runs.directory import RunDirectory
from crossdock.flows.runs.manifest import Manifest
from crossdock.flows.tables.batches import ExportBatch
from crossdock.flows.tables.databases import DatabaseEnd
from crossdock.flows.tables.learning import schema_from, schema_text
from crossdock.flows.tables.port import Learned, UnitWork
from crossdock.flows.tables.slices import SliceExport
from crossdock.formats import chain, encode
from crossdock.formats.encoding import Encode
from crossdock.formats.names import FORMATS, parse_kind, suffix_of
from crossdock.model import Counts, ObjectInfo, Version

__all__ = ["ExportFlow", "flow_of"]

_AT_A_TIME = 4
_PART = re.compile(r"part-\d{5}\.[a-z.]+")


@dataclass(kw_only=True)
class ExportFlow:
    """One export; see ``TableFlow``.

    Attributes:
        selection: What is exported.
        by: The column that slices are cut by.
        parts: How many slices at most.
        exact: The key of the only object, if there is to be one; else objects are ``part-00000`` and so on below the sink's prefix.
        overwrite: Whether what is there goes.
        batch: The batch of a dataset that the objects become, visible all at once; if they are to.
    """

    end: DatabaseEnd
    selection: Selection
    by: str | None
    parts: int
    sink: ObjectSink
    sink_kept: Mapping[str, Any]
    exact: str | None
    encode: Encode
    steps: tuple[Callable[[Any], Any], ...] = ()
    overwrite: bool = False
    batch: str | None = None
    attempt: str = field(default_factory=lambda: secrets.token_hex(8))
    kind: str = "export"
    excluded: int = 0
    _snapshot: str | None = field(default=None, init=False)

    @property
    def source_url(self) -> str:
        """Where rows come from."""
        return f"{self.end.database.url}#{self.selection}"

    @property
    def sink_url(self) -> str:
        """Where they go."""
        return f"{self.sink.store.url}/{self.exact}" if self.exact is not None else self.sink.url

    def asked(self) -> dict[str, Any]:
        """See ``TableFlow``."""
        return {
            "source": {**self.end.asked(), "prefix": str(self.selection)},
            "sink": describe_sink(self.sink, self.sink_kept),
            "one": None,
            "exact": self.exact,
            "table": self._question(),
        }

    def _question(self) -> dict[str, Any]:
        selection = self.selection
        given = {name: list(each) if isinstance(each, tuple) else each for name, each in self.encode.given}
        return {
            "table": None if selection.table is None else [selection.table.schema, selection.table.table],
            "query": selection.query,
            "columns": None if selection.columns is None else list(selection.columns),
            "by": self.by,
            "slices": self.parts,
            "to": self.encode.format,
            "compression": self.encode.compression,
            "write": given,
            "steps": [fingerprint(step, name="step") for step in self.steps],
            "overwrite": self.overwrite,
            "batch": self.batch,
        }

    def check(self) -> None:
        """Both ends answer."""
        self.end.database.check()
        self.sink.store.check()

    def rows(self, observer: Observer) -> Iterator[Row]:
        """A row for each slice, in order.

        Raises:
            UnsafeError: There is an export already.
        """
        slices = cut(self.end.database, self.selection, by=self.by, parts=self.parts)
        observer(Listed(objects=len(slices), bytes=0))
        batch = self._batch(self.attempt)
        if batch is not None:
            batch.demand_free(overwrite=self.overwrite)
        there = self._there() if batch is None else {}
        if there and not self.overwrite:
            raise UnsafeError(
                f"there is an export already: {len(there)} objects, such as {min(there)}",
                operation="export",
                where=self.sink.store.url,
                hint="write to another place, or overwrite it",
            )
        for number, bounds in enumerate(slices):
            key = self._key(number) if batch is None else batch.key(number)
            refusal = self.sink.store.refusal(key, None)
            yield Row(
                source=ObjectInfo(key=f"{self.selection}: {bounds}", size=None),
                name=json.dumps(bounds.as_dict()),
                destination=key,
                action=Action.COPY if refusal is None else Action.REFUSE,
                reason=refusal or "to export",
                observed=there.get(key),
            )

    def _key(self, number: int) -> str:
        return self.exact if self.exact is not None else f"{self.sink.prefix}part-{number:05d}{self._suffix}"

    @property
    def _suffix(self) -> str:
        return suffix_of(parse_kind(self.encode.format))

    def _batch(self, attempt: str) -> ExportBatch | None:
        if self.batch is None:
            return None
        return ExportBatch(sink=self.sink, name=self.batch, attempt=attempt, suffix=self._suffix)

    def _there(self) -> dict[str, Version]:
        """Objects of an earlier export, by key."""
        store = self.sink.store
        if self.exact is not None:
            try:
                return {self.exact: store.stat(self.exact).version}
            except NotFoundError:
                return {}
        found = {}
        cut_off = len(self.sink.prefix)
        for page in store.list(f"{self.sink.prefix}part-"):
            found.update({info.key: info.version for info in page if _is_part(info.key[cut_off:])})
        return found

    def learn(self, manifest: Manifest) -> Learned:
        """The columns that every slice has to have, and those of the objects; and take the batch over."""
        del manifest
        schema = made = schema_of(self.end.database, self.selection)
        if self.steps and self.batch is not None:
            rows = opened(self.end.database, self.selection, Bounds())
            with Batches.of(chain(*self.steps)(rows)) as changed:
                made = changed.schema
        batch = self._batch(self.attempt)
        if batch is not None:
            batch.begin()
        return {
            "schema": schema_text(schema),
            "made": schema_text(made),
            "columns": {each.name: str(each.type) for each in made},
            "attempt": self.attempt,
        }

    @contextmanager
    def driving(self, directory: RunDirectory) -> Iterator[None]:
        """Hold one state of the database for all slices, where it can be shared."""
        del directory
        with held(self.end.database) as snapshot:
            self._snapshot = snapshot
            yield

    def work(
        self, learned: Learned, *, concurrency: int | None, bandwidth_bytes_per_s: int | None
    ) -> UnitWork:
        """See ``TableFlow``."""
        return SliceExport(
            database=self.end.database,
            selection=self.selection,
            schema=schema_from(learned["schema"]),
            snapshot=self._snapshot,
            steps=self.steps,
            encode=self.encode,
            sink=self.sink.verifying(bandwidth_bytes_per_s=bandwidth_bytes_per_s),
            recipe=fingerprint((self.end.database.url, self._question(), learned["schema"]), name="export"),
            at_a_time=concurrency or _AT_A_TIME,
        )

    def finish(self, directory: RunDirectory, counts: Counts) -> Mapping[str, Any]:
        """Make a batch visible; or remove what an earlier export had more of, if that is to be overwritten and every slice is there."""
        told: dict[str, Any] = {"one_state": self._snapshot is not None}
        if self.batch is not None:
            learned = directory.read()["learned"]
            if counts.failed:
                why = f"{counts.failed} slices failed, so nothing of this run is listed"
                return told | {"published": False, "why": why}
            batch = self._batch(learned["attempt"])
            done = (
                {}
                if batch is None
                else batch.commit(directory, schema_from(learned["made"]), self.encode.format)
            )
            return told | {"published": True, **done}
        if counts.failed or not self.overwrite or self.exact is not None:
            return told | {"removed": 0}
        kept = {row.destination for row in directory.manifest.all_rows()}
        superfluous = {key: version for key, version in self._there().items() if key not in kept}
        for key, version in superfluous.items():
            self.sink.store.delete(key, version=version)
        return told | {"removed": len(superfluous)}


def _is_part(name: str) -> bool:
    """Whether it is a name that an export gives."""
    suffixes = tuple(suffix for mark in FORMATS.values() for suffix in mark.suffixes)
    return _PART.fullmatch(name) is not None and any(suffix in name for suffix in suffixes)


def flow_of(
    asked: Mapping[str, Any],
    source_options: Mapping[str, Any] | None,
    sink_options: Mapping[str, Any] | None,
) -> ExportFlow:
    """A flow from what its run kept, for going on with it.

    Raises:
        ConfigError: It was given functions, which no run keeps.
    """
    how = asked["table"]
    if how["steps"]:
        raise ConfigError(
            "this run was given functions, and no run keeps those",
            operation="resume",
            hint="the same xd.export(...) call again, with the same run_dir, goes on with it",
        )
    table = None if how["table"] is None else TableName(schema=how["table"][0], table=how["table"][1])
    columns = None if how["columns"] is None else tuple(how["columns"])
    return ExportFlow(
        end=DatabaseEnd.again(asked["source"], source_options, what="source"),
        selection=Selection(table=table, query=how["query"], columns=columns),
        by=how["by"],
        parts=how["slices"],
        sink=rebuilt_sink(asked, sink_options),
        sink_kept=asked["sink"]["options"],
        exact=asked["exact"],
        encode=encode(how["to"], compression=how["compression"], **how["write"]),
        overwrite=how["overwrite"],
        batch=how["batch"],
    )
