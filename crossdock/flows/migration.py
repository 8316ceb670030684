"""``migrate``, ``resume`` and ``plan``: many objects, one run, restartable, every object accounted for."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from crossdock.combine import LocalRunner
from crossdock.connectors.objects import ObjectSink, ObjectSource
from crossdock.errors import ConfigError, LedgerError, NotFoundError
from crossdock.events import Listed, Observer, ignore
from crossdock.flows.driving import Drive
from crossdock.flows.endpoints import Ends, describe, open_ends, rebuilt, settled
from crossdock.flows.filters import compile_filters
from crossdock.flows.listing import Ahead, in_order
from crossdock.flows.manifest import Manifest, ManifestSummary, write_manifest
from crossdock.flows.ownership import Owner
from crossdock.flows.planning import OVERWRITES, Row, Rules, plan_objects
from crossdock.flows.report import Report, build_report
from crossdock.flows.run_directory import RunDirectory, default_runs_url, new_run_id, open_run, run_files
from crossdock.flows.run_files import RunFiles
from crossdock.flows.shards import choose_shard_size, cut_shards
from crossdock.model import Counts, ObjectInfo
from crossdock.ports import Runner

__all__ = ["DEFAULT_CONCURRENCY", "Plan", "migrate", "plan", "resume"]

DEFAULT_CONCURRENCY = 32
_LOCAL_SHARDS = (
    4  # shards at a time in this process; they share one pool, so that no shard's last object idles it
)
_ASSUMED_WORKERS = 16  # a cluster's size is not known before it starts, and may change


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """What a plan is asked, besides the two ends."""

    include: tuple[str, ...]
    exclude: tuple[str, ...]
    overwrite: str


class Plan:
    """What a run would do; iterating it gives its rows, in key order, as often as wanted. Nothing was moved.

    The rows are kept in a temporary directory of this machine, removed when the plan is dropped or closed.

    Attributes:
        summary: The numbers: planned, copy, compare, skip, refuse, bytes.
        excluded: How many listed objects the filters left out.
        source: The source's URL.
        sink: The destination's URL.
    """

    def __init__(self, ends: Ends, question: _Question, observer: Observer) -> None:
        self.source, self.sink = ends.source.url, ends.exact or ends.sink.url
        if ends.exact is not None:
            self.sink = f"{ends.sink.store.url}/{ends.exact}"
        place = tempfile.mkdtemp(prefix="crossdock-plan-")
        self._remove = weakref.finalize(self, shutil.rmtree, place, ignore_errors=True)
        files = run_files(f"file://{place}/")
        self.summary, self.excluded = _write_plan(files, ends, question, observer)
        self._manifest = Manifest(files=files, run_id=place, parts=self.summary.parts)

    def __iter__(self) -> Iterator[Row]:
        return self._manifest.all_rows()

    def __len__(self) -> int:
        return self.summary.planned

    def close(self) -> None:
        """Remove the temporary directory. Twice is fine."""
        self._remove()

    def report(self) -> Report:
        """The plan as a report: what would be copied is pending."""
        summary = self.summary
        return Report(
            run_id="",
            run_dir="",
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
    question = _question(ends, include, exclude, overwrite)
    return Plan(_checked(ends, observer), question, observer)


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
    question = _question(ends, include, exclude, overwrite)
    ends = _checked(ends, observer)
    if dry_run:
        planned = Plan(ends, question, observer)
        try:
            return planned.report()
        finally:
            planned.close()
    run_id = new_run_id()
    directory = RunDirectory(run_files(run_dir or f"{default_runs_url()}/{run_id}", run_options))
    asked = _asked(ends, question)
    if run_dir is not None and _is_there(directory, asked):
        return _go_on(directory, ends.source, ends.sink, concurrency, runner, observer)
    with Owner(directory.files) as owner:
        _create(directory, run_id, asked, ends, question, observer)
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


def _question(ends: Ends, include: Iterable[str], exclude: Iterable[str], overwrite: str) -> _Question:
    """Everything that can be wrong with what was asked is wrong before a request is made."""
    if overwrite not in OVERWRITES:
        raise ConfigError(f"overwrite is one of {', '.join(OVERWRITES)}, not {overwrite!r}", operation="plan")
    globs = _texts(include)
    if ends.include and globs:
        raise ConfigError(
            "wildcards in the source's URL and include say the same thing",
            operation="plan",
            where=ends.source.url,
            hint="write the prefix as source, and the pattern as include",
        )
    question = _Question(include=ends.include + globs, exclude=_texts(exclude), overwrite=overwrite)
    compile_filters(question.include, question.exclude)
    return question


def _texts(globs: Iterable[str]) -> tuple[str, ...]:
    return (globs,) if isinstance(globs, str) else tuple(globs)


def _checked(ends: Ends, observer: Observer) -> Ends:
    """Both ends answer, and which kind of source it is. A wrong URL or missing credentials show here, in seconds."""
    ends.source.store.check()
    ends.sink.store.check()
    return settled(ends, observer)


def _asked(ends: Ends, question: _Question) -> dict[str, Any]:
    return {
        "source": describe(ends.source),
        "sink": describe(ends.sink),
        "one": ends.one.key if ends.one is not None else None,
        "exact": ends.exact,
        "include": list(question.include),
        "exclude": list(question.exclude),
        "overwrite": question.overwrite,
    }


def _is_there(directory: RunDirectory, asked: Mapping[str, Any]) -> bool:
    """Whether the directory holds this very run, unfinished.

    Raises:
        LedgerError: It holds another one, or one that is complete.
    """
    try:
        document = directory.read()
    except NotFoundError:
        return False
    hint = "give another run directory; what is at the destination already is not sent again"
    if document["state"] == "complete":
        raise LedgerError(
            "the directory holds a run that is complete",
            operation="create run",
            where=directory.url,
            hint=hint,
        )
    if document["asked"] != asked:
        raise LedgerError(
            "the directory holds a run of another question",
            operation="create run",
            where=directory.url,
            hint=hint,
        )
    return "plan" in document or _forget(directory)


def _forget(directory: RunDirectory) -> bool:
    """Remove a run that ended before it had a plan: nothing was moved, and nothing refers to it."""
    with Owner(directory.files):
        for name in list(directory.files.names("manifest/")):
            directory.files.delete(name)
        directory.files.delete("run.json")
    return False


def _create(
    directory: RunDirectory,
    run_id: str,
    asked: Mapping[str, Any],
    ends: Ends,
    question: _Question,
    observer: Observer,
) -> None:
    """Plan, and write down everything the run will need, in an order that makes half a plan no plan."""
    directory.create(run_id, asked)
    summary, excluded = _write_plan(directory.files, ends, question, observer)
    manifest = Manifest(files=directory.files, run_id=run_id, parts=summary.parts)
    size = choose_shard_size(summary.to_do, summary.copy_bytes, _ASSUMED_WORKERS)
    directory.write_shards(cut_shards((manifest.work(part) for part in range(summary.parts)), size))
    directory.update(state="planned", plan=summary.as_dict(), excluded=excluded)


def _write_plan(
    files: RunFiles, ends: Ends, question: _Question, observer: Observer
) -> tuple[ManifestSummary, int]:
    """List, plan, write the manifest; returns its numbers and how many objects the filters left out.

    Raises:
        NotFoundError: Nothing is there, or nothing matches.
    """
    listed = _Listing(ends, observer)
    rules = Rules(
        source_prefix=ends.source.prefix,
        destination_prefix=ends.sink.prefix,
        filters=compile_filters(question.include, question.exclude),
        overwrite=question.overwrite,
        refusal=ends.sink.store.refusal,
        exact=ends.exact,
    )
    ahead = Ahead(ends.sink.store, ends.sink.prefix if ends.exact is None else ends.exact)
    summary = write_manifest(files, plan_objects(listed.pages(), ahead.find, rules))
    if not summary.planned:
        raise _nothing(ends, listed.objects)
    return summary, listed.objects - summary.planned


def _nothing(ends: Ends, listed: int) -> NotFoundError:
    if listed:
        cause = f"none of {listed} objects matches the filters"
        hint = "* stays within a segment: write **/*.csv for any depth"
    else:
        cause, hint = (
            "there is no object and no prefix of this name, or nothing below it",
            "list it: crossdock ls URL",
        )
    return NotFoundError(cause, operation="list", where=ends.source.url, hint=hint)


class _Listing:
    """The source's pages, counted as they pass."""

    def __init__(self, ends: Ends, observer: Observer) -> None:
        self._ends = ends
        self._observer = observer
        self.objects = 0
        self._bytes = 0

    def pages(self) -> Iterator[Sequence[ObjectInfo]]:
        one = self._ends.one
        pages: Iterable[Sequence[ObjectInfo]] = self._ends.source.pages() if one is None else [[one]]
        for page in in_order(pages, where=self._ends.source.url):
            self.objects += len(page)
            self._bytes += sum(info.size or 0 for info in page)
            self._observer(Listed(objects=self.objects, bytes=self._bytes))
            yield page


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
