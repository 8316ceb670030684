"""``convert``: what is below a prefix in another format: one object for each, or many small ones put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from crossdock.combine.hooks import RunHook, RunHooks, run_hooks_of
from crossdock.connectors.objects import ObjectSink, ObjectSource
from crossdock.errors import ConfigError
from crossdock.events import Observer, ignore
from crossdock.flows.deleting.safety import demand_apart
from crossdock.flows.planning.question import question_of
from crossdock.flows.questions.bounds import Age, Size, size_bytes
from crossdock.flows.questions.endpoints import Ends, open_ends
from crossdock.flows.questions.limits import Deadline
from crossdock.flows.questions.means import means_of
from crossdock.flows.reporting.report import Report
from crossdock.flows.reporting.telling import Telling
from crossdock.flows.runs.preparing import checked
from crossdock.flows.tables.convert import Convert
from crossdock.flows.tables.engine import planned_only, start
from crossdock.flows.tables.recipe import Recipe, recipe_of
from crossdock.formats.names import renamed
from crossdock.notifications.notifier import Notifier
from crossdock.ports import Runner

__all__ = ["convert"]


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
    partition_by: Any = None,
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
        partition_by: Write a dataset below the destination instead, partitioned by these: as for ``dataset_sink``; also texts such as
            ``"month(at)"``. Each object, or with ``target_size`` each group of them, is one batch of it, all of it or nothing; read
            it with ``dataset``. The destination has to have conditional writes.
        bad_rows: What happens to rows that cannot be read or do not fit: ``fail`` the object, ``skip`` them and tell, or keep them as
            JSON lines below a URL (opened with the options of the destination, if it is of the same kind) or in a sink; or a function of a ``BadRow``.
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
        concurrency: Outputs at a time in each process; by default as many as there are processors, but two to four, and beside them
            up to 32 of less than 1 MiB to read.
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
            partition_by=partition_by,
            read_options=read_options,
            write_options=write_options,
            sink_options=sink_options,
            options_url=destination if isinstance(destination, str) else "",
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
    size = size_bytes(target_size, "target size", operation="convert")
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
    if recipe.partitioner is not None:
        raise ConfigError(
            "a partitioned dataset is made of a prefix, and the source is one object",
            operation="convert",
            where=found.source.url,
            hint="give its prefix, and include its name",
        )
    return found if named else replace(found, exact=renamed(found.exact, recipe.kind))
