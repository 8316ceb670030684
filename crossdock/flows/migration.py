"""``migrate``, ``resume`` and ``plan``: many objects, one run, restartable, every object accounted for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from crossdock.combine import LocalRunner
from crossdock.connectors.objects import ObjectSink, ObjectSource
from crossdock.errors import ConfigError
from crossdock.events import Observer, ignore
from crossdock.flows.driving import Drive
from crossdock.flows.endpoints import open_ends, rebuilt
from crossdock.flows.ownership import Owner
from crossdock.flows.preparing import asked_of, checked, create, is_there, question_of
from crossdock.flows.preview import Plan
from crossdock.flows.report import Report, build_report
from crossdock.flows.run_directory import RunDirectory, default_runs_url, new_run_id, open_run, run_files
from crossdock.ports import Runner

__all__ = ["DEFAULT_CONCURRENCY", "migrate", "plan", "resume"]

DEFAULT_CONCURRENCY = 32
# Shards at a time in this process; they share one pool, so that no shard's last object idles it.
_LOCAL_SHARDS = 4


def plan(
    source: str | ObjectSource,
    sink: str | ObjectSink,
    *,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    overwrite: str = "if-different",
    source_options: Mapping[str, Any] | None = None,
    sink_options: Mapping[str, Any] | None = None,
    glob: bool = True,
    observer: Observer = ignore,
) -> Plan:
    """List both ends and decide for every object, without writing anything at either. Arguments as ``migrate``.

    Memory: a page of each listing and one part of the plan. Requests: one LIST for 1,000 objects of each end.

    Raises:
        NotFoundError: A bucket is missing, or nothing matches.
        CrossdockError: A listing failed: there are no partial plans.

    Example:
        >>> import crossdock as xd
        >>> _ = xd.sink("memory://plan-from/")(b"1", key="a")
        >>> [row.action.value for row in xd.plan("memory://plan-from/", "memory://plan-to/")]
        ['copy']
    """
    ends = open_ends(source, sink, source_options=source_options, sink_options=sink_options, glob=glob)
    question = question_of(ends, include, exclude, overwrite)
    return Plan(checked(ends, observer), question, observer)


def migrate(
    source: str | ObjectSource,
    sink: str | ObjectSink,
    *,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    overwrite: str = "if-different",
    verify: str | None = None,
    concurrency: int | None = None,
    runner: Runner | None = None,
    run_dir: str | None = None,
    dry_run: bool = False,
    source_options: Mapping[str, Any] | None = None,
    sink_options: Mapping[str, Any] | None = None,
    run_options: Mapping[str, Any] | None = None,
    glob: bool = True,
    observer: Observer = ignore,
) -> Report:
    """Copy everything below one place to another, prove each object, and leave a record that can be resumed.

    Lists both ends, plans, writes the manifest, maps shards of it over the runner, and reports. Called again with
    nothing changed it lists and writes nothing. Safe to kill at any instant.

    Args:
        source: URL or source task. A URL that names one object copies that; otherwise it is a prefix whose contents
            are copied, the key below it kept. Wildcards in the key become a prefix and an include.
        sink: URL or sink task: a prefix, or for one object the new key.
        include: Globs; if given, only keys that match one. They match the whole key below the source's prefix.
        exclude: Globs; keys that match one are left out, whatever ``include`` says.
        overwrite: ``if-different`` (digests, else size and time), ``always``, ``never``.
        verify: ``v0`` to ``v3``; ``None`` is the highest level that costs no extra request.
        concurrency: Objects at a time in each process; 32 by default.
        runner: Where shards run; threads of this process by default.
        run_dir: URL of this run's directory; by default one below the user's state directory. A run there that did not
            end, of the same question, is gone on with.
        dry_run: Only plan: the report's state is ``planned``, and nothing is written anywhere.
        source_options: Options for a source given as URL.
        sink_options: Options for a sink given as URL, also those of ``TransferOptions``.
        run_options: Options for the store of ``run_dir``.
        glob: Whether wildcards mean anything in the source's URL.
        observer: Hears of events, from several threads.

    Returns:
        The report; ``report.raise_for_failures()`` if failures shall raise.

    Raises:
        NotFoundError: A bucket is missing, or nothing matches.
        DeniedError: Credentials are missing or not allowed to.
        LedgerError: Another driver owns the run, or its directory cannot be used.
        CrossdockError: A listing failed: that is always fatal, and nothing was moved.
        KeyboardInterrupt: Stopped by the user; the state is saved.

    Example:
        >>> import crossdock as xd
        >>> _ = xd.sink("memory://docs-from/")(b"hello", key="2024/a.txt")
        >>> report = xd.migrate(
        ...     "memory://docs-from/2024/", "memory://docs-to/", run_dir="memory://docs-runs/1/"
        ... )
        >>> report.counts.copied, report.exit_code
        (1, 0)
    """
    concurrency = _concurrency(concurrency)
    ends = open_ends(
        source, sink, source_options=source_options, sink_options=sink_options, glob=glob, verify=verify
    )
    question = question_of(ends, include, exclude, overwrite)
    ends = checked(ends, observer)
    if dry_run:
        planned = Plan(ends, question, observer)
        try:
            return planned.report()
        finally:
            planned.close()
    run_id = new_run_id()
    directory = RunDirectory(run_files(run_dir or f"{default_runs_url()}/{run_id}", run_options))
    asked = asked_of(ends, question)
    if run_dir is not None and is_there(directory, asked):
        return _go_on(directory, ends.source, ends.sink, concurrency, runner, observer)
    with Owner(directory.files) as owner:
        create(directory, run_id, asked, ends, question, observer)
        return _drive(directory, ends.source, ends.sink, owner, concurrency, runner, observer)


def resume(
    run: str,
    *,
    source: ObjectSource | None = None,
    sink: ObjectSink | None = None,
    concurrency: int | None = None,
    runner: Runner | None = None,
    source_options: Mapping[str, Any] | None = None,
    sink_options: Mapping[str, Any] | None = None,
    run_options: Mapping[str, Any] | None = None,
    observer: Observer = ignore,
) -> Report:
    """Go on with a run: everything pending, and every failure that another attempt may mend. Nothing is listed again.

    What was done and not recorded when a process died is recognised at the destination and not sent again.

    Args:
        run: The run's id, or the URL of its directory.
        source: The source task, if it cannot be opened from what the run kept.
        sink: The sink task, likewise.
        concurrency: As ``migrate``.
        runner: As ``migrate``.
        source_options: On top of the options the run kept: secrets are not kept.
        sink_options: Likewise.
        run_options: Options for the store of the run's directory.
        observer: As ``migrate``.

    Raises:
        NotFoundError: There is no such run, or a bucket is gone.
        LedgerError: Another driver owns it, its directory is damaged, or its plan was never finished.
        KeyboardInterrupt: Stopped by the user; the state is saved.
    """
    concurrency = _concurrency(concurrency)
    directory = open_run(run, run_options)
    kept = rebuilt(directory.read()["asked"], source_options, sink_options)
    ends = (source or kept[0], sink or kept[1])
    return _go_on(directory, *ends, concurrency, runner, observer)


def _concurrency(given: int | None) -> int:
    if given is not None and given < 1:
        raise ConfigError(f"concurrency is 1 or more, not {given}", operation="migrate")
    return given or DEFAULT_CONCURRENCY


def _go_on(
    directory: RunDirectory,
    source: ObjectSource,
    sink: ObjectSink,
    concurrency: int,
    runner: Runner | None,
    observer: Observer,
) -> Report:
    with Owner(directory.files) as owner:
        if directory.read()["state"] == "complete":
            return build_report(directory)
        source.store.check()
        sink.store.check()
        return _drive(directory, source, sink, owner, concurrency, runner, observer)


def _drive(
    directory: RunDirectory,
    source: ObjectSource,
    sink: ObjectSink,
    owner: Owner,
    concurrency: int,
    runner: Runner | None,
    observer: Observer,
) -> Report:
    drive = Drive(
        directory=directory,
        source=source,
        sink=sink,
        owner=owner,
        runner=runner or LocalRunner(threads=_LOCAL_SHARDS, window=_LOCAL_SHARDS),
        observer=observer,
        concurrency=concurrency,
    )
    return drive.run()
