"""From what was asked to a plan written down: both ends checked, listed once, merged, cut into shards.

Everything that can be wrong with a question is found before the first request, everything that can be wrong with an end
before the first page, and half a plan is no plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from crossdock import crash_points
from crossdock.connectors.evidence import demand_strict, weaknesses
from crossdock.connectors.objects import ObjectSink, ObjectSource
from crossdock.errors import CrossdockError, LedgerError, NotFoundError
from crossdock.events import Listed, Observer
from crossdock.flows.listing import Ahead, Listing, in_order
from crossdock.flows.planning.question import Question, asked_of, question_of, rules_of
from crossdock.flows.planning.rows import plan_objects
from crossdock.flows.planning.weighing import Weighing, means_of
from crossdock.flows.questions.endpoints import Ends, settled
from crossdock.flows.runs.directory import RunDirectory
from crossdock.flows.runs.files import RunFiles
from crossdock.flows.runs.manifest import Manifest, ManifestSummary, write_manifest
from crossdock.flows.runs.ownership import Owner, last_heartbeat
from crossdock.flows.runs.shards import choose_shard_size, cut_shards
from crossdock.model import ObjectInfo

__all__ = [
    "Keep",
    "Question",
    "SourcePages",
    "asked_of",
    "checked",
    "create",
    "demand_strength",
    "forget_unplanned",
    "is_there",
    "keep_again",
    "keep_nothing",
    "question_of",
    "write_plan",
]

Keep = Callable[[RunDirectory], Mapping[str, Any] | None]
"""Writes into a run's directory what the run is to do after its copies; what it returns is ``then`` in ``run.json``."""

_ASSUMED_WORKERS = 16  # a cluster's size is not known before it starts, and may change


def checked(ends: Ends, observer: Observer) -> Ends:
    """Both ends answer, and which kind of source it is. A wrong URL or missing credentials show here, in seconds.

    Raises:
        StrictError: An end is weaker than the promise, and that was to be refused.
    """
    ends.source.store.check()
    ends.sink.store.check()
    found = settled(ends, observer)
    demand_strength(found.source, found.sink)
    return found


def demand_strength(source: ObjectSource, sink: ObjectSink) -> None:
    """With ``strict``, refuse ends of which every object would get a weaker form of the promise; no request.

    Raises:
        StrictError: They are weaker.
    """
    weaker = weaknesses(source.store.capabilities, None, sink.store.capabilities)
    demand_strict(weaker, sink.transfer, place=sink.url)


def is_there(directory: RunDirectory, asked: Mapping[str, Any]) -> bool:
    """Whether the directory holds this very run, unfinished, or finished by a driver that died before it could say so.

    Raises:
        LedgerError: It holds another one, or one that is complete.
    """
    try:
        document = directory.read()
    except NotFoundError:
        return False
    hint = "give another run directory; what is at the destination already is not sent again"
    if document["state"] == "complete" and last_heartbeat(directory.files) is None:
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


def keep_nothing(_: RunDirectory) -> None:
    """After its copies a run has ended."""


def keep_again(directory: RunDirectory, keep: Keep) -> None:
    """Write down what the command that goes on with a run does after its copies; the run's owner calls."""
    then = keep(directory)
    if directory.read().get("then") != then:
        directory.update(then=then)


def _forget(directory: RunDirectory) -> bool:
    """Remove a run that ended before it had a plan: nothing was moved, and nothing refers to it."""
    with Owner(directory.files):
        _empty(directory)
    return False


def _empty(directory: RunDirectory) -> None:
    for folder in ("manifest/", "deletes/"):
        for name in list(directory.files.names(folder)):
            directory.files.delete(name)
    directory.files.delete("run.json")


