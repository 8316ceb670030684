"""Starting a table flow and going on with it: plan, manifest, shards, then the driver that drives every kind of run.

``start`` is what ``convert``, ``ingest`` and ``export`` call, ``work_of`` what ``resume`` and ``retry`` ask for a run of these kinds.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from crossdock import crash_points
from crossdock.errors import ConfigError, NotFoundError
from crossdock.events import Observer
from crossdock.flows.moving.driving import Drive
from crossdock.flows.moving.working import Hooks
from crossdock.flows.planning.rows import Action
from crossdock.flows.questions.means import Means
from crossdock.flows.reporting.report import Report, build_report
from crossdock.flows.reporting.telling import Telling
from crossdock.flows.runs.arrays import values_of
from crossdock.flows.runs.directory import RunDirectory, default_runs_url, new_run_id, run_files
from crossdock.flows.runs.manifest import Manifest, ManifestSummary, write_manifest
from crossdock.flows.runs.ownership import Owner
from crossdock.flows.runs.preparing import forget_unplanned, is_there
from crossdock.flows.tables.cutting import Line, choose_unit_shard_size, cut_units
from crossdock.flows.tables.port import TableFlow
from crossdock.flows.tables.shard import UnitShard
from crossdock.model import MIB, Counts

__all__ = [
    "KINDS",
    "TableWork",
    "demand_no_tasks",
    "go_on",
    "is_of_tables",
    "planned_only",
    "start",
    "work_of",
]

KINDS = {
    "convert": "crossdock.flows.tables.convert",
    "ingest": "crossdock.flows.tables.ingest",
    "export": "crossdock.flows.tables.export",
}
"""For each kind of run the module whose ``flow_of(asked, source_options, sink_options)`` makes its flow again from what was kept."""

_ALONE_BYTES = 64 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class TableWork:
    """A table flow as the driver sees it.

    Attributes:
        concurrency: Units at a time in each process; ``None`` leaves it to the flow.
        bandwidth_bytes_per_s: For all processes together, if bounded.
    """

    flow: TableFlow
    concurrency: int | None = None
    bandwidth_bytes_per_s: int | None = None

    @property
    def name(self) -> str:
        """The kind of run."""
        return self.flow.kind

    @property
    def alone_bytes(self) -> int:
        """A unit of one object larger than this begins before the others."""
        return _ALONE_BYTES

    def mapped(self, directory: RunDirectory, *, session: str, again_only: bool, hooks: Hooks) -> UnitShard:
        """What a runner maps over shards."""
        learned = directory.read()["learned"]
        work = self.flow.work(
            learned, concurrency=self.concurrency, bandwidth_bytes_per_s=self.bandwidth_bytes_per_s
        )
        return UnitShard(
            directory=directory,
            manifest=directory.manifest,
            work=work,
            session=session,
            again_only=again_only,
            hooks=hooks,
        )

    def at_end(self, directory: RunDirectory) -> None:
        """What the flow does once, if nothing is pending: it may be a publication."""
        counts = build_report(directory, state="running").counts
        if not counts.pending:
            directory.update(finished=dict(self.flow.finish(directory, counts)))


def start(
    flow: TableFlow,
    *,
    run_dir: str | None,
    run_options: Mapping[str, Any] | None,
    means: Means,
    concurrency: int | None,
    telling: Telling,
) -> Report:
    """Plan a table flow and drive it; or go on with it, if the directory that was given holds this very run.

    Args:
        flow: Its ends answered already.
        run_dir: URL of the run's directory; by default one below the user's state directory.
        run_options: Options for the store of it.
        means: With what it is driven.
        concurrency: As ``TableWork``.
        telling: Whom to tell of its end.

    Raises:
        NotFoundError: Nothing matches. After this, as after every other error of the plan, no run is left.
        LedgerError: Another driver owns the run, or the directory holds another one.
    """
    run_id = new_run_id()
    directory = RunDirectory(run_files(run_dir or f"{default_runs_url()}/{run_id}", run_options))
    asked = {**flow.asked(), "kind": flow.kind}
    work = TableWork(flow=flow, concurrency=concurrency, bandwidth_bytes_per_s=means.bandwidth_bytes_per_s)
    telling.about(source=flow.source_url, sink=flow.sink_url)
    if run_dir is not None and is_there(directory, asked):
        return go_on(directory, work, means, telling)
    telling.about(run_id=run_id)
    with Owner(directory.files) as owner:
        _create(directory, run_id, asked, flow, means.observer)
        return _drive(directory, work, owner, means, telling)


def go_on(directory: RunDirectory, work: TableWork, means: Means, telling: Telling) -> Report:
    """Drive a run that was planned before: what is pending, and what another attempt may mend."""
    with Owner(directory.files) as owner:
        if directory.read()["state"] == "complete":
            report = build_report(directory)
            if report.ok:  # else somebody removed records since, and what they said is found out again
                return telling.ended(report)
        work.flow.check()
        return _drive(directory, work, owner, means, telling)


def is_of_tables(asked: Mapping[str, Any]) -> bool:
    """Whether a run's question is a table flow's."""
    return "kind" in asked


def demand_no_tasks(source: object, sink: object) -> None:
    """Refuse open tasks for the ends of a run that makes tables: it opens them by what it kept, and options on top.

    Raises:
        ConfigError: One was given.
    """
    if source is not None or sink is not None:
        raise ConfigError(
            "this run makes tables, and opens its ends by itself",
            operation="open run",
            hint="give source_options and sink_options",
        )


def work_of(
    asked: Mapping[str, Any],
    *,
    source_options: Mapping[str, Any] | None,
    sink_options: Mapping[str, Any] | None,
    concurrency: int | None,
    means: Means,
) -> TableWork:
    """A run's work made again from what it kept, for ``resume`` and ``retry``.

    Raises:
        ConfigError: It was given what cannot be kept (functions, an open task): the text says how to go on with it.
    """
    kind = asked["kind"]
    if kind not in KINDS:
        raise ConfigError(
            f"this version knows no runs of the kind {kind!r}",
            operation="open run",
            hint="use the version of crossdock that wrote it",
        )
    flow = importlib.import_module(KINDS[kind]).flow_of(asked, source_options, sink_options)
    return TableWork(flow=flow, concurrency=concurrency, bandwidth_bytes_per_s=means.bandwidth_bytes_per_s)


def planned_only(flow: TableFlow, observer: Observer) -> Report:
    """What would be done, in numbers: lists, and writes nothing anywhere."""
    planned = skipped = failed = planned_bytes = 0
    for row in flow.rows(observer):
        planned += 1
        skipped += row.action is Action.SKIP
        failed += row.action is Action.REFUSE
        planned_bytes += (row.source.size or 0) if row.action in (Action.COPY, Action.COMPARE) else 0
    counts = Counts(planned=planned, skipped=skipped, failed=failed, planned_bytes=planned_bytes)
    return Report(
        run_id="",
        run_dir="",
        state="planned",
        source=flow.source_url,
        sink=flow.sink_url,
        counts=counts,
        excluded=flow.excluded,
        kind=flow.kind,
    )


def _create(
    directory: RunDirectory, run_id: str, asked: Mapping[str, Any], flow: TableFlow, observer: Observer
) -> None:
    """Plan, and write down everything the run will need, in an order that makes half a plan no plan."""
    directory.create(run_id, asked)
    try:
        summary = write_manifest(directory.files, flow.rows(observer))
        _demand_some(flow, summary)
        manifest = Manifest(files=directory.files, run_id=run_id, parts=summary.parts)
        learned = flow.learn(manifest)
    except (Exception, KeyboardInterrupt) as error:
        forget_unplanned(directory, error)
        raise
    crash_points.reached("manifest-written")
    size = choose_unit_shard_size(summary.to_do, summary.copy_bytes)
    directory.write_shards(cut_units((_lines(manifest, part) for part in range(summary.parts)), size))
    crash_points.reached("shards-written")
    directory.update(state="planned", plan=summary.as_dict(), excluded=flow.excluded, learned=dict(learned))


def _lines(manifest: Manifest, part: int) -> Iterator[Line]:
    work = (Action.COPY.value, Action.COMPARE.value)
    for table in manifest.tables(part, ["destination", "action", "size"]):
        columns = (values_of(table[name]) for name in ("destination", "action", "size"))
        for destination, action, size in zip(*columns, strict=True):
            yield destination, action in work, size or 0


def _drive(directory: RunDirectory, work: TableWork, owner: Owner, means: Means, telling: Telling) -> Report:
    drive = Drive(
        directory=directory,
        work=work,
        owner=owner,
        runner=means.runner,
        observer=means.observer,
        limits=means.limits,
    )
    # A flow may hold something while its run is driven (a snapshot of a database), and learns where the run is kept.
    held = getattr(work.flow, "driving", lambda _: nullcontext())
    with held(directory):
        return telling.driven(directory, drive.run)


def _demand_some(flow: TableFlow, summary: ManifestSummary) -> None:
    """A run of nothing is a mistake in what was asked.

    Raises:
        NotFoundError: There is nothing.
    """
    if summary.planned:
        return
    if flow.excluded:
        cause = f"none of {flow.excluded} objects matches the filters"
        hint = "* stays within a segment: write **/*.csv for any depth"
    else:
        cause, hint = "there is nothing to read", "list it: crossdock ls URL"
    raise NotFoundError(cause, operation="list", where=flow.source_url, hint=hint)
