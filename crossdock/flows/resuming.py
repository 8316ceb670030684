"""``resume``: go on with a run that is there, whichever flow began it, and do what that flow would still do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from crossdock.combine.hooks import RunHook, RunHooks, run_hooks_of
from crossdock.connectors.objects import ObjectSink, ObjectSource
from crossdock.errors import UnsafeError
from crossdock.events import Observer, ignore
from crossdock.flows.deleting.agreed import Agreed, SyncPlan
from crossdock.flows.deleting.clearing import clear, demand_deletable
from crossdock.flows.deleting.outcome import MOVE, told
from crossdock.flows.migration import go_on
from crossdock.flows.questions.bounds import Size
from crossdock.flows.questions.endpoints import Ends, rebuilt
from crossdock.flows.questions.limits import Deadline
from crossdock.flows.questions.means import means_of
from crossdock.flows.relocating import MoveReport
from crossdock.flows.reporting.report import Report
from crossdock.flows.reporting.telling import Telling
from crossdock.flows.runs.directory import open_run
from crossdock.flows.syncing import SyncReport
from crossdock.flows.tables import engine
from crossdock.model import Verification
from crossdock.notifications.notifier import Notifier
from crossdock.ports import Runner

__all__ = ["resume"]


def resume(
    run: str,
    *,
    source: ObjectSource | None = None,
    sink: ObjectSink | None = None,
    concurrency: int | None = None,
    max_errors: int | None = None,
    max_bytes: Size = None,
    deadline: Deadline = None,
    bandwidth: Size = None,
    runner: Runner | None = None,
    source_options: Mapping[str, Any] | None = None,
    sink_options: Mapping[str, Any] | None = None,
    run_options: Mapping[str, Any] | None = None,
    notify: Notifier | Sequence[Notifier] = (),
    on_success: RunHook | Sequence[RunHook] = (),
    on_failure: RunHook | Sequence[RunHook] = (),
    on_completion: RunHook | Sequence[RunHook] = (),
    confirm: Callable[[SyncPlan], bool] | None = None,
    observer: Observer = ignore,
) -> Report | SyncReport | MoveReport:
    """Go on with a run: everything pending, and every failure that another attempt may mend. Nothing is listed again.

    What was done and not recorded when a process died is recognised at the destination and not sent again. A run of ``sync``
    with ``delete`` or of ``move`` goes on with its deletions too, as its own call would: after its copies, those that were listed
    and agreed to when it began, each only in the version it was listed with, after a last look at the other end.

    Args:
        run: The run's id, or the URL of its directory.
        source: The source task, if it cannot be opened from what the run kept.
        sink: The sink task, likewise.
        concurrency: As ``migrate``.
        max_errors: As ``migrate``, counted from now on.
        max_bytes: As ``migrate``, counted from now on.
        deadline: As ``migrate``.
        bandwidth: As ``migrate``.
        runner: As ``migrate``.
        source_options: On top of the options the run kept: secrets are not kept.
        sink_options: Likewise.
        run_options: Options for the store of the run's directory.
        notify: As ``migrate``: whom the run was to tell before is not asked again.
        on_success: As ``migrate``.
        on_failure: As ``migrate``.
        on_completion: As ``migrate``.
        confirm: Asked with what is left to delete before anything is done, if the run is a ``sync`` with ``delete``; if false
            nothing is done.
        observer: As ``migrate``.

    Returns:
        The report; for a run that also deletes, that of its own flow.

    Raises:
        UnsafeError: ``confirm`` said no; nothing was done.
        NotFoundError: There is no such run, or a bucket is gone.
        LedgerError: Another driver owns it, its directory is damaged, or its plan was never finished.
        KeyboardInterrupt: Stopped by the user; the state is saved.
    """
    hooks = run_hooks_of(
        on_success=on_success, on_failure=on_failure, on_completion=on_completion, notify=notify
    )
    with Telling(hooks, "resume", observer) as telling:
        means = means_of(
            concurrency,
            runner,
            observer,
            max_errors=max_errors,
            max_bytes=max_bytes,
            deadline=deadline,
            bandwidth=bandwidth,
        )
        directory = open_run(run, run_options)
        document = directory.read()
        telling.about(run_id=document["run_id"])
        if engine.is_of_tables(document["asked"]):
            engine.demand_no_tasks(source, sink)
            work = engine.work_of(
                document["asked"],
                source_options=source_options,
                sink_options=sink_options,
                concurrency=concurrency,
                means=means,
            )
            return engine.go_on(directory, work, means, telling)
        kept = rebuilt(document["asked"], source_options, sink_options)
        from_, to = source or kept[0], sink or kept[1]
        telling.about(source=from_.url, sink=to.url)
        then = document.get("then")
        if then is None:
            return go_on(directory, from_, to, means, telling)
        quiet = Telling(RunHooks(), "resume", observer)  # of the end of all of it is told, not of the copies'
        if then["flow"] == MOVE:
            demand_deletable(from_)
            copies = go_on(directory, from_, to, means, quiet)
            ends, level = Ends(source=from_, sink=to), Verification[then["require"]]
            deletes = clear(copies, ends, level, observer, limits=means.limits)
            return told(MoveReport(copies=copies, deletes=deletes), telling)
        agreed = Agreed.of(
            document, from_, to, sink_options=sink_options, limits=means.limits, observer=observer
        ).slowed(means.bandwidth_bytes_per_s)
        plan = agreed.left(directory)
        if confirm is not None and not confirm(plan):
            raise UnsafeError("not confirmed; nothing was done", operation="resume", where=to.url)
        copies = go_on(directory, from_, to, means, quiet)
        return told(SyncReport(copies=copies, deletes=agreed.run(copies), plan=plan), telling)
