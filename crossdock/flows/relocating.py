"""``move``: copy, prove, and only then delete the source, each object only in the version that was read.

Copying is ``migrate``'s; ``clearing`` proves and deletes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crossdock.combine.hooks import RunHook, RunHooks, run_hooks_of
from crossdock.connectors.objects import ObjectSink, ObjectSource
from crossdock.errors import ConfigError
from crossdock.events import Observer, ignore
from crossdock.flows.deleting.clearing import begun, clear, demand_deletable, level_kept
from crossdock.flows.deleting.outcome import CopiedAndDeleted, told
from crossdock.flows.deleting.removing import RemovalReport
from crossdock.flows.deleting.safety import demand_apart
from crossdock.flows.migration import Place, copied
from crossdock.flows.planning.question import question_of
from crossdock.flows.questions.bounds import Age, Size
from crossdock.flows.questions.endpoints import Ends, open_ends
from crossdock.flows.questions.limits import Deadline
from crossdock.flows.questions.means import means_of
from crossdock.flows.reporting.telling import Telling
from crossdock.flows.runs.directory import default_runs_url, run_files
from crossdock.flows.runs.files import RunFiles
from crossdock.flows.runs.preparing import checked
from crossdock.model import Verification
from crossdock.notifications.notifier import Notifier
from crossdock.ports import Runner

__all__ = ["MoveReport", "move"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveReport(CopiedAndDeleted):
    """What was copied, as the run's own report, and what of the source was deleted then."""


def move(
    source: str | ObjectSource,
    sink: str | ObjectSink,
    *,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    overwrite: str = "if-different",
    compare: str = "auto",
    min_size: Size = None,
    max_size: Size = None,
    min_age: Age = None,
    max_age: Age = None,
    verify: str | None = None,
    require: str = "v1",
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
) -> MoveReport:
    """Copy everything below one place to another, prove each object, and delete what is proven from the source.

    An object is deleted when its receipt proves at least ``require`` and the destination, looked at once more, still holds
    what the receipt says; one that was at the destination already, when digests or its bytes prove it the same. It is deleted
    only in the version that was read: what changed meanwhile stays and is reported, as does what could not be copied.

    Killed at any instant, the same call again converges: what was copied is proven at the destination instead of sent again.
    So does ``resume``, and it lists nothing.
    Directories of a disk stay, and so do old versions in a bucket that keeps versions.

    Requests besides those of ``migrate``, for each object: a ``stat`` at the destination, one DELETE, and a ``stat`` where the
    server cannot delete one version only.

    Args:
        source: As ``migrate``; it must be a place that can be deleted from.
        sink: As ``migrate``; not within the source, nor around it.
        include: As ``migrate``: what the filters leave out stays.
        exclude: As ``migrate``.
        overwrite: As ``migrate``. With ``never`` the source of what is at the destination with other bytes stays.
        compare: As ``migrate``.
        min_size: As ``migrate``.
        max_size: As ``migrate``.
        min_age: As ``migrate``.
        max_age: As ``migrate``.
        verify: As ``migrate``: by default the highest level that costs no extra request.
        require: ``v1`` to ``v3``: an object of which less is proven stays at the source and is a failure.
        strict: As ``migrate``.
        concurrency: As ``migrate``.
        max_errors: As ``migrate``, and for deletions by themselves. After copies that a limit stopped nothing is deleted;
            ``resume`` does the rest, or the same call.
        max_bytes: As ``migrate``.
        deadline: As ``migrate``; no deletion begins after it, either.
        bandwidth: As ``migrate``.
        runner: As ``migrate``; deletions are done in this process.
        run_dir: As ``migrate``; also a run whose deletions did not end is gone on with.
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
        ConfigError: An argument is wrong, or both ends are the same object or place.
        UnsafeError: One end is within the other, or the run's directory within the source; nothing was done.
        CrossdockError: As ``migrate``; nothing was deleted then.

    Example:
        >>> import crossdock as xd
        >>> _ = xd.sink("memory://move-from/")(b"1", key="a")
        >>> report = xd.move("memory://move-from/", "memory://move-to/")
        >>> report.copies.counts.copied, report.deletes.deleted, report.exit_code
        (1, 1, 0)
    """
    level = _level(require)
    hooks = run_hooks_of(
        on_success=on_success, on_failure=on_failure, on_completion=on_completion, notify=notify
    )
    with Telling(RunHooks() if dry_run else hooks, "move", observer) as telling:
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
        demand_deletable(ends.source)
        ends = checked(ends, observer)
        runs = run_files(run_dir or default_runs_url(), run_options)
        _demand_apart(ends, runs)
        copies = None if dry_run else begun(ends, runs)
        if copies is None:
            place = Place(run_dir=run_dir, options=run_options)
            quiet = Telling(
                RunHooks(), "move", observer
            )  # of the end of all of it is told, not of the copies'
            copies = copied(ends, question, means, place, quiet, dry_run=dry_run, keep=level_kept(level))
        if dry_run:
            counts = copies.counts
            return MoveReport(copies=copies, deletes=RemovalReport(planned=counts.planned - counts.failed))
        deletes = clear(copies, ends, level, observer, limits=means.limits)
        return told(MoveReport(copies=copies, deletes=deletes), telling)


def _level(require: str) -> Verification:
    level = Verification.__members__.get(require.upper())
    if level is None or level < Verification.V1:
        raise ConfigError(
            f"require is v1, v2 or v3 for a move, not {require!r}: a length proves too little to delete the source",
            operation="move",
        )
    return level


def _demand_apart(ends: Ends, runs: RunFiles) -> None:
    if ends.one is not None:
        return
    source, sink = ends.source, ends.sink
    for name, place in (
        ("destination", (sink.store, sink.prefix)),
        ("run directory", (runs.store, runs.prefix)),
    ):
        demand_apart((source.store, source.prefix), place, operation="move", names=("source", name))
