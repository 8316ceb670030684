"""What is done with rows between reading and writing them: formats, columns, steps. Kept with a run as plain values.

Pure. Everything that can be wrong with it is found when it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from crossdock.combine.caching.fingerprint import fingerprint
from crossdock.connectors.objects import ObjectSink
from crossdock.connectors.registry import split_url
from crossdock.datasets.derived import Partitioner
from crossdock.errors import ConfigError
from crossdock.flows.questions.endpoints import open_sink
from crossdock.flows.tables.learning import schema_from, schema_text
from crossdock.flows.tables.partitioning import is_of_functions, partition_texts, partitioner_from
from crossdock.flows.tables.reading import columns_of
from crossdock.formats import chain, decode, encode
from crossdock.formats.decoding import Decode, typed_read_options
from crossdock.formats.encoding import Encode, typed_write_options
from crossdock.formats.names import TEXT, Kind, parse_kind
from crossdock.formats.schemas import as_schema, as_type

if TYPE_CHECKING:
    import pyarrow as pa

    from crossdock.formats.bad_rows import OnBadRow
    from crossdock.formats.schemas import Evolve

__all__ = ["Recipe", "recipe_from", "recipe_of"]

_VERSION = 1  # goes into what outputs are known by: a change of meaning makes all of them again


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How objects become rows, and rows an object. ``reads`` has no schema yet: the run's is put in later.

    Attributes:
        schema: The columns, if they were given; else a sample of the objects tells.
        evolve: What of an object may differ from the schema.
        bad_rows: ``fail``, ``skip``, or in words where bad rows go.
        partitioner: What rows are partitioned by, if each output is a batch of a dataset rather than an object.
        steps: Functions of a stream of rows, in order.
    """

    reads: Decode
    writes: Encode
    schema: pa.Schema | None
    evolve: Evolve
    bad_rows: str
    partitioner: Partitioner | None = None
    steps: tuple[Callable[[Any], Any], ...] = ()

    @property
    def kind(self) -> Kind:
        """Format and outer compression of what is written: how it is named."""
        kind = parse_kind(self.writes.format)
        outside = kind.compression
        if outside is None and kind.format in TEXT and self.writes.compression != "auto":
            outside = self.writes.compression
        return Kind(format=kind.format, compression=outside)

    @property
    def samples(self) -> Decode:
        """How a sample of objects is read, to learn their columns."""
        policy: OnBadRow = "fail" if self.bad_rows == "fail" else "skip"
        return replace(self.reads, columns=None, on_bad_row=policy)

    def decode(self, schema: pa.Schema) -> Decode:
        """How every object is read, once the columns are known."""
        return replace(self.reads, schema=schema, types=None, evolve=self.evolve)

    def narrowed(self, schema: pa.Schema, *, where: str) -> pa.Schema:
        """The columns that are read.

        Raises:
            ConfigError: One that was asked for is not there.
        """
        return columns_of(self.decode(schema), where=where)

    def digest(self, schema: pa.Schema) -> str:
        """Equal for recipes that make the same of the same objects."""
        columns = [(field.name, str(field.type), field.nullable) for field in schema]
        # How a schema was found, and how pyarrow writes one down, does not matter: the columns do.
        kept = {name: value for name, value in self.as_dict().items() if name not in ("schema", "types")}
        return fingerprint((_VERSION, columns, kept), name="recipe")

    def as_dict(self) -> dict[str, Any]:
        """What a run keeps of it; equal for equal recipes. Of functions only a fingerprint is kept."""
        types = self.reads.types
        return {
            "from": self.reads.format,
            "read": _plain(self.reads.given),
            "to": self.writes.format,
            "compression": self.writes.compression,
            "write": _plain(self.writes.given),
            "columns": None if self.reads.columns is None else list(self.reads.columns),
            "types": {name: str(as_type(kind)) for name, kind in (types or {}).items()},
            "schema": None if self.schema is None else schema_text(self.schema),
            "evolve": self.evolve,
            "bad_rows": self.bad_rows,
            "partition_by": None if self.partitioner is None else partition_texts(self.partitioner),
            "steps": [fingerprint(step, name="step") for step in self.steps],
        }


