"""``migrate`` and ``plan``: many objects, one run, restartable, every object accounted for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crossdock.combine.hooks import RunHook, RunHooks, run_hooks_of
from crossdock.connectors.objects import ObjectSink, ObjectSource
from crossdock.events import Observer, ignore
from crossdock.flows.given import with_list
from crossdock.flows.moving.driving import Drive
from crossdock.flows.moving.transfer import Transfers
from crossdock.flows.planning.question import Question, asked_of, question_of
from crossdock.flows.preview import Plan, plan
from crossdock.flows.questions.bounds import Age, Size
from crossdock.flows.questions.endpoints import Ends, open_ends
from crossdock.flows.questions.limits import Deadline
from crossdock.flows.questions.mapping import Given
from crossdock.flows.questions.means import Means, means_of
from crossdock.flows.reporting.report import Report, build_report
from crossdock.flows.reporting.telling import Telling
from crossdock.flows.runs.directory import RunDirectory, default_runs_url, new_run_id, run_files
from crossdock.flows.runs.files import RunFiles
from crossdock.flows.runs.ownership import Owner
from crossdock.flows.runs.planned import demand_both, keep_transfer, open_plan
from crossdock.flows.runs.preparing import (
    Keep,
    checked,
    create,
    demand_strength,
    is_there,
    keep_again,
    keep_nothing,
)
from crossdock.notifications.notifier import Notifier
from crossdock.ports import Runner

__all__ = ["Place", "copied", "go_on", "migrate", "plan"]


def migrate(
    source: str | ObjectSource | None = None,
    sink: str | ObjectSink | None = None,
    *,
    plan: str | None = None,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    names: Iterable[str] | None = None,
    manifest: str | None = None,
    manifest_options: Mapping[str, Any] | None = None,
    overwrite: str = "if-different",
    compare: str = "auto",
    min_size: Size = None,
    max_size: Size = None,
    min_age: Age = None,
    max_age: Age = None,
    rename: Given | None = None,
    archived: str = "refuse",
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
    """Copy everything below one place to another, prove each object, and leave a record that can be resumed.

    Lists both ends, plans, writes the manifest, maps shards of it over the runner, and reports. Called again with
    nothing changed it lists and writes nothing. Safe to kill at any instant.

    Args:
        source: URL or source task. A URL that names one object copies that; otherwise it is a prefix whose contents
            are copied, the key below it kept. Wildcards in the key become a prefix and an include.
        sink: URL or sink task: a prefix, or for one object the new key.
        plan: URL of a plan that ``xd.plan(..., out=URL)`` wrote: exactly that is carried out, and nothing is listed. Its
            directory becomes the run's. Source and destination need not be given; what is given of the question
            must be what the plan was asked. Secrets are given again, by the options.
        include: Globs; if given, only keys that match one. They match the whole key below the source's prefix.
        exclude: Globs; keys that match one are left out, whatever ``include`` says.
        names: Only these keys below the source's prefix, in any order, instead of all that a listing finds; consumed
            before anything else. One that is not there is a failure of its own class, ``missing``.
        manifest: Only the objects of this list, and nothing of the source is listed: the URL of a ``.csv``, ``.parquet`` or
            ``.orc`` file with full keys, of an S3 inventory's ``manifest.json``, of a run's directory, or ``run:ID``. Sizes and
            digests are the list's, and its versions pin the reads.
        manifest_options: Options for the store of ``manifest``.
        overwrite: ``if-different``, ``always``, ``never``.
        compare: What counts as different. ``auto``: digests where the listings have one in common, else size and time, and
            where times are too close the worker finds out. ``checksum``: digests alone; where the listings have none in
            common the worker asks both ends, and reads if it must. ``size-mtime``: size and time, whatever the digests
            say. ``size``: sizes alone. The manifest says for each object what decided.
        min_size: Only objects of this size or more: bytes, or text such as ``10MiB``.
        max_size: Only objects of this size or less.
        min_age: Only objects last changed so long ago or longer (``30m``, ``12h``, ``7d``, ``2w``, a ``timedelta``), or not
            after this time (``2026-01-31``, a ``datetime``; UTC unless it says otherwise).
        max_age: Only objects last changed so long ago or less, or not before this time.
        rename: What becomes of each key below the source's prefix: ``s/PATTERN/REPLACEMENT/`` with Python's regular
            expressions (``g``: every match; ``i``: ignore case), a function, or several of these in order. Keys that come
            out equal are refused, all of them, and the others go on.
        archived: ``refuse`` objects that cannot be read before they are restored (S3's GLACIER and DEEP_ARCHIVE, Azure's
            Archive), or ``try`` them, because they have been: a listing does not say.
        verify: ``v0`` to ``v3``, the level of verification to go for; by default the highest that costs no extra request,
            or two at most for an object that moves in parts.
        require: ``v0`` to ``v3``: a copy that proves less is a failure, and nothing is written if it can be known by then.
        strict: Refuse ends that are weaker than the promise (no conditional writes, reads that cannot be pinned, no digest
            checked) before anything moves, and objects like that one by one.
        concurrency: Objects at a time in each process, at most; how many really move is found for each endpoint.
        max_errors: Stop when more objects than this failed. A run that a limit stopped has the state ``limited`` and the exit
            code 7, and can be resumed; what was under way has come to its end. Limits are not kept with the run.
        max_bytes: Stop after so many bytes copied: bytes, or text such as ``10GiB``.
        deadline: Stop at this time, or after this long (``90m``, ``2h``).
        bandwidth: Payload bytes a second at most, for all processes of the run together, or text such as ``50MiB``.
        runner: Where shards run; threads of this process by default.
        run_dir: URL of this run's directory; by default one below the user's state directory. A run there that did not
            end, of the same question, is gone on with.
        dry_run: Only plan: the report's state is ``planned``, and nothing is written anywhere.
        source_options: Options for a source given as URL.
        sink_options: Options for a sink given as URL, also those of ``TransferOptions``.
        run_options: Options for the store of ``run_dir``.
        glob: Whether wildcards mean anything in the source's URL.
        notify: Who is told of the run's end, such as ``xd.slack("env:SLACK_WEBHOOK", on="failure")``. Their references
            are resolved before anything else; a delivery that fails is logged and counted, and changes nothing.
        on_success: Called with the ``RunEnded`` when everything is done; one function or several. One that raises is
            logged and changes nothing. None of this happens after a dry run.
        on_failure: The same, after every other end: failed, interrupted, refused before it began.
        on_completion: The same, after every end.
        observer: Hears of events, from several threads.

    Returns:
        The report; ``report.raise_for_failures()`` if failures shall raise.

    Raises:
        ConfigError: An argument is wrong, or a reference of ``notify`` gives nothing that can be used.
        NotFoundError: A bucket is missing, or nothing matches.
        DeniedError: Credentials are missing or not allowed to.
        StrictError: ``strict``, and an end is weaker than the promise; nothing was moved.
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
    hooks = run_hooks_of(
        on_success=on_success, on_failure=on_failure, on_completion=on_completion, notify=notify
    )
    with Telling(RunHooks() if dry_run else hooks, "migrate", observer) as telling:
        means = means_of(
            concurrency,
            runner,
            observer,
            max_errors=max_errors,
            max_bytes=max_bytes,
            deadline=deadline,
            bandwidth=bandwidth,
        )
        demand_both(source, sink, plan, run_dir)
        ends = None
        if source is not None and sink is not None:
            ends = open_ends(
                source,
                sink,
                source_options=source_options,
                sink_options=sink_options,
                glob=glob,
                verify=verify,
                require=require,
                strict=strict,
            )
            telling.about(source=ends.source.url, sink=ends.sink.url)
        ends = with_list(ends, names, manifest, manifest_options)
        question = question_of(
            ends,
            include,
            exclude,
            overwrite,
            compare=compare,
            min_size=min_size,
            max_size=max_size,
            min_age=min_age,
            max_age=max_age,
            rename=rename,
            archived=archived,
        )
        if ends is not None:
            ends = checked(ends, observer)
        if plan is not None or ends is None:
            opened = open_plan(
                plan or "",
                run_options,
                question,
                ends,
                source_options=source_options,
                sink_options=sink_options,
                verify=verify,
                require=require,
                strict=strict,
            )
            if dry_run:
                return Plan.read(*opened).report()
            telling.about(run_id=opened.run_id, source=opened.source.url, sink=opened.sink.url)
            return go_on(opened.directory, opened.source, opened.sink, means, telling)
        place = Place(run_dir=run_dir, options=run_options)
        return copied(ends, question, means, place, telling, dry_run=dry_run)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a run is kept: below the user's state directory, if nothing is said."""

    run_dir: str | None
    options: Mapping[str, Any] | None

    def files(self, run_id: str) -> RunFiles:
        """The files of a run of this id, or of whichever run is in the directory given."""
        return run_files(self.run_dir or f"{default_runs_url()}/{run_id}", self.options)


