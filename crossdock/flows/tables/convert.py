"""``convert``: what is below a prefix in another format: one object for each, or many small ones put together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from crossdock.combine.hooks import RunHook, RunHooks, run_hooks_of
from crossdock.connectors.objects import ObjectSink, ObjectSource
from crossdock.errors import ConfigError
from crossdock.events import Observer, ignore
from crossdock.flows.deleting.safety import demand_apart
from crossdock.flows.listing.spilling import Candidate, by_destination
from crossdock.flows.planning.deciding import TWO_MEET
from crossdock.flows.planning.question import Question, asked_of, question_of, rules_of
from crossdock.flows.planning.rows import Action, Row, plan_objects
from crossdock.flows.questions.bounds import Age, Size, size_bytes
from crossdock.flows.questions.endpoints import Ends, open_ends, rebuilt
from crossdock.flows.questions.limits import Deadline
from crossdock.flows.questions.means import means_of
from crossdock.flows.reporting.report import Report
from crossdock.flows.reporting.telling import Telling
from crossdock.flows.runs.directory import RunDirectory
from crossdock.flows.runs.manifest import Manifest
from crossdock.flows.runs.preparing import SourcePages, checked, demand_strength
from crossdock.flows.tables.converting import Conversion
from crossdock.flows.tables.engine import planned_only, start
from crossdock.flows.tables.grouping import Member, group_name, grouped
from crossdock.flows.tables.learning import learned_schema, schema_from, schema_text
from crossdock.flows.tables.orphans import orphans
from crossdock.flows.tables.port import Learned
from crossdock.flows.tables.recipe import Recipe, recipe_from, recipe_of
from crossdock.formats.names import renamed, suffix_of
from crossdock.model import Counts
from crossdock.notifications.notifier import Notifier
from crossdock.ports import Runner

__all__ = ["convert", "flow_of"]

_AT_A_TIME = 4
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
                key = exact if exact is not None else f"{self.sink.prefix}{renamed(row.name, kind)}"
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
            key = exact if exact is not None else f"{self.sink.prefix}{group_name(group[0].name)}{suffix}"
            for _ in group:
                yield replace(waiting.popleft(), destination=key, reason="to be converted")
            yield from passing
            passing.clear()
        yield from passing

    def _refused(self, row: Row) -> Row:
        refusal = self.sink.store.refusal(row.destination, None) if row.action is Action.COPY else None
        return row if refusal is None else replace(row, action=Action.REFUSE, reason=refusal)

    def learn(self, manifest: Manifest) -> Learned:
        """See the port."""
        schema = self.recipe.schema
        if schema is None:
            schema = learned_schema(self.source, self.recipe.samples, manifest, where=self.source.url)
        columns = {each.name: str(each.type) for each in schema}  # for people; the other is what counts
        return {"schema": schema_text(schema), "columns": columns}

    def work(
        self, learned: Learned, *, concurrency: int | None, bandwidth_bytes_per_s: int | None
    ) -> Conversion:
        """See the port."""
        schema = schema_from(learned["schema"])
        return Conversion(
            source=self.source,
            sink=self.sink.verifying(bandwidth_bytes_per_s=bandwidth_bytes_per_s),
            decode=self.recipe.decode(schema),
            steps=self.recipe.steps,
            encode=self.recipe.writes,
            recipe=self.recipe.digest(schema),
            overwrite=self.overwrite,
            at_a_time=concurrency or _AT_A_TIME,
        )

    def finish(self, directory: RunDirectory, counts: Counts) -> Mapping[str, Any]:  # noqa: ARG002 - as the port
        """See the port: tells of outputs that no object of this run maps to any more; deletes nothing."""
        asked = directory.read()["asked"]
        if asked["exact"] is not None:
            return {}
        return orphans(self.sink, directory.manifest, suffix=suffix_of(self.recipe.kind)).as_dict()

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
        recipe=recipe_from(table, kept, kind="convert"),
        target_size_bytes=table["target_size_bytes"],
        overwrite=asked["overwrite"],
    )


def convert(
    source: str | ObjectSource,
    destination: str | ObjectSink,
    *,
    to: str = "parquet",
    from_format: str = "auto",
    target_size: Size = None,
    compression: str | None = "auto",
    columns: Iterable[str] | None = None,
    schema: Any = None,
    types: Mapping[str, Any] | None = None,
    evolve: Literal["never", "missing", "drop"] = "missing",
    steps: Callable[[Any], Any] | Iterable[Callable[[Any], Any]] = (),
    bad_rows: Any = "fail",
    read_options: Mapping[str, Any] | None = None,
    write_options: Mapping[str, Any] | None = None,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    min_size: Size = None,
    max_size: Size = None,
    min_age: Age = None,
    max_age: Age = None,
    overwrite: str = "if-different",
    verify: str | None = None,
    require: str | None = None,
    strict: bool | None = None,
    concurrency: int | None = None,
    max_errors: int | None = None,
    max_bytes: Size = None,
    deadline: Deadline = None,
    bandwidth: Size = None,
    runner: Runner | None = None,
    run_dir: str | None = None,
    dry_run: bool = False,
    source_options: Mapping[str, Any] | None = None,
    sink_options: Mapping[str, Any] | None = None,
    run_options: Mapping[str, Any] | None = None,
    glob: bool = True,
    notify: Notifier | Sequence[Notifier] = (),
    on_success: RunHook | Sequence[RunHook] = (),
    on_failure: RunHook | Sequence[RunHook] = (),
    on_completion: RunHook | Sequence[RunHook] = (),
    observer: Observer = ignore,
) -> Report:
    """Read every object below one place as a table, and write it below another in another format; many small ones together.

    A run as that of ``migrate``: listed once, planned, mapped over the runner, recorded, restartable. Each output becomes visible whole
    or not at all, and carries a mark of what it was made of. So the same call again writes nothing where nothing changed, only
    those outputs whose objects changed, and after a crash neither loses nor doubles a row. An object that cannot be read
    fails alone; trouble with a service fails the whole output it would be part of, and that is tried again.

    All outputs have the same columns: those of ``schema``, or what a sample of up to 18 objects has together (types widened where
    they can be; a column without a value is text). A value that does not fit is a bad row.

    Memory for each output at a time (``concurrency``): what decoding one object takes, 16 MiB fetched ahead, what the encoder gathers
    (64 MiB for Parquet), parts in flight. Requests: one LIST for 1,000 objects; for each output a ``stat`` and those of its upload;
    for each object of up to 1 MiB one GET, for larger ones what their format needs.

    Args:
        source: As ``migrate``.
        destination: As ``migrate``'s ``sink``. Neither end may be within the other.
        to: The format to write: ``parquet``, ``csv``, ``jsonl``, ``arrow``, ``orc``, ``avro``; ``csv.gz`` names a compression, too.
        from_format: The format to read; by default each object's name tells, else its content.
        target_size: Put objects that are neighbours in key order below one prefix together, until they have about so many bytes, as
            stored: ``"128MB"``. Outputs are called ``part-<hash of the first key>``. Where one ends depends on keys, not on counting, so an
            object that comes or goes changes one output or two. Without it ``a/b.csv.gz`` becomes ``a/b.parquet``.
        compression: As for ``encode``.
        columns: Only these.
        schema: All columns: a ``pyarrow.Schema``, or a mapping of names to types or their names.
        types: Types of some columns, where they are not to be inferred.
        evolve: What an object may lack or have besides: nothing (``never``); columns may lack, and are null (``missing``); and others
            are left out (``drop``).
        steps: Functions of a stream of rows between reading and writing, such as ``xd.filter(...)``, ``xd.rename(...)``; they see the rows of
            one output at a time. A run does not keep them: the same call goes on with it, ``resume`` cannot.
        bad_rows: What happens to rows that cannot be read or do not fit: ``fail`` the object, ``skip`` them and tell, or keep them as
            JSON lines below a URL (opened with the options of the destination) or in a sink; or a function of a ``BadRow``.
        read_options: Of the format that is read, such as ``{"delimiter": ";"}``.
        write_options: Of the format that is written, such as ``{"row_group_bytes": ...}``.
        include: As ``migrate``.
        exclude: As ``migrate``.
        min_size: As ``migrate``.
        max_size: As ``migrate``.
        min_age: As ``migrate``.
        max_age: As ``migrate``.
        overwrite: ``if-different``: an output made of the same versions of the same objects in the same way stays; anything else there is
            replaced. ``always``; ``never``: whatever is there stays.
        verify: As ``migrate``; what is verified is the output. Levels above v1 compare with a digest of the source, which rows have not.
        require: As ``migrate``.
        strict: As ``migrate``.
        concurrency: Outputs at a time in each process, 4 by default.
        max_errors: As ``migrate``.
        max_bytes: As ``migrate``; bytes of the source.
        deadline: As ``migrate``.
        bandwidth: As ``migrate``; bytes written.
        runner: As ``migrate``.
        run_dir: As ``migrate``.
        dry_run: Only list and count: the report's state is ``planned``, and nothing is written anywhere.
        source_options: As ``migrate``.
        sink_options: As ``migrate``.
        run_options: As ``migrate``.
        glob: As ``migrate``.
        notify: As ``migrate``.
        on_success: As ``migrate``.
        on_failure: As ``migrate``.
        on_completion: As ``migrate``.
        observer: As ``migrate``.

    Returns:
        The report. ``report.counts`` counts objects of the source, ``report.made`` rows and outputs; ``report.finished`` tells of
        outputs of earlier runs to which nothing leads any more.

    Raises:
        ConfigError: An argument is wrong, or the objects' columns do not fit together.
        UnsafeError: One end is within the other.
        NotFoundError: As ``migrate``.
        CrossdockError: As ``migrate``.

    Example:
        >>> import crossdock as xd
        >>> sink = xd.sink("memory://convert-from/")
        >>> for number in range(3):
        ...     _ = sink(b'{"id": %d}' % number, key=f"day/{number}.jsonl")
        >>> report = xd.convert(
        ...     "memory://convert-from/", "memory://convert-to/", to="parquet", target_size="128MB"
        ... )
        >>> report.counts.copied, report.made.rows, report.made.outputs
        (3, 3, 1)
    """
    hooks = run_hooks_of(
        on_success=on_success, on_failure=on_failure, on_completion=on_completion, notify=notify
    )
    with Telling(RunHooks() if dry_run else hooks, "convert", observer) as telling:
        means = means_of(
            concurrency,
            runner,
            observer,
            max_errors=max_errors,
            max_bytes=max_bytes,
            deadline=deadline,
            bandwidth=bandwidth,
        )
        recipe = recipe_of(
            to=to,
            from_format=from_format,
            compression=compression,
            columns=columns,
            schema=schema,
            types=types,
            evolve=evolve,
            bad_rows=bad_rows,
            steps=steps,
            read_options=read_options,
            write_options=write_options,
            sink_options=sink_options,
        )
        target_bytes = _target(target_size)
        ends = open_ends(
            source,
            destination,
            source_options=source_options,
            sink_options=sink_options,
            glob=glob,
            verify=verify,
            require=require,
            strict=strict,
        )
        telling.about(source=ends.source.url, sink=ends.sink.url)
        question = question_of(
            ends,
            include,
            exclude,
            overwrite,
            min_size=min_size,
            max_size=max_size,
            min_age=min_age,
            max_age=max_age,
        )
        ends = _settled(ends, recipe, observer)
        flow = Convert(
            source=ends.source,
            sink=ends.sink,
            recipe=recipe,
            target_size_bytes=target_bytes,
            overwrite=overwrite,
            ends=ends,
            question=question,
        )
        if dry_run:
            return planned_only(flow, observer)
        return start(
            flow,
            run_dir=run_dir,
            run_options=run_options,
            means=means,
            concurrency=concurrency,
            telling=telling,
        )


def _target(target_size: Size) -> int | None:
    size = size_bytes(target_size, "target size")
    if size is not None and size < 1:
        raise ConfigError("target size is 1 byte or more", operation="convert")
    return size


def _settled(ends: Ends, recipe: Recipe, observer: Observer) -> Ends:
    """Both ends answer, and neither is within the other; one object gets its new ending below a directory."""
    named = bool(ends.sink.prefix) and not ends.sink.prefix.endswith("/")
    found = checked(ends, observer)
    if found.one is None:
        demand_apart(
            (found.source.store, found.source.prefix),
            (found.sink.store, found.sink.prefix),
            operation="convert",
            names=("source", "destination"),
        )
        return found
    return found if named else replace(found, exact=renamed(found.exact, recipe.kind))
