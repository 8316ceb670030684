"""``export``: a table or a query of a database to files: slice by slice, each file whole or not there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from crossdock.combine.hooks import RunHook, RunHooks, run_hooks_of
from crossdock.connectors.objects import ObjectSink
from crossdock.connectors.registry import split_transfer_options
from crossdock.connectors.sql.slicing import Selection
from crossdock.connectors.sql.source import TableSource
from crossdock.datasets.writing import demand_batch_id
from crossdock.errors import ConfigError
from crossdock.events import Observer, ignore
from crossdock.flows.questions.bounds import Size
from crossdock.flows.questions.endpoints import kept_options, open_sink
from crossdock.flows.questions.limits import Deadline
from crossdock.flows.questions.means import means_of
from crossdock.flows.reporting.report import Report
from crossdock.flows.reporting.telling import Telling
from crossdock.flows.tables.databases import DatabaseEnd
from crossdock.flows.tables.engine import planned_only, start
from crossdock.flows.tables.export import ExportFlow
from crossdock.flows.tables.unfinished import unfinished
from crossdock.formats import chain, encode
from crossdock.formats.names import by_name, parse_kind, suffix_of
from crossdock.notifications.notifier import Notifier
from crossdock.ports import Runner

__all__ = ["export"]


def export(
    source: str | TableSource,
    sink: str | ObjectSink,
    *,
    table: str | None = None,
    query: str | None = None,
    columns: Iterable[str] | None = None,
    slices: int = 1,
    by: str | None = None,
    to: str | None = None,
    compression: str | None = "auto",
    write_options: Mapping[str, Any] | None = None,
    steps: Callable[[Any], Any] | Iterable[Callable[[Any], Any]] = (),
    overwrite: bool = False,
    dataset: bool | str = False,
    verify: str | None = None,
    require: str | None = None,
    strict: bool | None = None,
    concurrency: int | None = None,
    max_errors: int | None = None,
    deadline: Deadline = None,
    bandwidth: Size = None,
    runner: Runner | None = None,
    run_dir: str | None = None,
    dry_run: bool = False,
    source_options: Mapping[str, Any] | None = None,
    sink_options: Mapping[str, Any] | None = None,
    run_options: Mapping[str, Any] | None = None,
    notify: Notifier | Sequence[Notifier] = (),
    on_success: RunHook | Sequence[RunHook] = (),
    on_failure: RunHook | Sequence[RunHook] = (),
    on_completion: RunHook | Sequence[RunHook] = (),
    observer: Observer = ignore,
) -> Report:
    """Write a table, or what a query gives, to one object, or slice by slice to ``part-00000`` and so on below a prefix.

    A run as that of ``migrate``: planned, mapped over the runner, recorded, restartable. Every row is in exactly one slice, rows without a
    key are in the first. Each object becomes visible whole or not at all, when its slice was read to its end; with ``dataset`` all of them
    at one moment, when every slice was. Killed at any instant, the
    same call goes on: slices that are there are not read again. A run that is gone on with has to be asked the same: another
    query, table or column is another run.

    Slices are read in transactions of their own. PostgreSQL shares one snapshot between them, for as long as the process that started
    the run lives: all slices are then of one state (``report.finished["one_state"]``); a resumed run reads what is left of a later state.
    SQLite and DuckDB cannot share one: if the table changes meanwhile, slices are of different moments.

    Memory for each slice at a time (``concurrency``): one batch of the database, what the encoder gathers (64 MiB for Parquet), parts in
    flight. Requests: one connection for each slice and one for the run; those of each upload.

    Args:
        source: URL or source task of a database.
        sink: URL or sink task: a prefix, or for one slice the key of the object, with the format's ending.
        table: ``table`` or ``schema.table``.
        query: A statement instead of a table. It is kept with the run.
        columns: Of a table, only these.
        slices: At most so many.
        by: The column that slices are cut by: one that is indexed and never changes, such as the primary key.
        to: The format, as ``convert``; by default what the key's ending says, else Parquet.
        compression: As ``convert``.
        write_options: As ``convert``.
        steps: As ``convert``; they see the rows of one slice at a time.
        overwrite: Replace an export that is there, object by object, and remove those of its objects that are too many at the end.
            Otherwise one that is there is refused.
        dataset: Make the objects one batch of a dataset, listed at the end: readers by ``xd.dataset`` see all or none. The batch is
            called like the table, or as is said here; with ``overwrite`` it replaces the one of that name at one moment. Who only lists
            the prefix sees objects before, and needs the dataset's reader to know.
        verify: As ``convert``.
        require: As ``convert``.
        strict: As ``migrate``.
        concurrency: Slices, and connections to the database, at a time in each process; 4 by default.
        max_errors: As ``migrate``.
        deadline: As ``migrate``.
        bandwidth: As ``convert``.
        runner: As ``migrate``.
        run_dir: As ``ingest``.
        dry_run: Only cut and count: the report's state is ``planned``, and nothing is written anywhere.
        source_options: Options for a database given as URL.
        sink_options: As ``migrate``.
        run_options: As ``migrate``.
        notify: As ``migrate``.
        on_success: As ``migrate``.
        on_failure: As ``migrate``.
        on_completion: As ``migrate``.
        observer: As ``migrate``.

    Returns:
        The report. ``report.counts`` counts slices, ``report.made`` rows, objects and bytes.

    Raises:
        ConfigError: An argument is wrong, or the statement is.
        NotFoundError: There is no such table, database or bucket.
        UnsafeError: There is an export already.
        CrossdockError: As ``migrate``.

    Example:
        >>> import tempfile
        >>> import crossdock as xd
        >>> url = f"sqlite://{tempfile.mkdtemp()}/films.db"
        >>> _ = xd.sink(url)([{"id": number} for number in range(10)], table="films")
        >>> report = xd.export(
        ...     url,
        ...     "memory://export-to/films/",
        ...     table="films",
        ...     slices=2,
        ...     by="id",
        ...     run_dir="memory://export-runs/1/",
        ... )
        >>> report.made.rows, report.made.outputs
        (10, 2)
        >>> [key for key in xd.source("memory://export-to/films/").list()]
        ['part-00000.parquet', 'part-00001.parquet']
    """
    hooks = run_hooks_of(
        on_success=on_success, on_failure=on_failure, on_completion=on_completion, notify=notify
    )
    with Telling(RunHooks() if dry_run else hooks, "export", observer) as telling:
        means = means_of(
            concurrency,
            runner,
            observer,
            max_errors=max_errors,
            max_bytes=None,
            deadline=deadline,
            bandwidth=bandwidth,
        )
        end = DatabaseEnd.of(source, source_options, what="source")
        into, kept = _opened(sink, sink_options)
        into, exact, form = _placed(into, to, slices)
        several = (steps,) if callable(steps) else tuple(steps)
        chain(*several)  # says what is no step
        flow = ExportFlow(
            end=end,
            selection=Selection(
                table=None if table is None else end.database.named(table),
                query=query,
                columns=None if columns is None else tuple(columns),
            ),
            by=by,
            parts=slices,
            sink=into.verifying(verify, require=require, strict=strict),
            sink_kept=kept,
            exact=exact,
            encode=encode(form, compression=compression, **dict(write_options or {})),
            steps=several,
            overwrite=overwrite,
            batch=_batch(dataset, table, exact),
        )
        telling.about(source=flow.source_url, sink=flow.sink_url)
        flow.check()
        if dry_run:
            return planned_only(flow, observer)
        return start(
            flow,
            run_dir=run_dir or unfinished(flow.asked(), flow.kind),
            run_options=run_options,
            means=means,
            concurrency=concurrency,
            telling=telling,
        )


def _batch(dataset: bool | str, table: str | None, exact: str | None) -> str | None:
    """What the batch is called, if there is to be one.

    Raises:
        ConfigError: There is only one object, or no name.
    """
    if dataset is False:
        return None
    if exact is not None:
        raise ConfigError(
            "a dataset is below a prefix, and this is the key of one object",
            operation="export",
            hint="end the URL with /",
        )
    name = table if dataset is True else str(dataset)
    if name is None:
        raise ConfigError(
            "a query has no name to call the batch by", operation="export", hint='say dataset="name"'
        )
    return demand_batch_id(name)


def _opened(
    sink: str | ObjectSink, options: Mapping[str, Any] | None
) -> tuple[ObjectSink, Mapping[str, Any]]:
    """The sink, and the options of its store without secrets."""
    if isinstance(sink, ObjectSink):
        if options:
            raise ConfigError("sink_options go with a URL; this sink is a task already", operation="open")
        return sink, {}
    if not isinstance(sink, str):
        raise ConfigError(
            f"the sink is a URL or a task of objects, not {type(sink).__name__}", operation="open"
        )
    return open_sink(sink, options or {}), kept_options(sink, split_transfer_options(options or {})[1])


def _placed(sink: ObjectSink, to: str | None, slices: int) -> tuple[ObjectSink, str | None, str]:
    """The sink with its prefix, the key if it is to be one object, and the format.

    Raises:
        ConfigError: Several slices and one key, or an ending that says no format, or another one than was asked for.
    """
    key = sink.prefix
    said = by_name(key)
    ending = PurePosixPath(key).suffix
    if ending and not key.endswith("/") and said.format is None and to is None:
        raise ConfigError(
            f"{ending} is the ending of no format, and no directory was said",
            operation="export",
            where=f"{sink.store.url}/{key}",
            hint="write another ending, name the format, or end the URL with / for a directory",
        )
    if not key or key.endswith("/") or said.format is None:
        prefix = key if not key or key.endswith("/") else f"{key}/"
        return _below(sink, prefix), None, to or "parquet"
    if slices > 1:
        raise ConfigError(
            "several slices become several objects, and this is the key of one",
            operation="export",
            where=sink.url,
            hint="end the URL with /",
        )
    if to is not None and parse_kind(to).format != said.format:
        raise ConfigError(
            f"the key ends like {said.format}, and {to} is to be written",
            operation="export",
            where=sink.url,
        )
    return _below(sink, ""), key, to or suffix_of(said).lstrip(".")


def _below(sink: ObjectSink, prefix: str) -> ObjectSink:
    return ObjectSink(sink.store, prefix, overwrite=sink.overwrite, transfer=sink.transfer)