def copied(
    ends: Ends,
    question: Question,
    means: Means,
    place: Place,
    telling: Telling,
    *,
    dry_run: bool = False,
    keep: Keep = keep_nothing,
) -> Report:
    """A run of these ends and this question, begun or gone on with: what ``migrate`` does once all is opened and checked.

    Also the copies of ``sync`` and ``move``, which open, ask and check the same things by themselves.

    Args:
        ends: Settled.
        question: What is asked.
        means: How it is driven.
        place: Where it is kept.
        telling: Told of its end.
        dry_run: Only plan.
        keep: Writes down, before anything moves, what the run is to do after its copies.

    Raises:
        CrossdockError: As ``migrate``.
        KeyboardInterrupt: Likewise.
    """
    if dry_run:
        planned = Plan.made(ends, question, means.observer)
        try:
            return planned.report()
        finally:
            planned.close()
    run_id = new_run_id()
    directory = RunDirectory(place.files(run_id))
    asked = asked_of(ends, question)
    if place.run_dir is not None and is_there(directory, asked):
        return go_on(directory, ends.source, ends.sink, means, telling, keep=keep)
    telling.about(run_id=run_id)
    with Owner(directory.files) as owner:
        create(directory, run_id, asked, ends, question, means.observer, keep=keep)
        return _drive(directory, ends.source, ends.sink, owner, means, telling)