def create(
    directory: RunDirectory,
    run_id: str,
    asked: Mapping[str, Any],
    ends: Ends,
    question: Question,
    observer: Observer,
    *,
    keep: Keep = keep_nothing,
) -> None:
    """Plan, and write down everything the run will need, in an order that makes half a plan no plan.

    What ``keep`` writes and says is there before the plan counts.

    Raises:
        ConfigError: The question does not fit the source; nothing was written.
        NotFoundError: Nothing is there, or nothing matches. After this, as after every other error of the listing or by
            Ctrl-C, no run is left.
    """
    rules_of(ends, question)
    directory.create(run_id, asked)
    try:
        then = keep(directory)
        summary, excluded = write_plan(directory.files, ends, question, observer)
    except (Exception, KeyboardInterrupt) as error:
        forget_unplanned(directory, error)
        raise
    crash_points.reached("manifest-written")
    manifest = Manifest(files=directory.files, run_id=run_id, parts=summary.parts)
    alone_bytes = ends.sink.transfer.split_above_bytes
    size = choose_shard_size(summary.to_do, summary.copy_bytes, _ASSUMED_WORKERS, alone_bytes=alone_bytes)
    directory.write_shards(cut_shards((manifest.work(part) for part in range(summary.parts)), size))
    crash_points.reached("shards-written")
    after = {} if then is None else {"then": then}
    directory.update(state="planned", plan=summary.as_dict(), excluded=excluded, **after)


def forget_unplanned(directory: RunDirectory, error: BaseException) -> None:
    """Leave no run that never was: it would be told as killed for ever. Its owner calls; half a manifest goes first."""
    try:
        _empty(directory)
    except CrossdockError as failure:
        error.add_note(f"the run's directory {directory.url} stays, and is of no use: {failure}")


def write_plan(
    files: RunFiles, ends: Ends, question: Question, observer: Observer
) -> tuple[ManifestSummary, int]:
    """List, plan, write the manifest; returns its numbers and how many objects the filters left out.

    Raises:
        NotFoundError: Nothing is there, or nothing matches.
    """
    rules = rules_of(ends, question)
    listed = SourcePages(ends, observer)
    ahead = Ahead(ends.sink.store, ends.sink.prefix if ends.exact is None else ends.exact)
    weighing = Weighing(means_of(ends))
    with closing(ahead):
        rows = plan_objects(listed.pages(), ahead.find, rules)
        summary = write_manifest(files, weighing.watch(rows))
    if not summary.planned:
        raise _nothing(ends, question, listed.objects)
    is_listed = ends.one is None and ends.given is None
    load = weighing.load(listed=listed.objects if is_listed else None).as_dict()
    return replace(summary, load=load), listed.objects - summary.planned


def _nothing(ends: Ends, question: Question, listed: int) -> NotFoundError:
    if listed:
        cause = f"none of {listed} objects matches the filters"
        hint = "crossdock ls --explain KEY says what decides"
        if question.include:
            hint = f"* stays within a segment: write **/*.csv for any depth; {hint}"
    else:
        cause, hint = (
            "there is no object and no prefix of this name, or nothing below it",
            "list it: crossdock ls URL",
        )
    return NotFoundError(cause, operation="list", where=ends.source.url, hint=hint)


class SourcePages:
    """The source's pages, counted as they pass."""

    def __init__(self, ends: Ends, observer: Observer) -> None:
        self._ends = ends
        self._observer = observer
        self.objects = 0
        self._bytes = 0

    def pages(self) -> Iterator[Sequence[ObjectInfo]]:
        """Pages in key order: of the listing, of what was given instead, or the one object there is."""
        source, one = self._ends.source, self._ends.one
        if one is not None:
            yield from self._counted([[one]])
            return
        if self._ends.given is not None:
            yield from self._counted(self._ends.given.pages(source))
            return
        with Listing(source.store, source.prefix) as listing:
            yield from self._counted(listing)

    def _counted(self, pages: Iterable[Sequence[ObjectInfo]]) -> Iterator[Sequence[ObjectInfo]]:
        for page in in_order(pages, where=self._ends.source.url):
            self.objects += len(page)
            self._bytes += sum(info.size or 0 for info in page)
            self._observer(Listed(objects=self.objects, bytes=self._bytes))
            yield page
