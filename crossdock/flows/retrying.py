"""``retry``: failures of a run tried again, all or those that match, also those that a resume leaves alone.

It appends to the ledger that these rows are pending once more, and then drives them as a resume would: the manifest is
what it was, reads stay pinned to what was listed, and the destination is looked at before anything is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, NamedTuple

from crossdock.combine.hooks import RunHook, run_hooks_of
from crossdock.connectors.objects import ObjectSink, ObjectSource
from crossdock.errors import ConfigError
from crossdock.events import Note, Observer, ignore
from crossdock.flows.ledger.again import failures_of, set_aside
from crossdock.flows.ledger.failures import REASONS
from crossdock.flows.ledger.records import Record
from crossdock.flows.moving.driving import Drive, Work
from crossdock.flows.moving.transfer import Transfers
from crossdock.flows.questions.bounds import Size
from crossdock.flows.questions.endpoints import rebuilt
from crossdock.flows.questions.filters import Filters, compile_filters
from crossdock.flows.questions.limits import Deadline
from crossdock.flows.questions.means import Means, means_of
from crossdock.flows.reporting.report import Report, build_report
from crossdock.flows.reporting.telling import Telling
from crossdock.flows.runs.directory import open_run
from crossdock.flows.runs.ownership import Owner
from crossdock.flows.runs.preparing import demand_strength
from crossdock.flows.tables.engine import TableWork, demand_no_tasks, is_of_tables, work_of
from crossdock.notifications.notifier import Notifier
from crossdock.ports import Runner

__all__ = ["Condition", "parse_where", "retry"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Which failures are meant: any of the reasons, any of the globs over the source's whole key. Empty means all."""

    reasons: frozenset[str] = frozenset()
    keys: Filters | None = None

    def takes(self, record: Record) -> bool:
        """Whether a failed row is meant."""
        failure = record.failure
        if self.reasons and (failure is None or failure.reason not in self.reasons):
            return False
        return self.keys is None or self.keys.decide(record.key).taken


def parse_where(where: str | Sequence[str]) -> Condition:
    """``reason=CLASS`` and ``key=GLOB`` as a condition; of the same name any, of both names both have to hold.

    Raises:
        ConfigError: It is neither, or there is no such class of failures.
    """
    reasons: set[str] = set()
    globs: list[str] = []
    for text in (where,) if isinstance(where, str) else where:
        name, _, value = text.partition("=")
        if name == "reason" and value in REASONS:
            reasons.add(value)
        elif name == "key" and value:
            globs.append(value)
        elif name == "reason":
            near = get_close_matches(value, REASONS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"one of: {', '.join(REASONS)}"
            raise ConfigError(f"there is no class of failures {value!r}", operation="retry", hint=hint)
        else:
            raise ConfigError(f"{text!r} is neither reason=CLASS nor key=GLOB", operation="retry")
    return Condition(reasons=frozenset(reasons), keys=compile_filters(globs) if globs else None)


def retry(
    run: str,
    *,
    where: str | Sequence[str] = (),
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
    observer: Observer = ignore,
) -> Report:
    """Try failures of a run again: all, or the matching ones, also those that ``resume`` would leave alone.

    What is pending stays pending. As safe as a resume: an object replaced at the source since it was listed, or a
    destination that somebody else wrote, fails again and for the same reason; a new run is for those. Objects that the
    plan refused are not tried. Killed at any instant, what was not tried yet is pending, and ``resume`` does it.

    Memory: one shard of the ledger. Requests beside the objects' own: those that read the ledger, and one for each shard
    with a failure to try again.

    Args:
        run: The run's id, or the URL of its directory.
        where: ``reason=CLASS`` or ``key=GLOB`` (over the source's whole key), one or several; those of the same name are
            alternatives, and both names have to hold.
        source: As ``resume``.
        sink: As ``resume``.
        concurrency: As ``resume``.
        max_errors: As ``resume``.
        max_bytes: As ``resume``.
        deadline: As ``resume``.
        bandwidth: As ``resume``.
        runner: As ``resume``.
        source_options: As ``resume``.
        sink_options: As ``resume``.
        run_options: As ``resume``.
        notify: As ``resume``; nobody is told if there was nothing to try.
        on_success: As ``resume``.
        on_failure: As ``resume``.
        on_completion: As ``resume``.
        observer: As ``resume``.

    Returns:
        How the whole run stands now; ``report.retried`` says how many objects were tried again, perhaps none.

    Raises:
        ConfigError: A condition is not one.
        NotFoundError: There is no such run, or a bucket is gone.
        LedgerError: Another driver owns it, its directory is damaged, or its plan was never finished.
        KeyboardInterrupt: Stopped by the user; the state is saved.

    Example:
        >>> import crossdock as xd
        >>> _ = xd.sink("memory://again-from/")(b"1", key="a")
        >>> _ = xd.migrate("memory://again-from/", "memory://again-to/", run_dir="memory://again-runs/1/")
        >>> xd.retry("memory://again-runs/1/", where="reason=denied").retried
        0
    """
    condition = parse_where(where)
    means = means_of(
        concurrency,
        runner,
        observer,
        max_errors=max_errors,
        max_bytes=max_bytes,
        deadline=deadline,
        bandwidth=bandwidth,
    )
    hooks = run_hooks_of(
        on_success=on_success, on_failure=on_failure, on_completion=on_completion, notify=notify
    )
    with Telling(hooks, "retry", observer) as telling:
        directory = open_run(run, run_options)
        document = directory.read()
        telling.about(run_id=document["run_id"])
        if is_of_tables(document["asked"]):
            demand_no_tasks(source, sink)
            again = _of_tables(
                work_of(
                    document["asked"],
                    source_options=source_options,
                    sink_options=sink_options,
                    concurrency=concurrency,
                    means=means,
                )
            )
        else:
            kept = rebuilt(document["asked"], source_options, sink_options)
            again = _of_objects(source or kept[0], sink or kept[1], means)
        telling.about(source=again.source_url, sink=again.sink_url)
        with Owner(directory.files) as owner:
            if next(failures_of(directory.files, condition.takes), None) is None:
                return replace(build_report(directory), retried=0)
            again.check()  # before anything is written down: a failure says more than "pending"
            marked = set_aside(directory.files, condition.takes)
            observer(Note(text=f"{marked:,} failed objects are tried again"))
            drive = Drive(
                directory=directory,
                work=again.work,
                owner=owner,
                runner=means.runner,
                observer=observer,
                limits=means.limits,
                again_only=True,
            )
            return replace(telling.driven(directory, drive.run), retried=marked)


class _Again(NamedTuple):
    """What is tried again: where from, where to, how one finds out that both ends answer, and by which work."""

    source_url: str
    sink_url: str
    check: Callable[[], None]
    work: Work


def _of_objects(source: ObjectSource, sink: ObjectSink, means: Means) -> _Again:
    def check() -> None:
        source.store.check()
        sink.store.check()
        demand_strength(source, sink)

    bounded = sink.verifying(bandwidth_bytes_per_s=means.bandwidth_bytes_per_s)
    work = Transfers(source=source, sink=bounded, concurrency=means.concurrency)
    return _Again(source.url, sink.url, check, work)


def _of_tables(work: TableWork) -> _Again:
    return _Again(work.flow.source_url, work.flow.sink_url, work.flow.check, work)