def go_on(
    directory: RunDirectory,
    source: ObjectSource,
    sink: ObjectSink,
    means: Means,
    telling: Telling,
    *,
    keep: Keep | None = None,
) -> Report:
    """Drive what is left of a run that is there.

    Args:
        directory: The run.
        source: Its source.
        sink: Its destination.
        means: How it is driven.
        telling: Told of its end.
        keep: As ``copied``, of the command that goes on; ``None``: what was kept stays.

    Raises:
        LedgerError: Another driver owns it, its directory is damaged, or its plan was never finished.
        CrossdockError: An end is gone, or weaker than ``strict`` allows.
        KeyboardInterrupt: Stopped by the user; the state is saved.
    """
    with Owner(directory.files) as owner:
        if keep is not None:
            keep_again(directory, keep)
        if directory.read()["state"] == "complete":
            report = build_report(directory)
            if report.ok:  # else somebody removed records since, and what they said is found out again
                return telling.ended(report)
        source.store.check()
        sink.store.check()
        demand_strength(source, sink)
        keep_transfer(directory, sink)
        return _drive(directory, source, sink, owner, means, telling)


def _drive(
    directory: RunDirectory,
    source: ObjectSource,
    sink: ObjectSink,
    owner: Owner,
    means: Means,
    telling: Telling,
) -> Report:
    drive = Drive(
        directory=directory,
        work=Transfers(
            source=source,
            sink=sink.verifying(bandwidth_bytes_per_s=means.bandwidth_bytes_per_s),
            concurrency=means.concurrency,
        ),
        owner=owner,
        runner=means.runner,
        observer=means.observer,
        limits=means.limits,
    )
    return telling.driven(directory, drive.run)
