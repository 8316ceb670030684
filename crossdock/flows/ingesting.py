"""``ingest``: files, or what tasks give, into a table of a database: all of it visible at one moment, each row once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from crossdock.combine.hooks import RunHook, RunHooks, run_hooks_of
from crossdock.connectors.objects import ObjectSource
from crossdock.connectors.sql.sink import TableSink
from crossdock.connectors.sql.writing import Request, checked
from crossdock.errors import ConfigError
from crossdock.events import Observer, ignore
from crossdock.flows.planning.question import Question, question_of
from crossdock.flows.questions.bounds import Age, Size, size_bytes
from crossdock.flows.questions.limits import Deadline
from crossdock.flows.questions.means import means_of
from crossdock.flows.reporting.report import Report
from crossdock.flows.reporting.telling import Telling
from crossdock.flows.tables.calls import CallsFlow, calls_of
from crossdock.flows.tables.databases import DatabaseEnd
from crossdock.flows.tables.engine import planned_only, start
from crossdock.flows.tables.ingest import IngestFlow
from crossdock.flows.tables.into import Into
from crossdock.flows.tables.objects import Objects
from crossdock.flows.tables.recipe import recipe_of
from crossdock.flows.tables.unfinished import unfinished
from crossdock.notifications.notifier import Notifier
from crossdock.ports import Runner
from crossdock.tasks import Call, Task

__all__ = ["ingest"]

_UNIT_BYTES = 64 * 2**20


def ingest(
    source: str | ObjectSource | Call | Sequence[Call],
    sink: str | TableSink,
    *,
    table: str,
    mode: Literal["append", "replace", "upsert"] = "append",
    key: Sequence[str] | str = (),
    again: bool = False,
    from_format: str = "auto",
    columns: Iterable[str] | None = None,
    schema: Any = None,
    types: Mapping[str, Any] | None = None,
    evolve: Literal["never", "missing", "drop"] = "missing",
    steps: Callable[[Any], Any] | Iterable[Callable[[Any], Any]] = (),
    bad_rows: Any = "fail",
    read_options: Mapping[str, Any] | None = None,
    unit_size: Size = None,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    min_size: Size = None,
    max_size: Size = None,
    min_age: Age = None,
    max_age: Age = None,
    archived: str = "refuse",
    concurrency: int | None = None,
    max_errors: int | None = None,
    max_bytes: Size = None,
    deadline: Deadline = None,
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
    """Load every object below one place into a table, or what tasks read (an API, a query, frames), all of it or nothing.

    A run as that of ``migrate``: listed once, planned, mapped over the runner, recorded, restartable. Rows are staged beside the table,
    one unit of objects in one transaction with a note that it is there, by as many workers as the database takes; when all are
    there, one transaction moves them. Readers see the table as it was until then, and as it shall be afterwards. If anything
    failed nothing is moved: resume the run, or remove what it staged (``xd.cleanup``).

    Killed at any instant, the same call goes on with the run (the one in ``run_dir``, else the latest of the user's own that was asked
    exactly this and was broken off): no row is lost or doubled. Run again afterwards it changes nothing: ``append`` loads each
    version of each object into a table once, the other modes come out the same.

    Memory for each unit at a time (``concurrency``): what decoding one object takes, 16 MiB fetched ahead, one batch. In the database rows
    take their space twice until the end. Requests: one LIST for 1,000 objects; for each of up to 1 MiB one GET, for larger ones what
    their format needs. SQLite and DuckDB let one process write at a time: there the run has to stay in one, whose threads take turns.

    Args:
        source: URL or source task of objects, as ``migrate``. Or a described call of a task that gives rows, or several:
            ``api.batches.bind("users")``; they are read whenever it is called, each is one unit, and an incremental read's cursor moves
            once its rows are visible.
        sink: URL or sink task of a database.
        table: ``table`` or ``schema.table``; made if it is not there.
        mode: ``append``; ``replace`` all rows; ``upsert`` rows with a new key, and those that differ.
        key: Columns that make a row one of a kind, over the whole run; a new table gets it as primary key.
        again: With ``append``: load also what was loaded before.
        from_format: As ``convert``.
        columns: As ``convert``.
        schema: As ``convert``. Without it a sample of the objects tells, and text is read as what the table holds, if it is there.
        types: As ``convert``.
        evolve: As ``convert``.
        steps: As ``convert``; they see the rows of one unit at a time.
        bad_rows: As ``convert``; a URL is opened with the options of the source.
        read_options: As ``convert``.
        unit_size: About how many bytes of objects, as stored, are one transaction; 64 MiB. What a killed worker begins again.
        include: As ``migrate``.
        exclude: As ``migrate``.
        min_size: As ``migrate``.
        max_size: As ``migrate``.
        min_age: As ``migrate``.
        max_age: As ``migrate``.
        archived: As ``migrate``.
        concurrency: Units, and connections to the database, at a time in each process; 4 by default.
        max_errors: As ``migrate``.
        max_bytes: As ``migrate``; bytes of the source.
        deadline: As ``migrate``.
        runner: As ``migrate``.
        run_dir: As ``migrate``.
        dry_run: Only list and count: the report's state is ``planned``, and nothing is written anywhere.
        source_options: As ``migrate``.
        sink_options: Options for a database given as URL.
        run_options: As ``migrate``.
        glob: As ``migrate``.
        notify: As ``migrate``.
        on_success: As ``migrate``.
        on_failure: As ``migrate``.
        on_completion: As ``migrate``.
        observer: As ``migrate``.

    Returns:
        The report. ``report.counts`` counts objects (or calls), ``report.made`` rows and units; ``report.finished`` says whether the rows
        were ``published``, how many, and how many ``rows_changed`` in the table.

    Raises:
        ConfigError: An argument is wrong, or the columns do not fit together or into the table. Nothing was loaded.
        NotFoundError: As ``migrate``.
        RowError: A key occurs twice in the run, or is null. Nothing is visible.
        StorageError: The table's constraints refuse a row. Nothing is visible.
        CrossdockError: As ``migrate``.

    Example:
        >>> import tempfile
        >>> import crossdock as xd
        >>> sink = xd.sink("memory://ingest-from/")
        >>> for number in range(3):
        ...     _ = sink(b'{"id": %d}' % number, key=f"{number}.jsonl")
        >>> place = tempfile.mkdtemp()
        >>> def load(run):
        ...     films = f"sqlite://{place}/films.db"
        ...     return xd.ingest("memory://ingest-from/", films, table="films", run_dir=f"{place}/{run}/")
        >>> report = load(1)
        >>> report.counts.copied, report.made.rows, report.finished["published"]
        (3, 3, True)
        >>> load(2).counts.skipped
        3
    """
    hooks = run_hooks_of(
        on_success=on_success, on_failure=on_failure, on_completion=on_completion, notify=notify
    )
    with Telling(RunHooks() if dry_run else hooks, "ingest", observer) as telling:
        means = means_of(
            concurrency,
            runner,
            observer,
            max_errors=max_errors,
            max_bytes=max_bytes,
            deadline=deadline,
            bandwidth=None,
        )
        recipe = recipe_of(
            to="arrow_stream",
            from_format=from_format,
            columns=columns,
            schema=schema,
            types=types,
            evolve=evolve,
            bad_rows=bad_rows,
            steps=steps,
            read_options=read_options,
            sink_options=source_options,
        )
        end = DatabaseEnd.of(sink, sink_options, what="sink")
        into = _into(end, table, mode, key)

        def ask(globs: tuple[str, ...]) -> Question:
            if globs and include:
                raise ConfigError(
                    "wildcards in the source's URL and include say the same thing",
                    operation="ingest",
                    hint="write the prefix as source, and the pattern as include",
                )
            return question_of(
                None,
                globs or include,
                exclude,
                min_size=min_size,
                max_size=max_size,
                min_age=min_age,
                max_age=max_age,
                archived=archived,
            )

        calls = calls_of(source)
        flow: IngestFlow | CallsFlow
        if calls is not None:
            given = {
                "include": include,
                "exclude": exclude,
                "min_size": min_size,
                "max_size": max_size,
                "min_age": min_age,
                "max_age": max_age,
                "source_options": source_options,
                "again": again,
                "unit_size": unit_size,
                "columns": columns,
                "schema": schema,
                "types": types,
                "read_options": read_options,
            }
            _demand_no_objects(given)
            flow = CallsFlow(calls=calls, into=into, steps=recipe.steps)
        else:
            objects = Objects.of(
                _of_objects(source),
                source_options,
                ask,
                glob=glob,
            )
            if again and mode != "append":
                raise ConfigError(
                    "again goes with append: the other modes take everything", operation="ingest"
                )
            flow = IngestFlow(
                objects=objects, into=into, recipe=recipe, again=again, unit_bytes=_unit_bytes(unit_size)
            )
        telling.about(source=flow.source_url, sink=flow.sink_url)
        if isinstance(flow, IngestFlow):
            flow.objects = flow.objects.settled()
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


def _into(end: DatabaseEnd, table: str, mode: str, key: Sequence[str] | str) -> Into:
    """Which table, and how; what is wrong with that is told here.

    Raises:
        ConfigError: The database can only be read, or mode and key do not go together.
    """
    if not end.database.capabilities.writable:
        raise ConfigError("this is a source only", operation="ingest", where=end.database.url)
    columns = (key,) if isinstance(key, str) and key else tuple(key)
    checked(Request(name=end.database.named(table), mode=mode, key=columns))
    return Into(end=end, table=table, mode=mode, key=columns)


def _of_objects(source: Any) -> str | ObjectSource:
    if isinstance(source, str | ObjectSource):
        return source
    hint = (
        'write source.bind("..."): what it is to read'
        if isinstance(source, Task)
        else "give a URL, a source of objects, or source.bind(...)"
    )
    raise ConfigError(
        f"the source is objects, or described calls of tasks, and not {type(source).__name__}",
        operation="ingest",
        hint=hint,
    )


def _demand_no_objects(given: Mapping[str, Any]) -> None:
    """Refuse what has a meaning for objects only.

    Raises:
        ConfigError: It was given with calls.
    """
    said = [name for name, value in given.items() if value]
    if said:
        raise ConfigError(
            f"{said[0]} is for objects, and the source is described calls of tasks",
            operation="ingest",
            hint="say it in the call itself: source.bind(..., schema=...)",
        )


def _unit_bytes(given: Size) -> int:
    size = size_bytes(given, "unit size")
    if size is None:
        return _UNIT_BYTES
    if size < 1:
        raise ConfigError("unit size is 1 byte or more", operation="ingest")
    return size