def recipe_of(
    *,
    to: str,
    from_format: str = "auto",
    compression: str | None = "auto",
    columns: Iterable[str] | None = None,
    schema: Any = None,
    types: Mapping[str, Any] | None = None,
    evolve: Evolve = "missing",
    bad_rows: Any = "fail",
    steps: Any = (),
    partition_by: Any = None,
    read_options: Mapping[str, Any] | None = None,
    write_options: Mapping[str, Any] | None = None,
    sink_options: Mapping[str, Any] | None = None,
    options_url: str = "",
) -> Recipe:
    """A recipe from what a user wrote; the arguments are those of ``convert``.

    A URL for bad rows is opened with ``sink_options``, unless they belong to ``options_url`` and that is another kind of store.

    Raises:
        ConfigError: Something is wrong with one of them.
    """
    if evolve not in ("never", "missing", "drop"):
        raise ConfigError(
            f"evolve is 'never', 'missing' or 'drop', not {evolve!r}",
            operation="convert",
            hint="an output has one schema from its beginning: give one with all columns",
        )
    if schema is not None and types:
        raise ConfigError("give schema (all columns) or types (some of them)", operation="convert")
    policy, said = _policy(bad_rows, sink_options or {}, options_url)
    several = (steps,) if callable(steps) else tuple(steps)
    chain(*several)  # says what is no step
    reads = decode(
        from_format,
        types=dict(types) if types else None,
        columns=None if columns is None else tuple(columns),
        on_bad_row=policy,
        **typed_read_options(from_format, read_options or {}),
    )
    recipe = Recipe(
        reads=reads,
        writes=encode(to, compression=compression, **typed_write_options(to, write_options or {})),
        schema=None if schema is None else as_schema(schema),
        evolve=evolve,
        bad_rows=said,
        partitioner=None if partition_by is None else partitioner_from(partition_by),
        steps=several,
    )
    recipe.as_dict()  # a step without a fingerprint could not be told from another
    return recipe


def recipe_from(
    kept: Mapping[str, Any], sink_options: Mapping[str, Any] | None, *, kind: str, options_url: str = ""
) -> Recipe:
    """The other way round, for a run that is gone on with.

    Raises:
        ConfigError: It had functions, which no run keeps.
    """
    if kept["steps"] or kept["bad_rows"] == _HANDED or is_of_functions(kept["partition_by"]):
        raise ConfigError(
            "this run was given functions, and no run keeps those",
            operation="resume",
            hint=f"the same xd.{kind}(...) call again, with the same run_dir, goes on with it",
        )
    return recipe_of(
        to=kept["to"],
        from_format=kept["from"],
        compression=kept["compression"],
        columns=kept["columns"],
        schema=None if kept["schema"] is None else schema_from(kept["schema"]),
        types=kept["types"],
        evolve=kept["evolve"],
        bad_rows=kept["bad_rows"],
        partition_by=kept["partition_by"],
        read_options=kept["read"],
        write_options=kept["write"],
        sink_options=sink_options,
        options_url=options_url,
    )


_HANDED = "handed over"


def _policy(bad_rows: Any, options: Mapping[str, Any], options_url: str) -> tuple[Any, str]:
    """What a decoder does with bad rows, and how a run says so."""
    if bad_rows in ("fail", "skip"):
        return bad_rows, bad_rows
    if isinstance(bad_rows, str):
        if "/" not in bad_rows:
            raise ConfigError(
                f"bad_rows is 'fail', 'skip', a URL, a sink or a function, not {bad_rows!r}",
                operation="convert",
            )
        place = bad_rows if bad_rows.endswith("/") else f"{bad_rows}/"
        alike = not options_url or split_url(options_url)[0].name == split_url(place)[0].name
        bad_rows = open_sink(place, options if alike else {})
    if isinstance(bad_rows, ObjectSink):
        return bad_rows, bad_rows.url
    if callable(bad_rows):
        return bad_rows, _HANDED
    raise ConfigError(
        f"bad_rows is 'fail', 'skip', a URL, a sink or a function, not {bad_rows!r}", operation="convert"
    )


def _plain(given: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in given}
