"""A plan to look at: what a run would do with each object, in rows, in numbers, in money."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from crossdock.connectors.objects import ObjectSink, ObjectSource
from crossdock.errors import ConfigError
from crossdock.events import Observer, ignore
from crossdock.flows.given import with_list
from crossdock.flows.planning.estimating import Estimate, cost_of, read_prices
from crossdock.flows.planning.question import Question, asked_of, question_of
from crossdock.flows.planning.rows import Row
from crossdock.flows.planning.weighing import Load
from crossdock.flows.questions.bounds import Age, Size
from crossdock.flows.questions.endpoints import Ends, open_ends
from crossdock.flows.questions.mapping import Given
from crossdock.flows.reporting.report import Report
from crossdock.flows.runs.directory import RunDirectory, new_run_id, run_files
from crossdock.flows.runs.manifest import Manifest, ManifestSummary
from crossdock.flows.runs.ownership import Owner
from crossdock.flows.runs.preparing import checked, create, write_plan
from crossdock.model import Counts

__all__ = ["Plan", "plan"]


class Plan:
    """What a run would do; iterating it gives its rows, in order, as often as wanted. Nothing was moved.

    The rows are where the plan was written (``out``), to be carried out with ``xd.migrate(plan=URL)``; or in a temporary
    directory of this machine, removed when the plan is dropped or closed.

    Attributes:
        summary: The numbers: planned, copy, compare, skip, refuse, bytes.
        excluded: How many listed objects the filters left out.
        source: The source's URL.
        sink: The destination's URL.
        url: Where the plan was written; empty for one that goes away.
        run_id: Its id; empty likewise.
    """

    def __init__(
        self,
        *,
        source: str,
        sink: str,
        endpoints: tuple[str, str],
        summary: ManifestSummary,
        excluded: int,
        manifest: Manifest,
        url: str = "",
        run_id: str = "",
    ) -> None:
        self.source, self.sink = source, sink
        self.summary, self.excluded = summary, excluded
        self.url, self.run_id = url, run_id
        self._endpoints = endpoints
        self._manifest = manifest
        self._remove: Any = lambda: None

    @classmethod
    def made(cls, ends: Ends, question: Question, observer: Observer) -> Self:
        """List and plan; the rows go into a temporary directory."""
        place = tempfile.mkdtemp(prefix="crossdock-plan-")
        try:
            files = run_files(f"file://{place}/")
            summary, excluded = write_plan(files, ends, question, observer)
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
        planned = cls(
            source=ends.source.url if ends.one is None else f"{ends.source.store.url}/{ends.one.key}",
            sink=ends.sink.url if ends.exact is None else f"{ends.sink.store.url}/{ends.exact}",
            endpoints=(ends.source.store.endpoint, ends.sink.store.endpoint),
            summary=summary,
            excluded=excluded,
            manifest=Manifest(files=files, run_id=place, parts=summary.parts),
        )
        planned._remove = weakref.finalize(planned, shutil.rmtree, place, ignore_errors=True)
        return planned

    @classmethod
    def written(cls, directory: RunDirectory, ends: Ends, question: Question, observer: Observer) -> Self:
        """List and plan; the rows go into a run directory, with all a run needs.

        Raises:
            LedgerError: The directory holds a run or a plan already.
        """
        with Owner(directory.files):
            create(directory, new_run_id(), asked_of(ends, question), ends, question, observer)
        return cls.read(directory, ends.source, ends.sink)

    @classmethod
    def read(cls, directory: RunDirectory, source: ObjectSource, sink: ObjectSink) -> Self:
        """A plan that was written before.

        Raises:
            LedgerError: It was never finished, or the directory is damaged.
        """
        document = directory.read()
        asked = document["asked"]
        return cls(
            source=f"{asked['source']['store']}/{asked['one'] or asked['source']['prefix']}",
            sink=f"{asked['sink']['store']}/{asked['exact'] or asked['sink']['prefix']}",
            endpoints=(source.store.endpoint, sink.store.endpoint),
            summary=directory.summary,
            excluded=document.get("excluded", 0),
            manifest=directory.manifest,
            url=directory.url,
            run_id=document["run_id"],
        )

    def __iter__(self) -> Iterator[Row]:
        yield from self._manifest.all_rows()  # holds the plan meanwhile: dropped, it removes its directory

    def __len__(self) -> int:
        return self.summary.planned

    def __repr__(self) -> str:
        return f"<plan {self.source} -> {self.sink}: {self.summary.planned:,} objects, {self.summary.refuse:,} refused>"

    def close(self) -> None:
        """Remove the temporary directory, if there is one. Twice is fine."""
        self._remove()

    def estimate(self, *, prices: str | Path | None = None, rate_bytes_per_s: int | None = None) -> Estimate:
        """What carrying it out will ask for, cost and take, as far as that can be foreseen. No request.

        Args:
            prices: A table of list prices (TOML) instead of the one that comes with crossdock.
            rate_bytes_per_s: How fast bytes move; without it the time is not estimated.

        Raises:
            ConfigError: The table cannot be read, or the rate is not positive.
        """
        if rate_bytes_per_s is not None and rate_bytes_per_s <= 0:
            raise ConfigError(
                f"a rate is more than 0 bytes a second, not {rate_bytes_per_s}", operation="estimate"
            )
        load = Load(**self.summary.load)
        cost = cost_of(load, read_prices(prices), source=self._endpoints[0], sink=self._endpoints[1])
        seconds = load.moved_bytes / rate_bytes_per_s if rate_bytes_per_s else None
        return Estimate(load=load, cost=cost, rate_bytes_per_s=rate_bytes_per_s, duration_s=seconds)

    def report(self) -> Report:
        """The plan as a report: what would be copied is pending."""
        summary = self.summary
        return Report(
            run_id=self.run_id,
            run_dir=self.url,
            state="planned",
            source=self.source,
            sink=self.sink,
            counts=Counts(
                planned=summary.planned,
                skipped=summary.skip,
                failed=summary.refuse,
                planned_bytes=summary.copy_bytes,
            ),
            excluded=self.excluded,
        )


def plan(
    source: str | ObjectSource,
    sink: str | ObjectSink,
    *,
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
    strict: bool | None = None,
    source_options: Mapping[str, Any] | None = None,
    sink_options: Mapping[str, Any] | None = None,
    glob: bool = True,
    out: str | None = None,
    out_options: Mapping[str, Any] | None = None,
    observer: Observer = ignore,
) -> Plan:
    """List both ends and decide for every object, without writing anything at either. Other arguments as ``migrate``.

    Memory: what the listings read ahead and one part of the plan. Requests: one LIST for 1,000 objects of each end.

    Args:
        source: As ``migrate``.
        sink: As ``migrate``.
        include: As ``migrate``.
        exclude: As ``migrate``.
        names: As ``migrate``.
        manifest: As ``migrate``.
        manifest_options: As ``migrate``.
        overwrite: As ``migrate``.
        compare: As ``migrate``.
        min_size: As ``migrate``.
        max_size: As ``migrate``.
        min_age: As ``migrate``.
        max_age: As ``migrate``.
        rename: As ``migrate``.
        archived: As ``migrate``.
        strict: As ``migrate``.
        source_options: As ``migrate``.
        sink_options: As ``migrate``.
        glob: As ``migrate``.
        out: URL of a directory to write the plan to, for ``xd.migrate(plan=URL)``: Parquet, with all that a run needs but
            secrets. Without it the rows are kept in a temporary directory of this machine.
        out_options: Options for the store of ``out``.
        observer: As ``migrate``.

    Raises:
        NotFoundError: A bucket is missing, or nothing matches.
        LedgerError: ``out`` holds a plan or a run already.
        CrossdockError: A listing failed: there are no partial plans.

    Example:
        >>> import crossdock as xd
        >>> _ = xd.sink("memory://plan-from/")(b"1", key="a")
        >>> [row.action.value for row in xd.plan("memory://plan-from/", "memory://plan-to/")]
        ['copy']
    """
    ends = open_ends(
        source, sink, source_options=source_options, sink_options=sink_options, glob=glob, strict=strict
    )
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
    directory = None if out is None else RunDirectory(run_files(out, out_options))
    ends = checked(ends, observer)
    if directory is None:
        return Plan.made(ends, question, observer)
    return Plan.written(directory, ends, question, observer)
