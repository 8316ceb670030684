"""``sync``: make a destination hold what a source holds; with ``delete`` also nothing else, as safely as that can be done.

Copying is ``migrate``'s: a run with manifest, ledger and report. What is to be deleted is found before anything moves, by a
complete merge of both listings, checked against every limit, kept in the run, and deleted last: only after every copy succeeded, each only
in the version that was listed, and not if the source has it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from crossdock.combine.hooks import RunHook, RunHooks, run_hooks_of
from crossdock.connectors.objects import ObjectSink, ObjectSource
from crossdock.errors import ConfigError, UnsafeError
from crossdock.events import Observer, ignore
from crossdock.flows.deleting.agreed import SyncPlan
from crossdock.flows.deleting.outcome import CopiedAndDeleted, told
from crossdock.flows.deleting.pruning import Pruning, spooled
from crossdock.flows.deleting.removing import RemovalReport
from crossdock.flows.deleting.safety import demand_apart, limit_of
from crossdock.flows.migration import Place, copied
from crossdock.flows.planning.merging import texts
from crossdock.flows.planning.question import question_of
from crossdock.flows.questions.bounds import Age, Size
from crossdock.flows.questions.endpoints import open_ends
from crossdock.flows.questions.limits import Deadline
from crossdock.flows.questions.means import means_of
from crossdock.flows.reporting.telling import Telling
from crossdock.flows.runs.directory import default_runs_url, run_files
from crossdock.flows.runs.preparing import checked
from crossdock.notifications.notifier import Notifier
from crossdock.ports import Runner

__all__ = ["SyncPlan", "SyncReport", "sync"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncReport(CopiedAndDeleted):
    """What was copied, as the run's own report, and what was deleted. ``plan`` is ``None`` without ``delete``."""

    plan: SyncPlan | None = None


def sync(
    source: str | ObjectSource,
    sink: str | ObjectSink,
    *,
    delete: bool = False,
    delete_excluded: bool = False,
    max_delete: int | str | None = None,
    backup_dir: str | None = None,
    confirm: Callable[[SyncPlan], bool] | None = None,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    overwrite: str = "if-different",
    compare: str = "auto",
    min_size: Size = None,
    max_size: Size = None,
    min_age: Age = None,
    max_age: Age = None,
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
) -> SyncReport:
    """Copy what differs, then with ``delete`` remove from the destination what the source does not have.

    Killed at any instant, the same call again converges: what was copied is recognised, what was deleted is gone, and the
    rest is found again by listing. What is to be deleted is recorded in the run before anything moves, and the results after:
    ``resume`` does what is left of both and lists nothing, and so does a call with the same ``run_dir`` once all is copied.

    Requests, with ``delete``, besides those of ``migrate``: one more LIST for 1,000 objects of each end; for each object
    that is deleted a ``stat`` at the source, one DELETE, and a ``stat`` where the server cannot delete one version only.

    Args:
        source: As ``migrate``.
        sink: As ``migrate``.
        delete: Remove what is only at the destination: inside its prefix, and only what the filters take.
        delete_excluded: Remove also what the filters leave out.
        max_delete: Delete nothing, and copy nothing, if more would be deleted: a number, or a share of the destination's
            objects such as ``"25%"``. By default at most 1,000, and at most 25 % (but 10 always).
        backup_dir: URL of a prefix to which what is deleted is copied first, under the same name. What is overwritten is not.
        confirm: With ``delete``, asked with the plan before anything is done, also if nothing is to be deleted; if false
            nothing is done. Of a dry run it is only told.
        include: As ``migrate``, for both ends.
        exclude: As ``migrate``, for both ends.
        overwrite: As ``migrate``.
        compare: As ``migrate``.
        min_size: As ``migrate``. Sizes and ages are those of the source's object where there is one: what of it is left out
            is not deleted.
        max_size: As ``migrate``.
        min_age: As ``migrate``.
        max_age: As ``migrate``.
        verify: As ``migrate``.
        require: As ``migrate``.
        strict: As ``migrate``.
        concurrency: As ``migrate``.
        max_errors: As ``migrate``, and for deletions by themselves. After copies that a limit stopped nothing is deleted;
            ``resume`` does the rest, or the same call.
        max_bytes: As ``migrate``.
        deadline: As ``migrate``; no deletion begins after it, either.
        bandwidth: As ``migrate``; also of what is put aside in ``backup_dir``.
        runner: As ``migrate``; deletions are done in this process.
        run_dir: As ``migrate``.
        dry_run: Only plan.
        source_options: As ``migrate``.
        sink_options: As ``migrate``.
        run_options: As ``migrate``.
        glob: As ``migrate``.
        notify: As ``migrate``.
        on_success: As ``migrate``; called when the deletions have ended too.
        on_failure: As ``migrate``.
        on_completion: As ``migrate``.
        observer: As ``migrate``.

    Raises:
        UnsafeError: One end is within the other; or with ``delete`` the source is empty, more would be deleted than allowed,
            the run's directory is within the destination, or ``confirm`` said no. Nothing was done.
        CrossdockError: As ``migrate``. A listing that fails is always fatal, and nothing was deleted.

    Example:
        >>> import crossdock as xd
        >>> _ = xd.sink("memory://sync-from/")(b"1", key="a")
        >>> _ = xd.sink("memory://sync-to/")(b"2", key="b")
        >>> report = xd.sync("memory://sync-from/", "memory://sync-to/", delete=True)
        >>> report.copies.counts.copied, report.deletes.deleted, report.exit_code
        (1, 1, 0)
    """
    limit = limit_of(max_delete)
    include, exclude = texts(include), texts(exclude)
    if not delete and (delete_excluded or backup_dir is not None or max_delete is not None):
        raise ConfigError(
            "delete_excluded, max_delete and backup_dir say how to delete: give delete too", operation="sync"
        )
    hooks = run_hooks_of(
        on_success=on_success, on_failure=on_failure, on_completion=on_completion, notify=notify
    )
    with Telling(RunHooks() if dry_run else hooks, "sync", observer) as telling:
        means = means_of(
            concurrency,
            runner,
            observer,
            max_errors=max_errors,
            max_bytes=max_bytes,
            deadline=deadline,
            bandwidth=bandwidth,
        )
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
        )
        ends = checked(ends, observer)
        if ends.one is None:
            demand_apart(
                (ends.source.store, ends.source.prefix),
                (ends.sink.store, ends.sink.prefix),
                operation="sync",
                names=("source", "destination"),
            )
        place = Place(run_dir=run_dir, options=run_options)
        quiet = Telling(
            RunHooks(), "sync", observer
        )  # of the end of all of it is told, not of the copies' alone
        if not delete:
            copies = copied(ends, question, means, place, quiet, dry_run=dry_run)
            return told(SyncReport(copies=copies), telling)
        pruning = Pruning(
            ends,
            question,
            limit,
            delete_excluded=delete_excluded,
            backup_dir=backup_dir,
            sink_options=sink_options or {},
            runs=run_files(run_dir or default_runs_url(), run_options),
            means=means,
        )
        begun = None if dry_run else pruning.begun()  # it was confirmed when it began
        if begun is not None:
            return told(SyncReport(copies=begun, deletes=pruning.agreed.run(begun)), telling)
        with spooled() as spool:
            plan = pruning.plan(spool)
            if confirm is not None and not confirm(plan) and not dry_run:
                raise UnsafeError("not confirmed; nothing was done", operation="sync", where=ends.sink.url)
            if dry_run:
                waiting = RemovalReport(planned=plan.delete, planned_bytes=plan.delete_bytes)
                copies = copied(ends, question, means, place, quiet, dry_run=True)
                return SyncReport(copies=copies, deletes=waiting, plan=plan)
            keep = partial(pruning.keep, spool=spool, plan=plan)
            copies = copied(ends, question, means, place, quiet, keep=keep)
        return told(SyncReport(copies=copies, deletes=pruning.agreed.run(copies), plan=plan), telling)
